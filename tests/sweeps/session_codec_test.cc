#include "sweeps/session_codec.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "base/files.h"
#include "sweeps/message_size.h"

namespace longrun {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Every member of every message has a value that is not its default and that no other member of the
// message has.

const std::vector<LiveAttempt> kAttempts = {{.attempt = "attempt-1",
                                             .task = "task-1",
                                             .run_key = "run-1",
                                             .epoch = 11,
                                             .last_seq = 12,
                                             .running = true}};

const std::vector<UpMessage> kUp = {
    HelloMessage{.protocol_oldest = 21,
                 .protocol_newest = 25,
                 .worker_id = "worker-1",
                 .incarnation = "incarnation-1",
                 .host = "host-1",
                 .version = "version-1",
                 .pid = 22,
                 .devices = {{.index = 23,
                              .kind = DeviceKind::kGpu,
                              .name = "name-1",
                              .memory_bytes = std::int64_t{1} << 40,
                              .threads = 24,
                              .simd = "simd-1",
                              .linear = "linear-1",
                              .bf16 = "bf16-1",
                              .attention = "attention-1",
                              .operators = "operators-1",
                              .head = "head-1"}},
                 .dataset_digests = {"digest-1", "digest-2"},
                 .attempts = kAttempts,
                 .capabilities = {"capability-1", "capability-2"},
                 .labels = {{"label-1", "value-1"}},
                 .disk = {.free_bytes = 26, .bytes = 27, .wanted_bytes = 29},
                 .folder = "folder-1",
                 .folder_id = "folder-id-1",
                 .allocation = AllocationSpan{.job = "job-1", .work_left_ms = 28}},
    HeartbeatMessage{.number = 31,
                     .attempts = kAttempts,
                     .backlog_bytes = 32,
                     .disk = {.free_bytes = 33, .bytes = 34, .wanted_bytes = 35}},
    AcceptedMessage{.attempt = "attempt-4", .epoch = 41},
    RejectedMessage{.attempt = "attempt-5",
                    .epoch = 51,
                    .failure_class = "data",
                    .reason = "reason-5",
                    .cache_needed_bytes = 52,
                    .cache_limit_bytes = 53,
                    .lacks_disk = true},
    JournalBatchMessage{.attempt = "attempt-6",
                        .epoch = 61,
                        .first_seq = 62,
                        .lines = {"line-1", std::string("line\0\xff", 6)},
                        .without_files = {63, 64}},
    AttemptEndedMessage{.attempt = "attempt-7",
                        .epoch = 71,
                        .exit_known = true,
                        .exit_code = -72,
                        .signal = 9,
                        .oom_kill = true,
                        .stop_requested = true,
                        .last_seq = 73,
                        .log_tail = "tail-7"},
    LogChunkMessage{.attempt = "attempt-8", .offset = 81, .data = "data-8"},
    DrainMessage{},
    DatasetsHeldMessage{.digests = {"digest-9", "digest-10"}},
    SharedSeenMessage{
        .challenge = "challenge-10", .name = "name-10", .text = "text-10", .problem = "problem-10"},
};

const std::vector<DownMessage> kDown = {
    WelcomeMessage{.protocol_version = 121,
                   .coordinator_id = "coordinator-1",
                   .boot_epoch = 122,
                   .heartbeat_ms = 123,
                   .lease_ms = 124,
                   .attempts = {{.attempt = "a", .durable_seq = 125, .verdict = Verdict::kContinue},
                                {.attempt = "b", .durable_seq = 126, .verdict = Verdict::kStop},
                                {.attempt = "c", .durable_seq = 127, .verdict = Verdict::kFenced},
                                {.attempt = "d", .durable_seq = 128, .verdict = Verdict::kEnded}},
                   .capabilities = {"capability-3", "capability-4"},
                   .shares_artifacts = true},
    StartMessage{
        .attempt = "attempt-13",
        .epoch = 131,
        .device_index = 132,
        .task_json = "{\"task\":13}",
        .dataset_digest = "digest-13",
        .dataset_path = "/path-13",
        .checkpoints = {{.sha256 = "manifest-13",
                         .files = {{.name = "name-13", .sha256 = "sha-13", .n_bytes = 133},
                                   {.name = "name-14", .sha256 = "sha-14", .n_bytes = 134}}}},
        .datasets = {{.digest = "digest-14",
                      .files = {{.name = "name-15", .sha256 = "sha-15", .n_bytes = 135}},
                      .problem = "problem-14",
                      .folder = "/folder-14"}},
        .input_files = {{.name = "name-16", .sha256 = "sha-16", .n_bytes = 136}}},
    StopMessage{.attempt = "attempt-14", .epoch = 141, .grace_ms = 142, .reason = "reason-14"},
    AckMessage{.attempt = "attempt-15", .durable_seq = 151, .ended = true},
    NackMessage{.attempt = "attempt-16", .expected_seq = 161},
    FencedMessage{.attempt = "attempt-17", .current_epoch = 171},
    HeartbeatReplyMessage{.number = 181},
    DrainMessage{},
    HoldMessage{.held = true, .deadline_ms = 191},
    SharedVerdictMessage{.same = true, .problem = "problem-20"},
};

// Names the fields of `message`, and of the messages in it, that have their default; the members of
// a oneof are left out, since only one of them can be set.
void AddUnset(const Message& message, const std::string& path, std::vector<std::string>& unset) {
  const auto& type = *message.GetDescriptor();
  const auto& fields = *message.GetReflection();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    const std::string name = path + "." + field.name();
    const bool is_set = field.is_repeated() ? fields.FieldSize(message, &field) > 0
                                            : fields.HasField(message, &field);
    if (!is_set && field.containing_oneof() == nullptr) unset.push_back(name);
    if (!is_set || field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field.is_repeated()) AddUnset(fields.GetMessage(message, &field), name, unset);
    for (int at = 0; field.is_repeated() && at < fields.FieldSize(message, &field); ++at) {
      AddUnset(fields.GetRepeatedMessage(message, &field, at), name, unset);
    }
  }
}

