// See row_identity.h.
#include "coordinator/store/row_identity.h"

#include <vector>

#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"
#include "sweeps/event.h"
#include "sweeps/run.h"
#include "sweeps/sweep.h"

namespace longrun::coordinator {
namespace {

bool RunAgrees(const RowValues& row) {
  const std::string text = row.Text("run");
  if (Sha256Hex(text) != row.Text("run_key")) return false;
  const Result<Json> json = ParseJson(text);
  const Result<Run> run = json.ok() ? Run::FromJson(*json) : Result<Run>(json.status());
  if (!run.ok()) return true;  // written by another build
  return run->model.position.method == row.Text("position") &&
         run->train.train_length == row.Int("train_length") && run->seed == row.Int("seed") &&
         run->dataset_digest == row.Text("dataset_digest");
}

bool TaskAgrees(const RowValues& row) {
  const std::string run_key = row.Text("run_key");
  if (!IsUtf8(run_key)) return false;  // no key is made from invalid UTF-8
  if (row.Text("kind") == "train") return row.Text("id") == TrainTaskKey(run_key);
  const Result<Json> evaluation = ParseJson(row.Text("evaluation"));
  const Result<Json> list = ParseJson(row.Text("expected_cells"));
  if (!evaluation.ok() || !list.ok() || !list->is_array()) return false;
  const EvaluationText text(*evaluation);
  std::vector<ExpectedCell> cells;
  for (const Json& one : *list) {
    const Result<ExpectedCell> cell = ExpectedCell::FromJson(one);
    if (!cell.ok() || cell->cell != CellKey(run_key, text, cell->context_length)) {
      return false;
    }
    cells.push_back(*cell);
  }
  return row.Text("id") == EvaluateTaskKey(run_key, text, cells);
}

// SQLite stores whole numbers as integers, and reads them as reals if the column is real.
bool IsReal(const RowValues& row, std::string_view column, const std::optional<double>& said) {
  return said ? row.Real(column) == said : row.IsNull(column);
}
bool IsInt(const RowValues& row, std::string_view column, const std::optional<std::int64_t>& said) {
  return said ? row.Int(column) == said : row.IsNull(column);
}
bool IsText(const RowValues& row, std::string_view column, const std::optional<std::string>& said) {
  return said ? row.Text(column) == *said && !row.IsNull(column) : row.IsNull(column);
}

bool ResultAgrees(const RowValues& row) {
  const Result<JournalRecord> record = ParseJournalLine(row.Text("line"));
  if (!record.ok()) return false;
  const auto* const said = record->As<ResultRecord>();
  return said != nullptr && record->seq == row.Int("seq") && record->t_ms == row.Int("t_ms") &&
         said->cell == row.Text("cell") && said->metric == row.Text("metric") &&
         said->status == row.Text("status") && said->extra == row.Text("extra") &&
         IsInt(row, "context_length", said->context_length) && IsText(row, "split", said->split) &&
         IsText(row, "protocol", said->protocol) && IsText(row, "averaging", said->averaging) &&
         IsText(row, "variant", said->variant) && IsReal(row, "depth", said->depth) &&
         IsReal(row, "value", said->value) && IsReal(row, "se", said->se) &&
         IsReal(row, "nll_sum", said->nll_sum) && IsInt(row, "n", said->n) &&
         IsInt(row, "bytes", said->n_bytes);
}

bool RecordAgrees(const RowValues& row) {
  const Result<JournalRecord> record = ParseJournalLine(row.Text("line"));
  return record.ok() && record->seq == row.Int("seq") &&
         EnumName(record->kind) == row.Text("kind") && record->t_ms == row.Int("t_ms") &&
         IsInt(row, "step", record->step);
}

}  // namespace

bool RowAgrees(const std::string& table, const RowValues& row) {
  if (table == "run") return RunAgrees(row);
  if (table == "task") return TaskAgrees(row);
  if (table == "result") return ResultAgrees(row);
  if (table == "record") return RecordAgrees(row);
  return true;
}

bool HasOwnDigests(const std::string& table) {
  return table == "run" || table == "task" || table == "result" || table == "record";
}

}  // namespace longrun::coordinator
