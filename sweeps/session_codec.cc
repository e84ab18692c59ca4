// Each message has two functions, side by side: Fill writes it, Read reads it.
#include "sweeps/session_codec.h"

#include <utility>

#include "base/check.h"
#include "base/str.h"

namespace longrun {
namespace {

// ---- what several messages list ----------------------------------------------------------------

void Fill(v1::LiveAttempt& wire, LiveAttempt& live) {
  wire.set_attempt(std::move(live.attempt));
  wire.set_task(std::move(live.task));
  wire.set_run_key(std::move(live.run_key));
  wire.set_epoch(live.epoch);
  wire.set_last_seq(live.last_seq);
  wire.set_running(live.running);
}
LiveAttempt Read(const v1::LiveAttempt& wire) {
  return {.attempt = wire.attempt(),
          .task = wire.task(),
          .run_key = wire.run_key(),
          .epoch = wire.epoch(),
          .last_seq = wire.last_seq(),
          .running = wire.running()};
}

void Fill(v1::Device& wire, Slot& slot) {
  wire.set_index(static_cast<std::int32_t>(slot.index));
  wire.set_kind(std::string(EnumName(slot.kind)));
  wire.set_name(std::move(slot.name));
  wire.set_memory_bytes(slot.memory_bytes);
  wire.set_threads(static_cast<std::int32_t>(slot.threads));
  wire.set_simd(std::move(slot.simd));
  wire.set_linear(std::move(slot.linear));
  wire.set_bf16(std::move(slot.bf16));
  wire.set_attention(std::move(slot.attention));
  wire.set_operators(std::move(slot.operators));
  wire.set_head(std::move(slot.head));
}
std::optional<Slot> Read(const v1::Device& wire) {
  const std::optional<DeviceKind> kind = FindEnum<DeviceKind>(wire.kind());
  if (!kind) return std::nullopt;
  return Slot{.index = wire.index(),
              .kind = *kind,
              .name = wire.name(),
              .memory_bytes = wire.memory_bytes(),
              .threads = wire.threads(),
              .simd = wire.simd(),
              .linear = wire.linear(),
              .bf16 = wire.bf16(),
              .attention = wire.attention(),
              .operators = wire.operators(),
              .head = wire.head()};
}

void Fill(v1::ArtifactFile& wire, ArtifactFile& file) {
  wire.set_name(std::move(file.name));
  wire.set_sha256(std::move(file.sha256));
  wire.set_bytes(file.n_bytes);
}
ArtifactFile Read(const v1::ArtifactFile& wire) {
  return {.name = wire.name(), .sha256 = wire.sha256(), .n_bytes = wire.bytes()};
}

v1::AttemptVerdict::Verdict WireOf(Verdict verdict) {
  switch (verdict) {
    case Verdict::kContinue:
      return v1::AttemptVerdict::VERDICT_CONTINUE;
    case Verdict::kStop:
      return v1::AttemptVerdict::VERDICT_STOP;
    case Verdict::kFenced:
      return v1::AttemptVerdict::VERDICT_FENCED;
    case Verdict::kEnded:
      return v1::AttemptVerdict::VERDICT_ENDED;
  }
  LR_CHECK(false);
}
std::optional<Verdict> VerdictOf(v1::AttemptVerdict::Verdict verdict) {
  switch (verdict) {
    case v1::AttemptVerdict::VERDICT_CONTINUE:
      return Verdict::kContinue;
    case v1::AttemptVerdict::VERDICT_STOP:
      return Verdict::kStop;
    case v1::AttemptVerdict::VERDICT_FENCED:
      return Verdict::kFenced;
    case v1::AttemptVerdict::VERDICT_ENDED:
      return Verdict::kEnded;
    default:
      return std::nullopt;
  }
}

void Fill(v1::AttemptVerdict& wire, AttemptVerdict& verdict) {
  wire.set_attempt(std::move(verdict.attempt));
  wire.set_durable_seq(verdict.durable_seq);
  wire.set_verdict(WireOf(verdict.verdict));
}

// Declared before the templates that call them for each entry of a list.
void Fill(v1::CheckpointSource& wire, CheckpointSource& source);
CheckpointSource Read(const v1::CheckpointSource& wire);
void Fill(v1::DatasetSource& wire, DatasetSource& source);
DatasetSource Read(const v1::DatasetSource& wire);

template <typename Wire, typename Plain>
void FillAll(google::protobuf::RepeatedPtrField<Wire>& wire, std::vector<Plain>& plain) {
  wire.Reserve(static_cast<int>(plain.size()));
  for (Plain& one : plain) Fill(*wire.Add(), one);
}
template <typename Wire>
auto ReadAll(const google::protobuf::RepeatedPtrField<Wire>& wire) {
  std::vector<decltype(Read(std::declval<const Wire&>()))> plain;
  plain.reserve(static_cast<std::size_t>(wire.size()));
  for (const Wire& one : wire) plain.push_back(Read(one));
  return plain;
}

void Fill(v1::CheckpointSource& wire, CheckpointSource& source) {
  wire.set_sha256(std::move(source.sha256));
  FillAll(*wire.mutable_files(), source.files);
}
CheckpointSource Read(const v1::CheckpointSource& wire) {
  return {.sha256 = wire.sha256(), .files = ReadAll(wire.files())};
}

void Fill(v1::DatasetSource& wire, DatasetSource& source) {
  wire.set_digest(std::move(source.digest));
  FillAll(*wire.mutable_files(), source.files);
  // An error may name a path, which may contain anything.
  wire.set_problem(ToUtf8(source.problem));
  wire.set_folder(std::move(source.folder));
}
DatasetSource Read(const v1::DatasetSource& wire) {
  return {.digest = wire.digest(),
          .files = ReadAll(wire.files()),
          .problem = wire.problem(),
          .folder = wire.folder()};
}

// ---- up ----------------------------------------------------------------------------------------

void Fill(v1::Hello& wire, HelloMessage& message) {
  wire.set_protocol_version(message.protocol_oldest);
  wire.set_protocol_newest(message.protocol_newest);
  wire.set_worker_id(std::move(message.worker_id));
  wire.set_incarnation(std::move(message.incarnation));
  wire.set_host(std::move(message.host));
  wire.set_version(std::move(message.version));
  wire.set_pid(message.pid);
  FillAll(*wire.mutable_devices(), message.devices);
  for (std::string& digest : message.dataset_digests) wire.add_dataset_digests(std::move(digest));
  FillAll(*wire.mutable_attempts(), message.attempts);
  for (std::string& name : message.capabilities) wire.add_capabilities(std::move(name));
  wire.mutable_labels()->insert(message.labels.begin(), message.labels.end());
  wire.set_disk_free_bytes(message.disk.free_bytes);
  wire.set_disk_bytes(message.disk.bytes);
  wire.set_disk_wanted_bytes(message.disk.wanted_bytes);
  wire.set_folder(ToUtf8(message.folder));
  wire.set_folder_id(std::move(message.folder_id));
  if (message.allocation) {
    v1::Allocation& allocation = *wire.mutable_allocation();
    allocation.set_job(std::move(message.allocation->job));
    if (const auto left_ms = message.allocation->work_left_ms) {
      allocation.set_work_left_ms(*left_ms);
    }
  }
}
std::optional<HelloMessage> Read(const v1::Hello& wire) {
  HelloMessage message = {
      .protocol_oldest = wire.protocol_version(),
      .protocol_newest =
          wire.protocol_newest() == 0 ? wire.protocol_version() : wire.protocol_newest(),
      .worker_id = wire.worker_id(),
      .incarnation = wire.incarnation(),
      .host = wire.host(),
      .version = wire.version(),
      .pid = wire.pid(),
      .devices = {},
      .dataset_digests = {wire.dataset_digests().begin(), wire.dataset_digests().end()},
      .attempts = ReadAll(wire.attempts()),
      .capabilities = {wire.capabilities().begin(), wire.capabilities().end()},
      .labels = {wire.labels().begin(), wire.labels().end()},
      .disk = {.free_bytes = wire.disk_free_bytes(),
               .bytes = wire.disk_bytes(),
               .wanted_bytes = wire.disk_wanted_bytes()},
      .folder = wire.folder(),
      .folder_id = wire.folder_id()};
  for (const v1::Device& device : wire.devices()) {
    std::optional<Slot> slot = Read(device);
    if (!slot) return std::nullopt;
    message.devices.push_back(*std::move(slot));
  }
  if (wire.has_allocation()) {
    message.allocation = AllocationSpan{.job = wire.allocation().job()};
    if (wire.allocation().has_work_left_ms()) {
      message.allocation->work_left_ms = wire.allocation().work_left_ms();
    }
  }
  return message;
}

void Fill(v1::Heartbeat& wire, HeartbeatMessage& message) {
  wire.set_number(message.number);
  FillAll(*wire.mutable_attempts(), message.attempts);
  wire.set_backlog_bytes(message.backlog_bytes);
  wire.set_disk_free_bytes(message.disk.free_bytes);
  wire.set_disk_bytes(message.disk.bytes);
  wire.set_disk_wanted_bytes(message.disk.wanted_bytes);
}
HeartbeatMessage Read(const v1::Heartbeat& wire) {
  return {.number = wire.number(),
          .attempts = ReadAll(wire.attempts()),
          .backlog_bytes = wire.backlog_bytes(),
          .disk = {.free_bytes = wire.disk_free_bytes(),
                   .bytes = wire.disk_bytes(),
                   .wanted_bytes = wire.disk_wanted_bytes()}};
}

void Fill(v1::Accepted& wire, AcceptedMessage& message) {
  wire.set_attempt(std::move(message.attempt));
  wire.set_epoch(message.epoch);
}
AcceptedMessage Read(const v1::Accepted& wire) {
  return {.attempt = wire.attempt(), .epoch = wire.epoch()};
}

void Fill(v1::Rejected& wire, RejectedMessage& message) {
  wire.set_attempt(std::move(message.attempt));
  wire.set_epoch(message.epoch);
  wire.set_failure_class(std::move(message.failure_class));
  // Protobuf's strings are UTF-8, but a log or a path may contain anything.
  wire.set_reason(ToUtf8(message.reason));
  wire.set_cache_needed_bytes(message.cache_needed_bytes);
  wire.set_cache_limit_bytes(message.cache_limit_bytes);
  wire.set_lacks_disk(message.lacks_disk);
}
RejectedMessage Read(const v1::Rejected& wire) {
  return {.attempt = wire.attempt(),
          .epoch = wire.epoch(),
          .failure_class = wire.failure_class(),
          .reason = wire.reason(),
          .cache_needed_bytes = wire.cache_needed_bytes(),
          .cache_limit_bytes = wire.cache_limit_bytes(),
          .lacks_disk = wire.lacks_disk()};
}

void Fill(v1::JournalBatch& wire, JournalBatchMessage& message) {
  wire.set_attempt(std::move(message.attempt));
  wire.set_epoch(message.epoch);
  wire.set_first_seq(message.first_seq);
  for (std::string& line : message.lines) wire.add_lines(std::move(line));
  for (const std::int64_t seq : message.without_files) wire.add_without_files(seq);
}
JournalBatchMessage Read(const v1::JournalBatch& wire) {
  return {.attempt = wire.attempt(),
          .epoch = wire.epoch(),
          .first_seq = wire.first_seq(),
          .lines = {wire.lines().begin(), wire.lines().end()},
          .without_files = {wire.without_files().begin(), wire.without_files().end()}};
}

void Fill(v1::AttemptEnded& wire, AttemptEndedMessage& message) {
  wire.set_attempt(std::move(message.attempt));
  wire.set_epoch(message.epoch);
  wire.set_exit_known(message.exit_known);
  wire.set_exit_code(message.exit_code);
  wire.set_signal(message.signal);
  wire.set_oom_kill(message.oom_kill);
  wire.set_stop_requested(message.stop_requested);
  wire.set_last_seq(message.last_seq);
  wire.set_log_tail(ToUtf8(message.log_tail));
}
AttemptEndedMessage Read(const v1::AttemptEnded& wire) {
  return {.attempt = wire.attempt(),
          .epoch = wire.epoch(),
          .exit_known = wire.exit_known(),
          .exit_code = wire.exit_code(),
          .signal = wire.signal(),
          .oom_kill = wire.oom_kill(),
          .stop_requested = wire.stop_requested(),
          .last_seq = wire.last_seq(),
          .log_tail = wire.log_tail()};
}

void Fill(v1::LogChunk& wire, LogChunkMessage& message) {
  wire.set_attempt(std::move(message.attempt));
  wire.set_offset(message.offset);
  wire.set_data(std::move(message.data));
}
LogChunkMessage Read(const v1::LogChunk& wire) {
  return {.attempt = wire.attempt(), .offset = wire.offset(), .data = wire.data()};
}

void Fill(v1::DatasetsHeld& wire, DatasetsHeldMessage& message) {
  for (std::string& digest : message.digests) wire.add_digests(std::move(digest));
}
DatasetsHeldMessage Read(const v1::DatasetsHeld& wire) {
  return {.digests = {wire.digests().begin(), wire.digests().end()}};
}

void Fill(v1::SharedSeen& wire, SharedSeenMessage& message) {
  wire.set_challenge(std::move(message.challenge));
  wire.set_name(std::move(message.name));
  wire.set_text(std::move(message.text));
  wire.set_problem(ToUtf8(message.problem));
}
SharedSeenMessage Read(const v1::SharedSeen& wire) {
  return {.challenge = wire.challenge(),
          .name = wire.name(),
          .text = wire.text(),
          .problem = wire.problem()};
}

// ---- down --------------------------------------------------------------------------------------

void Fill(v1::Welcome& wire, WelcomeMessage& message) {
  wire.set_protocol_version(message.protocol_version);
  wire.set_coordinator_id(std::move(message.coordinator_id));
  wire.set_boot_epoch(message.boot_epoch);
  wire.set_heartbeat_ms(message.heartbeat_ms);
  wire.set_lease_ms(message.lease_ms);
  FillAll(*wire.mutable_attempts(), message.attempts);
  for (std::string& name : message.capabilities) wire.add_capabilities(std::move(name));
  wire.set_shares_artifacts(message.shares_artifacts);
}
WelcomeMessage Read(const v1::Welcome& wire) {
  WelcomeMessage message = {
      .protocol_version = wire.protocol_version(),
      .coordinator_id = wire.coordinator_id(),
      .boot_epoch = wire.boot_epoch(),
      .heartbeat_ms = wire.heartbeat_ms(),
      .lease_ms = wire.lease_ms(),
      .attempts = {},
      .capabilities = {wire.capabilities().begin(), wire.capabilities().end()},
      .shares_artifacts = wire.shares_artifacts()};
  for (const v1::AttemptVerdict& from : wire.attempts()) {
    const std::optional<Verdict> verdict = VerdictOf(from.verdict());
    if (!verdict) continue;
    message.attempts.push_back(
        {.attempt = from.attempt(), .durable_seq = from.durable_seq(), .verdict = *verdict});
  }
  return message;
}

void Fill(v1::Start& wire, StartMessage& message) {
  wire.set_attempt(std::move(message.attempt));
  wire.set_epoch(message.epoch);
  wire.set_device_index(message.device_index);
  wire.set_task_json(std::move(message.task_json));
  wire.set_dataset_digest(std::move(message.dataset_digest));
  wire.set_dataset_path(std::move(message.dataset_path));
  FillAll(*wire.mutable_checkpoints(), message.checkpoints);
  FillAll(*wire.mutable_datasets(), message.datasets);
  FillAll(*wire.mutable_input_files(), message.input_files);
}
StartMessage Read(const v1::Start& wire) {
  return {.attempt = wire.attempt(),
          .epoch = wire.epoch(),
          .device_index = wire.device_index(),
          .task_json = wire.task_json(),
          .dataset_digest = wire.dataset_digest(),
          .dataset_path = wire.dataset_path(),
          .checkpoints = ReadAll(wire.checkpoints()),
          .datasets = ReadAll(wire.datasets()),
          .input_files = ReadAll(wire.input_files())};
}

void Fill(v1::Stop& wire, StopMessage& message) {
  wire.set_attempt(std::move(message.attempt));
  wire.set_epoch(message.epoch);
  wire.set_grace_ms(message.grace_ms);
  wire.set_reason(std::move(message.reason));
}
StopMessage Read(const v1::Stop& wire) {
  return {.attempt = wire.attempt(),
          .epoch = wire.epoch(),
          .grace_ms = wire.grace_ms(),
          .reason = wire.reason()};
}

void Fill(v1::Ack& wire, AckMessage& message) {
  wire.set_attempt(std::move(message.attempt));
  wire.set_durable_seq(message.durable_seq);
  wire.set_ended(message.ended);
}
AckMessage Read(const v1::Ack& wire) {
  return {.attempt = wire.attempt(), .durable_seq = wire.durable_seq(), .ended = wire.ended()};
}

void Fill(v1::Nack& wire, NackMessage& message) {
  wire.set_attempt(std::move(message.attempt));
  wire.set_expected_seq(message.expected_seq);
}
NackMessage Read(const v1::Nack& wire) {
  return {.attempt = wire.attempt(), .expected_seq = wire.expected_seq()};
}

void Fill(v1::Fenced& wire, FencedMessage& message) {
  wire.set_attempt(std::move(message.attempt));
  wire.set_current_epoch(message.current_epoch);
}
FencedMessage Read(const v1::Fenced& wire) {
  return {.attempt = wire.attempt(), .current_epoch = wire.current_epoch()};
}

void Fill(v1::HeartbeatReply& wire, HeartbeatReplyMessage& message) {
  wire.set_number(message.number);
}
HeartbeatReplyMessage Read(const v1::HeartbeatReply& wire) { return {.number = wire.number()}; }

void Fill(v1::Hold& wire, HoldMessage& message) {
  wire.set_held(message.held);
  wire.set_deadline_ms(message.deadline_ms);
}
HoldMessage Read(const v1::Hold& wire) {
  return {.held = wire.held(), .deadline_ms = wire.deadline_ms()};
}

void Fill(v1::SharedVerdict& wire, SharedVerdictMessage& message) {
  wire.set_same(message.same);
  wire.set_problem(ToUtf8(message.problem));
}
SharedVerdictMessage Read(const v1::SharedVerdict& wire) {
  return {.same = wire.same(), .problem = wire.problem()};
}

// ---- the member of each kind -------------------------------------------------------------------

struct UpFiller {
  v1::WorkerMessage& wire;
  void operator()(HelloMessage& message) { Fill(*wire.mutable_hello(), message); }
  void operator()(HeartbeatMessage& message) { Fill(*wire.mutable_heartbeat(), message); }
  void operator()(AcceptedMessage& message) { Fill(*wire.mutable_accepted(), message); }
  void operator()(RejectedMessage& message) { Fill(*wire.mutable_rejected(), message); }
  void operator()(JournalBatchMessage& message) { Fill(*wire.mutable_journal_batch(), message); }
  void operator()(AttemptEndedMessage& message) { Fill(*wire.mutable_attempt_ended(), message); }
  void operator()(LogChunkMessage& message) { Fill(*wire.mutable_log_chunk(), message); }
  void operator()(DrainMessage&) { wire.mutable_drain(); }
  void operator()(DatasetsHeldMessage& message) { Fill(*wire.mutable_datasets_held(), message); }
  void operator()(SharedSeenMessage& message) { Fill(*wire.mutable_shared_seen(), message); }
};

struct DownFiller {
  v1::CoordinatorMessage& wire;
  void operator()(WelcomeMessage& message) { Fill(*wire.mutable_welcome(), message); }
  void operator()(StartMessage& message) { Fill(*wire.mutable_start(), message); }
  void operator()(StopMessage& message) { Fill(*wire.mutable_stop(), message); }
  void operator()(AckMessage& message) { Fill(*wire.mutable_ack(), message); }
  void operator()(NackMessage& message) { Fill(*wire.mutable_nack(), message); }
  void operator()(FencedMessage& message) { Fill(*wire.mutable_fenced(), message); }
  void operator()(HeartbeatReplyMessage& message) {
    Fill(*wire.mutable_heartbeat_reply(), message);
  }
  void operator()(DrainMessage&) { wire.mutable_drain(); }
  void operator()(HoldMessage& message) { Fill(*wire.mutable_hold(), message); }
  void operator()(SharedVerdictMessage& message) { Fill(*wire.mutable_shared_verdict(), message); }
};

}  // namespace

v1::WorkerMessage ToWire(UpMessage message) {
  v1::WorkerMessage wire;
  std::visit(UpFiller{wire}, message);
  return wire;
}

v1::CoordinatorMessage ToWire(DownMessage message) {
  v1::CoordinatorMessage wire;
  std::visit(DownFiller{wire}, message);
  return wire;
}

std::optional<UpMessage> FromWire(const v1::WorkerMessage& wire) {
  switch (wire.message_case()) {
    case v1::WorkerMessage::kHello:
      return Read(wire.hello());
    case v1::WorkerMessage::kHeartbeat:
      return Read(wire.heartbeat());
    case v1::WorkerMessage::kAccepted:
      return Read(wire.accepted());
    case v1::WorkerMessage::kRejected:
      return Read(wire.rejected());
    case v1::WorkerMessage::kJournalBatch:
      return Read(wire.journal_batch());
    case v1::WorkerMessage::kAttemptEnded:
      return Read(wire.attempt_ended());
    case v1::WorkerMessage::kLogChunk:
      return Read(wire.log_chunk());
    case v1::WorkerMessage::kDrain:
      return DrainMessage{};
    case v1::WorkerMessage::kDatasetsHeld:
      return Read(wire.datasets_held());
    case v1::WorkerMessage::kSharedSeen:
      return Read(wire.shared_seen());
    case v1::WorkerMessage::MESSAGE_NOT_SET:
      break;
  }
  return std::nullopt;
}

std::optional<DownMessage> FromWire(const v1::CoordinatorMessage& wire) {
  switch (wire.message_case()) {
    case v1::CoordinatorMessage::kWelcome:
      return Read(wire.welcome());
    case v1::CoordinatorMessage::kStart:
      return Read(wire.start());
    case v1::CoordinatorMessage::kStop:
      return Read(wire.stop());
    case v1::CoordinatorMessage::kAck:
      return Read(wire.ack());
    case v1::CoordinatorMessage::kNack:
      return Read(wire.nack());
    case v1::CoordinatorMessage::kFenced:
      return Read(wire.fenced());
    case v1::CoordinatorMessage::kHeartbeatReply:
      return Read(wire.heartbeat_reply());
    case v1::CoordinatorMessage::kDrain:
      return DrainMessage{};
    case v1::CoordinatorMessage::kHold:
      return Read(wire.hold());
    case v1::CoordinatorMessage::kSharedVerdict:
      return Read(wire.shared_verdict());
    case v1::CoordinatorMessage::MESSAGE_NOT_SET:
      break;
  }
  return std::nullopt;
}

}  // namespace longrun
