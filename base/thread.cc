// See thread.h.
#include "base/thread.h"

#include <pthread.h>

#include <mutex>
#include <system_error>
#include <utility>
#include <vector>

#include "base/program.h"
#include "base/shortage.h"

namespace longrun {
namespace {

void* WaitFor(void* held) {
  const std::lock_guard lock(*static_cast<std::mutex*>(held));
  return nullptr;
}

}  // namespace

std::thread StartThread(std::function<void()> body) {
  try {
    return std::thread(std::move(body));
  } catch (const std::system_error&) {
    EndProgram();
  }
}

Status CheckThreadRoom(int n_threads) {
  std::mutex held;
  std::vector<pthread_t> started;
  int failed = 0;
  {
    const std::lock_guard lock(held);
    for (int i = 0; i < n_threads && failed == 0; ++i) {
      pthread_t thread{};
      failed = pthread_create(&thread, nullptr, &WaitFor, &held);
      if (failed == 0) started.push_back(thread);
    }
  }
  for (const pthread_t thread : started) pthread_join(thread, nullptr);
  return failed == 0 ? Status() : Status(Code::kResourceExhausted, kOutOfThreads);
}

}  // namespace longrun
