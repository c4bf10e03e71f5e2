// Counts the physical cores this process may use. Decode is memory-bound: a hyperthread adds nothing but contention.
#include <algorithm>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "engine.h"

#if defined(__linux__)
#include <sched.h>

#include <fstream>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(_WIN32)
#include <windows.h>
#endif

namespace hunch {

unsigned physical_cores() {
  const unsigned logical = std::max(1u, std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return logical;
  std::set<std::string> cores;  // one entry per set of sibling threads
  unsigned allowed = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &set)) continue;
    allowed++;
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
    std::string siblings;
    if (std::getline(file, siblings)) cores.insert(siblings);
  }
  if (!cores.empty()) return (unsigned)cores.size();
  return allowed ? allowed : logical;
#elif defined(__APPLE__)
  int cores = 0;  // the fast ones where there are two kinds: a barrier waits for the slowest lane
  for (const char* name : {"hw.perflevel0.physicalcpu", "hw.physicalcpu"}) {
    size_t size = sizeof cores;
    if (sysctlbyname(name, &cores, &size, nullptr, 0) == 0 && cores > 0) return (unsigned)cores;
  }
  return logical;
#elif defined(_WIN32)
  DWORD bytes = 0;
  GetLogicalProcessorInformationEx(RelationProcessorCore, nullptr, &bytes);
  std::vector<char> records(bytes);
  const auto record = [&](DWORD at) { return reinterpret_cast<SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX*>(records.data() + at); };
  if (!bytes || !GetLogicalProcessorInformationEx(RelationProcessorCore, record(0), &bytes)) return logical;
  unsigned cores = 0;
  for (DWORD at = 0; at < bytes; at += record(at)->Size) cores++;
  return cores;
#else
  return logical;
#endif
}

}  // namespace hunch