// The message to the wire, back, and to the wire again: as the wire's every field is set the first
// time, a field that the way back loses is missing the second time.
template <typename Plain>
void ExpectRoundTrips(const std::vector<Plain>& messages) {
  std::set<int> kinds;
  int n_kinds = 0;
  for (const Plain& message : messages) {
    const auto wire = ToWire(message);
    std::vector<std::string> unset;
    AddUnset(wire, wire.GetDescriptor()->name(), unset);
    EXPECT_EQ(unset, std::vector<std::string>());

    const auto back = FromWire(wire);

    ASSERT_TRUE(back.has_value()) << wire.DebugString();
    EXPECT_EQ(back->index(), message.index());
    EXPECT_EQ(ToWire(*back).DebugString(), wire.DebugString());
    kinds.insert(wire.message_case());
    n_kinds = wire.GetDescriptor()->field_count();
  }
  EXPECT_EQ(static_cast<int>(kinds.size()), n_kinds) << "a kind of message has no sample here";
}

TEST(SessionCodecTest, EveryFieldOfAWorkersMessagesSurvivesTheWayThereAndBack) {
  ExpectRoundTrips(kUp);
}

TEST(SessionCodecTest, EveryFieldOfACoordinatorsMessagesSurvivesTheWayThereAndBack) {
  ExpectRoundTrips(kDown);
}

// A value that is written into another field of its type would survive the round trip as well.
TEST(SessionCodecTest, EachValueIsInTheFieldOfItsName) {
  const std::string path = LONGRUN_SOURCE_DIR "/tests/sweeps/session_messages.golden";
  std::string text;
  for (const UpMessage& message : kUp) text += "up " + ToWire(message).DebugString();
  for (const DownMessage& message : kDown) text += "down " + ToWire(message).DebugString();
  if (std::getenv("LONGRUN_UPDATE") != nullptr) {
    ASSERT_TRUE(WriteFileAtomic(path, text).ok());
  }
  EXPECT_EQ(text, ReadFile(path).value());
}

