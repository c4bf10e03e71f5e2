// Counts the physical cores this process may use. Decode is memory-bound: a hyperthread adds nothing but contention.
#include <set>
#include <string>
#include <thread>

#include "engine.h"

#ifdef __linux__
#include <sched.h>

#include <fstream>
#endif

namespace hunch {

unsigned physical_cores() {
  const unsigned logical = std::max(1u, std::thread::hardware_concurrency());
#ifdef __linux__
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
#else
  return logical;
#endif
}

}  // namespace hunch
