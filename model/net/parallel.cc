#include "model/net/parallel.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <exception>

// https://gcc.gnu.org/onlinedocs/libgomp, "The libgomp ABI": calls function(data) on each of
// n_threads threads, including the caller, and returns when all have returned.
extern "C" void GOMP_parallel(void (*function)(void*), void* data, unsigned n_threads,
                              unsigned flags);

namespace longrun {
namespace {

// Parts per thread: enough that a slow part delays little, few enough that the set-up of each
// costs little.
constexpr std::int64_t kPartsOfThread = 4;

// Runs `body` on each of LibTorch's threads. Never on fewer: libgomp ends those of its pool that a
// call does not use, and the next larger call pays for new ones.
void RunOnThreads(const std::function<void()>& body) {
  struct Shared {
    const std::function<void()>& body;
    std::atomic_flag failed = ATOMIC_FLAG_INIT;
    std::exception_ptr error = nullptr;  // from the first that failed
  };
  Shared shared = {.body = body};
  // An exception must not leave a thread of the pool.
  const auto run = [](void* data) {
    Shared& of_all = *static_cast<Shared*>(data);
    try {
      of_all.body();
    } catch (...) {
      if (!of_all.failed.test_and_set()) of_all.error = std::current_exception();
    }
  };
  GOMP_parallel(run, &shared, static_cast<unsigned>(at::get_num_threads()), 0);
  if (shared.error) std::rethrow_exception(shared.error);
}

}  // namespace

ParallelFor OnTorchThreads(std::int64_t grain) {
  return [grain](std::int64_t n, const std::function<void(std::int64_t, std::int64_t)>& body) {
    const std::int64_t n_threads = at::get_num_threads();
    const std::int64_t part = std::max(grain, (n - 1) / (kPartsOfThread * n_threads) + 1);
    const std::int64_t n_part = (n - 1) / part + 1;
    if (n_threads == 1 || n_part <= 1) {
      body(0, n);
      return;
    }
    std::atomic<std::int64_t> next = 0;
    RunOnThreads([&] {
      for (std::int64_t at = next++; at < n_part; at = next++) {
        try {
          body(at * part, std::min(n, (at + 1) * part));
        } catch (...) {
          next = n_part;
          throw;
        }
      }
    });
  };
}

void OnEachTorchThread(const std::function<void()>& body) { RunOnThreads(body); }

}  // namespace longrun
