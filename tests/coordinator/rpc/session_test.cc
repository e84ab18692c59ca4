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
#include "coordinator/rpc/session_memory.h"
#include "longrun/v1/session.grpc.pb.h"
#include "sweeps/protocol.h"
#include "tests/coordinator/sample.h"
#include "tests/deadline.h"

namespace longrun::coordinator {
namespace {

constexpr std::int64_t kPatienceMs = DeadlineMs(20'000);  // far above the half second that it takes

class SessionTest : public testing::Test {
 protected:
  explicit SessionTest(std::int64_t session_bytes_max = 256 << 20)
      : session_memory(session_bytes_max, /*unread_ms_max=*/500) {
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
  SessionMemory session_memory;
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
                         .planner = *executor,
                         .receiver = *executor,
                         .transfers = *executor,
                         .log_writer = *executor,
                         .querier = *executor,
                         .ticker = ticker,
                         .overlaps = overlaps,
                         .access = access,
                         .audit = audit,
                         .pilots = pilots,
                         .session_memory = session_memory,
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

// ---- the memory of all sessions -----------------------------------------------------------------

TEST(SessionMemoryTest, OnlyCallersAboveTheirShareAreHeldUpAndOnlyWhileAllTogetherTakeTooMuch) {
  SessionMemory memory(1000);
  const auto flood = memory.AccountOf("worker a"), modest = memory.AccountOf("worker b");
  flood->Add(1000);
  EXPECT_FALSE(flood->IsOverShare()) << "there is room, and nobody else needs it";
  modest->Add(400);
  EXPECT_TRUE(flood->IsOverShare());
  EXPECT_FALSE(modest->IsOverShare()) << "its share is 500";
  EXPECT_EQ(flood->Refusal().code(), Code::kResourceExhausted);
  EXPECT_EQ(
      flood->Refusal().message(),
      "the messages of worker a take 1000 bytes of the coordinator's memory, more than its "
      "share of 500, and all sessions together take 1400 of at most 1000: the worker does not "
      "read its messages; start it again, or start the coordinator with larger "
      "--session-memory-bytes");
  flood->Add(-400);
  EXPECT_FALSE(flood->IsOverShare());
  EXPECT_EQ(memory.n_bytes(), 1000);
}

TEST(SessionMemoryTest, AllSessionsOfACallerHaveOneShare) {
  SessionMemory memory(1000);
  const auto modest = memory.AccountOf("worker b");
  auto first = memory.AccountOf("worker a"), second = memory.AccountOf("worker a");
  EXPECT_EQ(first, second);
  EXPECT_NE(memory.AccountOf(""), memory.AccountOf("")) << "local callers are all the same user";
  modest->Add(500);
  first->Add(300);
  second->Add(300);
  EXPECT_TRUE(first->IsOverShare());
  first.reset();
  second.reset();
  EXPECT_EQ(memory.n_bytes(), 500) << "what a session had when it ended is free";
  EXPECT_FALSE(memory.AccountOf("worker a")->IsOverShare());
}

class SmallMemoryTest : public SessionTest {
 protected:
  static constexpr std::int64_t kBytesMax = 1 << 20;
  SmallMemoryTest() : SessionTest(kBytesMax) {}
};

// It asks for replies, and reads none of them.
TEST_F(SmallMemoryTest, AWorkerThatFloodsAndDoesNotReadIsRefusedAndOthersGoOn) {
  grpc::ClientContext of_flood;
  of_flood.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  const auto flood = stub->Session(&of_flood);
  v1::WorkerMessage hello;
  hello.mutable_hello()->set_protocol_version(kProtocolOldest);
  hello.mutable_hello()->set_protocol_newest(kProtocolNewest);
  hello.mutable_hello()->set_worker_id("flood");
  hello.mutable_hello()->set_incarnation(SampleWorker(1).incarnation);
  ASSERT_TRUE(flood->Write(hello));
  std::atomic<bool> floods = true;
  std::thread writer([&] {
    v1::WorkerMessage message;
    for (int i = 0; i < 1000; ++i) {
      message.mutable_heartbeat()->add_attempts()->set_attempt(Str("attempt ", i));
    }
    while (floods && flood->Write(message)) {
    }
  });
  SayHello();
  Hear(v1::CoordinatorMessage::kWelcome);
  std::int64_t most = 0;
  const std::int64_t begun = BootMs();
  std::int64_t n_answers = 0;
  // Until it was refused.
  while (BootMs() - begun < kPatienceMs) {
    v1::WorkerMessage message;
    message.mutable_heartbeat()->set_number(++n_answers);
    ASSERT_TRUE(stream->Write(message));
    ASSERT_EQ(Hear(v1::CoordinatorMessage::kHeartbeatReply).heartbeat_reply().number(), n_answers);
    const std::int64_t n_bytes = session_memory.n_bytes();
    if (most > kBytesMax && n_bytes < kBytesMax / 2) break;
    most = std::max(most, n_bytes);
  }
  floods = false;
  of_flood.TryCancel();
  writer.join();
  const grpc::Status ended = flood->Finish();
  // The server ends the stream after the client knows of it.
  const std::int64_t ended_ms = BootMs();
  while (session_memory.n_bytes() >= kBytesMax / 2 && BootMs() - ended_ms < kPatienceMs) {
    std::this_thread::yield();
  }

  EXPECT_GT(most, kBytesMax) << "it did not flood";
  EXPECT_LT(most, 16 * kBytesMax);
  EXPECT_LT(session_memory.n_bytes(), kBytesMax / 2) << "what the flood took is not free again";
  EXPECT_FALSE(ended.ok());
}

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
