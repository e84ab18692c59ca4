// Peers that mean ill, or are broken: each is answered with a clear status, changes nothing, and
// the daemon lives on. The daemon is the real program; the worker is played by the test.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <functional>
#include <limits>
#include <set>
#include <thread>

#include "base/clock.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"
#include "base/version.h"
#include "longrun/v1/artifacts.grpc.pb.h"
#include "longrun/v1/session.grpc.pb.h"
#include "longrun/v1/sweeps.grpc.pb.h"
#include "sweeps/event.h"
#include "tests/crash/service.h"
#include "tests/deadline.h"
#include "tests/resident.h"
#include "tests/wait_until.h"

namespace longrun::coordinator {
namespace {

constexpr const char* kAttempt = "01ARZ3NDEKTSV4RRFFQ69G5FAV";  // the ULID of its specification
// Of a call beside a busy one. Generous, since a test of this machine's speed would fail on a busy
// machine: what is looked for is a call that never ends.
constexpr std::int64_t kAnswerMsMax = DeadlineMs(10'000);
constexpr std::int64_t kLeftMibMax = 40;  // less than the smallest frame

void SetDeadline(grpc::ClientContext& context, int seconds = 60) {
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(seconds));
}

std::string Line(std::int64_t seq, const char* kind, const Json& body, const Json& step = {},
                 std::int64_t t_ms = 1) {
  std::string text =
      CanonicalJson({{"seq", seq}, {"kind", kind}, {"t_ms", t_ms}, {"step", step}, {"body", body}});
  text.pop_back();
  char crc[9];
  std::snprintf(crc, sizeof crc, "%08x", static_cast<unsigned>(Crc32c(text)));
  return Str(text, ",\"crc\":\"", static_cast<const char*>(crc), "\"}");
}

v1::WorkerMessage HelloOf(const std::string& worker, const std::string& incarnation = kAttempt) {
  v1::WorkerMessage message;
  v1::Hello* hello = message.mutable_hello();
  hello->set_protocol_version(kProtocolNewest);
  hello->set_worker_id(worker);
  hello->set_incarnation(incarnation);
  hello->set_host("host");
  hello->set_version("0.1.0");
  v1::Device* device = hello->add_devices();
  device->set_kind("cpu");
  device->set_name("EPYC");
  device->set_memory_bytes(std::int64_t{8} << 30);
  device->set_threads(1);
  device->set_simd("avx2");
  device->set_linear("aten/AuthenticAMD");
  return message;
}

// One worker session, written and read by hand.
class Peer {
 public:
  explicit Peer(const std::shared_ptr<grpc::Channel>& channel)
      : stub_(v1::WorkerSessionService::NewStub(channel)) {
    SetDeadline(context_);
    stream_ = stub_->Session(&context_);
  }
  ~Peer() {
    if (!finished_) {
      context_.TryCancel();
      (void)End();
    }
  }
  bool Say(const v1::WorkerMessage& message) { return stream_->Write(message); }
  // The next message of this kind; an empty one when the session has ended.
  v1::CoordinatorMessage Hear(v1::CoordinatorMessage::MessageCase kind) {
    v1::CoordinatorMessage message;
    while (stream_->Read(&message)) {
      if (message.message_case() == kind) return message;
    }
    return {};
  }
  v1::Welcome Welcome(const v1::WorkerMessage& hello) {
    EXPECT_TRUE(Say(hello));
    return Hear(v1::CoordinatorMessage::kWelcome).welcome();
  }
  // What the coordinator ended the session with.
  grpc::Status End() {
    finished_ = true;
    v1::CoordinatorMessage message;
    while (stream_->Read(&message)) {
    }
    return stream_->Finish();
  }
  void CloseWrites() { stream_->WritesDone(); }

