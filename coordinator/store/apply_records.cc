// Journal records as rows. What a trainer wrote is never trusted to have a row's form: a record whose
// body does not fit is kept as it came, in `record`, and its attempt will lack the row.
#include <optional>

#include "base/check.h"
#include "base/hash.h"
#include "coordinator/store/sqlite.h"
#include "coordinator/store/store.h"

namespace longrun {
namespace {

constexpr std::size_t kMetricsKnownMax = 1000;  // a trainer may name what it likes

using Text = std::optional<std::string>;
using Int = std::optional<std::int64_t>;
using Real = std::optional<double>;

// A member as a column: null and absent are NULL; another type makes the whole body unfit.
class Columns {
 public:
  explicit Columns(const Json& body) : body_(body) { fits_ = body.is_object(); }

  Text TextOf(const char* key) { return Get<std::string>(key, &Json::is_string); }
  Real RealOf(const char* key) { return Get<double>(key, &Json::is_number); }
  Int IntOf(const char* key) {
    const Json* member = Find(key);
    if (member == nullptr) return {};
    if (member->is_number_unsigned() && member->get<std::uint64_t>() > INT64_MAX) {
      fits_ = false;
      return {};
    }
    if (!member->is_number_integer()) {
      fits_ = false;
      return {};
    }
    return member->get<std::int64_t>();
  }
  bool BoolOf(const char* key) { return Get<bool>(key, &Json::is_boolean).value_or(false); }
  template <typename T>
  T Must(std::optional<T> value) {
    if (!value) fits_ = false;
    return value.value_or(T{});
  }
  bool fits() const { return fits_; }

 private:
  const Json* Find(const char* key) const {
    if (!body_.is_object()) return nullptr;
    const auto it = body_.find(key);
    return it == body_.end() || it->is_null() ? nullptr : &*it;
  }
  template <typename T>
  std::optional<T> Get(const char* key, bool (Json::*is)() const noexcept) {
    const Json* member = Find(key);
    if (member == nullptr) return {};
    if (!(member->*is)()) {
      fits_ = false;
      return {};
    }
    return member->get<T>();
  }

