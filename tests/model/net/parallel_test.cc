#include "model/net/parallel.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

namespace longrun {
namespace {

class ParallelTest : public ::testing::Test {
 protected:
  ~ParallelTest() override { at::set_num_threads(1); }
};

TEST_F(ParallelTest, PartsCoverAllItemsOnceEach) {
  for (const int n_threads : {1, 2, 3, 8}) {
    at::set_num_threads(n_threads);
    for (const std::int64_t n : {1, 2, 7, 1000}) {
      for (const std::int64_t grain : {1, 10, 999, 5000}) {
        std::vector<std::atomic<int>> times(static_cast<std::size_t>(n));
        OnTorchThreads(grain)(n, [&](std::int64_t begin, std::int64_t end) {
          EXPECT_TRUE(end - begin >= grain || end == n) << begin << " " << end;
          for (std::int64_t i = begin; i < end; ++i) ++times[static_cast<std::size_t>(i)];
        });
        for (const std::atomic<int>& one : times) ASSERT_EQ(one, 1) << n_threads << " " << n;
      }
    }
  }
}

// Each waits for the other: on one thread they would wait for ever.
TEST_F(ParallelTest, PartsRunAtTheSameTime) {
  at::set_num_threads(2);
  std::latch both(2);
  std::set<std::thread::id> threads;
  std::mutex mutex;
  OnTorchThreads(1)(2, [&](std::int64_t, std::int64_t) {
    both.arrive_and_wait();
    const std::lock_guard lock(mutex);
    threads.insert(std::this_thread::get_id());
  });
  EXPECT_EQ(threads.size(), 2u);
}

TEST_F(ParallelTest, TheThreadsAreAsManyAsLibTorchs) {
  for (const int n_threads : {1, 4}) {
    at::set_num_threads(n_threads);
    std::atomic<int> n_run = 0;
    OnEachTorchThread([&] { ++n_run; });
    EXPECT_EQ(n_run, n_threads);
  }
}

// libgomp would end those that a smaller team leaves out.
TEST_F(ParallelTest, FewPartsEndNoThreadOfThePool) {
  at::set_num_threads(4);
  static thread_local bool was_there = false;
  OnEachTorchThread([] { was_there = true; });
  OnTorchThreads(1)(2, [](std::int64_t, std::int64_t) {});
  std::atomic<int> n_there = 0;
  OnEachTorchThread([&] { n_there += was_there ? 1 : 0; });
  EXPECT_EQ(n_there, 4);
}

TEST_F(ParallelTest, AnExceptionOfAnyPartIsThrownAgain) {
  for (const int n_threads : {1, 3}) {
    at::set_num_threads(n_threads);
    EXPECT_THROW(OnTorchThreads(1)(100,
                                   [](std::int64_t begin, std::int64_t end) {
                                     if (begin <= 50 && 50 < end) throw std::runtime_error("no");
                                   }),
                 std::runtime_error);
  }
}

}  // namespace
}  // namespace longrun
