#include "worker/trainer/evaluate.h"

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/str.h"
#include "model/data/tokenizer_file.h"
#include "model/data/unigram.h"
#include "model/evaluation/evaluation.h"
#include "model/evaluation/input_file.h"
#include "model/extension/extension.h"
#include "model/hugging_face/config_file.h"
#include "model/hugging_face/mask_token.h"
#include "model/net/checkpoint.h"
#include "model/net/model_folder.h"
#include "model/net/scorer.h"
#include "model/param.h"
#include "sweeps/cost.h"
#include "sweeps/earlier_results.h"
#include "sweeps/evaluated_dataset.h"
#include "sweeps/extended.h"
#include "worker/trainer/earlier_rows.h"
#include "worker/trainer/evaluation_work.h"
#include "worker/trainer/full_disk.h"
#include "worker/trainer/stop.h"
#include "worker/trainer/token_rate.h"
#include "worker/trainer/weights.h"

namespace longrun::trainer {
namespace {

// A task's progress is counted in these parts of its whole work.
constexpr std::int64_t kProgressParts = 1'000'000;

struct NamedEvaluation {
  const Evaluation* evaluation = nullptr;
  Json params;
  std::string files_dir;
};

// Parses {"perplexity": {...}} without its extension; files are given by their paths, FOLDER/HEX.
Result<NamedEvaluation> ParseEvaluation(const Json& json) {
  if (!json.is_object() || json.size() != 1) {
    return Status(Code::kInvalidArgument, "task.evaluation: expected one evaluation by its name");
  }
  ASSIGN_OR_RETURN(const Evaluation* evaluation, FindEvaluation(json.begin().key()));
  NamedEvaluation named = {
      .evaluation = evaluation, .params = json.begin().value(), .files_dir = {}};
  for (const std::string& name : FileParamsIn(*evaluation, named.params)) {
    ASSIGN_OR_RETURN(const std::string path, GetString(named.params, name, "task.evaluation"));
    named.files_dir = FolderOf(path);
    named.params[name] = InputFileIdOf(path);
  }
  return named;
}

// The folder of the dataset that the evaluation reads.
std::string FolderOfText(const TaskFile& task) {
  const std::optional<EvaluatedDataset> read = EvaluatedDatasetOf(task.evaluation);
  return read ? read->path : task.dataset_path;
}

class Evaluator {
 public:
  Evaluator(Session& session, const Dataset& trained_on, const Dataset& text, NamedEvaluation named,
            Json machine, std::unique_ptr<Net> net, std::int64_t mask_token)
      : session_(session),
        trained_on_(trained_on),
        text_(text),
        named_(std::move(named)),
        machine_(std::move(machine)),
        net_(std::move(net)),
        scorer_(*net_, text.bos_id(), static_cast<std::int32_t>(mask_token)) {
    for (const ExpectedCell& cell : session.task().expected_cells) {
      task_lengths_.push_back(cell.context_length);
    }
  }
  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;

  Status Run(const EarlierRows& earlier);

 private:
  Result<LanguageModel*> ModelOf(const std::string& variant);
  // The numbers that one call of the evaluation gives: those of one cell and one variant.
  using Group = std::span<const ExpectedCell>;
  // Writes the rows that were measured earlier, and returns the groups that are left.
  Result<std::vector<Group>> TakeOver(const EarlierRows& earlier, const std::vector<Group>& groups);
  Json ResolvedParams() const;
  // How long the texts are that the model reads for a cell: the context length, or a prompt's.
  Status MeasurePrompts();
  std::int64_t LongestRead(std::int64_t context_length) const;
  std::vector<double> WorkOfGroups(const std::vector<Group>& groups) const;
  // `before`, `work`, `all`: of the groups before, of this one, and of all.
  Status RunCells(Group cells, double before, double work, double all);
  Status WriteRow(const ExpectedCell& cell, const std::vector<Json>& rows);
  Status WriteArtifact(const EvaluationArtifact& artifact);
  Status WarnOfPrompts(const std::vector<Json>& rows);