  const Json& body_;
  bool fits_ = true;
};

}  // namespace

Status Store::ApplyOne(const PutRecord& write, std::int64_t, ApplyCounts& counts) {
  const std::string& kind = write.record.kind;
  if (kind == "result") {
    ASSIGN_OR_RETURN(const bool stored, PutResultRow(write));
    if (stored) {
      counts.result_rows += 1;
      return Status();
    }
    counts.malformed += 1;
  } else if (kind == "series") {
    ASSIGN_OR_RETURN(const bool stored, PutSeriesRows(write, counts));
    if (stored) return Status();
    counts.malformed += 1;
  } else if (kind == "checkpoint" && !write.files_gone) {
    RETURN_IF_ERROR(PutCheckpointRows(write));
  } else if (kind == "artifact" && !write.files_gone) {
    RETURN_IF_ERROR(PutArtifactRow(write));
  }
  return PutPlainRecord(write, counts);
}

Result<bool> Store::PutResultRow(const PutRecord& write) {
  Columns columns(write.record.body);
  const std::string cell = columns.Must(columns.TextOf("cell"));
  const std::string metric = columns.Must(columns.TextOf("metric"));
  const std::string result_status = columns.Must(columns.TextOf("status"));
  const Int context_length = columns.IntOf("context_length");
  const Text split = columns.TextOf("split"), protocol = columns.TextOf("protocol");
  const Text averaging = columns.TextOf("averaging"), variant = columns.TextOf("variant");
  const Real depth = columns.RealOf("depth"), value = columns.RealOf("value");
  const Real se = columns.RealOf("se"), nll_sum = columns.RealOf("nll_sum");
  const Int n = columns.IntOf("n"), n_bytes = columns.IntOf("bytes");
  if (!columns.fits()) return false;
  const auto extra_member = write.record.body.find("extra");
  const std::string extra =
      extra_member == write.record.body.end() ? "{}" : CanonicalJson(*extra_member);
  ASSIGN_OR_RETURN(
      Statement statement,
      connection_->Prepare(
          "INSERT INTO result (attempt, seq, task, run_key, cell, metric, context_length, split,"
          " protocol, averaging, depth, variant, value, se, n, nll_sum, bytes, status, extra, t_ms,"
          " line) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
          " ON CONFLICT DO NOTHING"));
  RETURN_IF_ERROR(statement.Bind(write.attempt)
                      .Bind(write.record.seq)
                      .Bind(write.task)
                      .Bind(write.run_key)
                      .Bind(cell)
                      .Bind(metric)
                      .Bind(context_length)
                      .Bind(split)
                      .Bind(protocol)
                      .Bind(averaging)
                      .Bind(depth)
                      .Bind(variant)
                      .Bind(value)
                      .Bind(se)
                      .Bind(n)
                      .Bind(nll_sum)
                      .Bind(n_bytes)
                      .Bind(result_status)
                      .Bind(extra)
                      .Bind(write.record.t_ms)
                      .Bind(write.line)
                      .Run());
  return connection_->n_changed() == 1;
}

Result<bool> Store::PutSeriesRows(const PutRecord& write, ApplyCounts& counts) {
  const Json& body = write.record.body;
  if (!write.record.step || !body.is_object() || body.empty()) return false;
  for (const auto& [name, value] : body.items()) {
    if (!value.is_number() && !value.is_null()) return false;
  }
  std::int64_t n_stored = 0;
  ASSIGN_OR_RETURN(
      Statement statement,
      connection_->Prepare("INSERT INTO series (attempt, metric, step, value, t_ms, seq)"
                           " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"));
  for (const auto& [name, value] : body.items()) {
    ASSIGN_OR_RETURN(const std::int64_t metric, MetricId(name));
    const Real number = value.is_null() ? Real() : Real(value.get<double>());
    RETURN_IF_ERROR(statement.Again()
                        .Bind(write.attempt)
                        .Bind(metric)
                        .Bind(*write.record.step)
                        .Bind(number)
                        .Bind(write.record.t_ms)
                        .Bind(write.record.seq)
                        .Run());
    n_stored += connection_->n_changed();
  }
  counts.series_rows += n_stored;
  counts.duplicates += static_cast<std::int64_t>(body.size()) - n_stored;
  // A record of which nothing could be stored is still a record: it is kept as it came.
  return n_stored > 0;
}

// Every row names its metric: the number is looked for once.
Result<std::int64_t> Store::MetricId(const std::string& name) {
  if (const auto known = metric_ids_.find(name); known != metric_ids_.end()) return known->second;
  {
    ASSIGN_OR_RETURN(Statement statement,
                     connection_->Prepare("INSERT OR IGNORE INTO metric_name (name) VALUES (?)"));
    RETURN_IF_ERROR(statement.Bind(name).Run());
  }
  ASSIGN_OR_RETURN(Statement statement,
                   connection_->Prepare("SELECT id FROM metric_name WHERE name = ?"));
  ASSIGN_OR_RETURN(const bool found, statement.Bind(name).Step());
  LR_CHECK(found);
  if (metric_ids_.size() >= kMetricsKnownMax) metric_ids_.clear();
  return metric_ids_.emplace(name, statement.Int(0)).first->second;
}

Status Store::PutCheckpointRows(const PutRecord& write) {
  Columns columns(write.record.body);
  const std::string sha256 = columns.Must(columns.TextOf("sha256"));
  const std::int64_t step = columns.Must(columns.IntOf("step"));
  const bool is_final = columns.BoolOf("final"), is_best = columns.BoolOf("best");
  const auto files = write.record.body.find("files");
  if (!columns.fits() || !IsWholeCheckpoint(write.record.body)) {
    return Status();  // kept as a plain record; the scheduler does not take it for a checkpoint
  }
  std::vector<ArtifactFileRow> rows;
  for (const Json& file : *files) {
    Columns file_columns(file);
    ArtifactFileRow row{.name = file_columns.Must(file_columns.TextOf("name")),
                        .sha256 = file_columns.Must(file_columns.TextOf("sha256")),
                        .n_bytes = file_columns.Must(file_columns.IntOf("bytes"))};
    if (!file_columns.fits()) return Status();
    rows.push_back(std::move(row));
  }
  {
    ASSIGN_OR_RETURN(
        Statement statement,
        connection_->Prepare("INSERT INTO checkpoint (attempt, seq, task, step, sha256, is_final,"
                             " is_best) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"));
    RETURN_IF_ERROR(statement.Bind(write.attempt)
                        .Bind(write.record.seq)
                        .Bind(write.task)
                        .Bind(step)
                        .Bind(sha256)
                        .Bind(is_final)
                        .Bind(is_best)
                        .Run());
  }
  return PutCheckpointFiles(sha256, rows);
}

Status Store::PutCheckpointFiles(const std::string& sha256,
                                 std::span<const ArtifactFileRow> files) {
  for (const ArtifactFileRow& file : files) {
    ASSIGN_OR_RETURN(Statement statement,
                     connection_->Prepare(
                         "INSERT OR IGNORE INTO checkpoint_file (checkpoint, name, sha256, bytes)"
                         " VALUES (?, ?, ?, ?)"));
    RETURN_IF_ERROR(
        statement.Bind(sha256).Bind(file.name).Bind(file.sha256).Bind(file.n_bytes).Run());
  }
  return Status();
}

Status Store::PutArtifactRow(const PutRecord& write) {
  Columns columns(write.record.body);
  const std::string name = columns.Must(columns.TextOf("name"));
  const std::string sha256 = columns.Must(columns.TextOf("sha256"));
  const std::int64_t n_bytes = columns.Must(columns.IntOf("bytes"));
  if (!columns.fits() || !IsSha256Hex(sha256)) return Status();
  ASSIGN_OR_RETURN(
      Statement statement,
      connection_->Prepare("INSERT INTO artifact (attempt, seq, task, name, sha256, bytes)"
                           " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"));
  return statement.Bind(write.attempt)
      .Bind(write.record.seq)
      .Bind(write.task)
      .Bind(name)
      .Bind(sha256)
      .Bind(n_bytes)
      .Run();
}

Status Store::PutPlainRecord(const PutRecord& write, ApplyCounts& counts) {
  ASSIGN_OR_RETURN(Statement statement,
                   connection_->Prepare("INSERT INTO record (attempt, seq, kind, step, t_ms, line)"
                                        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"));
  RETURN_IF_ERROR(statement.Bind(write.attempt)
                      .Bind(write.record.seq)
                      .Bind(write.record.kind)
                      .Bind(write.record.step)
                      .Bind(write.record.t_ms)
                      .Bind(write.line)
                      .Run());
  counts.record_rows += connection_->n_changed();
  counts.duplicates += 1 - connection_->n_changed();
  return Status();
}

}  // namespace longrun
