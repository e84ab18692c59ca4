// The table of failure classes, and the evidence that leads to each.
#include "sweeps/failure.h"

#include <gtest/gtest.h>

#include <set>

namespace longrun {
namespace {

TEST(FailureTest, EveryClassOfTheTableIsReachedFromEvidence) {
  const EndEvidence endings[] = {
      {.lease_ended = true},
      {},
      {.exit_known = true, .signal = 9},
      {.exit_known = true, .exit_code = -1, .signal = 11},
      {.exit_known = true, .exit_code = 80},
      {.exit_known = true, .signal = 9, .oom_kill = true},
      {.exit_known = true, .exit_code = 78},
      {.exit_known = true, .exit_code = 65},
      {.exit_known = true, .exit_code = 74},
      {.exit_known = true, .exit_code = 71},
      {.exit_known = true, .exit_code = 0, .final_seen = true},
      {.exit_known = true, .exit_code = 75, .stop_requested = true},
      {.cancel_requested = true, .exit_known = true, .exit_code = 75},
  };
  ASSERT_EQ(std::size(endings), FailureTable().size());
  for (std::size_t i = 0; i < std::size(endings); ++i) {
    EXPECT_EQ(FailureOf(ClassifyEnd(endings[i])).name, FailureTable()[i].name);
  }
}

TEST(FailureTest, TheTrainersWordNamesEveryClassOfTheTable) {
  for (const FailureRow& row : FailureTable()) {
    const EndEvidence said = {
        .exit_known = true, .exit_code = 70, .failed_class = std::string(row.name)};
    EXPECT_EQ(ClassifyEnd(said), row.failure_class) << row.name;
    EXPECT_EQ(FindFailure(row.name)->failure_class, row.failure_class);
    EXPECT_FALSE(row.advice.empty());
  }
  EXPECT_EQ(FindFailure("stall"), nullptr);
}

TEST(FailureTest, TheWorkersOwnEvidenceOutranksTheTrainersWord) {
  const EndEvidence killed = {
      .exit_known = true, .signal = 9, .failed_class = "numerical", .failed_message = "NaN"};
  EXPECT_EQ(ClassifyEnd(killed), FailureClass::kKilled);
  const EndEvidence killed_for_memory = {
      .exit_known = true, .signal = 9, .oom_kill = true, .failed_class = "numerical"};
  EXPECT_EQ(ClassifyEnd(killed_for_memory), FailureClass::kOutOfMemory);
}

TEST(FailureTest, AnUnknownWordOfTheTrainerLeavesItsExitCode) {
  EXPECT_EQ(ClassifyEnd({.exit_known = true, .exit_code = 81, .failed_class = "moonshine"}),
            FailureClass::kOutOfMemory);
}

// As glibc, libstdc++ and libgomp word them, under `ulimit -v`.
TEST(FailureTest, TheLogTellsOfMemoryThatRanOutBesideTheTrainersOwnCode) {
  const std::string thrown =
      "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  "
      "std::bad_alloc\n";
  const std::string not_loaded =
      "longrun-trainer: error while loading shared libraries: libtorch_cpu.so: failed to map "
      "segment "
      "from shared object";
  EXPECT_EQ(ClassifyEnd({.exit_known = true, .signal = 6, .log_tail = thrown}),
            FailureClass::kOutOfMemory);
  EXPECT_EQ(ClassifyEnd({.exit_known = true, .signal = 6, .log_tail = "this must hold"}),
            FailureClass::kCrashed);
  EXPECT_EQ(ClassifyEnd({.exit_known = true, .signal = 11, .log_tail = thrown}),
            FailureClass::kCrashed);
  EXPECT_EQ(ClassifyEnd({.exit_known = true, .exit_code = 127, .log_tail = not_loaded}),
            FailureClass::kOutOfMemory);
  EXPECT_EQ(ClassifyEnd({.exit_known = true,
                         .exit_code = 127,
                         .log_tail = not_loaded + ": Operation not permitted"}),
            FailureClass::kCrashed);
  EXPECT_EQ(ClassifyEnd({.exit_known = true,
                         .exit_code = 1,
                         .log_tail = "libgomp: Thread creation failed: Resource temporarily "
                                     "unavailable"}),
            FailureClass::kLimit);
}

TEST(FailureTest, SysexitsBeyondTheTableHaveAClass) {
  EXPECT_EQ(ClassifyEnd({.exit_known = true, .exit_code = 64}), FailureClass::kInvalid);
  EXPECT_EQ(ClassifyEnd({.exit_known = true, .exit_code = 66}), FailureClass::kData);
  EXPECT_EQ(ClassifyEnd({.exit_known = true, .exit_code = 73}), FailureClass::kStorage);
  EXPECT_EQ(ClassifyEnd({.exit_known = true, .exit_code = 1}), FailureClass::kCrashed);
  EXPECT_EQ(ClassifyEnd({.exit_known = true, .exit_code = 127}), FailureClass::kCrashed);
}

TEST(FailureTest, ATrainerKilledAfterItsGraceTimeWasPreempted) {
  EXPECT_EQ(ClassifyEnd({.exit_known = true, .signal = 9, .stop_requested = true}),
            FailureClass::kPreempted);
}

TEST(FailureTest, AFinalRecordWithoutAnExitIsIncompleteAndNotVanished) {
  EXPECT_EQ(ClassifyEnd({.final_seen = true}), FailureClass::kIncomplete);
}

TEST(FailureTest, AFullDiskALimitAndTooLittleMemoryAreThreeClasses) {
  EXPECT_EQ(ClassOfShortage(Shortage::kDisk), FailureClass::kStorage);
  EXPECT_EQ(ClassOfShortage(Shortage::kFileSize), FailureClass::kLimit);
  EXPECT_EQ(ClassOfShortage(Shortage::kOpenFiles), FailureClass::kLimit);
  EXPECT_EQ(ClassOfShortage(Shortage::kMemory), FailureClass::kOutOfMemory);
}

TEST(FailureTest, OnlyLossesCountAgainstTheLossBudget) {
  std::set<std::string_view> losses;
  for (const FailureRow& row : FailureTable()) {
    if (row.counted_as == CountedAs::kLoss) losses.insert(row.name);
    EXPECT_TRUE(row.retryable || !row.back_off) << row.name;
  }
  EXPECT_EQ(losses, (std::set<std::string_view>{"lost", "vanished", "killed", "storage"}));
}

TEST(BackOffTest, DoublesFromTenSecondsToTenMinutes) {
  // random64 = wait / 2 is the middle of the jitter: wait - wait / 2 + wait / 2.
  EXPECT_EQ(BackOffMs(0, 5'000), 10'000);
  EXPECT_EQ(BackOffMs(1, 10'000), 20'000);
  EXPECT_EQ(BackOffMs(5, 160'000), 320'000);
  EXPECT_EQ(BackOffMs(6, 300'000), 600'000);
  EXPECT_EQ(BackOffMs(1'000'000'000, 300'000), 600'000);
}

TEST(BackOffTest, JitterStaysWithinHalfTheWait) {
  for (std::uint64_t draw = 0; draw < 30'000; draw += 7) {
    EXPECT_GE(BackOffMs(0, draw), 5'000);
    EXPECT_LE(BackOffMs(0, draw), 15'000);
  }
  EXPECT_LE(BackOffMs(0, ~std::uint64_t{0}), 15'000);
}

TEST(BackOffTest, ARangeOfZeroNeverWaits) {
  EXPECT_EQ(BackOffMs(9, 12345, {.base_ms = 0, .limit_ms = 0}), 0);
}

}  // namespace
}  // namespace longrun