  Session& session_;
  const Dataset& trained_on_;
  const Dataset& text_;
  NamedEvaluation named_;
  Json machine_;
  std::unique_ptr<Net> net_;
  NetScorer scorer_;
  std::unique_ptr<UnigramModel> unigram_;
  SharedWork shared_;
  std::vector<std::int64_t> task_lengths_;
  std::map<std::int64_t, std::int64_t>
      prompt_tokens_;  // by context length, if it is another number
  bool has_warned_of_prompts_ = false;
};

// "extension gali(chunk=64): chunk: ..."
std::string WarningText(const Json& extension, const ParamError& warning) {
  return Str("extension ", ExtensionText(extension), ": ", warning.key, ": ", warning.message);
}

Result<LanguageModel*> Evaluator::ModelOf(const std::string& variant) {
  if (variant.empty() || !named_.evaluation->variants_are_models) return &scorer_;
  if (variant != "unigram") {
    return Status(Code::kUnimplemented,
                  Str("unknown variant \"", variant,
                      "\" of an evaluation: expected \"unigram\", or an empty one for the model "
                      "itself"));
  }
  if (unigram_ == nullptr) {
    ASSIGN_OR_RETURN(unigram_, UnigramModel::Fit(trained_on_));
  }
  return unigram_.get();
}

Status Evaluator::WriteArtifact(const EvaluationArtifact& artifact) {
  LR_CHECK(IsSafeName(artifact.name));
  const std::string relative = Str("artifacts/", artifact.name);
  const std::string path = JoinPath(session_.task().attempt_dir, relative);
  const auto write = [&] {
    const Status made = MakeFolder(FolderOf(path));
    return made.ok() ? WriteFileAtomic(path, artifact.bytes) : made;
  };
  const auto n_bytes = static_cast<std::int64_t>(artifact.bytes.size());
  RETURN_IF_ERROR(OnceThereIsRoom(session_.task().attempt_dir, n_bytes, write));
  return session_.journal().Append(
      ArtifactRecord{.name = artifact.name,
                     .path = relative,
                     .sha256 = Sha256Hex(artifact.bytes),
                     .n_bytes = static_cast<std::int64_t>(artifact.bytes.size())});
}

// Prompts can be longer than the contexts, of which RecordWarnings() warns.
Status Evaluator::WarnOfPrompts(const std::vector<Json>& rows) {
  const Json extension = ExtensionOf(session_.task().evaluation);
  if (extension.is_null() || has_warned_of_prompts_) return Status();
  std::int64_t longest = 0;
  for (const Json& row : rows) {
    const Json extra = row.value("extra", Json::object());
    const auto prompt = extra.find("longest_prompt");
    if (prompt == extra.end() || !prompt->is_number_integer()) continue;
    longest = std::max(longest, prompt->get<std::int64_t>());
  }
  if (WarningAt(extension, std::ranges::max(task_lengths_))) return Status();
  const auto warning = WarningAt(extension, longest);
  if (!warning) return Status();
  has_warned_of_prompts_ = true;
  return session_.journal().Append(RecordKind::kWarning,
                                   Json{{"message", WarningText(extension, *warning)}});
}

// Null if they are not complete: the evaluation says so.
Json Evaluator::ResolvedParams() const {
  std::set<std::int64_t> lengths(task_lengths_.begin(), task_lengths_.end());
  Json given = named_.params;
  if (given.is_object()) given["context_lengths"] = lengths;
  Result<Json> params =
      ResolveParams(named_.evaluation->params, given, std::string(named_.evaluation->name));
  if (!params.ok()) return nullptr;
  const Json split = params->value("split", Json());
  const bool is_there = !split.is_string() || text_.Split(split.get<std::string>()).ok();
  return is_there ? std::move(params).value() : Json();
}

Status Evaluator::MeasurePrompts() {
  const Json params = ResolvedParams();
  if (named_.evaluation->longest_prompt == nullptr || params.is_null()) return Status();
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                   OpenTokenizerOf(FolderOfText(session_.task())));
  for (const std::int64_t length : task_lengths_) {
    if (prompt_tokens_.contains(length)) continue;
    prompt_tokens_[length] =
        named_.evaluation->longest_prompt(*tokenizer, text_.bos_id(), params, length);
  }
  return Status();
}

std::int64_t Evaluator::LongestRead(std::int64_t context_length) const {
  const auto prompt = prompt_tokens_.find(context_length);
  const bool has_own = prompt != prompt_tokens_.end() && prompt->second > 0;
  return has_own ? prompt->second : context_length;
}

std::vector<double> Evaluator::WorkOfGroups(const std::vector<Group>& groups) const {
  DatasetShape shape = {.name = "", .split_tokens = {}};
  for (const std::string& split : text_.split_names()) {
    shape.split_tokens[split] = text_.Split(split).value()->n_tokens();
  }
  std::vector<WorkPart> parts;
  for (const Group& group : groups) {
    const ExpectedCell& cell = group.front();
    parts.push_back({.context_length = cell.context_length,
                     .longest_read = LongestRead(cell.context_length),
                     .variant = cell.variant,
                     .n_numbers = std::ssize(group)});
  }
  return WorkOf(*named_.evaluation, ResolvedParams(), shape, session_.task().run.model, parts);
}

Status Evaluator::RunCells(Group cells, double before, double work, double all) {
  const std::string& variant = cells.front().variant;
  const std::int64_t context_length = cells.front().context_length;
  session_.SetPlace(Str(named_.evaluation->name, " at ", context_length,
                        variant.empty() ? "" : Str(" (", variant, ")")));
  Failpoint("trainer_mid_evaluation");
  ASSIGN_OR_RETURN(LanguageModel * model, ModelOf(variant));
  const DeviceKind device_kind = session_.task().execution.device_kind;
  const std::int64_t longest_read = LongestRead(context_length);
  const std::int64_t begin_ms = BootMs();
  Status reported;
  const auto progress = [&](std::int64_t done, std::int64_t of) {
    const std::int64_t n_ms = BootMs() - begin_ms;
    const auto n_tokens = static_cast<double>(done * longest_read);
    const double share =
        static_cast<double>(done) / static_cast<double>(std::max<std::int64_t>(1, of));
    reported = session_.Progress(
        {.phase = "evaluate",
         .done = static_cast<std::int64_t>(static_cast<double>(kProgressParts) *
                                           (before + share * work) / all),
         .of = kProgressParts,
         .tokens_per_s = n_ms < kRateMsMin ? 0.0 : 1e3 * n_tokens / static_cast<double>(n_ms)});
    return reported.ok() && !StopRequested();
  };
  Result<EvaluationOutput> output = named_.evaluation->run(
      *model,
      {.dataset = &text_,
       .is_own_dataset = &text_ == &trained_on_,
       .params = named_.params,
       .context_length = context_length,
       .task_lengths = task_lengths_,
       .variant = variant,
       .windows_per_call = EvaluateTokensPerCall(device_kind, context_length) / context_length,
       .shared = &shared_,
       .machine = machine_,
       .dataset_folder = FolderOfText(session_.task()),
       .files_dir = named_.files_dir,
       .extension = ExtensionOf(session_.task().evaluation)},
      progress);
  RETURN_IF_ERROR(reported);
  if (!output) return std::move(output).status();
  RETURN_IF_ERROR(WarnOfPrompts(output->rows));
  for (const EvaluationArtifact& artifact : output->artifacts) {
    RETURN_IF_ERROR(WriteArtifact(artifact));
  }
  for (const ExpectedCell& cell : cells) RETURN_IF_ERROR(WriteRow(cell, output->rows));
  return Status();
}

Status Evaluator::WriteRow(const ExpectedCell& cell, const std::vector<Json>& rows) {
  for (const Json& row : rows) {
    if (row.value("metric", "") != cell.metric || DepthOf(row) != cell.depth) continue;
    Json body = row;
    body["cell"] = cell.cell;
    return session_.journal().Append(RecordKind::kResult, body);
  }
  return Status(Code::kInvalidArgument,
                Str("evaluation ", named_.evaluation->name, " gives no metric \"", cell.metric,
                    "\"", DepthText(cell.depth)));
}

Result<std::vector<Evaluator::Group>> Evaluator::TakeOver(const EarlierRows& earlier,
                                                          const std::vector<Group>& groups) {
  std::vector<Group> left;
  std::size_t n_taken = 0;
  for (const Group& group : groups) {
    const std::vector<EarlierResult> results = earlier.ResultsOf(group);
    if (results.empty()) {
      left.push_back(group);
      continue;
    }
    if (StopRequested()) return Status(Code::kCancelled, "stopped as asked");
    Failpoint("trainer_mid_evaluation");
    std::vector<Json> rows;
    for (const EarlierResult& result : results) {
      rows.push_back(result.row);
      // The worker finds that the coordinator has their files.
      for (const Json& artifact : result.artifacts) {
        RETURN_IF_ERROR(session_.journal().Append(RecordKind::kArtifact, artifact));
      }
    }
    RETURN_IF_ERROR(WarnOfPrompts(rows));
    for (const Json& row : rows) {
      RETURN_IF_ERROR(session_.journal().Append(RecordKind::kResult, row));
    }
    n_taken += rows.size();
  }
  if (n_taken > 0) {
    LogInfo("results_taken_over",
            {{"results", Str(n_taken)}, {"of", Str(session_.task().expected_cells.size())}});
  }
  return left;
}

Status Evaluator::Run(const EarlierRows& earlier) {
  const std::vector<ExpectedCell>& cells = session_.task().expected_cells;
  std::vector<Group> groups;
  for (std::size_t begin = 0; begin < cells.size();) {
    std::size_t end = begin + 1;
    while (end < cells.size() && cells[end].cell == cells[begin].cell &&
           cells[end].variant == cells[begin].variant) {
      ++end;
    }
    groups.push_back(std::span(cells).subspan(begin, end - begin));
    begin = end;
  }
  RETURN_IF_ERROR(MeasurePrompts());
  const std::vector<double> of_all = WorkOfGroups(groups);
  const double of_all_groups = std::accumulate(of_all.begin(), of_all.end(), 0.0);
  ASSIGN_OR_RETURN(groups, TakeOver(earlier, groups));
  const std::vector<double> work = WorkOfGroups(groups);
  const double left = std::accumulate(work.begin(), work.end(), 0.0);
  // Another group may have the pass that all lengths share, at its own length.
  double before = std::max(0.0, of_all_groups - left);
  const double all = std::max(1.0, before + left);
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (StopRequested()) return Status(Code::kCancelled, "stopped as asked");
    RETURN_IF_ERROR(RunCells(groups[i], before, work[i], all));
    before += work[i];
  }
  return Status();
}

