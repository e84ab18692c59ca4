#include "coordinator/store/query_catalogue.h"

#include "base/check.h"
#include "base/str.h"
#include "sweeps/schema.h"

namespace longrun::coordinator {
namespace {

constexpr QueryColumn kRunKey = {"run_key", "text", "",
                                 "the run: SHA-256 of everything that changes its numbers"};
constexpr QueryColumn kTask = {"task", "text", "", "the task: 64 hex digits"};
constexpr QueryColumn kAttempt = {"attempt", "text", "", "the attempt: a ULID"};
constexpr QueryColumn kSweep = {"sweep", "text", "", "name of the sweep"};
constexpr QueryColumn kSweepId = {"sweep_id", "text", "", "id of the sweep: a ULID"};
constexpr QueryColumn kNewest = {"newest", "integer", "",
                                 "1: the newest sweep of its name, else 0"};
constexpr QueryColumn kPosition = {"position", "text", "",
                                   "position method, without its parameters"};
constexpr QueryColumn kSeed = {"seed", "integer", "",
                               "seed of the initial weights and the data order"};
constexpr QueryColumn kOrdinal = {"ordinal", "integer", "", "place of the run in the matrix"};
constexpr QueryColumn kDiskOwner = {
    "owner", "text", "",
    "who stored it, and whose disk limit it counts toward; empty if an earlier release stored it"};
constexpr QueryColumn kStage = {"stage", "text", "",
                                "stage of the run in the sweep; null: the sweep has no stages"};

std::string_view ColumnType(ParamSpec::Type type) {
  using Type = ParamSpec::Type;
  if (type == Type::kInt || type == Type::kCount) return "integer";
  if (type == Type::kNumber) return "real";
  LR_CHECK(type == Type::kChoice || type == Type::kName);
  return "text";
}

// The column of a setting that a sweep file declares: its name, type and meaning, without the words
// in brackets on how a file may leave it out.
QueryColumn Setting(std::string_view axis, std::string_view unit = "") {
  const KeyRow* const row = FindAxis(axis);
  LR_CHECK(row != nullptr);
  const std::string_view meaning = row->spec.meaning;
  return {row->name(), ColumnType(row->spec.type), unit, meaning.substr(0, meaning.find(" ("))};
}

std::vector<QueryColumn> ResultColumns() {
  return {
      kRunKey,
      kPosition,
      Setting("train_length", "tokens"),
      {"dataset", "text", "", "name of the dataset"},
      kSeed,
      {"metric", "text", "", "what was measured: nll, ..."},
      {"context_length", "integer", "tokens", "length at which it was measured"},
      {"split", "text", "", "split of the dataset"},
      {"protocol", "text", "", "how windows are laid over the text"},
      {"averaging", "text", "", "what `value` is the mean over: token, document"},
      {"depth", "real", "", "place in the context, 0 to 1; null where it has no meaning"},
      {"variant", "text", "", "null: the model itself; else a baseline, such as unigram"},
      {"value", "real", "nats", "the measured number; for nll, the mean over `n` tokens"},
      {"se", "real", "nats", "standard error of `value`; null: unknown"},
      {"n", "integer", "tokens", "number of scored tokens"},
      {"nll_sum", "real", "nats", "sum over the scored tokens"},
      {"bytes", "integer", "bytes", "bytes of the text of the scored tokens"},
      {"perplexity", "real", "", "exp(nll_sum / n); null for other metrics"},
      {"perplexity_se", "real", "", "perplexity * se"},
      {"bits_per_byte", "real", "bits", "nll_sum / ln 2 / bytes"},
      {"status", "text", "", "ok, diverged, not_applicable, out_of_memory, ..."},
      {"extra", "json", "", "further details from the evaluation"},
      {"cell", "text", "",
       "id of the cell: SHA-256 of run, evaluation, extension and context length"},
      kTask,
      kAttempt,
      {"seq", "integer", "", "number of the journal record"},
      {"extension", "json", "", "the extension with which the model read the text; null: none"},
      {"evaluated_dataset", "text", "",
       "dataset that was read, by its name at the first submission; null: the run's own"},
      {"evaluated_dataset_digest", "text", "", "SHA-256 of that dataset; null: the run's own"},
  };
}

std::vector<QueryColumn> SweepResultColumns() {
  std::vector<QueryColumn> columns = {kSweep, kSweepId, kNewest, kOrdinal};
  const std::vector<QueryColumn> results = ResultColumns();
  columns.insert(columns.end(), results.begin(), results.end());
  columns.push_back(kStage);
  return columns;
}

std::vector<QueryColumn> RunColumns() {
  return {
      kRunKey,
      kPosition,
      Setting("train_length", "tokens"),
      {"dataset", "text", "", "name that the dataset had when the run was first submitted"},
      kSeed,
      Setting("train.tokens", "tokens"),
      Setting("train.batch_tokens", "tokens"),
      Setting("train.optimizer.lr"),
      Setting("train.precision"),
      Setting("model.n_layer"),
      Setting("model.n_head"),
      Setting("model.d_model"),
      {"numerics", "integer", "",
       "version of longrun's arithmetic; results of different versions must not be mixed"},
      {"dataset_digest", "text", "", "SHA-256 of the dataset"},
      {"tokenizer", "text", "", "fingerprint of the tokenizer"},
      {"parent", "text", "", "run_key of the run that it continues; null: it continues none"},
      {"init", "text", "", "digest of the imported model that it starts from; null: none"},
      {"base", "text", "", "run_key of the run from whose final weights it starts; null: none"},
      {"train_state", "text", "", "state of its training task; null before there is one"},
      {"checkpoint", "text", "", "SHA-256 of the trained weights' manifest"},
      {"run", "json", "", "everything that changes its numbers, with every default written out"},
      {"execution", "json", "",
       "threads, micro-batch and paths, those of the first attempt that started; null before it"},
  };
}

std::vector<QueryColumn> TaskColumns() {
  return {
      kTask,
      kRunKey,
      {"kind", "text", "", "train, evaluate"},
      {"state", "text", "",
       "BLOCKED, READY, RESERVED, RUNNING, STOPPING, SUCCEEDED, FAILED, CANCELLED, SKIPPED"},
      {"reason", "text", "", "why it is in that state"},
      {"priority", "integer", "", "tasks of a higher priority run first"},
      {"attempts", "integer", "", "number of attempts so far"},
      {"attempt", "text", "", "the newest attempt, or empty"},
      {"result_attempt", "text", "", "the attempt whose results count, or empty"},
      {"failures", "integer", "", "attempts of this retry round that count as failures"},
      {"losses", "integer", "",
       "attempts of this retry round that count as losses: the failure_class says which do"},
      {"needs", "text", "", "the task that must succeed first, or empty"},
      {"evaluation", "json", "", "for evaluate tasks: the evaluation and its parameters"},
      {"context_lengths", "json", "tokens", "list of the context lengths that it has to measure"},
  };
}

std::vector<QueryColumn> AttemptColumns() {
  return {
      kAttempt,
      kTask,
      kRunKey,
      {"kind", "text", "", "train, evaluate"},
      {"n", "integer", "", "1, 2, 3"},
      {"state", "text", "",
       "OFFERED, ACCEPTED, RUNNING, SUCCEEDED, FAILED, PREEMPTED, CANCELLED, LOST, REJECTED. "
       "FAILED includes attempts that `longrun why` counts as losses: see failure_class"},
      {"worker", "text", "", "id of the worker"},
      {"host", "text", "", "host of the worker; null if the worker is unknown"},
      {"failure_class", "text", "",
       "crashed, numerical, out_of_memory, ...; empty for none. lost, vanished, killed and storage "
       "count as losses, all others as failures or as nothing. A REJECTED attempt costs nothing: "
       "it is vanished if its worker died while it prepared the attempt"},
      {"message", "text", "", "what went wrong"},
      {"started_ms", "integer", "ms since 1970",
       "wall clock, when its trainer started; null if it never ran"},
      {"ended_ms", "integer", "ms since 1970", "wall clock; null until it has ended"},
      {"duration_ms", "integer", "ms",
       "time from RUNNING to its end; to its newest record while it runs, or if nobody saw when "
       "it ended; null if it never ran"},
      {"duration_clock", "text", "",
       "the clock that measured the duration: boot, the boot clock; wall, the wall clock"},
      {"resume_attempt", "text", "",
       "the attempt whose checkpoint it started from; null: from the start"},
      {"resume_step", "integer", "steps", "step of that checkpoint"},
      {"records", "integer", "", "number of stored journal records"},
      {"version", "text", "", "release of the trainer; null before it started"},
      {"commit", "text", "", "commit of the trainer's build"},
      {"numerics", "integer", "", "version of longrun's arithmetic"},
      {"torch", "text", "", "version of LibTorch"},
      {"device_kind", "text", "", "cpu, gpu"},
      {"device_name", "text", "", "as the device names itself"},
      {"threads", "integer", "", "threads of the trainer"},
      {"micro_batch", "integer", "sequences", "sequences in a forward-backward pass"},
      {"started", "json", "", "the whole `started` record: all provenance"},
  };
}

std::vector<QueryColumn> SweepColumns() {
  return {
      kSweep,
      kSweepId,
      kNewest,
      {"submitted_ms", "integer", "ms since 1970", "wall clock"},
      {"cancelled", "integer", "", "1: a user cancelled it, else 0"},
      {"file_name", "text", "", "name of the sweep file"},
      {"labels", "json", "", "map of labels from the file, with the changes by `longrun label`"},
      {"note", "text", "", "text given with `longrun note`, or empty"},
      {"axes", "json", "", "list of axis paths in matrix order"},
      {"overrides", "json", "", "list of [path, value] given with --set"},
      {"runs", "integer", "", "number of points of the matrix"},
      {"tasks", "integer", "", "number of tasks of the sweep, including shared ones"},
      {"tasks_succeeded", "integer", "", "number of tasks that are SUCCEEDED"},
      {"tasks_failed", "integer", "", "number of tasks that are FAILED or SKIPPED"},
      {"tasks_cancelled", "integer", "", "number of tasks that a user cancelled"},
      {"paused", "integer", "", "1: a user paused it, else 0"},
      {"owner", "text", "",
       "who submitted it first; empty for a sweep of a version that did not record it"},
  };
}

std::vector<QueryColumn> ArtifactColumns() {
  return {
      {"kind", "text", "", "checkpoint, evaluation"},
      {"name", "text", "", "name of the file"},
      {"sha256", "text", "", "SHA-256 of the bytes"},
      {"bytes", "integer", "bytes", "size"},
      {"checkpoint", "text", "", "SHA-256 of the manifest; null for other files"},
      {"step", "integer", "steps", "step of the checkpoint"},
      {"is_final", "integer", "", "1: checkpoint of the last step"},
      {"is_best", "integer", "", "1: checkpoint with the lowest validation loss so far"},
      kRunKey,
      kTask,
      kAttempt,
  };
}

std::vector<QueryColumn> ClaimColumns() {
  return {
      kSweep,
      kSweepId,
      kNewest,
      {"claim", "integer", "", "place in the file, from 0"},
      {"kind", "text", "", "below, flat, crosses, ordered, equal or ratio"},
      {"statement", "text", "", "the claim in words"},
      {"metric", "text", "", "metric of the compared numbers: perplexity, ..."},
      {"level", "real", "", "level of the intervals, such as 0.95"},
      {"verdict", "text", "", "verdict on the claim: supported, refuted or undecided"},
      {"comparison", "text", "",
       "one of the comparisons of the claim; null if the claim cannot be judged"},
      {"comparison_verdict", "text", "", "verdict on this comparison"},
      {"scale", "text", "", "scale of effect, interval and limits: ratio or difference"},
      {"effect", "real", "",
       "ratio: the first number divided by the second; difference: the first minus the second; "
       "null if there is no number"},
      {"low", "real", "", "lower end of the effect's interval"},
      {"high", "real", "", "upper end of the effect's interval"},
      {"limit_low", "real", "", "lower limit that the claim sets for the effect; null: none"},
      {"limit_high", "real", "", "upper limit that the claim sets for the effect; null: none"},
      {"seeds", "integer", "", "number of seeds that both numbers have"},
      {"blocks", "integer", "",
       "number of blocks of the text by which the two numbers are paired; 0: not paired by blocks"},
      {"reason", "text", "", "why the claim or this comparison cannot be judged"},
      {"needed", "text", "", "what would decide the comparison"},
  };
}

std::vector<QueryView> MakeViews() {
  return {
      {.name = "results",
       .meaning = "a measured number that counts: its attempt made its task succeed",
       .columns = ResultColumns()},
      {.name = "sweep_results",
       .meaning = "a measured number that counts, once for each sweep that shows it",
       .columns = SweepResultColumns()},
      {.name = "curves",
       .meaning = "a point of a training curve, which is joined from the attempts of its task",
       .columns = {kRunKey,
                   {"metric", "text", "", "loss, val_loss, lr, grad_norm, padding, tokens_per_s"},
                   {"step", "integer", "steps", "optimiser steps done"},
                   {"value", "real", "", "null: not a finite number"},
                   {"t_ms", "integer", "ms since 1970", "wall clock of the trainer"},
                   kTask,
                   kAttempt}},
      {.name = "runs",
       .meaning = "a run: one point of a matrix, with every setting",
       .columns = RunColumns()},
      {.name = "tasks",
       .meaning = "a task: the training of a run, or an evaluation of it",
       .columns = TaskColumns()},
      {.name = "attempts",
       .meaning = "one execution of a task, and what it ran on",
       .columns = AttemptColumns()},
      {.name = "sweeps", .meaning = "a submitted sweep", .columns = SweepColumns()},
      {.name = "sweep_runs",
       .meaning = "a run in a sweep",
       .columns = {kSweep,
                   kSweepId,
                   kNewest,
                   kOrdinal,
                   kRunKey,
                   {"axes", "json", "", "map from axis path to value"},
                   kStage}},
      {.name = "datasets",
       .meaning =
           "a registered dataset, with the content and the folder that its name refers to now",
       .columns = {{"dataset", "text", "", "name"},
                   {"digest", "text", "", "SHA-256 of its content"},
                   {"folder", "text", "",
                    "folder on the coordinator's machine; empty for a caller on another machine"},
                   {"tokenizer", "text", "", "fingerprint of the tokenizer"},
                   {"vocab_size", "integer", "", "number of token ids"},
                   {"split_tokens", "json", "tokens", "map from split to its number of tokens"},
                   kDiskOwner,
                   {"owner_bytes", "integer", "bytes",
                    "bytes that count toward the owner's limit; 0 if it was registered on the "
                    "coordinator's machine"},
                   {"bytes", "integer", "bytes",
                    "size of all files; 0 if an earlier release registered it on the "
                    "coordinator's machine"}}},
      {.name = "models",
       .meaning = "an imported checkpoint under a name",
       .columns = {{"model", "text", "", "name"},
                   {"digest", "text", "", "SHA-256 of its manifest, which lists its files"},
                   {"architecture", "text", "", "model_type of its config.json"},
                   {"bytes", "integer", "bytes", "size of all files"},
                   {"imported_ms", "integer", "ms since 1970", "wall clock"},
                   {"source", "text", "",
                    "the folder from which it was imported; empty for a caller on another machine"},
                   {"runs", "integer", "", "number of runs that start from it"},
                   {"config", "json", "", "config.json"},
                   kDiskOwner}},
      {.name = "workers",
       .meaning = "a worker that has ever connected",
       .columns = {{"worker", "text", "", "id, which stays the same when the worker is restarted"},
                   {"host", "text", "", "name of its machine, for people"},
                   {"version", "text", "", "release and commit"},
                   {"draining", "integer", "",
                    "1: it was stopped cleanly and takes no new tasks, else 0"},
                   {"slots", "json", "", "list of its devices"},
                   {"dataset_digests", "json", "", "list of the datasets it has"},
                   {"protocol", "integer", "", "version of the protocol in its newest session"},
                   {"labels", "json", "", "map of labels given to it at its start"},
                   {"drain_wanted", "integer", "",
                    "1: an operator drains it, so it takes no new tasks, else 0"},
                   {"drain_deadline_ms", "integer", "ms since 1970",
                    "when its tasks will have stopped, by the wall clock; null if they may "
                    "finish"},
                   {"quarantined", "json", "",
                    "list of the slots that get nothing new, each with `reason` and `since_ms`"}}},
      {.name = "artifacts", .meaning = "a stored file", .columns = ArtifactColumns()},
      {.name = "transitions",
       .meaning = "a change of state, in order",
       .columns = {{"seq", "integer", "", "increases from row to row"},
                   {"wall_ms", "integer", "ms since 1970", "wall clock"},
                   {"subject", "text", "", "task, attempt"},
                   {"id", "text", "", "id of the task or attempt"},
                   {"from_state", "text", "",
                    "the old state; empty when the task or attempt was created"},
                   {"to_state", "text", "", "the new state"},
                   {"reason", "text", "", "why the state changed"}}},
      {.name = "lineage",
       .meaning = "one of the attempts that a task's curve is made of",
       .columns = {kTask,
                   kAttempt,
                   {"step_first", "integer", "steps", "step from which its points count"},
                   {"step_last", "integer", "steps", "step up to which its points count"}}},
      {.name = "claims",
       .meaning = "a comparison of a claim, judged from the present results by `longrun query` "
                  "(docs/claims.md)",
       .columns = ClaimColumns(),
       .is_given = true},
  };
}

// Functions whose time and memory are bounded by the size of their arguments. The time of replace,
// instr, trim and glob is the product of two sizes, that of printf is given in its text; randomblob
// and zeroblob make memory out of nothing.
constexpr std::string_view kFunctions[] = {
    "->",
    "->>",
    "abs",
    "avg",
    "ceil",
    "ceiling",
    "coalesce",
    "count",
    "cume_dist",
    "date",
    "datetime",
    "dense_rank",
    "exp",
    "first_value",
    "floor",
    "group_concat",
    "ifnull",
    "iif",
    "json",
    "json_array",
    "json_array_length",
    "json_extract",
    "json_group_array",
    "json_group_object",
    "json_object",
    "json_type",
    "json_valid",
    "julianday",
    "lag",
    "last_value",
    "lead",
    "length",
    "like",
    "ln",
    "log",
    "log10",
    "log2",
    "lower",
    "max",
    "min",
    "mod",
    "nth_value",
    "ntile",
    "nullif",
    "percent_rank",
    "pow",
    "power",
    "quote",
    "rank",
    "round",
    "row_number",
    "sign",
    "sqrt",
    "strftime",
    "substr",
    "substring",
    "sum",
    "time",
    "total",
    "trunc",
    "typeof",
    "unicode",
    "unixepoch",
    "upper",
};

// The text in lines of at most 120 columns, as all prose of the documents.
std::string Filled(const std::string& text) {
  constexpr std::size_t kColumns = 120;
  std::string filled;
  std::size_t column = 0;
  for (const std::string& word : Split(text, ' ')) {
    if (column > 0 && column + 1 + word.size() > kColumns) {
      filled += "\n";
      column = 0;
    }
    filled += column > 0 ? Str(" ", word) : word;
    column += (column > 0 ? 1 : 0) + word.size();
  }
  return filled + "\n";
}

}  // namespace

std::span<const QueryView> QueryViews() {
  static const std::vector<QueryView> views = MakeViews();
  return views;
}

std::span<const std::string_view> QueryFunctions() { return kFunctions; }

std::string QueryPage() {
  std::string page =
      "## Views\n\n"
      "Printed from the table in `coordinator/store/query_catalogue.cc`; the test\n"
      "`coordinator/query` keeps it equal (`LONGRUN_UPDATE=1` rewrites it).\n";
  for (const QueryView& view : QueryViews()) {
    page += Str("\n### `", view.name, "`\n\nA row is ", view.meaning,
                ".\n\n| column | type | unit | meaning |\n|---|---|---|---|\n");
    for (const QueryColumn& column : view.columns) {
      page += Str("| `", column.name, "` | ", column.type, " | ", column.unit, " | ",
                  column.meaning, " |\n");
    }
  }
  page += "\n## Functions\n\n";
  std::vector<std::string> names;
  names.reserve(QueryFunctions().size());
  for (const std::string_view name : QueryFunctions()) names.push_back(Str("`", name, "`"));
  return page + Filled(Str(Join(names, ", "),
                           "; and `json_each`, `json_tree` as tables. They work as in SQLite. "
                           "`like` is our own, with the same meaning and linear time."));
}

}  // namespace longrun::coordinator
