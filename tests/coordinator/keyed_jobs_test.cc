// A job that never ends holds up only the jobs with which it shares a key.
#include "coordinator/keyed_jobs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace longrun::coordinator {
namespace {

TEST(KeyedJobsTest, AJobThatBlocksHoldsUpOnlyWhatSharesAKey) {
  std::promise<void> begun, ends, other, both, same;
  std::vector<std::string> order;
  KeyedJobs jobs(2);
  jobs.Post({"a"}, [&] {
    begun.set_value();
    ends.get_future().wait();
    order.push_back("blocks");
  });
  begun.get_future().wait();
  jobs.Post({"a", "b"}, [&] {
    order.push_back("both");
    both.set_value();
  });
  // After the one that waits, with which it shares a key.
  jobs.Post({"b"}, [&] {
    order.push_back("same");
    same.set_value();
  });
  jobs.Post({"c"}, [&] { other.set_value(); });

  other.get_future().wait();
  EXPECT_EQ(std::ranges::count(jobs.SlowKeys(-1), "a"), 1);
  ends.set_value();
  both.get_future().wait();
  same.get_future().wait();
  EXPECT_EQ(order, (std::vector<std::string>{"blocks", "both", "same"}));
}

TEST(KeyedJobsTest, KeysThatBecomeFreeTogetherStartJobsOnSeveralThreads) {
  constexpr auto kPatience = std::chrono::seconds(60);
  std::promise<void> begun, ends, second;
  std::promise<bool> together;
  KeyedJobs jobs(3);
  jobs.Post({"a", "b"}, [&] {
    begun.set_value();
    ends.get_future().wait();
  });
  begun.get_future().wait();
  jobs.Post({"a"}, [&] {
    const auto status = second.get_future().wait_for(kPatience);
    together.set_value(status == std::future_status::ready);
  });
  jobs.Post({"b"}, [&] { second.set_value(); });
  ends.set_value();
  EXPECT_TRUE(together.get_future().get()) << "the second job waits for the first";
}

// So that a thread that must not wait can hand over what takes long to destroy.
TEST(KeyedJobsTest, WhatAJobHoldsIsDestroyedOnTheJobsThread) {
  std::promise<std::thread::id> destroyed;
  std::future<std::thread::id> thread = destroyed.get_future();
  KeyedJobs jobs(1);
  jobs.Post({}, [held = std::shared_ptr<int>(new int(1), [&destroyed](int* one) {
                   delete one;
                   destroyed.set_value(std::this_thread::get_id());
                 })] {});
  ASSERT_EQ(thread.wait_for(std::chrono::seconds(60)), std::future_status::ready);
  EXPECT_NE(thread.get(), std::this_thread::get_id());
}

TEST(KeyedJobsTest, WhatWaitsIsDroppedAndWhatRunsIsWaitedFor) {
  bool dropped_ran = false, ended = false;
  std::promise<void> begun, ends;
  {
    KeyedJobs jobs(1);
    jobs.Post({"a"}, [&] {
      begun.set_value();
      ends.get_future().wait();
      ended = true;
    });
    begun.get_future().wait();
    jobs.Post({"b"}, [&] { dropped_ran = true; });
    jobs.Drop();
    jobs.Post({"c"}, [&] { dropped_ran = true; });
    ends.set_value();
  }
  EXPECT_TRUE(ended);
  EXPECT_FALSE(dropped_ran);
}

}  // namespace
}  // namespace longrun::coordinator