// The description of the machine that is stored with numbers that depend on it.
Json DescribeMachine(const TaskFile& task, const Machine& machine) {
  Json described = machine.ToJson();
  described["threads"] = task.execution.threads;
  described["attention"] = task.execution.attention;
  described["simd"] = machine.simd;
  described["linear"] = machine.linear;
  described["operators"] = machine.operators;
  described["subnormals"] = SubnormalsName(machine.subnormals);
  if (!machine.bf16.empty()) described["bf16"] = machine.bf16;
  return described;
}

Result<StartWeights> Weights(const TaskFile& task) {
  if (!task.run.trains()) return LoadImported(*task.init, task.run);
  RETURN_IF_ERROR(VerifyCheckpointFolder(task.init->checkpoint, task.init->sha256).status());
  ASSIGN_OR_RETURN(ModelFolder folder, LoadModelFolder(task.init->checkpoint));
  ASSIGN_OR_RETURN(const NetConfig config,
                   ConfigOfRun(folder.config, task.run, task.init->checkpoint));
  return StartWeights{.config = config, .parameters = std::move(folder.parameters)};
}

// The mask token: the one the model was trained with here, else that of its config.json, else the
// tokenizer's; -1 if there is none.
Result<std::int64_t> MaskToken(const TaskFile& task, const Dataset& dataset) {
  if (task.run.train.is_masked()) return task.run.train.mask.token;
  ASSIGN_OR_RETURN(const Json config, ReadConfigFile(task.init->checkpoint));
  ASSIGN_OR_RETURN(const std::int64_t of_model, MaskTokenOf(config, task.run.model));
  return of_model >= 0 ? of_model : dataset.mask_id();
}

