// How long a call waits for its answer, and what is said about one that had none.
#include "client/wire/sweep_calls.h"

#include <gtest/gtest.h>

#include <string>

namespace longrun::client {
namespace {

class FailingCalls final : public SweepCalls {
 public:
  explicit FailingCalls(bool is_unanswered) : is_unanswered_(is_unanswered) {}
  Status Send(const google::protobuf::Message&, std::int64_t answer_ms,
              google::protobuf::Message*) override {
    waited_ms = answer_ms;
    return Status(Code::kDeadlineExceeded, "no answer");
  }
  bool unanswered() const override { return is_unanswered_; }

  std::int64_t waited_ms = 0;

 private:
  bool is_unanswered_;
};

TEST(SweepCallsTest, ASubmissionWithoutAnAnswerMayStillAppear) {
  FailingCalls calls(/*is_unanswered=*/true);
  const Status status = calls.SubmitSweep({}).status();
  EXPECT_EQ(status.code(), Code::kDeadlineExceeded);
  EXPECT_EQ(status.message(),
            "no answer; the sweep may still appear: `longrun ls` shows it then, and submitting the "
            "same file again adds nothing");
  EXPECT_EQ(FailingCalls(/*is_unanswered=*/false).SubmitSweep({}).status().message(), "no answer");
  EXPECT_EQ(calls.GetRun("3f2a91c0").status().message(), "no answer");
}

// The largest submission takes 25 s (docs/benchmarks.md) on a machine that does nothing else.
TEST(SweepCallsTest, WhatMayWaitForTwoLargeSubmissionsHasTheTime) {
  constexpr std::int64_t kTwoMs = std::int64_t{2} * 25'000;
  FailingCalls calls(/*is_unanswered=*/true);
  EXPECT_FALSE(calls.SubmitSweep({}).ok());
  EXPECT_GE(calls.waited_ms, 10 * kTwoMs);
  EXPECT_LT(calls.waited_ms, 3'600'000);  // the coordinator refuses a later deadline
  for (const auto& call : {+[](FailingCalls& c) { return c.RemoveSweep("a").status(); },
                           +[](FailingCalls& c) { return c.RetryTasks("a").status(); },
                           +[](FailingCalls& c) { return c.RemoveDataset("a").status(); },
                           +[](FailingCalls& c) { return c.RemoveModel("a").status(); }}) {
    calls.waited_ms = 0;
    EXPECT_FALSE(call(calls).ok());
    EXPECT_EQ(calls.waited_ms, kSubmitMs);
  }
  EXPECT_FALSE(calls.ListSweeps().ok());
  EXPECT_EQ(calls.waited_ms, kAnswerMs);
}

}  // namespace
}  // namespace longrun::client
