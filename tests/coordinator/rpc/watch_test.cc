// Several watchers of one sweep, over a socket of the test's own, with the coordinator's parts in
// this process.
#include "coordinator/rpc/watch.h"

#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/thread.h"
#include "coordinator/rpc/pilots.h"
#include "coordinator/rpc/session_memory.h"
#include "coordinator/rpc/sweep_service.h"
#include "longrun/v1/sweeps.grpc.pb.h"
#include "tests/coordinator/sample.h"
#include "tests/deadline.h"
#include "tests/wait_until.h"

namespace longrun::coordinator {
namespace {

constexpr const char* kSweep = "01BX5ZZKBKACTAV9WEVGEMMVRZ";
constexpr std::int64_t kPatienceMs = DeadlineMs(20'000);  // far above the second that it takes

// A client that keeps what it is sent.
class Watcher {
 public:
  Watcher(v1::SweepService::Stub& stub, const std::string& sweep) {
    context_.set_deadline(std::chrono::system_clock::now() +
                          std::chrono::milliseconds(3 * kPatienceMs));
    v1::WatchSweepRequest request;
    request.set_sweep(sweep);
    stream_ = stub.WatchSweep(&context_, request);
    thread_ = StartThread([this] {
      v1::WatchSweepResponse message;
      while (stream_->Read(&message)) {
        const std::lock_guard lock(mutex_);
        messages_.push_back(message);
      }
      const grpc::Status end = stream_->Finish();
      const std::lock_guard lock(mutex_);
      end_ = end;
      has_ended_ = true;
    });
  }
  ~Watcher() {
    Leave();
    thread_.join();
  }

  void Leave() { context_.TryCancel(); }
  bool Sees(const std::function<bool(const v1::WatchSweepResponse&)>& is_it) const {
    return WaitUntil(kPatienceMs, [&] {
      const std::lock_guard lock(mutex_);
      return !messages_.empty() && is_it(messages_.back());
    });
  }
  // Waits for the end.
  grpc::Status End() const {
    EXPECT_TRUE(WaitUntil(kPatienceMs, [&] {
      const std::lock_guard lock(mutex_);
      return has_ended_;
    }));
    const std::lock_guard lock(mutex_);
    return end_;
  }
  std::deque<v1::WatchSweepResponse> messages() const {
    const std::lock_guard lock(mutex_);
    return messages_;
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::WatchSweepResponse>> stream_;
  mutable std::mutex mutex_;  // guards the three below
  std::deque<v1::WatchSweepResponse> messages_;
  grpc::Status end_;
  bool has_ended_ = false;
  std::thread thread_;
};

class WatchTest : public testing::Test {
 protected:
  WatchTest() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address_, grpc::InsecureServerCredentials());
    builder.RegisterService(service_.get());
    server_ = builder.BuildAndStart();
    stub_ = v1::SweepService::NewStub(
        grpc::CreateChannel(address_, grpc::InsecureChannelCredentials()));
    EXPECT_TRUE(core_->PostAndWait(SampleSubmission(kSweep)).status.ok());
  }
  ~WatchTest() override {
    watchers_.clear();
    parts_.stopping = true;
    ticker_.Stop();
    server_->Shutdown();
    executor_->Stop();
    core_->Stop();
  }

  void Join(int n) {
    for (int i = 0; i < n; ++i) watchers_.push_back(std::make_unique<Watcher>(*stub_, "sample"));
  }
  void ExpectAllSee(const std::function<bool(const v1::WatchSweepResponse&)>& is_it,
                    const char* what) {
    for (const auto& watcher : watchers_) EXPECT_TRUE(watcher->Sees(is_it)) << what;
  }

  TempFolder folder_;
  std::unique_ptr<Store> store_ = Store::Open(JoinPath(folder_.path(), "state")).value();
  std::unique_ptr<ArtifactStore> artifacts_ =
      ArtifactStore::Open({.folder = JoinPath(folder_.path(), "artifacts")}).value();
  LogStore logs_{JoinPath(folder_.path(), "logs")};
  Metrics metrics_;
  SessionMemory session_memory_{256 << 20};
  std::unique_ptr<Core> core_ = Core::Start(*store_, *artifacts_, metrics_, {}).value();
  std::unique_ptr<Executor> executor_ = Executor::Start(*store_, 4, 100);
  Ticker ticker_;
  OverlapSearch overlaps_;
  Access access_{*core_, {}, {}};
  AuditLog audit_{*core_};
  PilotBoard pilots_;
  CoordinatorParts parts_{.core = *core_,
                          .artifacts = *artifacts_,
                          .logs = logs_,
                          .metrics = metrics_,
                          .executor = *executor_,
                          .submitter = *executor_,
                          .planner = *executor_,
                          .receiver = *executor_,
                          .transfers = *executor_,
                          .log_writer = *executor_,
                          .querier = *executor_,
                          .ticker = ticker_,
                          .overlaps = overlaps_,
                          .access = access_,
                          .audit = audit_,
                          .pilots = pilots_,
                          .session_memory = session_memory_,
                          .metrics_address = "",
                          .query_program = ""};
  std::unique_ptr<grpc::Service> service_ = MakeSweepService(parts_);
  const std::string address_ = Str("unix:", JoinPath(folder_.path(), "socket"));
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::SweepService::Stub> stub_;
  std::vector<std::unique_ptr<Watcher>> watchers_;
};

bool HasAll(const v1::WatchSweepResponse& message) {
  if (message.info().sweep_id() != kSweep || message.runs_size() != 2) return false;
  for (const v1::RunInfo& run : message.runs()) {
    if (run.tasks_size() != 2) return false;
  }
  return true;
}

TEST_F(WatchTest, EachOfManyWatchersGetsEachChangeAndTheEnd) {
  Join(8);
  ExpectAllSee(HasAll, "the sweep");
  EXPECT_TRUE(core_->PostAndWait(SweepPaused{.sweep_id = kSweep}).status.ok());
  ExpectAllSee([](const auto& message) { return message.info().state() == "PAUSED"; }, "the pause");
  core_->PostAndWait(WorkerArrived{.session = 1, .worker = SampleWorker(1), .attempts = {}});
  ExpectAllSee([](const auto& message) { return message.workers_size() == 1; }, "the worker");
  // One leaves; the others go on.
  watchers_.back()->Leave();
  EXPECT_EQ(watchers_.back()->End().error_code(), grpc::StatusCode::CANCELLED);
  watchers_.pop_back();
  // Nothing is stored.
  core_->PostAndWait(WorkerGone{.session = 1});
  ExpectAllSee([](const auto& message) { return message.workers(0).state() == "SUSPECT"; },
               "that the worker is gone");
  EXPECT_TRUE(core_->PostAndWait(SweepCancelled{.sweep_id = kSweep}).status.ok());
  ExpectAllSee([](const auto& message) { return message.finished(); }, "the end");
  for (const auto& watcher : watchers_) {
    EXPECT_TRUE(watcher->End().ok()) << watcher->End().error_message();
    for (const v1::WatchSweepResponse& message : watcher->messages()) EXPECT_TRUE(HasAll(message));
    EXPECT_EQ(watcher->messages().back().info().tasks_cancelled(), 4);
  }
}

TEST_F(WatchTest, AWatcherThatJoinsLateGetsTheWholeView) {
  Join(1);
  ExpectAllSee(HasAll, "the sweep");
  EXPECT_TRUE(core_->PostAndWait(SweepPaused{.sweep_id = kSweep}).status.ok());
  ExpectAllSee([](const auto& message) { return message.info().state() == "PAUSED"; }, "the pause");
  Join(1);
  ASSERT_TRUE(watchers_[1]->Sees(HasAll));
  EXPECT_EQ(watchers_[1]->messages().front().SerializeAsString(),
            watchers_[0]->messages().back().SerializeAsString());
}

// The bytes that all watchers share are followed by what is for one of them.
TEST_F(WatchTest, NoticesOfAWatcherComeAfterThoseOfAll) {
  v1::PilotInfo pilot;
  pilot.set_name("gpu");
  pilot.set_problem("squeue does not answer");
  ASSERT_TRUE(pilots_.Put(pilot, BootMs()).ok());
  Join(2);
  ExpectAllSee(
      [](const auto& message) {
        return HasAll(message) && message.notices_size() == 1 &&
               message.notices(0).text().find("squeue does not answer") != std::string::npos;
      },
      "the notice");
}

TEST_F(WatchTest, ASweepThatDoesNotExistIsRefused) {
  Watcher watcher(*stub_, "unknown");
  EXPECT_EQ(watcher.End().error_code(), grpc::StatusCode::NOT_FOUND);
}

}  // namespace
}  // namespace longrun::coordinator