// Warns of a chunk that is too long for the longest context, and of kernels that the task was told
// to use, but that its extension cannot use.
Status RecordWarnings(Session& session) {
  const TaskFile& task = session.task();
  const Json extension = ExtensionOf(task.evaluation);
  if (extension.is_null()) return Status();
  std::vector<std::string> messages;
  std::int64_t longest = 0;
  for (const ExpectedCell& cell : task.expected_cells) {
    longest = std::max(longest, cell.context_length);
  }
  if (const auto warning = WarningAt(extension, longest)) {
    messages.push_back(WarningText(extension, *warning));
  }
  const std::string why = WhyNotByKernels(extension);
  if (task.execution.attention == AttentionBackend::kFused && !why.empty()) {
    messages.push_back(Str("extension ", ExtensionText(extension), ": ", why,
                           ", so LibTorch's operators compute its attention instead of the "
                           "back-end \"fused\""));
  }
  for (std::string& message : messages) {
    RETURN_IF_ERROR(
        session.journal().Append(RecordKind::kWarning, Json{{"message", std::move(message)}}));
  }
  return Status();
}

}  // namespace

Status Evaluate(Session& session, const Dataset& trained_on, const Dataset& text,
                const Machine& machine, const Json& started) {
  const TaskFile& task = session.task();
  ASSIGN_OR_RETURN(NamedEvaluation named,
                   ParseEvaluation(WithoutEvaluatedDataset(WithoutExtension(task.evaluation))));
  if (const std::string why = WhyUnsupported(*named.evaluation, task.run.model.causal);
      !why.empty()) {
    return Status(Code::kInvalidArgument, Str(named.evaluation->name, ": ", why));
  }
  session.SetPlace("loading the model");
  ASSIGN_OR_RETURN(StartWeights weights, Weights(task));
  ASSIGN_OR_RETURN(const std::int64_t mask_token, MaskToken(task, text));
  if (named.evaluation->reads == Evaluation::Reads::kBidirectional && mask_token < 0) {
    return Status(Code::kInvalidArgument,
                  Str(named.evaluation->name,
                      ": there is no mask token: add mask_token_id to config.json, or use a "
                      "dataset whose tokenizer has a mask token"));
  }
  // An extension of the evaluation stands in for the one of the training.
  if (!task.run.train.extension.is_null() && !ExtensionOf(task.evaluation).is_null()) {
    weights.config.extension = Json();
  }
  RETURN_IF_ERROR(SetExtension(ExtensionOf(task.evaluation), weights.config).In("task.extension"));
  ASSIGN_OR_RETURN(std::unique_ptr<Net> net, MakeNet(weights.config, std::move(weights.parameters),
                                                     task.execution.attention, machine.compute));
  RETURN_IF_ERROR(RecordWarnings(session));
  const Json described = DescribeMachine(task, machine);
  Evaluator evaluator(session, trained_on, text, std::move(named), described, std::move(net),
                      mask_token);
  return evaluator.Run(EarlierRows(task.earlier, MeasuredWith(started), described));
}

}  // namespace longrun::trainer
