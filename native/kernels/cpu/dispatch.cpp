// The CPUID table: which kernel sets this CPU can run, best first.
#include <array>

#if defined(__x86_64__) || defined(_M_X64)
#include <cpuid.h>
#endif

#include "kernels.h"

namespace hunch {

#if defined(__x86_64__) || defined(_M_X64)
// Asked by hand, because __builtin_cpu_supports answers no to everything where the runtime library does not fill its table (Zig's).
struct Cpu {
  bool avx2 = false, avx512 = false;
  Cpu() {
    unsigned a, b, c, d, saved, high;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return;
    constexpr unsigned kFirst = bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C;
    if ((c & kFirst) != kFirst) return;
    asm volatile("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));  // which registers the system saves
    if ((saved & 0x06) != 0x06 || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return;
    avx2 = b & bit_AVX2;
    constexpr unsigned kWide = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
#ifdef __APPLE__
    saved |= 0xE0;  // macOS starts to save them when a thread first uses them
#endif
    avx512 = avx2 && (b & kWide) == kWide && (c & bit_AVX512VNNI) && (saved & 0xE0) == 0xE0;
  }
};
static const Cpu& cpu() {
  static const Cpu it;
  return it;
}
static bool has_avx2() { return cpu().avx2; }
static bool has_avx512() { return cpu().avx512; }
#endif

static bool always() { return true; }

struct Row {
  Isa isa;
  const char* name;
  bool (*runs)();
  const Kernels* (*table)();
};

static const Row rows[] = {
#if defined(__x86_64__) || defined(_M_X64)
    {Isa::avx512, "avx512", has_avx512, avx512_kernels},
    {Isa::avx2, "avx2", has_avx2, avx2_kernels},
#elif defined(__aarch64__) || defined(_M_ARM64)
    {Isa::neon, "neon", always, neon_kernels},
#endif
    {Isa::scalar, "scalar", always, scalar_kernels},
};

const char* isa_name(Isa isa) {
  static const std::array<const char*, 4> names = {"scalar", "avx2", "avx512", "neon"};
  return names[(size_t)isa];
}

std::vector<Isa> supported_isas() {
  std::vector<Isa> out;
  for (const Row& r : rows)
    if (r.runs()) out.push_back(r.isa);
  return out;
}

const Kernels* kernels_for(Isa isa) {
  for (const Row& r : rows)
    if (r.isa == isa && r.runs()) return r.table();
  return nullptr;
}

}  // namespace hunch
