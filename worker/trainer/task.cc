#include "worker/trainer/task.h"

#include <optional>
#include <utility>

#include "base/failpoint.h"
#include "base/files.h"
#include "base/log.h"
#include "base/str.h"
#include "base/version.h"
#include "sweeps/evaluated_dataset.h"
#include "worker/trainer/evaluate.h"
#include "worker/trainer/machine.h"
#include "worker/trainer/provenance.h"
#include "worker/trainer/session.h"
#include "worker/trainer/train.h"

namespace longrun::trainer {
namespace {

constexpr std::size_t kTaskBytesMax = std::size_t{64} << 20;

Result<TaskFile> LoadTask(const std::string& path) {
  // Any error here, even a missing member, means that the task file is wrong: another attempt would
  // fail in the same way.
  const auto wrong = [&](const Status& status) {
    const bool names_path = status.message().find(path) != std::string::npos;
    return Status(Code::kInvalidArgument,
                  names_path ? status.message() : Str(path, ": ", status.message()));
  };
  Result<std::string> text = ReadFile(path, kTaskBytesMax);
  if (!text) return wrong(text.status());
  Result<Json> json = ParseJson(*text);
  if (!json) return wrong(json.status());
  Result<TaskFile> task = TaskFile::FromJson(*json);
  if (!task) return wrong(task.status());
  return task;
}

Result<Dataset> OpenDataset(const TaskFile& task) {
  ASSIGN_OR_RETURN(Dataset dataset, Dataset::Open(task.dataset_path));
  if (dataset.digest() != task.run.dataset_digest) {
    return Status(Code::kDataLoss,
                  Str("dataset ", task.dataset_path, " has the digest ", dataset.digest(),
                      ", but this run was made with ", task.run.dataset_digest));
  }
  if (dataset.tokenizer_fingerprint() != task.run.tokenizer_fingerprint) {
    return Status(Code::kDataLoss,
                  Str("dataset ", task.dataset_path,
                      " has another tokenizer than the one with which this run was made"));
  }
  return dataset;
}

// The dataset that the evaluation reads instead of the run's own; nullopt: none, so that one.
Result<std::optional<Dataset>> OpenEvaluatedDataset(const TaskFile& task) {
  const std::optional<EvaluatedDataset> read = EvaluatedDatasetOf(task.evaluation);
  if (!read) return std::optional<Dataset>();
  ASSIGN_OR_RETURN(Dataset dataset, Dataset::Open(read->path));
  if (dataset.digest() != read->digest) {
    return Status(Code::kDataLoss,
                  Str("dataset ", read->path, " has the digest ", dataset.digest(),
                      ", but the evaluation reads ", read->digest, " (\"", read->name, "\")"));
  }
  if (dataset.tokenizer_fingerprint() != task.run.tokenizer_fingerprint) {
    return Status(Code::kDataLoss, Str("dataset ", read->path,
                                       " has another tokenizer than the model was trained with"));
  }
  return std::optional(std::move(dataset));
}

Status Work(Session& session) {
  const TaskFile& task = session.task();
  const bool trains = task.kind == TaskKind::kTrain;
  if (task.run.numerics != kNumericsVersion) {
    return Status(Code::kFailedPrecondition,
                  Str("this run was made with numerics ", task.run.numerics,
                      ", but this trainer has numerics ", kNumericsVersion,
                      ": their results must not be mixed"));
  }
  session.SetPlace("opening the device");
  ASSIGN_OR_RETURN(const Machine machine, OpenMachine(task));
  if (trains) session.SetPlace("loading the weights");
  Result<TrainStart> start = trains ? LoadStart(task) : TrainStart();
  // Recorded even if there is nothing to start from:
  // the record says on which machine that was tried.
  const std::string initial_weights = start.ok() ? start->initial_weights : "";
  const Json started = StartedBody(task, machine, initial_weights);
  RETURN_IF_ERROR(session.journal().Append(RecordKind::kStarted, started));
  RETURN_IF_ERROR(start.status());
  session.SetPlace("opening the dataset");
  Failpoint("trainer_opening_dataset");
  ASSIGN_OR_RETURN(const Dataset dataset, OpenDataset(task));
  ASSIGN_OR_RETURN(const std::optional<Dataset> evaluated, OpenEvaluatedDataset(task));
  RETURN_IF_ERROR(
      trains ? Train(session, dataset, machine, *std::move(start), OverlapOf(machine))
             : Evaluate(session, dataset, evaluated ? *evaluated : dataset, machine, started));
  return session.journal().Finish();
}

}  // namespace

Ending RunTask(const std::string& path, RecordWatcher watcher) {
  Failpoint("trainer_start");
  Result<TaskFile> task = LoadTask(path);
  if (!task) return EndingOf(task.status());
  Result<Session> session = Session::Begin(std::move(task).value(), std::move(watcher));
  if (!session) return EndingOf(session.status());

  Ending ending = RunGuarded([&] { return Work(*session); });
  if (ending.status.ok() || ending.failure_class == FailureClass::kPreempted) return ending;
  const FailedRecord failed = {.failure_class = std::string(FailureOf(ending.failure_class).name),
                               .message = ToUtf8(ending.status.message()),
                               .where = session->place()};
  // What has waited for room in vain does not wait again.
  if (ending.failure_class == FailureClass::kStorage) session->journal().SetWaitForRoom({});
  if (Status written = session->journal().Append(failed); !written.ok()) {
    // The exit code still tells the failure class.
    LogError("journal_lost", {{"message", written.message()}});
  }
  // Do not repeat the place if the message begins with it.
  if (!ending.status.message().starts_with(session->place())) {
    ending.status = std::move(ending.status).In(session->place());
  }
  return ending;
}

}  // namespace longrun::trainer
