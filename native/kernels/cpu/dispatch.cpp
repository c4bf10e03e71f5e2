// The CPUID table: which kernel sets this CPU can run, best first.
#include <array>

#include "kernels.h"

namespace hunch {

#if defined(__x86_64__) || defined(_M_X64)
static bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"); }
static bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
}
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
