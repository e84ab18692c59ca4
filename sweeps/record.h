// The records of a journal by kind. ParseJournalLine (event.h) turns each body into a struct, and
// nothing else reads it by its keys. Kinds and their bodies:
//
//   attempt     {"format":1,"attempt","task","run_key","epoch","kind","resume":{..}|null}  record 1
//   started     {"version","commit","dirty","numerics","compiler","torch","cuda","driver",
//                "device":{"kind","name","memory_bytes"},"host","execution":{..},
//                "activation_checkpointing","parameters","steps","seed","dataset":{..},"init",
//                "initial_weights","command","environment":{..},"pid"}
//   progress    {"phase":"train|validate|evaluate|checkpoint","done","of","tokens_per_s","eta_ms"}
//   series      {"loss":..,"lr":..,"grad_norm":..,"tokens_per_s":..}  (any metric: number or null)
//   result      {"cell","metric","context_length","split","protocol","averaging","depth","variant",
//                "value","se","n","nll_sum","bytes","status","extra":{..}}   value: null unless ok;
//                also "measured_by" if an earlier attempt measured it (earlier_results.h)
//   checkpoint  {"path","step","sha256","files":[{"name","sha256","bytes"}],"final":bool,
//               "best":bool}
//   artifact    {"name","path","sha256","bytes"}          paths: relative to the attempt's folder
//   warning     {"message"}
//   failed      {"class","message","where"}
//   final       {"counts":{kind: n},"digest"}   over all records before it; digest: SHA-256 over
//                the lines of the result records, each with its newline
//
// A body that a trainer wrote may not have the form of its kind. It is then an UnreadableBody: its
// line is stored unchanged, and has no other effect. In an optional member, null means the same as
// absent. A member of another type makes the body unreadable, unless its struct says otherwise.
// 2.0 is not an integer. Members that no struct has are ignored.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/artifact_file.h"
#include "base/enum_names.h"
#include "base/json.h"
#include "sweeps/run.h"
#include "sweeps/task.h"

namespace longrun {

enum class RecordKind {
  kAttempt,
  kStarted,
  kProgress,
  kSeries,
  kResult,
  kCheckpoint,
  kArtifact,
  kWarning,
  kFailed,
  kFinal,
};
template <>
struct EnumNames<RecordKind> {
  static constexpr std::array<std::string_view, 10> kNames = {
      "attempt",    "started",  "progress", "series", "result",
      "checkpoint", "artifact", "warning",  "failed", "final"};
};

// A trainer writes the bodies whose structs have ToJson(), with every member of the kind.

// Always readable: a member of another form is absent.
struct AttemptRecord {
  std::string task;  // "": absent
  std::optional<CheckpointRef> resume = {};
};

// Always readable: a member of another form is absent.
struct StartedRecord {
  std::optional<Execution> execution = {};
};

struct ProgressRecord {
  std::string phase = {};  // "": absent
  std::optional<std::int64_t> done = {}, of = {};
  std::optional<double> tokens_per_s = {};
  std::optional<std::int64_t> eta_ms = {};

  static constexpr RecordKind kKind = RecordKind::kProgress;
  Json ToJson() const;
};

// Readable only if its record has a step and the body has at least one metric.
struct SeriesRecord {
  std::vector<std::pair<std::string, std::optional<double>>> values = {};  // by name, sorted

  std::optional<double> ValueOf(std::string_view metric) const;  // nullopt if null or absent

  static constexpr RecordKind kKind = RecordKind::kSeries;
  Json ToJson() const;
};

struct ResultRecord {
  std::string cell;
  std::string metric;
  std::optional<std::int64_t> context_length = {};
  std::optional<std::string> split = {}, protocol = {}, averaging = {}, variant = {};
  std::optional<double> depth = {}, value = {}, se = {}, nll_sum = {};
  std::optional<std::int64_t> n = {}, n_bytes = {};
  std::string status;
  std::string extra = "{}";  // of any type, as canonical JSON; {} if absent

  ExpectedCell asked() const;  // the number that it is
};

// Always readable: a member of another form is absent, and may make is_whole false.
struct CheckpointRecord {
  std::optional<std::string> path = {};
  std::string sha256 = {};  // of its manifest; "": absent
  std::optional<std::int64_t> step = {};
  std::optional<std::vector<ArtifactFile>> files = {};  // absent if one of them is of another form
  bool is_final = false;
  bool is_best = false;
  // Whether training can resume from the checkpoint: the record has a digest, a step and files, and
  // its flags are true, false or absent, but not null.
  bool is_whole = false;

  static constexpr RecordKind kKind = RecordKind::kCheckpoint;
  Json ToJson() const;
};

struct ArtifactRecord {
  std::string name;
  std::optional<std::string> path = {};  // absent if it is of another form
  std::string sha256;
  std::int64_t n_bytes = 0;

  static constexpr RecordKind kKind = RecordKind::kArtifact;
  Json ToJson() const;
};

// Always readable: a member of another form is "".
struct FailedRecord {
  std::string failure_class = {};
  std::string message = {};
  std::string where = {};

  static constexpr RecordKind kKind = RecordKind::kFailed;
  Json ToJson() const;
};

// Always readable, since its content is only compared with what is stored.
struct FinalRecord {
  std::optional<Json> counts = {};
  std::optional<Json> digest = {};

  bool operator==(const FinalRecord&) const = default;

  static constexpr RecordKind kKind = RecordKind::kFinal;
  Json ToJson() const;
};

// A body that does not have the form of its record's kind.
struct UnreadableBody {
  std::string why;
};

// std::monostate for a warning, which no program reads, and for a record of which only the number
// was kept.
using RecordBody = std::variant<std::monostate, UnreadableBody, AttemptRecord, StartedRecord,
                                ProgressRecord, SeriesRecord, ResultRecord, CheckpointRecord,
                                ArtifactRecord, FailedRecord, FinalRecord>;

struct JournalRecord {
  std::int64_t seq = 0;  // 1, 2, 3, ...
  RecordKind kind = RecordKind::kAttempt;
  std::int64_t t_ms = 0;
  std::optional<std::int64_t> step;
  RecordBody body;

  // The body if it is a `Body`, or nullptr.
  template <typename Body>
  const Body* As() const {
    return std::get_if<Body>(&body);
  }
};

// `step`: that of the record.
RecordBody ParseRecordBody(RecordKind kind, std::optional<std::int64_t> step, Json body);

}  // namespace longrun
