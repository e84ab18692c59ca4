// The messages of a worker's session as plain structs, for both of its ends. What each field means
// is in proto/longrun/v1/session.proto; session_codec.h translates between the two.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/artifact_file.h"
#include "sweeps/live_attempt.h"
#include "sweeps/slot.h"

namespace longrun {

// ---- up: from the worker -----------------------------------------------------------------------

// The disk of a worker's folder.
struct DiskSpace {
  std::int64_t free_bytes = 0;
  std::int64_t bytes = 0;  // 0: not known
  // Not 0: too little is free for new attempts, and so much must be.
  std::int64_t wanted_bytes = 0;
};

// What a temporary worker has of a machine.
struct AllocationSpan {
  std::string job;  // for people
  std::optional<std::int64_t> work_left_ms = {};
};

struct HelloMessage {
  int protocol_oldest = 0;
  int protocol_newest = 0;
  std::string worker_id;
  std::string incarnation;
  std::string host;
  std::string version;
  std::int64_t pid = 0;
  std::vector<Slot> devices;
  std::vector<std::string> dataset_digests;
  std::vector<LiveAttempt> attempts;
  std::vector<std::string> capabilities = {};
  std::map<std::string, std::string> labels = {};
  DiskSpace disk = {};
  std::string folder = {};
  std::string folder_id = {};
  std::optional<AllocationSpan> allocation = {};
};

struct HeartbeatMessage {
  std::int64_t number = 0;
  std::vector<LiveAttempt> attempts;
  std::int64_t backlog_bytes = 0;
  DiskSpace disk = {};
};

struct AcceptedMessage {
  std::string attempt;
  std::uint64_t epoch = 0;
};

struct RejectedMessage {
  std::string attempt;
  std::uint64_t epoch = 0;
  std::string failure_class;  // "": the slot was busy
  std::string reason;         // any bytes
  std::int64_t cache_needed_bytes = 0;
  std::int64_t cache_limit_bytes = 0;
  bool lacks_disk = false;
};

struct JournalBatchMessage {
  std::string attempt;
  std::uint64_t epoch = 0;
  std::int64_t first_seq = 0;
  std::vector<std::string> lines;                // without their newline
  std::vector<std::int64_t> without_files = {};  // seqs of records whose files are gone
};

struct AttemptEndedMessage {
  std::string attempt;
  std::uint64_t epoch = 0;
  bool exit_known = false;
  int exit_code = -1;
  int signal = 0;
  bool oom_kill = false;
  bool stop_requested = false;
  std::int64_t last_seq = 0;
  std::string log_tail;  // any bytes
};

struct LogChunkMessage {
  std::string attempt;
  std::int64_t offset = 0;
  std::string data;
};

// The datasets in the worker's folder and in its cache.
struct DatasetsHeldMessage {
  std::vector<std::string> digests;
};

// What the worker sees in the shared folder, and what it wrote there.
struct SharedSeenMessage {
  std::string challenge;
  std::string name;
  std::string text;
  std::string problem;
};

// Up: the worker is stopping. Down: it must accept no new work.
struct DrainMessage {};

using UpMessage = std::variant<HelloMessage, HeartbeatMessage, AcceptedMessage, RejectedMessage,
                               JournalBatchMessage, AttemptEndedMessage, LogChunkMessage,
                               DrainMessage, DatasetsHeldMessage, SharedSeenMessage>;

// ---- down: from the coordinator ----------------------------------------------------------------

enum class Verdict { kContinue, kStop, kFenced, kEnded };

struct AttemptVerdict {
  std::string attempt;
  std::int64_t durable_seq = 0;
  Verdict verdict = Verdict::kContinue;
};

struct WelcomeMessage {
  int protocol_version = 0;  // of the session
  std::string coordinator_id;
  std::int64_t boot_epoch = 0;
  std::int64_t heartbeat_ms = 0;
  std::int64_t lease_ms = 0;
  std::vector<AttemptVerdict> attempts;
  std::vector<std::string> capabilities = {};
  bool shares_artifacts = false;
};

// A checkpoint in the artifact store.
struct CheckpointSource {
  std::string sha256;               // of manifest.json
  std::vector<ArtifactFile> files;  // manifest.json included
};

// A dataset that an attempt reads.
struct DatasetSource {
  std::string digest;
  std::vector<ArtifactFile> files;  // as in DatasetListing; empty: the coordinator cannot send it
  std::string problem = {};         // why `files` is empty
  std::string folder = {};          // over a unix socket: where it is registered
};

struct StartMessage {
  std::string attempt;
  std::uint64_t epoch = 0;
  int device_index = 0;
  std::string task_json;  // sweeps/task.h, without the worker's paths
  std::string dataset_digest;
  std::string dataset_path;  // only to a worker that does not know `datasets`
  std::vector<CheckpointSource> checkpoints;
  std::vector<DatasetSource> datasets = {};
  std::vector<ArtifactFile> input_files = {};  // that the evaluation names
};

struct StopMessage {
  std::string attempt;
  std::uint64_t epoch = 0;
  std::int64_t grace_ms = 0;
  std::string reason;
};

struct AckMessage {
  std::string attempt;
  std::int64_t durable_seq = 0;
  bool ended = false;
};

struct NackMessage {
  std::string attempt;
  std::int64_t expected_seq = 0;
};

struct FencedMessage {
  std::string attempt;
  std::uint64_t current_epoch = 0;
};

struct HeartbeatReplyMessage {
  std::int64_t number = 0;
};

// An operator's drain, or its end.
struct HoldMessage {
  bool held = false;
  std::int64_t deadline_ms = -1;  // until trainers are asked to stop; -1: they may finish
};

// Whether both sides see the same shared folder.
struct SharedVerdictMessage {
  bool same = false;
  std::string problem;
};

using DownMessage =
    std::variant<WelcomeMessage, StartMessage, StopMessage, AckMessage, NackMessage, FencedMessage,
                 HeartbeatReplyMessage, DrainMessage, HoldMessage, SharedVerdictMessage>;

}  // namespace longrun
