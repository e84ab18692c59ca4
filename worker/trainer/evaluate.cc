#include "worker/trainer/evaluate.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "model/data/unigram.h"
#include "model/evaluation/evaluation.h"
#include "model/net/checkpoint.h"
#include "model/net/scorer.h"
#include "worker/trainer/stop.h"

namespace longrun {
namespace {

// Tokens given to the network at once. A constant, so that a shape has one result.
constexpr std::int64_t kTokensPerCallCpu = 8192;
constexpr std::int64_t kTokensPerCallGpu = 65536;
// A task's progress is counted in thousandths of its cells.
constexpr std::int64_t kProgressPerCell = 1000;

struct NamedEvaluation {
  const Evaluation* evaluation = nullptr;
  Json params;
};

// {"perplexity": {...}}
Result<NamedEvaluation> ParseEvaluation(const Json& json) {
  if (!json.is_object() || json.size() != 1) {
    return Status(Code::kInvalidArgument, "task.evaluation: expected one evaluation by its name");
  }
  ASSIGN_OR_RETURN(const Evaluation* evaluation, FindEvaluation(json.begin().key()));
  return NamedEvaluation{.evaluation = evaluation, .params = json.begin().value()};
}

class Evaluator {
 public:
  Evaluator(Session& session, const Dataset& dataset, NamedEvaluation named, Transformer net)
      : session_(session),
        dataset_(dataset),
        named_(std::move(named)),
        net_(std::move(net)),
        scorer_(net_, dataset.bos_id()) {}
  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;

  Status Run();

 private:
  Result<LanguageModel*> ModelOf(const std::string& variant);
  Status RunCell(const ExpectedCell& cell, std::int64_t index);
  Status WriteArtifact(const EvaluationArtifact& artifact);

  Session& session_;
  const Dataset& dataset_;
  NamedEvaluation named_;
  Transformer net_;
  NetScorer scorer_;
  std::unique_ptr<UnigramModel> unigram_;
  SharedWork shared_;
};

Result<LanguageModel*> Evaluator::ModelOf(const std::string& variant) {
  if (variant.empty()) return &scorer_;
  if (variant != "unigram") {
    return Status(Code::kUnimplemented, Str("variant \"", variant,
                                            "\" of an evaluation is not "
                                            "built; \"unigram\" is"));
  }
  if (unigram_ == nullptr) {
    ASSIGN_OR_RETURN(unigram_, UnigramModel::Fit(dataset_));
  }
  return unigram_.get();
}

Status Evaluator::WriteArtifact(const EvaluationArtifact& artifact) {
  LR_CHECK(IsSafeName(artifact.name));
  const std::string relative = Str("artifacts/", artifact.name);
  const std::string path = JoinPath(session_.task().attempt_dir, relative);
  RETURN_IF_ERROR(MakeFolders(FolderOf(path)));
  RETURN_IF_ERROR(WriteFileAtomic(path, artifact.bytes));
  return session_.journal().Append("artifact", {{"name", artifact.name},
                                                {"path", relative},
                                                {"sha256", Sha256Hex(artifact.bytes)},
                                                {"bytes", artifact.bytes.size()}});
}

Status Evaluator::RunCell(const ExpectedCell& cell, std::int64_t index) {
  const std::string& variant = cell.variant;
  session_.SetPlace(Str(named_.evaluation->name, " at ", cell.context_length,
                        variant.empty() ? "" : Str(" (", variant, ")")));
  Failpoint("trainer_mid_evaluation");
  ASSIGN_OR_RETURN(LanguageModel * model, ModelOf(variant));
  const std::int64_t per_call =
      net_.compute().device.is_cuda() ? kTokensPerCallGpu : kTokensPerCallCpu;
  const auto n_cells = static_cast<std::int64_t>(session_.task().expected_cells.size());
  const std::int64_t windows_per_call = std::max<std::int64_t>(1, per_call / cell.context_length);
  const std::int64_t begin_ms = BootMs();
  Status reported;
  const auto progress = [&](std::int64_t done, std::int64_t of) {
    const double seconds =
        static_cast<double>(std::max<std::int64_t>(1, BootMs() - begin_ms)) / 1e3;
    reported = session_.Progress(
        {.phase = "evaluate",
         .done = index * kProgressPerCell + done * kProgressPerCell / std::max<std::int64_t>(1, of),
         .of = n_cells * kProgressPerCell,
         .tokens_per_s = static_cast<double>(done * cell.context_length) / seconds});
    return reported.ok() && !StopRequested();
  };
  Result<EvaluationOutput> output = named_.evaluation->run(*model,
                                                           {.dataset = &dataset_,
                                                            .params = named_.params,
                                                            .context_length = cell.context_length,
                                                            .variant = variant,
                                                            .windows_per_call = windows_per_call,
                                                            .shared = &shared_},
                                                           progress);
  RETURN_IF_ERROR(reported);
  if (!output) return std::move(output).status();
  for (const EvaluationArtifact& artifact : output->artifacts) {
    RETURN_IF_ERROR(WriteArtifact(artifact));
  }
  for (Json& row : output->rows) {
    if (row.value("metric", "") != cell.metric) continue;
    row["cell"] = cell.cell;
    return session_.journal().Append("result", row);
  }
  return Status(Code::kInvalidArgument, Str("evaluation ", named_.evaluation->name,
                                            " gives no metric \"", cell.metric, "\""));
}

Status Evaluator::Run() {
  std::int64_t index = 0;
  for (const ExpectedCell& cell : session_.task().expected_cells) {
    if (StopRequested()) return Status(Code::kCancelled, "stopped as asked");
    RETURN_IF_ERROR(RunCell(cell, index++));
  }
  return Status();
}

}  // namespace

Status Evaluate(Session& session, const Dataset& dataset, const Machine& machine) {
  const TaskFile& task = session.task();
  ASSIGN_OR_RETURN(NamedEvaluation named, ParseEvaluation(task.evaluation));
  ASSIGN_OR_RETURN(const AttentionBackend backend, ParseAttentionBackend(task.execution.attention));
  ASSIGN_OR_RETURN(LoadedCheckpoint checkpoint,
                   LoadCheckpoint(task.init->checkpoint, task.init->sha256));
  const NetConfig config = {.model = task.run.model};
  if (ModelConfigJson(checkpoint.model.config) != ModelConfigJson(config)) {
    return Status(Code::kDataLoss,
                  Str("checkpoint ", task.init->checkpoint, " is of another model than the run's"));
  }
  ASSIGN_OR_RETURN(
      Transformer net,
      Transformer::Make(config, std::move(checkpoint.model.parameters), backend, machine.compute));
  Evaluator evaluator(session, dataset, std::move(named), std::move(net));
  return evaluator.Run();
}

}  // namespace longrun