 private:
  std::unique_ptr<v1::WorkerSessionService::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::WorkerMessage, v1::CoordinatorMessage>> stream_;
  bool finished_ = false;
};

class HostileTest : public testing::Test {
 protected:
  void SetUp() override {
    StartCoordinator();
    service.ImportWords();
  }
  void StartCoordinator() {
    service.SpawnCoordinator();
    ASSERT_TRUE(WaitUntil(30'000, [&] { return service.CoordinatorIsReady(); })) << service.Logs();
    Connect();
  }
  void Connect() {
    grpc::ChannelArguments own;
    own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    own.SetMaxReceiveMessageSize(256 << 20);
    channel = grpc::CreateCustomChannel(Str("unix:", JoinPath(service.state(), "coordinator.sock")),
                                        grpc::InsecureChannelCredentials(), own);
    sweeps = v1::SweepService::NewStub(channel);
    artifacts = v1::ArtifactService::NewStub(channel);
  }
  // Nothing is promised about what it says; it must be there, in time.
  std::int64_t AnswerMs() {
    const std::int64_t begun = BootMs();
    grpc::ClientContext context;
    SetDeadline(context);
    v1::GetServerInfoResponse info;
    const grpc::Status status = sweeps->GetServerInfo(&context, {}, &info);
    EXPECT_TRUE(status.ok()) << status.error_message() << service.Logs();
    EXPECT_EQ(info.boot_epoch(), n_starts) << "it has died and come back";
    return BootMs() - begun;
  }
  std::int64_t ResidentMib() const {
    const std::string text = ReadFile(Str("/proc/", service.coordinator(), "/status")).value();
    return std::stoll(text.substr(text.find("VmRSS:") + 6)) / 1024;
  }
  grpc::Status Submit(const std::string& yaml, const std::string& file_name = "a.yaml",
                      v1::SubmitSweepResponse* response = nullptr) {
    grpc::ClientContext context;
    SetDeadline(context, 120);
    v1::SubmitSweepRequest request;
    request.set_yaml(yaml);
    request.set_file_name(file_name);
    v1::SubmitSweepResponse own;
    return sweeps->SubmitSweep(&context, request, response == nullptr ? &own : response);
  }
  grpc::Status GetSweep(const std::string& reference, v1::GetSweepResponse* response = nullptr) {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::GetSweepRequest request;
    request.set_sweep(reference);
    v1::GetSweepResponse own;
    return sweeps->GetSweep(&context, request, response == nullptr ? &own : response);
  }
  v1::ListWorkersResponse Workers() {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::ListWorkersResponse workers;
    EXPECT_TRUE(sweeps->ListWorkers(&context, {}, &workers).ok());
    return workers;
  }
  grpc::Status Upload(const std::string& sha256, const std::string& bytes, std::int64_t n_said) {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::UploadArtifactResponse response;
    const auto writer = artifacts->UploadArtifact(&context, &response);
    v1::UploadArtifactRequest frame;
    frame.set_sha256(sha256);
    frame.set_total_bytes(n_said);
    frame.set_data(bytes);
    writer->Write(frame);
    writer->WritesDone();
    return writer->Finish();
  }
  grpc::Status Download(const std::string& sha256, std::int64_t offset = 0) {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::DownloadArtifactRequest request;
    request.set_sha256(sha256);
    request.set_offset(offset);
    const auto reader = artifacts->DownloadArtifact(&context, request);
    v1::DownloadArtifactResponse frame;
    while (reader->Read(&frame)) {
    }
    return reader->Finish();
  }
  // A worker that got one attempt of a small sweep offered and took it.
  v1::Start TakeAttempt(Peer& peer, const std::string& worker = "evil") {
    EXPECT_TRUE(Submit(SmallSweep("small", {.steps = 100, .positions = {"rope"}})).ok());
    (void)peer.Welcome(HelloOf(worker));
    const v1::Start start = peer.Hear(v1::CoordinatorMessage::kStart).start();
    EXPECT_FALSE(start.attempt().empty());
    v1::WorkerMessage message;
    message.mutable_accepted()->set_attempt(start.attempt());
    message.mutable_accepted()->set_epoch(start.epoch());
    EXPECT_TRUE(peer.Say(message));
    return start;
  }
  static v1::WorkerMessage Batch(const v1::Start& start, std::int64_t first_seq,
                                 const std::vector<std::string>& lines) {
    v1::WorkerMessage message;
    v1::JournalBatch* batch = message.mutable_journal_batch();
    batch->set_attempt(start.attempt());
    batch->set_epoch(start.epoch());
    batch->set_first_seq(first_seq);
    for (const std::string& line : lines) batch->add_lines(line);
    return message;
  }

  TempFolder folder;
  Service service{JoinPath(folder.path(), "service")};
  std::int64_t n_starts = 1;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::SweepService::Stub> sweeps;
  std::unique_ptr<v1::ArtifactService::Stub> artifacts;
};

TEST_F(HostileTest, ASessionThatDoesNotBeginWithOneHelloIsEnded) {
  std::vector<v1::WorkerMessage> firsts(7);
  firsts[0].mutable_heartbeat();
  firsts[1].mutable_accepted();
  firsts[2].mutable_rejected();
  firsts[3].mutable_journal_batch();
  firsts[4].mutable_attempt_ended();
  firsts[5].mutable_log_chunk();  // and the last one says nothing
  for (const v1::WorkerMessage& first : firsts) {
    Peer peer(channel);
    peer.Say(first);
    EXPECT_EQ(peer.End().error_code(), grpc::StatusCode::INVALID_ARGUMENT) << first.DebugString();
  }
  Peer twice(channel);
  (void)twice.Welcome(HelloOf("twice"));
  twice.Say(HelloOf("twice"));

  EXPECT_EQ(twice.End().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  AnswerMs();
}

TEST_F(HostileTest, AnAbsurdHelloIsRefusedAndLeavesNoWorker) {
  using Change = std::function<void(v1::Hello&)>;
  const auto device = [](const std::function<void(v1::Device&)>& change) -> Change {
    return [change](v1::Hello& hello) { change(*hello.mutable_devices(0)); };
  };
  const std::string long_text(10'000, 'a');
  const std::vector<std::pair<const char*, Change>> changes = {
      {"no id", [](v1::Hello& h) { h.clear_worker_id(); }},
      {"a path", [](v1::Hello& h) { h.set_worker_id("../x"); }},
      {"a newline", [](v1::Hello& h) { h.set_worker_id("a\nb"); }},
      {"10 kB of id", [&](v1::Hello& h) { h.set_worker_id(long_text); }},
      {"no incarnation", [](v1::Hello& h) { h.clear_incarnation(); }},
      {"10 kB of incarnation", [&](v1::Hello& h) { h.set_incarnation(long_text); }},
      {"a folder that is not a ULID", [](v1::Hello& h) { h.set_folder_id("folder"); }},
      {"10 kB of host", [&](v1::Hello& h) { h.set_host(long_text); }},
      {"an escape in the host", [](v1::Hello& h) { h.set_host("a\x1b[2Jb"); }},
      {"10 kB of version", [&](v1::Hello& h) { h.set_version(long_text); }},
      {"2000 devices",
       [](v1::Hello& h) {
         for (int i = 1; i < 2000; ++i) {
           *h.add_devices() = h.devices(0);
           h.mutable_devices(i)->set_index(i);
         }
       }},
      {"an index twice", [](v1::Hello& h) { *h.add_devices() = h.devices(0); }},
      {"a negative index", device([](v1::Device& d) { d.set_index(-1); })},
      {"a kind nobody knows", device([](v1::Device& d) { d.set_kind("tpu"); })},
      {"no threads", device([](v1::Device& d) { d.set_threads(0); })},
      {"negative threads", device([](v1::Device& d) { d.set_threads(-4); })},
      {"2^31-1 threads", device([](v1::Device& d) { d.set_threads(2147483647); })},
      {"no memory", device([](v1::Device& d) { d.set_memory_bytes(0); })},
      {"negative memory", device([](v1::Device& d) { d.set_memory_bytes(-1); })},
      {"2^63-1 bytes of memory",
       device([](v1::Device& d) { d.set_memory_bytes(std::numeric_limits<std::int64_t>::max()); })},
      {"10 kB of name", device([&](v1::Device& d) { d.set_name(long_text); })},
      {"10 kB of simd", device([&](v1::Device& d) { d.set_simd(long_text); })},
      {"no matrix path", device([](v1::Device& d) { d.clear_linear(); })},
      {"a dataset that is no digest", [](v1::Hello& h) { h.add_dataset_digests("NaN"); }},
  };
  for (const auto& [name, change] : changes) {
    v1::WorkerMessage hello = HelloOf("absurd");
    change(*hello.mutable_hello());
    Peer peer(channel);
    peer.Say(hello);
    peer.CloseWrites();
    const grpc::Status status = peer.End();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << name;
    EXPECT_FALSE(status.error_message().empty()) << name;
  }
  v1::WorkerMessage unknown = HelloOf("absurd");
  unknown.mutable_hello()->mutable_devices(0)->set_kind("tpu");
  Peer other(channel);
  other.Say(unknown);
  other.CloseWrites();
  const std::string said = other.End().error_message();
  EXPECT_NE(said.find("device 0 of worker absurd: is of kind \"tpu\": expected cpu or gpu"),
            std::string::npos)
      << said;
  // More than a message may hold: gRPC itself refuses it.
  v1::WorkerMessage huge = HelloOf("absurd");
  for (int i = 1; i < 1'000'000; ++i) huge.mutable_hello()->add_devices()->set_index(i);
  Peer peer(channel);
  peer.Say(huge);
  EXPECT_FALSE(peer.End().ok());

  EXPECT_EQ(Workers().workers_size(), 0);
  AnswerMs();
}

TEST_F(HostileTest, TheSameWorkerTwiceIsOneWorkerWithItsNewestSession) {
  Peer first(channel), second(channel), older(channel);
  (void)first.Welcome(HelloOf("twin", "01ARZ3NDEKTSV4RRFFQ69G5FAW"));
  (void)second.Welcome(HelloOf("twin", "01ARZ3NDEKTSV4RRFFQ69G5FAX"));
  EXPECT_EQ(first.End().error_code(), grpc::StatusCode::ABORTED);
  older.Say(HelloOf("twin", "01ARZ3NDEKTSV4RRFFQ69G5FAV"));

  EXPECT_EQ(older.End().error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(Workers().workers_size(), 1);
}

TEST_F(HostileTest, AttemptsThatNobodyKnowsAreFencedOrForgottenAndLeaveNothing) {
  EXPECT_TRUE(Submit(SmallSweep("small", {.steps = 100, .positions = {"rope"}})).ok());
  const std::string task = Query(service, "SELECT id FROM task WHERE kind = 'train'");
  v1::WorkerMessage hello = HelloOf("evil");
  hello.mutable_hello()->clear_devices();  // nothing is offered to it
  const auto list = [&](const std::string& attempt, std::uint64_t epoch) {
    v1::LiveAttempt* live = hello.mutable_hello()->add_attempts();
    live->set_attempt(attempt);
    live->set_task(task);
    live->set_epoch(epoch);
    live->set_last_seq(-1);
  };
  list("", 5);
  list("../../x", 5);
  list(std::string(10'000, 'a'), 5);
  list(kAttempt, std::numeric_limits<std::uint64_t>::max());
  Peer peer(channel);

  const v1::Welcome welcome = peer.Welcome(hello);

  ASSERT_EQ(welcome.attempts_size(), 4);
  for (const v1::AttemptVerdict& verdict : welcome.attempts()) {
    EXPECT_EQ(verdict.verdict(), v1::AttemptVerdict::VERDICT_FENCED) << verdict.attempt();
  }
  v1::Start unknown;
  unknown.set_attempt(kAttempt);
  unknown.set_epoch(std::numeric_limits<std::uint64_t>::max());
  peer.Say(Batch(unknown, 1, {Line(1, "attempt", {{"task", task}})}));
  EXPECT_EQ(peer.Hear(v1::CoordinatorMessage::kFenced).fenced().attempt(), kAttempt);
  unknown.set_attempt("../x");
  unknown.set_epoch(7);
  peer.Say(Batch(unknown, 1, {Line(1, "attempt", {{"task", task}})}));
  EXPECT_EQ(peer.Hear(v1::CoordinatorMessage::kFenced).fenced().attempt(), "../x");
  // A copy of a log that is nobody's.
  v1::WorkerMessage message;
  message.mutable_log_chunk()->set_attempt(kAttempt);
  message.mutable_log_chunk()->set_data("noise");
  peer.Say(message);
  for (int i = 0; i < 2000; ++i) {
    message.mutable_attempt_ended()->set_attempt(kAttempt);
    message.mutable_attempt_ended()->set_last_seq(-i);
    message.mutable_attempt_ended()->set_log_tail("noise");
    ASSERT_TRUE(peer.Say(message));
  }
  for (int i = 0; i < 2000; ++i) {
    EXPECT_TRUE(peer.Hear(v1::CoordinatorMessage::kAck).ack().ended());
  }
  AnswerMs();
  EXPECT_EQ(Query(service, "SELECT count(*) FROM attempt"), "0");
  EXPECT_EQ(Query(service, "SELECT max(epoch) FROM task"), "0");
  const Result<std::vector<std::string>> logs = ListFolder(JoinPath(service.state(), "logs"));
  EXPECT_TRUE(!logs.ok() || logs->empty());
}

TEST_F(HostileTest, ABrokenBatchEndsTheSessionAndStoresNothing) {
  v1::Start start;
  {
    Peer peer(channel);
    start = TakeAttempt(peer);
    peer.Say(Batch(start, 1, {Line(1, "attempt", Json::object())}));
    EXPECT_EQ(peer.Hear(v1::CoordinatorMessage::kAck).ack().durable_seq(), 1);
  }
  const std::string whole = Line(2, "warning", {{"message", "x"}});
  std::string wrong_crc = whole;
  wrong_crc[wrong_crc.size() - 3] = wrong_crc[wrong_crc.size() - 3] == '0' ? '1' : '0';
  // As a number beyond double, and nested beyond reason, with a crc that holds.
  const auto raw = [](const std::string& body) {
    const std::string text =
        Str("{\"body\":", body, ",\"kind\":\"result\",\"seq\":2,\"step\":null,\"t_ms\":1");
    char crc[9];
    std::snprintf(crc, sizeof crc, "%08x", static_cast<unsigned>(Crc32c(text)));
    return Str(text, ",\"crc\":\"", static_cast<const char*>(crc), "\"}");
  };
  const std::int64_t max = std::numeric_limits<std::int64_t>::max();
  const std::vector<std::pair<const char*, v1::WorkerMessage>> batches = {
      {"garbage", Batch(start, 2, {"\x01\x02\xff garbage"})},
      {"an empty line", Batch(start, 2, {""})},
      {"a wrong crc", Batch(start, 2, {wrong_crc})},
      {"2 MiB of line", Batch(start, 2, {Line(2, "warning", std::string(2 << 20, 'x'))})},
      {"a gap in it", Batch(start, 2, {whole, Line(4, "warning", Json::object())})},
      {"a negative number", Batch(start, -5, {Line(-5, "warning", Json::object())})},
      {"another number than it says", Batch(start, 1, {whole})},
      {"a kind nobody knows", Batch(start, 2, {Line(2, "gift", Json::object())})},
      {"a body that is no object", Batch(start, 2, {Line(2, "warning", Json::array())})},
      {"1e400", Batch(start, 2, {raw("{\"value\":1e400}")})},
      {"deep", Batch(start, 2, {raw(Str(std::string(5000, '['), std::string(5000, ']')))})},
      {"600 records", Batch(start, 2, std::vector<std::string>(600, whole))},
  };
  for (const auto& [name, batch] : batches) {
    v1::WorkerMessage hello = HelloOf("evil");
    v1::LiveAttempt* live = hello.mutable_hello()->add_attempts();
    live->set_attempt(start.attempt());
    live->set_epoch(start.epoch());
    live->set_running(true);
    Peer peer(channel);
    const v1::Welcome welcome = peer.Welcome(hello);
    ASSERT_EQ(welcome.attempts_size(), 1) << name;
    EXPECT_EQ(welcome.attempts(0).verdict(), v1::AttemptVerdict::VERDICT_CONTINUE) << name;
    EXPECT_EQ(welcome.attempts(0).durable_seq(), 1) << name;
    peer.Say(batch);
    peer.CloseWrites();
    const grpc::Status status = peer.End();
    EXPECT_TRUE(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT ||
                status.error_code() == grpc::StatusCode::DATA_LOSS)
        << name << ": " << status.error_code() << " " << status.error_message();
  }
  // What only comes too early is asked for again, and what comes from nowhere is nothing.
  v1::WorkerMessage hello = HelloOf("evil");
  v1::LiveAttempt* live = hello.mutable_hello()->add_attempts();
  live->set_attempt(start.attempt());
  live->set_epoch(start.epoch());
  live->set_running(true);
  Peer peer(channel);
  (void)peer.Welcome(hello);
  peer.Say(Batch(start, 9, {Line(9, "warning", Json::object())}));
  EXPECT_EQ(peer.Hear(v1::CoordinatorMessage::kNack).nack().expected_seq(), 2);
  peer.Say(Batch(start, max, {Line(max, "warning", Json::object())}));
  EXPECT_EQ(peer.Hear(v1::CoordinatorMessage::kNack).nack().expected_seq(), 2);
  peer.Say(Batch(start, -max, {}));
  EXPECT_EQ(peer.Hear(v1::CoordinatorMessage::kAck).ack().durable_seq(), 1);
  EXPECT_EQ(Query(service, "SELECT count(*) FROM record"), "1");
  AnswerMs();
}

TEST_F(HostileTest, RecordsOfAnyFormAreKeptAndTheServiceComesBackWithThem) {
  Peer peer(channel);
  const v1::Start start = TakeAttempt(peer);
  const std::string manifest = Sha256Hex("manifest");
  ASSERT_TRUE(Upload(manifest, "manifest", 8).ok());
  const Json file = {{"name", "manifest.json"}, {"sha256", manifest}, {"bytes", 8}};
  const auto checkpoint = [&](const Json& step, const Json& files, const Json& sha256) {
    return Json{{"path", "checkpoints/1"}, {"step", step},   {"sha256", sha256},
                {"files", files},          {"final", false}, {"best", true}};
  };
  Json named = file;
  named["name"] = "../../x";
  Json sized = file;
  sized["bytes"] = "many";
  const Json huge = std::numeric_limits<std::uint64_t>::max();
  const Json resume = {
      {"attempt", start.attempt()}, {"checkpoint", ""}, {"sha256", manifest}, {"step", 3}};
  const std::string text(100'000, 'x');
  std::vector<std::pair<const char*, Json>> bodies = {
      {"attempt", {{"resume", resume}}},  // it came out of itself
      {"attempt", {{"resume", {{"attempt", 7}}}}},
      {"started", {{"steps", "many"}, {"device", Json::array()}}},
      {"progress", {{"phase", 7}, {"done", "x"}, {"of", huge}, {"tokens_per_s", nullptr}}},
      {"progress", {{"phase", text}, {"done", -1}, {"of", -5}, {"eta_ms", 1e300}}},
      {"series", {{"loss", 1}}},
      {"series", {{"loss", "x"}}},
      {"series", Json::object()},
      {"series", {{text, 1.0}}},
      {"result", Json::object()},
      {"result", {{"cell", 5}, {"metric", nullptr}, {"status", Json::array()}}},
      {"result", {{"cell", "nobody's"}, {"metric", "nll"}, {"status", "ok"}, {"n", huge}}},
      {"result", {{"cell", "nobody's"}, {"metric", "nll"}, {"status", "ok"}, {"value", 1e308}}},
      {"result", {{"cell", "nobody's"}, {"metric", "nll"}, {"status", "ok"}, {"value", -1e308}}},
      {"checkpoint", checkpoint(-1, {file}, manifest)},
      {"checkpoint", checkpoint(huge, {file}, manifest)},
      {"checkpoint", checkpoint("x", {file}, manifest)},
      {"checkpoint", checkpoint(1, Json::array(), manifest)},
      {"checkpoint", checkpoint(1, {named}, manifest)},
      {"checkpoint", checkpoint(1, {sized}, manifest)},
      {"checkpoint", checkpoint(1, "none", manifest)},
      {"checkpoint", checkpoint(1, {file}, "../../x")},
      {"checkpoint", Json::object()},
      {"artifact", Json::object()},
      {"artifact", {{"name", "../x"}, {"sha256", "x"}, {"bytes", -1}}},
      {"warning", {{"message", Json::array()}}},
      {"failed", {{"class", "gift"}, {"message", text}}},
  };
  std::int64_t seq = 0;
  for (const auto& [kind, body] : bodies) {
    ++seq;
    const bool is_series = std::string_view(kind) == "series";
    peer.Say(Batch(start, seq, {Line(seq, kind, body, is_series ? Json(-1) : Json(), -1)}));
    ASSERT_EQ(peer.Hear(v1::CoordinatorMessage::kAck).ack().durable_seq(), seq)
        << kind << " " << body.dump().substr(0, 200);
  }
  v1::GetSweepResponse before;
  EXPECT_TRUE(GetSweep("small", &before).ok());
  EXPECT_LT(before.ByteSizeLong(), 50'000u);
  EXPECT_EQ(Query(service, "SELECT count(*) FROM task WHERE checkpoints <> '[]'"), "0");
  EXPECT_EQ(Query(service, "SELECT count(*) FROM task WHERE best_checkpoint IS NOT NULL"), "0");
  AnswerMs();

  service.KillCoordinator();
  n_starts = 2;
  StartCoordinator();

  v1::GetSweepResponse after;
  EXPECT_TRUE(GetSweep("small", &after).ok());
  EXPECT_EQ(Query(service, "SELECT durable_seq FROM attempt"), Str(seq));
  // And its end, told wrongly, ends it as incomplete.
  Peer again(channel);
  v1::WorkerMessage hello = HelloOf("evil");
  v1::LiveAttempt* live = hello.mutable_hello()->add_attempts();
  live->set_attempt(start.attempt());
  live->set_epoch(start.epoch());
  live->set_running(true);
  (void)again.Welcome(hello);
  again.Say(Batch(start, seq + 1, {Line(seq + 1, "final", {{"counts", text}})}));
  EXPECT_EQ(again.Hear(v1::CoordinatorMessage::kAck).ack().durable_seq(), seq + 1);
  EXPECT_EQ(
      Query(service, Str("SELECT failure_class FROM attempt WHERE id = '", start.attempt(), "'")),
      "incomplete");
  EXPECT_TRUE(GetSweep("small", &after).ok());
  EXPECT_LT(after.ByteSizeLong(), 50'000u);
}

TEST_F(HostileTest, ARefusalOfAnyLengthIsToldInShort) {
  EXPECT_TRUE(Submit(SmallSweep("small", {.steps = 100, .positions = {"rope"}})).ok());
  Peer peer(channel);
  (void)peer.Welcome(HelloOf("evil"));
  const v1::Start start = peer.Hear(v1::CoordinatorMessage::kStart).start();
  v1::WorkerMessage message;
  message.mutable_rejected()->set_attempt(start.attempt());
  message.mutable_rejected()->set_epoch(start.epoch());
  message.mutable_rejected()->set_failure_class("gift");
  std::string reason;
  for (int i = 0; i < 1'000'000; ++i) reason += "\u00e9\n";
  message.mutable_rejected()->set_reason(reason);

  peer.Say(message);
  message.mutable_heartbeat()->set_number(1);
  peer.Say(message);

  EXPECT_EQ(peer.Hear(v1::CoordinatorMessage::kHeartbeatReply).heartbeat_reply().number(), 1);
  v1::GetSweepResponse sweep;
  EXPECT_TRUE(GetSweep("small", &sweep).ok());
  EXPECT_LT(sweep.ByteSizeLong(), 50'000u);
}

TEST_F(HostileTest, ArtifactsAreWhatTheirNameSaysOrAreNot) {
  const std::string sha256 = Sha256Hex("bytes");
  using Code = grpc::StatusCode;

  EXPECT_EQ(Upload(Sha256Hex("other"), "bytes", 5).error_code(), Code::DATA_LOSS);
  EXPECT_EQ(Upload(sha256, "bytes and more", 5).error_code(), Code::INVALID_ARGUMENT);
  EXPECT_EQ(Upload(sha256, "byt", 5).error_code(), Code::DATA_LOSS);
  EXPECT_EQ(Upload(sha256, "bytes", -1).error_code(), Code::INVALID_ARGUMENT);
  EXPECT_EQ(Upload(sha256, "bytes", std::numeric_limits<std::int64_t>::max()).error_code(),
            Code::RESOURCE_EXHAUSTED);
  EXPECT_EQ(Upload(sha256, std::string(2 << 20, 'x'), 2 << 20).error_code(),
            Code::INVALID_ARGUMENT);
  for (const std::string& bad :
       {std::string(), std::string("../../../etc/passwd"), std::string(64, '/'),
        std::string(10'000, 'a'), std::string(64, 'A'), std::string("\x01\n")}) {
    EXPECT_EQ(Upload(bad, "bytes", 5).error_code(), Code::INVALID_ARGUMENT) << bad;
    EXPECT_EQ(Download(bad).error_code(), Code::INVALID_ARGUMENT) << bad;
  }
  EXPECT_EQ(Download(sha256).error_code(), Code::NOT_FOUND);
  EXPECT_TRUE(Upload(sha256, "bytes", 5).ok());
  EXPECT_EQ(Download(sha256, -1).error_code(), Code::OUT_OF_RANGE);
  EXPECT_EQ(Download(sha256, 6).error_code(), Code::OUT_OF_RANGE);
  EXPECT_TRUE(Download(sha256, 5).ok());
  EXPECT_TRUE(ListFolder(JoinPath(service.state(), "artifacts/tmp"))->empty());
  AnswerMs();
}

TEST_F(HostileTest, SweepFilesOfAnyBytesAreAnsweredInShort) {
  const std::string good = SmallSweep("good", {.steps = 100, .positions = {"rope"}});
  std::string deep = "spec: ";
  for (int i = 0; i < 100'000; ++i) deep += "[";
  const std::vector<std::pair<const char*, std::string>> files = {
      {"1 MiB of nothing", std::string(1 << 20, ' ')},
      {"2 MiB", std::string(2 << 20, '#')},
      {"zeros", std::string(1000, '\0')},
      {"deep", deep},
      {"one key of 1 MB", std::string(1'000'000, 'k') + ": 1\n"},
      {"half a million keys",
       [] {
         std::string text;
         for (int i = 0; i < 100'000; ++i) text += Str("k", i, ": 1\n");
         return text;
       }()},
      {"a good one, too long", good + std::string(1 << 20, ' ')},
  };
  for (const auto& [name, text] : files) {
    const grpc::Status status = Submit(text);
    EXPECT_TRUE(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT ||
                status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED)
        << name << ": " << status.error_code() << " " << status.error_message();
    EXPECT_FALSE(status.error_message().empty()) << name;
  }
  // gRPC itself refuses text that is no UTF-8.
  EXPECT_FALSE(Submit("kind: \xff\xfe\n").ok());
  for (const std::string& file_name :
       {std::string("a\x1b[2J.yaml"), std::string("a\nb.yaml"), std::string(1 << 20, 'f')}) {
    EXPECT_EQ(Submit(good, file_name).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
  grpc::ClientContext context;
  SetDeadline(context);
  v1::SubmitSweepRequest request;
  request.set_yaml(good);
  v1::Override* override_ = request.add_overrides();
  override_->set_path("spec.train.tokens");
  override_->set_value(deep);
  v1::SubmitSweepResponse response;
  EXPECT_FALSE(sweeps->SubmitSweep(&context, request, &response).ok());
  EXPECT_EQ(Query(service, "SELECT count(*) FROM sweep"), "0");
  AnswerMs();
}

TEST_F(HostileTest, DatasetsAreRegisteredByAbsoluteFoldersThatHoldOne) {
  const auto reg = [&](const std::string& name, const std::string& path) {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::RegisterDatasetRequest request;
    request.set_name(name);
    request.set_folder(path);
    v1::RegisterDatasetResponse response;
    return sweeps->RegisterDataset(&context, request, &response);
  };
  const std::string at = service.At("state");
  const std::string fifo = service.At("fifo");
  ASSERT_TRUE(MakeFolders(fifo).ok());
  ASSERT_EQ(mkfifo(JoinPath(fifo, "dataset.json").c_str(), 0600), 0);
  for (const std::string& path :
       {std::string(), std::string("relative"), std::string("../.."), std::string("/nowhere"),
        std::string("/etc/passwd"), std::string("/dev/zero"), Str("/", std::string(100'000, 'x')),
        std::string("/proc/self"), fifo, at}) {
    const std::int64_t begun = BootMs();
    const grpc::Status status = reg("fine", path);
    EXPECT_FALSE(status.ok()) << path;
    EXPECT_LT(BootMs() - begun, kAnswerMsMax) << path << ": " << status.error_message();
    EXPECT_FALSE(status.error_message().empty()) << path;
  }
  for (const std::string& name : {std::string(), std::string(".."), std::string("a/b"),
                                  std::string("a\nb"), std::string(10'000, 'a')}) {
    EXPECT_EQ(reg(name, "/tmp").error_code(), grpc::StatusCode::INVALID_ARGUMENT) << name;
  }
  EXPECT_EQ(Query(service, "SELECT count(*) FROM dataset"), "1");
  AnswerMs();
}

TEST_F(HostileTest, NamesToLookForAreOnlyNames) {
  EXPECT_TRUE(Submit(SmallSweep("small", {.steps = 100, .positions = {"rope"}})).ok());
  const std::string key = Query(service, "SELECT run_key FROM run");
  std::vector<std::string> names = {"' OR 1=1 --",
                                    "%",
                                    "%%%%%%%%%%",
                                    "_________",
                                    "*",
                                    "?",
                                    "\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f",
                                    "a\nb",
                                    std::string(1'000'000, 'a'),
                                    std::string(20, '\0')};
  for (std::size_t n = 0; n < 8; ++n) names.push_back(key.substr(0, n));
  const auto is_clear = [](const grpc::Status& status) {
    return status.error_code() == grpc::StatusCode::NOT_FOUND ||
           status.error_code() == grpc::StatusCode::INVALID_ARGUMENT;
  };
  for (const std::string& name : names) {
    const std::int64_t begun = BootMs();
    EXPECT_TRUE(is_clear(GetSweep(name))) << name.substr(0, 40);
    {
      grpc::ClientContext context;
      SetDeadline(context);
      v1::GetRunRequest request;
      request.set_run(name);
      v1::GetRunResponse response;
      EXPECT_TRUE(is_clear(sweeps->GetRun(&context, request, &response))) << name.substr(0, 40);
    }
    {
      grpc::ClientContext context;
      SetDeadline(context);
      v1::GetLogsRequest request;
      request.set_target(name);
      const auto reader = sweeps->GetLogs(&context, request);
      v1::GetLogsResponse response;
      while (reader->Read(&response)) {
      }
      EXPECT_TRUE(is_clear(reader->Finish())) << name.substr(0, 40);
    }
    {
      grpc::ClientContext context;
      SetDeadline(context);
      v1::CancelSweepRequest request;
      request.set_sweep(name);
      v1::CancelSweepResponse response;
      EXPECT_TRUE(is_clear(sweeps->CancelSweep(&context, request, &response)));
    }
    EXPECT_LT(BootMs() - begun, 4 * kAnswerMsMax) << name.substr(0, 40);
  }
  EXPECT_TRUE(GetSweep("small").ok());
  AnswerMs();
}

TEST_F(HostileTest, SessionsThatSayNothingAndReadersThatDoNotReadCostLittle) {
  EXPECT_TRUE(Submit(SmallSweep("small", {.steps = 100, .positions = {"rope", "cable"}})).ok());
  const std::int64_t before = ResidentMib();
  std::vector<std::unique_ptr<Peer>> idle;
  for (int i = 0; i < 200; ++i) idle.push_back(std::make_unique<Peer>(channel));
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::WatchSweepResponse>>> watchers;
  v1::WatchSweepRequest watch;
  watch.set_sweep("small");
  for (int i = 0; i < 20; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    watchers.push_back(sweeps->WatchSweep(contexts.back().get(), watch));
  }
  EXPECT_LT(AnswerMs(), kAnswerMsMax);
  // It asks for replies, and reads none of them.
  grpc::ClientContext context;
  SetDeadline(context, 3);  // by then its writes are held up
  const auto sessions = v1::WorkerSessionService::NewStub(channel);
  const auto deaf = sessions->Session(&context);
  deaf->Write(HelloOf("deaf"));
  v1::WorkerMessage message;
  for (int i = 0; i < 100; ++i) {
    v1::LiveAttempt* live = message.mutable_heartbeat()->add_attempts();
    live->set_attempt(Str(i));
  }
  for (int i = 0; i < 20'000 && deaf->Write(message); ++i) {
  }

  EXPECT_LT(AnswerMs(), kAnswerMsMax);
  const std::int64_t after = ResidentMib();
  std::printf("resident: %lld MiB before, %lld MiB after\n", static_cast<long long>(before),
              static_cast<long long>(after));
#ifndef LONGRUN_RESIDENT_IS_HELD_BACK
  EXPECT_LT(after - before, 60);
#endif
  context.TryCancel();
  (void)deaf->Finish();
  for (const auto& one : contexts) one->TryCancel();
  for (const auto& watcher : watchers) (void)watcher->Finish();
}

// gRPC looks at a message's size once it has all of it: what it took must go back.
TEST_F(HostileTest, FramesOfAnySizeAreRefusedAndLeaveNoMemoryBehind) {
  EXPECT_TRUE(Submit(SmallSweep("small", {.steps = 100, .positions = {"rope"}})).ok());
  const std::int64_t before = ResidentMib();
  std::int64_t most = 0;
  for (const std::size_t n_mib : {64u, 128u, 300u}) {
    const std::string frame(n_mib << 20, 'x');
    Peer peer(channel);
    (void)peer.Welcome(HelloOf("evil"));
    v1::WorkerMessage message;
    message.mutable_log_chunk()->set_attempt(kAttempt);
    message.mutable_log_chunk()->set_data(frame);
    peer.Say(message);
    EXPECT_EQ(peer.End().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << n_mib;
    EXPECT_EQ(Submit(frame).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << n_mib;
    EXPECT_EQ(Upload(Sha256Hex("frame"), frame, 1).error_code(),
              grpc::StatusCode::RESOURCE_EXHAUSTED)
        << n_mib;
    most = std::max(most, ResidentMib());
  }

#ifndef LONGRUN_RESIDENT_IS_HELD_BACK
  EXPECT_TRUE(WaitUntil(30'000, [&] { return ResidentMib() - before < kLeftMibMax; }));
#endif
  std::printf(
      "resident: %lld MiB before, %lld MiB at most as a frame was refused, %lld MiB after\n",
      static_cast<long long>(before), static_cast<long long>(most),
      static_cast<long long>(ResidentMib()));
  AnswerMs();
}

TEST_F(HostileTest, BesideAHugeSweepOtherCallsAreAnswered) {
  constexpr int kSubmitters = 5;  // more than the coordinator has threads for calls
  std::string yaml = SmallSweep("huge", {.steps = 100, .positions = {"rope"}});
  std::string seeds = "seed: [0";
  for (int i = 1; i < 2'000; ++i) seeds += Str(", ", i);
  const std::size_t at = yaml.find("seed: [1");
  ASSERT_NE(at, std::string::npos);
  yaml.replace(at, std::string("seed: [1").size(), seeds);
  // What needs the core waits for the one transaction of a submission; what does not, does not.
  std::int64_t read_ms = 0, info_ms = 0;
  std::vector<std::thread> submitters;
  std::atomic<int> n_open = kSubmitters;
  std::atomic<std::int64_t> first_ms = 0;  // until one of them was answered
  const std::int64_t begun = BootMs();
  for (int i = 0; i < kSubmitters; ++i) {
    submitters.emplace_back([&] {
      EXPECT_TRUE(Submit(yaml).ok());
      if (--n_open == kSubmitters - 1) first_ms = BootMs() - begun;
    });
  }
  while (n_open > 0) {
    if (n_open == kSubmitters) {
      const std::int64_t asked = BootMs();
      EXPECT_EQ(GetSweep("nothing").error_code(), grpc::StatusCode::NOT_FOUND);
      read_ms = std::max(read_ms, BootMs() - asked);
    } else {
      info_ms = std::max(info_ms, AnswerMs());
    }
  }
  for (std::thread& thread : submitters) thread.join();
  std::printf(
      "2,000 runs, five times: %lld ms, %lld MiB; first answer after %lld ms; "
      "slowest other call %lld and %lld ms\n",
      static_cast<long long>(BootMs() - begun), static_cast<long long>(ResidentMib()),
      static_cast<long long>(first_ms), static_cast<long long>(read_ms),
      static_cast<long long>(info_ms));
  // A call that had to wait for a thread would be answered when a submission is.
  EXPECT_LT(2 * read_ms, first_ms);
  EXPECT_EQ(Query(service, "SELECT count(*) FROM sweep"), "1");
}

}  // namespace
}  // namespace longrun::coordinator