std::string BytesOf(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

// The messages above as the first build of protocol 2 has them: without the fields of later builds.
std::vector<UpMessage> UpOfProtocol2() {
  std::vector<UpMessage> messages = kUp;
  auto& hello = std::get<HelloMessage>(messages[0]);
  hello.disk.wanted_bytes = 0;
  hello.folder.clear();
  hello.folder_id.clear();
  for (Slot& device : hello.devices) device.head.clear();
  std::get<HeartbeatMessage>(messages[1]).disk.wanted_bytes = 0;
  std::get<RejectedMessage>(messages[3]).lacks_disk = false;
  return messages;
}

// As a build of protocol 1 has them: without the fields of later versions.
std::vector<UpMessage> UpOfProtocol1() {
  std::vector<UpMessage> messages = UpOfProtocol2();
  auto& hello = std::get<HelloMessage>(messages[0]);
  hello.protocol_oldest = hello.protocol_newest = 1;
  hello.capabilities.clear();
  hello.labels.clear();
  hello.disk = {};
  hello.allocation.reset();
  for (Slot& device : hello.devices) device.attention = device.operators = "";
  std::get<HeartbeatMessage>(messages[1]).disk = {};
  auto& rejected = std::get<RejectedMessage>(messages[3]);
  rejected.cache_needed_bytes = rejected.cache_limit_bytes = 0;
  messages.pop_back();  // SharedSeen
  messages.pop_back();  // DatasetsHeld
  return messages;
}
std::vector<DownMessage> DownOfProtocol1() {
  std::vector<DownMessage> messages = kDown;
  auto& welcome = std::get<WelcomeMessage>(messages[0]);
  welcome.protocol_version = 1;
  welcome.capabilities.clear();
  welcome.shares_artifacts = false;
  auto& start = std::get<StartMessage>(messages[1]);
  start.datasets.clear();
  start.input_files.clear();
  messages.pop_back();  // SharedVerdict
  messages.pop_back();  // Hold
  return messages;
}

// The file has the bytes of every message, one on each line.
void ExpectFramesAreRead(const std::string& name, const std::vector<UpMessage>& up,
                         const std::vector<DownMessage>& down) {
  std::size_t n_up = 0, n_down = 0;
  std::istringstream frames(ReadFile(LONGRUN_SOURCE_DIR "/tests/golden/session/" + name).value());
  for (std::string way, kind, hex; frames >> way >> kind >> hex;) {
    if (way == "up") {
      v1::WorkerMessage wire;
      ASSERT_TRUE(wire.ParseFromString(BytesOf(hex))) << kind;
      ASSERT_LT(n_up, up.size());
      const std::optional<UpMessage> read = FromWire(wire);
      ASSERT_TRUE(read.has_value()) << kind;
      EXPECT_EQ(ToWire(*read).DebugString(), ToWire(up[n_up++]).DebugString()) << kind;
    } else {
      v1::CoordinatorMessage wire;
      ASSERT_TRUE(wire.ParseFromString(BytesOf(hex))) << kind;
      ASSERT_LT(n_down, down.size());
      const std::optional<DownMessage> read = FromWire(wire);
      ASSERT_TRUE(read.has_value()) << kind;
      EXPECT_EQ(ToWire(*read).DebugString(), ToWire(down[n_down++]).DebugString()) << kind;
    }
  }
  EXPECT_EQ(n_up, up.size());
  EXPECT_EQ(n_down, down.size());
}

// As protoc encodes them by the definition of commit 7adb7c14, the last one before ranges of
// versions. This build must read all of them for as long as it speaks version 1.
TEST(SessionCodecTest, EveryFrameOfProtocol1IsRead) {
  ExpectFramesAreRead("protocol_1.txt", UpOfProtocol1(), DownOfProtocol1());
}

// The same by the definition of commit dcca93b1, for version 2.
TEST(SessionCodecTest, EveryFrameOfProtocol2IsRead) {
  ExpectFramesAreRead("protocol_2.txt", UpOfProtocol2(), kDown);
}

// Else the coordinator would send what a worker cannot receive.
TEST(SessionCodecTest, AStartHasAtMostTheBytesThatAreCountedWithoutProtobuf) {
  StartMessage start;
  for (const DownMessage& message : kDown) {
    if (const auto* const found = std::get_if<StartMessage>(&message)) start = *found;
  }
  const auto n_bytes = [](const StartMessage& message) {
    return static_cast<std::int64_t>(ToWire(DownMessage(message)).ByteSizeLong());
  };
  EXPECT_GE(WireBytesMax(start), n_bytes(start));
  EXPECT_GE(WireBytesMax(StartMessage()), n_bytes(StartMessage()));

  const std::string digest(64, 'f');
  start.task_json.assign(3'000'000, 'x');
  start.epoch = std::uint64_t{1} << 63;
  const ArtifactFile file = {.name = "a", .sha256 = digest, .n_bytes = std::int64_t{1} << 62};
  start.datasets[0].files.assign(8'000, file);
  start.checkpoints[0].files.assign(1'000, file);
  start.input_files.assign(100, file);

  EXPECT_GE(WireBytesMax(start), n_bytes(start));
  EXPECT_LT(WireBytesMax(start), n_bytes(start) * 11 / 10);
}

TEST(SessionCodecTest, MessageOfALaterProtocolIsNone) {
  EXPECT_FALSE(FromWire(v1::WorkerMessage()).has_value());
  EXPECT_FALSE(FromWire(v1::CoordinatorMessage()).has_value());
}

TEST(SessionCodecTest, HelloWithADeviceOfAnUnknownKindIsNone) {
  v1::WorkerMessage wire = ToWire(kUp[0]);
  ASSERT_TRUE(FromWire(wire).has_value());
  wire.mutable_hello()->mutable_devices(0)->set_kind("tpu");
  EXPECT_FALSE(FromWire(wire).has_value());
}

TEST(SessionCodecTest, VerdictOfALaterProtocolIsLeftOut) {
  v1::CoordinatorMessage wire = ToWire(kDown[0]);
  wire.mutable_welcome()->mutable_attempts(1)->set_verdict(
      static_cast<v1::AttemptVerdict::Verdict>(99));

  const auto welcome = std::get<WelcomeMessage>(FromWire(wire).value());

  ASSERT_EQ(welcome.attempts.size(), 3u);
  EXPECT_EQ(welcome.attempts[1].attempt, "c");
}

TEST(SessionCodecTest, ReasonAndLogThatAreNotUtf8BecomeIt) {
  const v1::WorkerMessage rejected = ToWire(UpMessage(
      RejectedMessage{.attempt = "a", .epoch = 1, .failure_class = "", .reason = "path \xff"}));
  EXPECT_EQ(rejected.rejected().reason(), "path \xEF\xBF\xBD");
  const v1::WorkerMessage ended =
      ToWire(UpMessage(AttemptEndedMessage{.attempt = "a", .epoch = 1, .log_tail = "log \xff"}));
  EXPECT_EQ(ended.attempt_ended().log_tail(), "log \xEF\xBF\xBD");
}

}  // namespace
}  // namespace longrun
