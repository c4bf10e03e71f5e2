#include "background.h"

#include <algorithm>
#include <mutex>
#include <new>
#include <thread>

#ifdef _WIN32
#include <windows.h>
#elif defined(__APPLE__)
#include <pthread/qos.h>
#elif defined(__linux__)
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace hunch {

static void lower_priority() {
#ifdef _WIN32
  SetThreadPriority(GetCurrentThread(), THREAD_PRIORITY_BELOW_NORMAL);
#elif defined(__APPLE__)
  pthread_set_qos_class_self_np(QOS_CLASS_UTILITY, 0);
#elif defined(__linux__)
  setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 10);  // of this thread only
#endif
}

Status in_background(unsigned threads, uint32_t count, const std::function<void(uint32_t)>& task) {
  std::atomic<uint32_t> next{0};
  std::mutex mutex;
  Status status;
  const auto fail = [&](Status s) {
    std::lock_guard lock(mutex);
    if (status.ok()) status = std::move(s);
    next = count;
  };
  const auto work = [&] {
    lower_priority();
    try {
      for (uint32_t i; (i = next.fetch_add(1)) < count;) task(i);
    } catch (const std::bad_alloc&) {
      fail(Status::error("out-of-memory", "Not enough memory to calibrate. Close other programs, or keep fewer samples."));
    } catch (const std::exception& e) {
      fail(Status::error("internal", std::string("Calibrating failed: ") + e.what()));
    }
  };
  std::vector<std::thread> workers;
  try {
    for (unsigned i = 0; i < std::max(1u, std::min<unsigned>(threads, count)); i++) workers.emplace_back(work);
  } catch (const std::exception&) {
    if (workers.empty()) fail(Status::error("out-of-memory", "The system has no thread left to calibrate with. Close other programs."));
  }
  for (std::thread& w : workers) w.join();
  return status;
}

}  // namespace hunch
