#include "worker/trainer/standalone.h"

#include <cmath>
#include <cstdio>
#include <utility>

#include "base/clock.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/str.h"
#include "base/version.h"
#include "model/data/dataset.h"
#include "model/evaluation/perplexity.h"
#include "model/net/checkpoint.h"
#include "sweeps/event.h"
#include "sweeps/task.h"
#include "worker/trainer/task.h"

namespace longrun {
namespace {

constexpr std::int64_t kMemoryBytes = std::int64_t{4} << 30;
constexpr std::size_t kJsonBytesMax = std::size_t{1} << 20;

// What only the dataset and this build can say is written in when the file leaves it out.
Result<Run> LoadRun(const std::string& path, const Dataset& dataset) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kJsonBytesMax));
  Result<Json> json = ParseJson(text);
  if (!json) return std::move(json).status().In(path);
  if (json->is_object()) {
    json->emplace("dataset", Json{{"digest", dataset.digest()}});
    json->emplace("tokenizer", Json{{"fingerprint", dataset.tokenizer_fingerprint()}});
    json->emplace("numerics", kNumericsVersion);
  }
  Result<Run> run = Run::FromJson(*json);
  if (!run) return std::move(run).status().In(path);
  return run;
}

Result<CheckpointRef> FindCheckpoint(const std::string& folder) {
  ASSIGN_OR_RETURN(const LoadedCheckpoint loaded, LoadCheckpoint(folder, ""));
  ASSIGN_OR_RETURN(const CheckpointSummary summary, VerifyCheckpointFolder(folder, ""));
  ASSIGN_OR_RETURN(const std::int64_t step, GetInt(loaded.state, "step", "state.json"));
  SeededRandom random(EntropySeed());
  ASSIGN_OR_RETURN(std::string absolute, AbsolutePath(folder));
  return CheckpointRef{.attempt = MakeUlid(WallMs(), random),
                       .checkpoint = std::move(absolute),
                       .sha256 = summary.sha256,
                       .step = step};
}

Result<TaskFile> MakeTask(const StandaloneOptions& options, TaskKind kind) {
  ASSIGN_OR_RETURN(const Dataset dataset, Dataset::Open(options.dataset));
  RETURN_IF_ERROR(MakeFolders(options.output));
  SeededRandom random(EntropySeed());
  TaskFile task;
  ASSIGN_OR_RETURN(task.run, LoadRun(options.run, dataset));
  task.attempt = MakeUlid(WallMs(), random);
  task.run_key = task.run.Key();
  task.task = Sha256Hex(Str(task.run_key, TaskKindName(kind)));
  task.epoch = 1;
  task.kind = kind;
  ASSIGN_OR_RETURN(task.dataset_path, AbsolutePath(options.dataset));
  task.dataset_name = BaseName(task.dataset_path);
  task.execution.device_kind = options.device;
  task.execution.threads = options.threads;
  task.execution.micro_batch = options.micro_batch;
  task.execution.attention = options.attention;
  if (options.micro_batch == 0) {
    task.execution.micro_batch = AutoMicroBatch(task.run.model, task.run.train, kMemoryBytes);
  }
  ASSIGN_OR_RETURN(task.attempt_dir, AbsolutePath(options.output));
  task.cache_dir = task.attempt_dir;
  task.checkpoint_every_ms = options.checkpoint_every_ms;
  if (!options.checkpoint.empty()) {
    ASSIGN_OR_RETURN(CheckpointRef ref, FindCheckpoint(options.checkpoint));
    (kind == TaskKind::kTrain ? task.resume : task.init) = std::move(ref);
  }
  return task;
}

Ending RunWritten(const TaskFile& task) {
  const std::string path = JoinPath(task.attempt_dir, "task.json");
  if (Status status = WriteFileAtomic(path, CanonicalJson(task.ToJson())); !status.ok()) {
    return EndingOf(std::move(status));
  }
  return RunTask(path);
}

Status PrintRows(const std::string& attempt_dir) {
  JournalReader reader(JoinPath(attempt_dir, "journal.jsonl"));
  std::printf("%10s %12s %10s %10s %s\n", "length", "perplexity", "se(nll)", "tokens", "status");
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<JournalReader::Line> lines, reader.Next(256, 1 << 20));
    if (lines.empty()) return Status();
    for (const JournalReader::Line& line : lines) {
      if (line.record.kind != "result") continue;
      const Json& row = line.record.body;
      const auto number = [&](const char* key) {
        return row.contains(key) && row[key].is_number() ? row[key].get<double>() : std::nan("");
      };
      std::printf("%10.0f %12.4f %10.5f %10.0f %s\n", number("context_length"),
                  std::exp(number("value")), number("se"), number("n"),
                  row.value("status", "").c_str());
    }
  }
}

}  // namespace

Ending TrainStandalone(const StandaloneOptions& options) {
  const Result<TaskFile> task = MakeTask(options, TaskKind::kTrain);
  return task ? RunWritten(*task) : EndingOf(task.status());
}

Ending EvaluateStandalone(const StandaloneOptions& options) {
  Result<TaskFile> task = MakeTask(options, TaskKind::kEvaluate);
  if (!task) return EndingOf(task.status());
  const Result<Json> params =
      ResolveParams(kPerplexity.params,
                    {{"context_lengths", options.lengths}, {"split", options.split}}, "perplexity");
  if (!params) return EndingOf(params.status());
  task->evaluation = {{kPerplexity.name, *params}};
  for (const std::int64_t length : options.lengths) {
    const std::string cell = Str(task->run_key, CanonicalJson(*params), length);
    task->expected_cells.push_back(
        {.cell = Sha256Hex(cell), .metric = "nll", .context_length = length});
  }
  Ending ending = RunWritten(*task);
  if (!ending.status.ok()) return ending;
  return EndingOf(PrintRows(task->attempt_dir));
}

}  // namespace longrun
