#include "metrics/page.h"

#include <gtest/gtest.h>

#include <string>

#include "base/str.h"
#include "metrics/process.h"

namespace longrun {
namespace {

bool HasLine(const std::string& page, std::string_view line) {
  for (const std::string& one : Split(page, '\n')) {
    if (one == line) return true;
  }
  return false;
}

TEST(MetricPageTest, ATouchedCounterIsThereWithZero) {
  MetricPage page(MetricOwner::kCoordinator);

  page.Touch(Metric::kIngestRows, {"result"});
  page.Add(Metric::kIngestRows, {"series"}, 3);
  page.Add(Metric::kIngestRows, {"series"});

  EXPECT_TRUE(HasLine(page.Text(), "longrun_ingest_rows_total{kind=\"result\"} 0")) << page.Text();
  EXPECT_TRUE(HasLine(page.Text(), "longrun_ingest_rows_total{kind=\"series\"} 4"));
}

TEST(MetricPageTest, LabelsStandInTheOrderOfTheRow) {
  MetricPage page(MetricOwner::kCoordinator);

  page.Set(Metric::kTasks, {"train", "READY"}, 2);

  EXPECT_TRUE(HasLine(page.Text(), "longrun_tasks{kind=\"train\",state=\"READY\"} 2"))
      << page.Text();
}

TEST(MetricPageTest, AnObservationIsCountedInEveryBucketThatHoldsIt) {
  MetricPage page(MetricOwner::kCoordinator);

  page.Observe(Metric::kStoreCommitSeconds, {}, 0.004);

  const std::string text = page.Text();
  EXPECT_TRUE(HasLine(text, "longrun_store_commit_seconds_bucket{le=\"0.002\"} 0")) << text;
  EXPECT_TRUE(HasLine(text, "longrun_store_commit_seconds_bucket{le=\"0.005\"} 1"));
  EXPECT_TRUE(HasLine(text, "longrun_store_commit_seconds_bucket{le=\"+Inf\"} 1"));
  EXPECT_TRUE(HasLine(text, "longrun_store_commit_seconds_count 1"));
}

TEST(MetricPageTest, ARemovedSeriesEndsAndMayComeBack) {
  MetricPage page(MetricOwner::kWorker);
  page.Set(Metric::kWorkerSlotLossNats, {"0"}, 5);
  page.Set(Metric::kWorkerSlotLossNats, {"1"}, 6);

  page.Remove(Metric::kWorkerSlotLossNats, {"0"});

  EXPECT_EQ(page.Text().find("loss_nats{slot=\"0\"}"), std::string::npos);
  EXPECT_TRUE(HasLine(page.Text(), "longrun_worker_slot_loss_nats{slot=\"1\"} 6"));
  page.Set(Metric::kWorkerSlotLossNats, {"0"}, 4);
  EXPECT_TRUE(HasLine(page.Text(), "longrun_worker_slot_loss_nats{slot=\"0\"} 4"));
  page.Clear(Metric::kWorkerSlotLossNats);
  EXPECT_EQ(page.Text().find("loss_nats{"), std::string::npos);
}

TEST(MetricPageTest, WhatChangesByItselfIsReadBeforeEachScrape) {
  MetricPage page(MetricOwner::kCoordinator);
  int n_scrapes = 0;
  page.BeforeEachScrape([&] { page.Set(Metric::kSessions, {}, ++n_scrapes); });

  EXPECT_TRUE(HasLine(page.Text(), "longrun_sessions 1"));
  EXPECT_TRUE(HasLine(page.Text(), "longrun_sessions 2"));
}

TEST(MetricPageTest, AHostOfTheNetworkIsRefused) {
  MetricPage page(MetricOwner::kWorker);

  const auto served = page.Expose("0.0.0.0:0");

  ASSERT_FALSE(served.ok());
  EXPECT_EQ(served.status().code(), Code::kInvalidArgument);
  EXPECT_NE(served.status().message().find("127.0.0.1:PORT"), std::string::npos);
}

TEST(ProcessNumbersTest, ThisProcessHasMemoryFilesAndAStart) {
  const ProcessNumbers numbers = ReadProcessNumbers();

  EXPECT_GT(numbers.resident_bytes, 1 << 20);
  EXPECT_GE(numbers.virtual_bytes, numbers.resident_bytes);
  EXPECT_GE(numbers.open_fds, 3);
  EXPECT_GE(numbers.max_fds, numbers.open_fds);
  EXPECT_GT(numbers.start_time_seconds, 1.5e9);  // 2017
}

}  // namespace
}  // namespace longrun
