// A worker's session over a socket of the test's own, with the coordinator's parts in this process.
#include "coordinator/rpc/session.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <thread>

#include "base/clock.h"
#include "base/version.h"
#include "coordinator/rpc/pilots.h"
#include "longrun/v1/session.grpc.pb.h"
#include "sweeps/protocol.h"
#include "tests/coordinator/sample.h"
#include "tests/deadline.h"

namespace longrun::coordinator {
namespace {

constexpr std::int64_t kPatienceMs = DeadlineMs(20'000);  // far above the half second that it takes

class SessionTest : public testing::Test {
 protected:
  SessionTest() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials());
    builder.RegisterService(service.get());
    server = builder.BuildAndStart();
    stub = v1::WorkerSessionService::NewStub(
        grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    stream = stub->Session(&context);
  }
  ~SessionTest() override {
    context.TryCancel();
    (void)End();
    server->Shutdown();
    ticker.Stop();
    core->Stop();
  }

  CoreOptions Options() {
    CoreOptions options;
    options.seed = 7;
    options.disk_low_water_bytes = 1;
    options.disk_free_bytes = [this]() -> Result<std::int64_t> { return free_bytes.load(); };
    return options;
  }
  static std::unique_ptr<Executor> OneThread(const Store& store) {
    return Executor::Start(store, 1, 10);
  }
  // Until the core knows that there is no room: it looks when it starts, and once a second.
  void AwaitFullDisk() {
    while (core->CheckDiskSpaceIfLow().ok()) std::this_thread::yield();
  }
  // The next message of this kind; an empty one when the session has ended.
  v1::CoordinatorMessage Hear(v1::CoordinatorMessage::MessageCase kind) {
    v1::CoordinatorMessage message;
    while (stream->Read(&message)) {
      if (message.message_case() == kind) return message;
    }
    return {};
  }
  grpc::Status End() {
    if (!end) end = stream->Finish();
    return *end;
  }
  // Says Hello as the sample's worker with one slot; `newest` 0 is a worker of protocol 1.
  void SayHello(int newest = kProtocolNewest, const std::vector<std::string>& capabilities = {}) {
    v1::WorkerMessage message;
    v1::Hello* hello = message.mutable_hello();
    const Worker worker = SampleWorker(1);
    hello->set_protocol_version(kProtocolOldest);
    hello->set_protocol_newest(newest);
    for (const std::string& name : capabilities) hello->add_capabilities(name);
    hello->set_worker_id(worker.id);
    hello->set_incarnation(worker.incarnation);
    v1::Device* device = hello->add_devices();
    device->set_kind(std::string(EnumName(worker.slots[0].kind)));
    device->set_name(worker.slots[0].name);
    device->set_memory_bytes(worker.slots[0].memory_bytes);
    device->set_threads(1);
    device->set_simd(worker.slots[0].simd);
    device->set_linear(worker.slots[0].linear);
    EXPECT_TRUE(stream->Write(message));
  }
  // Says Hello, and takes the first offer of the sample's sweep.
  v1::Start TakeOffer() {
    SayHello();
    EXPECT_TRUE(core->PostAndWait(SampleSubmission("01BX5ZZKBKACTAV9WEVGEMMVRZ")).status.ok());
    v1::WorkerMessage message;
    const v1::Start start = Hear(v1::CoordinatorMessage::kStart).start();
    message.mutable_accepted()->set_attempt(start.attempt());
    message.mutable_accepted()->set_epoch(start.epoch());
    EXPECT_TRUE(stream->Write(message));
    return start;
  }

  TempFolder folder;
  std::atomic<std::int64_t> free_bytes = 0;
  std::unique_ptr<Store> store = Store::Open(folder.path()).value();
  std::unique_ptr<ArtifactStore> artifacts =
      ArtifactStore::Open({.folder = JoinPath(folder.path(), "artifacts")}).value();
  LogStore logs{JoinPath(folder.path(), "logs")};
  Metrics metrics;
  std::unique_ptr<Core> core = Core::Start(*store, *artifacts, metrics, Options()).value();
  std::unique_ptr<Executor> executor = OneThread(*store);
  Ticker ticker;
  OverlapSearch overlaps;
  Access access{*core, {}, {}};
  AuditLog audit{*core};
  PilotBoard pilots;
  CoordinatorParts parts{.core = *core,
                         .artifacts = *artifacts,
                         .logs = logs,
                         .metrics = metrics,
                         .executor = *executor,
                         .submitter = *executor,
                         .receiver = *executor,
                         .transfers = *executor,
                         .log_writer = *executor,
                         .querier = *executor,
                         .ticker = ticker,
                         .overlaps = overlaps,
                         .access = access,
                         .audit = audit,
                         .pilots = pilots,
                         .metrics_address = "",
                         .query_program = ""};
  std::unique_ptr<grpc::Service> service = MakeWorkerSessionService(parts);
  const std::string address = Str("unix:", JoinPath(folder.path(), "socket"));
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<v1::WorkerSessionService::Stub> stub;
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReaderWriter<v1::WorkerMessage, v1::CoordinatorMessage>> stream;
  std::optional<grpc::Status> end;
};

// A worker of the release before ranges: it compares the version with 1, and does not know Hold.
TEST_F(SessionTest, AWorkerOfProtocol1GetsVersion1AndNoMessageThatItDoesNotKnow) {
  SayHello(0);
  EXPECT_EQ(Hear(v1::CoordinatorMessage::kWelcome).welcome().protocol_version(), 1);
  EXPECT_TRUE(core->PostAndWait(WorkerDrained{.worker = SampleWorker(1).id}).status.ok());
  v1::WorkerMessage message;
  message.mutable_heartbeat()->set_number(7);
  EXPECT_TRUE(stream->Write(message));

  v1::CoordinatorMessage next;
  ASSERT_TRUE(stream->Read(&next));

  EXPECT_EQ(next.heartbeat_reply().number(), 7) << next.DebugString();
}

TEST_F(SessionTest, ANewerWorkerGetsOurNewestVersionAndIsToldThatItIsHeld) {
  SayHello(kProtocolNewest + 1, {std::string(kHoldCapability), "something newer"});
  const v1::Welcome welcome = Hear(v1::CoordinatorMessage::kWelcome).welcome();
  EXPECT_EQ(welcome.protocol_version(), kProtocolNewest);
  EXPECT_EQ(std::vector<std::string>(welcome.capabilities().begin(), welcome.capabilities().end()),
            OwnCapabilities());

  EXPECT_TRUE(core->PostAndWait(WorkerDrained{.worker = SampleWorker(1).id, .deadline_ms = 60'000})
                  .status.ok());

  const v1::Hold hold = Hear(v1::CoordinatorMessage::kHold).hold();
  EXPECT_TRUE(hold.held());
  EXPECT_EQ(hold.deadline_ms(), 60'000);
}

TEST_F(SessionTest, AWorkerSaysWhichDatasetsItHasNow) {
  SayHello(kProtocolNewest, OwnCapabilities());
  Hear(v1::CoordinatorMessage::kWelcome);
  const std::string digest = Sha256Hex("novels");
  v1::WorkerMessage message;
  message.mutable_datasets_held()->add_digests(digest);
  EXPECT_TRUE(stream->Write(message));
  message.mutable_heartbeat()->set_number(7);
  EXPECT_TRUE(stream->Write(message));
  EXPECT_EQ(Hear(v1::CoordinatorMessage::kHeartbeatReply).heartbeat_reply().number(), 7);
  EXPECT_TRUE(core->LookAndWait([&](const State& state) {
                    const Worker& worker = state.workers.at(SampleWorker(1).id);
                    EXPECT_EQ(worker.dataset_digests, std::set<std::string>{digest});
                    EXPECT_FALSE(worker.over_network);
                  })
                  .ok());

  message.mutable_datasets_held()->add_digests("../../x");
  EXPECT_TRUE(stream->Write(message));
  Hear(v1::CoordinatorMessage::kStart);
  EXPECT_EQ(End().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

// What the core knows of the disk is up to a second old;
// the batch that meets it is not passed over.
TEST_F(SessionTest, ABatchThatComesWhenTheDiskHasJustGotRoomIsStored) {
  const v1::Start start = TakeOffer();
  AwaitFullDisk();
  v1::WorkerMessage message;
  v1::JournalBatch* batch = message.mutable_journal_batch();
  batch->set_attempt(start.attempt());
  batch->set_epoch(start.epoch());
  batch->set_first_seq(1);
  const Result<TaskFile> task = TaskFile::FromJson(ParseJson(start.task_json()).value());
  batch->add_lines(SampleJournal(task.value()).front().line);

  free_bytes = 1;
  EXPECT_TRUE(stream->Write(message));

  EXPECT_EQ(Hear(v1::CoordinatorMessage::kAck).ack().durable_seq(), 1);
}

TEST_F(SessionTest, ABatchForAFullDiskEndsTheSessionWithTheReason) {
  const v1::Start start = TakeOffer();
  AwaitFullDisk();
  v1::WorkerMessage message;
  message.mutable_journal_batch()->set_attempt(start.attempt());
  EXPECT_TRUE(stream->Write(message));

  EXPECT_FALSE(Hear(v1::CoordinatorMessage::kAck).has_ack());
  EXPECT_EQ(End().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

// Its answers wait for a reader; once it has closed its side nobody waits for it any more.
TEST_F(SessionTest, APeerThatClosesItsSideAndDoesNotReadIsLetGo) {
  (void)TakeOffer();
  v1::WorkerMessage message;
  for (int i = 0; i < 5'000; ++i) {
    message.mutable_heartbeat()->add_attempts()->set_attempt(std::string(100, 'x'));
  }
  ASSERT_TRUE(stream->Write(message));
  ASSERT_TRUE(stream->Write(message));
  const auto is_there = [&] {
    bool there = false;
    EXPECT_TRUE(core->LookAndWait([&](const State& state) {
                      there = state.workers.at(SampleWorker().id).session.has_value();
                    })
                    .ok());
    return there;
  };
  ASSERT_TRUE(is_there());

  stream->WritesDone();

  const std::int64_t begun = BootMs();
  while (is_there() && BootMs() - begun < kPatienceMs) std::this_thread::yield();
  EXPECT_FALSE(is_there());
}

TEST_F(SessionTest, AHeartbeatOfMoreAttemptsThanAWorkerMayHaveEndsTheSession) {
  (void)TakeOffer();
  v1::WorkerMessage message;
  for (int i = 0; i < 10'001; ++i) message.mutable_heartbeat()->add_attempts();
  EXPECT_TRUE(stream->Write(message));

  EXPECT_FALSE(Hear(v1::CoordinatorMessage::kHeartbeatReply).has_heartbeat_reply());
  EXPECT_EQ(End().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(End().error_message().find("10001 attempts: at most 10000"), std::string::npos)
      << End().error_message();
}

}  // namespace
}  // namespace longrun::coordinator
