#include "metrics/page.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

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

// A connection to "127.0.0.1:PORT" that has sent `text`.
class Caller {
 public:
  Caller(const std::string& address, const std::string& text)
      : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to = {};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port =
        htons(static_cast<std::uint16_t>(std::stoi(address.substr(address.find(':') + 1))));
    EXPECT_EQ(connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
    EXPECT_EQ(send(fd_, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;
  ~Caller() { close(fd_); }
  // The beginning of the answer; "" if there is none within the time.
  std::string Answer(int seconds) const {
    const timeval most = {.tv_sec = seconds, .tv_usec = 0};
    EXPECT_EQ(setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most), 0);
    char bytes[64];
    const ssize_t n = recv(fd_, bytes, sizeof bytes, 0);
    return n > 0 ? std::string(bytes, static_cast<std::size_t>(n)) : "";
  }

 private:
  int fd_;
};

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

TEST(MetricPageTest, AnAddressWithoutAPortNumberIsRefused) {
  MetricPage page(MetricOwner::kWorker);
  for (const char* const address : {"127.0.0.1:", "127.0.0.1:http", "127.0.0.1:-1",
                                    "127.0.0.1:65536", "localhost:9090x", "127.0.0.1:+80:9090"}) {
    const auto served = page.Expose(address);
    ASSERT_FALSE(served.ok()) << address;
    EXPECT_EQ(served.status().code(), Code::kInvalidArgument);
    EXPECT_NE(served.status().message().find("expected a port number"), std::string::npos);
  }
}

// Each of them keeps a thread until its request times out.
TEST(MetricPageTest, ConnectionsWithoutARequestDoNotHoldUpAScrape) {
  MetricPage page(MetricOwner::kWorker);
  const auto address = page.Expose("127.0.0.1:0");
  ASSERT_TRUE(address.ok()) << address.status().message();

  std::vector<std::unique_ptr<Caller>> idle;
  for (int i = 0; i < 40; ++i) idle.push_back(std::make_unique<Caller>(*address, "GET /met"));

  const Caller scrape(*address, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_TRUE(scrape.Answer(25).starts_with("HTTP/1.1 200"));
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
