#include "worker/trainer/train.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <exception>
#include <future>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/files.h"
#include "base/log.h"
#include "base/str.h"
#include "model/data/masking.h"
#include "model/evaluation/perplexity.h"
#include "model/evaluation/window.h"
#include "model/net/adamw.h"
#include "model/net/checkpoint.h"
#include "model/net/masked_batch.h"
#include "model/net/memory_meter.h"
#include "model/net/recorded_passes.h"
#include "model/net/sample_copies.h"
#include "model/net/scorer.h"
#include "model/net/to_device.h"
#include "model/net/train_step.h"
#include "model/position_schedule/schedule.h"
#include "model/sample_source/source.h"
#include "sweeps/cost.h"
#include "worker/trainer/full_disk.h"
#include "worker/trainer/provenance.h"
#include "worker/trainer/stop.h"
#include "worker/trainer/token_rate.h"
#include "worker/trainer/weights.h"

namespace longrun::trainer {
namespace {

// The sign of a NaN has no meaning.
std::string NumberText(double value) { return std::isnan(value) ? "nan" : Str(value); }

// The number of sequences per call of the network in validation: it depends only on the recipe, so
// that a shape has one result.
std::int64_t SequencesPerCall(const TrainConfig& train) {
  return std::max<std::int64_t>(1, 4096 / train.validation_length());
}

struct Best {
  double val_loss = 0.0;
  std::int64_t step = 0;
};

// A step whose work is queued, and whose results are not read yet.
struct UnreadStep {
  std::int64_t step = 0;
  std::int64_t begin_ms = 0;
  std::int64_t n_tokens = 0;
  double lr = 0.0;
  HostCopy results;  // of TrainStep::Finish
};

// A checkpoint that is being written. Copies of its tensors, if training goes on meanwhile.
struct PendingCheckpoint {
  CheckpointRecord record;  // but for what is known once it is written
  std::string folder;
  NetConfig config;
  ParameterMap parameters;
  std::map<std::string, at::Tensor> optimizer;
  Json state;
  // The last member, because its thread reads the others.
  std::future<Result<CheckpointSummary>> written = {};

  Result<CheckpointSummary> Write() const {
    std::int64_t n_bytes = 0;
    for (const auto& [name, tensor] : parameters)
      n_bytes += static_cast<std::int64_t>(tensor.nbytes());
    for (const auto& [name, tensor] : optimizer)
      n_bytes += static_cast<std::int64_t>(tensor.nbytes());
    return OnceThereIsRoom(FolderOf(FolderOf(folder)), n_bytes, [this] {
      return WriteCheckpoint(
          folder,
          {.config = config, .parameters = parameters, .optimizer = optimizer, .state = state});
    });
  }
};

std::string PlaceOfCheckpoint(std::int64_t step) { return Str("checkpoint of step ", step); }

template <typename Tensors>
void CopyToHost(Tensors& tensors) {
  for (auto& [name, tensor] : tensors) {
    tensor = tensor.detach().to(at::kCPU, /*non_blocking=*/false, /*copy=*/true);
  }
}

class Trainer {
 public:
  static Result<Trainer> Make(Session& session, const Dataset& dataset, const Machine& machine,
                              TrainStart start, const Overlap& overlap);
  Status TrainToEnd();

 private:
  Trainer(Session& session, std::unique_ptr<SampleSource> samples, std::unique_ptr<Net> net,
          std::string initial_weights, Json programs, const Overlap& overlap)
      : session_(session),
        run_(session.task().run),
        samples_(std::move(samples)),
        net_(std::move(net)),
        optimizer_(run_.train.optimizer, *net_),
        copies_(net_->compute().device),
        initial_weights_(std::move(initial_weights)),
        programs_(std::move(programs)),
        overlap_(overlap) {
    if (overlap_.recorder) {
      recorded_ = std::make_unique<RecordedPasses>(*net_, overlap_.recorder);
    }
  }

  Status Restore(const LoadedCheckpoint& checkpoint);
  // Records that the training goes on with other programs than those that wrote the checkpoint.
  Status WarnOfPrograms(const Json& state);
  Status PrepareValidation(const Dataset& dataset);
  // Returns false if a stop came in between; then nothing has changed.
  Result<bool> Step();
  // Reads the results of the oldest steps, until those of n_left steps are left.
  Status ReadResults(std::size_t n_left);
  Status Report(const UnreadStep& of);
  Result<bool> AddPasses(std::int64_t step, TrainStep& to);
  std::optional<SampleSize> SizeOf(std::int64_t step) const;
  Status AddPass(std::int64_t first, std::int64_t n, TrainStep& to);
  Status AddMaskedPass(std::int64_t first, std::int64_t n, TrainStep& to);
  Status ReadBatch(std::int64_t first, std::int64_t n);
  bool ValidationIsDue() const;
  Result<bool> Validate();
  std::optional<double> LeftMs(std::int64_t step) const;
  Result<double> ValidationLoss();
  Result<double> MaskedValidationLoss();
  bool ReportsValidation(std::int64_t done, std::int64_t of, Status& reported);
  Status TrainSteps();
  Status Checkpoint(bool final, bool best);
  // Records the checkpoint that is being written, if there is one, once it is on the disk.
  Status FinishCheckpoint();
  // The same without waiting, if it is on the disk.
  Status TakeCheckpoint();
  // After an error, which is told instead of one of this.
  void KeepCheckpoint();
  Status RemoveOldCheckpoints();

  Session& session_;
  const Run& run_;
  std::unique_ptr<SampleSource> samples_;
  std::unique_ptr<Net> net_;
  AdamW optimizer_;
  SampleCopies copies_;
  const std::string initial_weights_;
  const Json programs_;  // ProgramsOf

  const Overlap overlap_;
  std::unique_ptr<RecordedPasses> recorded_;  // null: passes are not recorded
  std::deque<UnreadStep> unread_;             // oldest first
  std::int64_t read_ms_ = 0;                  // when the last results were read
  double validation_ms_ = 0;                  // how long the last validation took; 0: none yet

  std::int64_t step_ = 0;        // steps done or queued
  std::int64_t n_tokens_ = 0;    // of these steps' samples, without padding
  std::int64_t saved_step_ = 0;  // of the newest checkpoint, ours or the one resumed from
  std::int64_t saved_ms_ = 0;
  std::optional<Best> best_;
  bool validation_pending_ = false;       // the weights after step_ are not validated yet
  std::vector<std::string> checkpoints_;  // folders written here, oldest first
  std::string best_checkpoint_;
  std::unique_ptr<PendingCheckpoint> pending_;
  TokenRate rate_;

  Sample sample_;
  Samples batch_;  // of a micro-batch
  std::vector<std::int32_t> validation_tokens_;
  std::vector<Window> validation_windows_;
  // Only for a masked language model.
  std::optional<Masking> masking_;
  std::vector<MaskedSequence> validation_masked_;
};

Result<Trainer> Trainer::Make(Session& session, const Dataset& dataset, const Machine& machine,
                              TrainStart start, const Overlap& overlap) {
  const TaskFile& task = session.task();
  const Run& run = task.run;
  ASSIGN_OR_RETURN(const TokenSplit* split, dataset.Split("train"));
  const auto seed = static_cast<std::uint64_t>(run.seed);
  ASSIGN_OR_RETURN(
      std::unique_ptr<SampleSource> samples,
      OpenSampleSource(
          {.split = *split, .train = run.train, .seed = seed, .bos_id = dataset.bos_id()}));
  if (run.model.vocab_size < dataset.n_tokens()) {
    return Status(Code::kInvalidArgument,
                  Str("model.vocab_size ", run.model.vocab_size, " is less than the ",
                      dataset.n_tokens(), " ids of dataset \"", task.dataset_name, "\""));
  }

  ASSIGN_OR_RETURN(std::unique_ptr<Net> net, MakeNet(start.config, std::move(start.parameters),
                                                     task.execution.attention, machine.compute));
  net->SetActivationCheckpointing(task.activation_checkpointing);
  net->SetSkipEpsilon(run.train.skip_epsilon);
  net->KeepWeightCopies();
  if (!run.train.positions.is_null()) RETURN_IF_ERROR(net->CheckPositionIds());
  Trainer trainer(session, std::move(samples), std::move(net), std::move(start.initial_weights),
                  ProgramsOf(machine), overlap);
  if (run.train.is_masked()) {
    std::vector<std::int32_t> ids = IdsOfText(dataset);
    if (ids.empty()) {
      return Status(
          Code::kInvalidArgument,
          Str("train.objective: masked_lm draws random tokens from those that stand for text, but "
              "the tokenizer of dataset \"",
              task.dataset_name, "\" has none"));
    }
    trainer.masking_.emplace(run.train.mask, seed, MaskStream::kTrain, std::move(ids));
  }
  if (start.resumed) RETURN_IF_ERROR(trainer.Restore(*start.resumed));
  RETURN_IF_ERROR(trainer.PrepareValidation(dataset));
  return trainer;
}

Status Trainer::Restore(const LoadedCheckpoint& checkpoint) {
  const CheckpointRef& resume = *session_.task().resume;
  Result<std::int64_t> step = GetInt(checkpoint.state, "step", "state.json");
  Result<std::string> run_key = GetString(checkpoint.state, "run_key", "state.json");
  const TaskFile& task = session_.task();
  const bool is_parents = run_key && !run_.parent.empty() && *run_key == run_.parent;
  if (!step || !run_key || *step != resume.step || (*run_key != task.run_key && !is_parents)) {
    return Status(
        Code::kDataLoss,
        Str("checkpoint ", resume.checkpoint, " was not made at step ", resume.step, " of run ",
            task.run_key,
            run_.parent.empty() ? "" : Str(" or of run ", run_.parent, ", which it continues")));
  }
  RETURN_IF_ERROR(optimizer_.Restore(checkpoint.optimizer, *step));
  step_ = saved_step_ = *step;
  ASSIGN_OR_RETURN(n_tokens_, GetInt(checkpoint.state, "tokens", "state.json"));
  ASSIGN_OR_RETURN(validation_pending_,
                   GetBool(checkpoint.state, "validation_pending", "state.json"));
  // A parent's best does not count for this run: the parent may have been validated differently.
  if (is_parents) return Status();
  RETURN_IF_ERROR(WarnOfPrograms(checkpoint.state));
  if (const Json best = checkpoint.state.value("best", Json()); best.is_object()) {
    ASSIGN_OR_RETURN(const double val_loss, GetDouble(best, "val_loss", "state.json"));
    ASSIGN_OR_RETURN(const std::int64_t best_step, GetInt(best, "step", "state.json"));
    best_ = {.val_loss = val_loss, .step = best_step};
  }
  return Status();
}

Status Trainer::WarnOfPrograms(const Json& state) {
  const Json written_with = state.value("programs", Json());
  std::vector<std::string> changes;
  for (const auto& [name, now] : programs_.items()) {
    const bool is_known = written_with.is_object() && written_with.contains(name);
    const Json before = is_known ? written_with.at(name) : Json("unknown");
    if (before != now) changes.push_back(Str(name, " ", before.dump(), ", now ", now.dump()));
  }
  if (changes.empty()) return Status();
  return session_.journal().Append(
      RecordKind::kWarning,
      Json{{"message", Str("the checkpoint of step ", step_, " was written by other programs (",
                           Join(changes, "; "),
                           "): from there on, the training may have other bits than with the "
                           "programs that began it")}});
}

// The validation curve scores the first tokens of the validation split in adjacent windows: the
// same each time. The hidden tokens are also the same, in every run of one recipe: they are drawn
// with seed 0.
Status Trainer::PrepareValidation(const Dataset& dataset) {
  const ValidateConfig& validate = run_.train.validate;
  if (validate.every == 0) return Status();
  ASSIGN_OR_RETURN(const TokenSplit* split, dataset.Split("validation"));
  const std::int64_t n_tokens = std::min(validate.tokens + 1, split->n_tokens());
  validation_tokens_.resize(static_cast<std::size_t>(n_tokens));
  RETURN_IF_ERROR(split->Read(0, validation_tokens_));
  ASSIGN_OR_RETURN(
      validation_windows_,
      PlanNonOverlap({.n_tokens = n_tokens, .context_length = run_.train.validation_length()}));
  if (!masking_) return Status();
  const Masking masking(run_.train.mask, 0, MaskStream::kValidation, IdsOfText(dataset));
  const auto length = static_cast<std::size_t>(run_.train.validation_length());
  validation_masked_.reserve(validation_windows_.size());
  for (const Window& window : validation_windows_) {
    validation_masked_.push_back(
        masking.Mask(static_cast<std::int64_t>(validation_masked_.size()),
                     std::span(validation_tokens_)
                         .subspan(static_cast<std::size_t>(window.context_begin), length)));
  }
  return Status();
}

// Reads samples first .. first + n - 1 into the rows of batch_.
Status Trainer::ReadBatch(std::int64_t first, std::int64_t n) {
  const std::int64_t n_length = run_.train.train_length;
  const bool is_plain = run_.train.positions.is_null();
  if (!batch_.ids_BT.defined() || batch_.ids_BT.size(0) != n) {
    batch_.ids_BT = at::empty({n, n_length}, at::kLong);
    batch_.targets_BT = at::empty({n, n_length}, at::kLong);
    if (!is_plain) {
      batch_.position_ids_BT = at::empty({n, n_length}, at::kInt);
      batch_.n_positions = NumberOfPositions(run_.train.positions);
    }
  }
  auto* ids = batch_.ids_BT.data_ptr<std::int64_t>();
  auto* targets = batch_.targets_BT.data_ptr<std::int64_t>();
  auto* positions = is_plain ? nullptr : batch_.position_ids_BT.data_ptr<std::int32_t>();
  for (std::int64_t g = first; g < first + n; ++g) {
    RETURN_IF_ERROR(samples_->Read(g, sample_));
    ids = std::ranges::copy(sample_.tokens, ids).out;
    targets = std::ranges::copy(sample_.targets, targets).out;
    if (!is_plain) positions = std::ranges::copy(sample_.positions, positions).out;
  }
  return Status();
}

// The number of a step's tokens, and of those that have a loss. Known before its first pass, so
// that the loss is their mean however unevenly they are spread over micro-batches. Returns nullopt
// if a stop came in between.
std::optional<SampleSize> Trainer::SizeOf(std::int64_t step) const {
  constexpr std::int64_t kSequencesAtOnce = 4096;
  const std::int64_t n_sequences = run_.train.batch_sequences();
  SampleSize sum;
  for (std::int64_t g = (step - 1) * n_sequences; g < step * n_sequences; ++g) {
    if (g % kSequencesAtOnce == 0 && StopRequested()) return std::nullopt;
    const SampleSize size = samples_->Size(g);
    sum.n_tokens += size.n_tokens;
    sum.n_targets += masking_ ? masking_->Count(g, run_.train.train_length) : size.n_targets;
  }
  return sum;
}

// Adds samples first .. first + n - 1.
Status Trainer::AddPass(std::int64_t first, std::int64_t n, TrainStep& to) {
  if (masking_) return AddMaskedPass(first, n, to);
  RETURN_IF_ERROR(ReadBatch(first, n));
  to.Add(batch_);
  return Status();
}

Status Trainer::AddMaskedPass(std::int64_t first, std::int64_t n, TrainStep& to) {
  std::vector<MaskedSequence> sequences;
  sequences.reserve(static_cast<std::size_t>(n));
  for (std::int64_t g = first; g < first + n; ++g) {
    RETURN_IF_ERROR(samples_->Read(g, sample_));
    sequences.push_back(masking_->Mask(g, sample_.tokens));
  }
  to.Add(ToBatch(sequences));
  return Status();
}

// Adds all samples of a step. Returns false if a stop came in between.
Result<bool> Trainer::AddPasses(std::int64_t step, TrainStep& to) {
  const std::int64_t n_sequences = run_.train.batch_sequences();
  for (std::int64_t done = 0; done < n_sequences;) {
    if (StopRequested()) return false;
    RETURN_IF_ERROR(TakeCheckpoint());
    const std::int64_t n = std::min(session_.task().execution.micro_batch, n_sequences - done);
    RETURN_IF_ERROR(AddPass((step - 1) * n_sequences + done, n, to));
    done += n;
  }
  return true;
}

Result<bool> Trainer::Step() {
  const std::int64_t begin_ms = BootMs();
  const std::int64_t step = step_ + 1;
  session_.SetPlace(Str("step ", step));
  Failpoint("trainer_mid_step");
  const std::optional<SampleSize> size = SizeOf(step);
  if (!size) return false;
  TrainStep queued(*net_, copies_, 1.0 / static_cast<double>(size->n_targets), recorded_.get());
  ASSIGN_OR_RETURN(const bool is_whole, AddPasses(step, queued));
  if (!is_whole) return false;
  const double lr = LearningRate(run_.train, step);
  unread_.push_back({.step = step,
                     .begin_ms = begin_ms,
                     .n_tokens = size->n_tokens,
                     .lr = lr,
                     .results = HostCopy(queued.Finish(optimizer_, lr))});
  step_ = step;
  n_tokens_ += size->n_tokens;
  validation_pending_ = ValidationIsDue();
  RETURN_IF_ERROR(ReadResults(overlap_.n_unread_max));
  return true;
}

// A step whose results are not finite changed nothing, and ends the training. A step that was
// queued before these results were read may have changed the weights, but nobody reads them: all
// results are read before a validation and before a checkpoint.
Status Trainer::ReadResults(std::size_t n_left) {
  while (unread_.size() > n_left) {
    const UnreadStep oldest = std::move(unread_.front());
    unread_.pop_front();
    session_.SetPlace(Str("step ", oldest.step));
    if (Status reported = Report(oldest); !reported.ok()) {
      unread_.clear();
      return reported;
    }
  }
  return Status();
}

Status Trainer::Report(const UnreadStep& of) {
  const double* const results = of.results.Wait().const_data_ptr<double>();
  const double loss = results[0], grad_norm = results[1];
  if (!std::isfinite(loss) || !std::isfinite(grad_norm)) {
    return Status(Code::kAborted, Str("step ", of.step, ": the loss is ", NumberText(loss),
                                      ", the gradient's norm ", NumberText(grad_norm)));
  }
  // While the results of a step were unread, the device may have worked on an earlier one.
  const std::int64_t begin_ms = std::max(of.begin_ms, read_ms_);
  read_ms_ = BootMs();
  rate_.Add(of.n_tokens, read_ms_ - begin_ms);
  SeriesRecord series = {.values = {{"grad_norm", grad_norm}, {"loss", loss}, {"lr", of.lr}}};
  if (run_.train.takes_documents()) {
    series.values.emplace_back("padding", 1.0 - static_cast<double>(of.n_tokens) /
                                                    static_cast<double>(run_.train.batch_tokens));
  }
  const double tokens_per_s = rate_.tokens_per_s();
  if (tokens_per_s > 0.0) series.values.emplace_back("tokens_per_s", tokens_per_s);
  RETURN_IF_ERROR(session_.Record(std::move(series), of.step));
  return session_.Progress({.phase = "train",
                            .done = of.step,
                            .of = run_.train.steps(),
                            .tokens_per_s = tokens_per_s,
                            .step = of.step,
                            .left_ms = LeftMs(of.step)});
}

// By the measurements of the rate that is reported beside it, and with the validations to come.
std::optional<double> Trainer::LeftMs(std::int64_t step) const {
  if (rate_.ms_per_step() == 0.0) return std::nullopt;
  return rate_.ms_per_step() * static_cast<double>(run_.train.steps() - step) +
         validation_ms_ * static_cast<double>(ValidationsLeft(run_.train, step));
}

bool Trainer::ValidationIsDue() const {
  const std::int64_t every = run_.train.validate.every;
  if (every == 0) return false;
  const std::int64_t batch = run_.train.batch_tokens;
  return step_ * batch / every > (step_ - 1) * batch / every || step_ == run_.train.steps();
}

bool Trainer::ReportsValidation(std::int64_t done, std::int64_t of, Status& reported) {
  reported = TakeCheckpoint();
  if (!reported.ok()) return false;
  reported = session_.Progress({.phase = "validate",
                                .done = done,
                                .of = of,
                                .tokens_per_s = rate_.tokens_per_s(),
                                .step = step_});
  return reported.ok() && !StopRequested();
}

Result<double> Trainer::ValidationLoss() {
  NetScorer scorer(*net_);
  Status reported;
  const auto progress = [&](std::int64_t done, std::int64_t of) {
    return ReportsValidation(done, of, reported);
  };
  Result<Score> score = ScoreWindows(scorer,
                                     {.tokens = validation_tokens_,
                                      .windows = validation_windows_,
                                      .document_starts = {},
                                      .token_bytes = {},
                                      .windows_per_call = SequencesPerCall(run_.train)},
                                     progress);
  RETURN_IF_ERROR(reported);
  if (!score) return std::move(score).status();
  if (score->n_non_finite > 0) return std::numeric_limits<double>::quiet_NaN();
  return score->MeanNll();
}

Result<double> Trainer::MaskedValidationLoss() {
  NetScorer scorer(*net_);
  const auto per_call = static_cast<std::size_t>(SequencesPerCall(run_.train));
  double nll_sum = 0.0;
  std::int64_t n_targets = 0;
  for (std::size_t begin = 0; begin < validation_masked_.size();) {
    const std::size_t n = std::min(per_call, validation_masked_.size() - begin);
    ASSIGN_OR_RETURN(const std::vector<std::vector<float>> nll,
                     scorer.MaskedNll(std::span(validation_masked_).subspan(begin, n)));
    for (const std::vector<float>& of_sequence : nll) {
      for (const float x : of_sequence) nll_sum += static_cast<double>(x);
      n_targets += static_cast<std::int64_t>(of_sequence.size());
    }
    begin += n;
    Status reported;
    const auto done = static_cast<std::int64_t>(begin);
    const auto of = static_cast<std::int64_t>(validation_masked_.size());
    const bool goes_on = ReportsValidation(done, of, reported);
    RETURN_IF_ERROR(reported);
    if (!goes_on) return Status(Code::kCancelled, "stopped in the middle of a validation");
  }
  return nll_sum / static_cast<double>(n_targets);
}

// Returns true if the loss is the lowest so far.
Result<bool> Trainer::Validate() {
  RETURN_IF_ERROR(ReadResults(0));
  session_.SetPlace(Str("validation after step ", step_));
  if (recorded_) recorded_->Forget();
  const std::int64_t begin_ms = BootMs();
  ASSIGN_OR_RETURN(const double val_loss, masking_ ? MaskedValidationLoss() : ValidationLoss());
  validation_ms_ = static_cast<double>(BootMs() - begin_ms);
  if (!std::isfinite(val_loss)) {
    return Status(Code::kAborted, Str("validation after step ", step_,
                                      ": the loss of some tokens is infinite or NaN"));
  }
  RETURN_IF_ERROR(session_.Record(SeriesRecord{.values = {{"val_loss", val_loss}}}, step_));
  if (best_ && best_->val_loss <= val_loss) return false;
  best_ = {.val_loss = val_loss, .step = step_};
  return true;
}

Status Trainer::Checkpoint(bool final, bool best) {
  RETURN_IF_ERROR(FinishCheckpoint());
  RETURN_IF_ERROR(ReadResults(0));
  session_.SetPlace(PlaceOfCheckpoint(step_));
  const TaskFile& task = session_.task();
  std::string digits = Str(step_);
  digits.insert(0, digits.size() < 9 ? 9 - digits.size() : 0, '0');
  const std::string relative = Str("checkpoints/step-", digits);
  auto pending = std::make_unique<PendingCheckpoint>(PendingCheckpoint{
      .record = {.path = relative, .step = step_, .is_final = final, .is_best = best},
      .folder = JoinPath(task.attempt_dir, relative),
      .config = net_->config(),
      .parameters = net_->parameters(),
      .optimizer = optimizer_.State(),
      .state = {
          {"step", step_},
          {"seed", run_.seed},
          {"tokens", n_tokens_},
          {"micro_batch", task.execution.micro_batch},
          {"paths", task.execution.ToJson().at("paths")},
          {"run_key", task.run_key},
          {"train_length", run_.train.train_length},
          {"initial_weights", initial_weights_},
          {"programs", programs_},
          {"validation_pending", validation_pending_},
          {"best", best_ ? Json{{"val_loss", best_->val_loss}, {"step", best_->step}} : Json()}}});
  saved_step_ = step_;
  saved_ms_ = BootMs();
  const bool goes_on = overlap_.writes_behind && !final && !StopRequested();
  if (goes_on) {
    CopyToHost(pending->parameters);
    CopyToHost(pending->optimizer);
  }
  pending->written = std::async(goes_on ? std::launch::async : std::launch::deferred,
                                [content = pending.get()] { return content->Write(); });
  pending_ = std::move(pending);
  return goes_on ? Status() : FinishCheckpoint();
}

Status Trainer::TakeCheckpoint() {
  if (!pending_) return Status();
  const std::future_status written = pending_->written.wait_for(std::chrono::seconds(0));
  return written == std::future_status::ready ? FinishCheckpoint() : Status();
}

Status Trainer::FinishCheckpoint() {
  if (!pending_) return Status();
  const std::unique_ptr<PendingCheckpoint> pending = std::move(pending_);
  CheckpointRecord& record = pending->record;
  const Result<CheckpointSummary> summary = pending->written.get();
  if (!summary.ok()) {
    session_.SetPlace(PlaceOfCheckpoint(*record.step));
    return summary.status();
  }
  record.sha256 = summary->sha256;
  record.files.emplace();
  for (const FolderFile& file : summary->files) {
    record.files->push_back({.name = file.name, .sha256 = file.sha256, .n_bytes = file.n_bytes});
  }
  const bool is_best = record.is_best;
  const std::int64_t step = *record.step;
  RETURN_IF_ERROR(session_.Record(std::move(record), step));
  checkpoints_.push_back(pending->folder);
  if (is_best) best_checkpoint_ = pending->folder;
  return RemoveOldCheckpoints();
}

// Keeps the last few checkpoints and the best.
Status Trainer::RemoveOldCheckpoints() {
  const auto keep = static_cast<std::size_t>(session_.task().checkpoint_keep);
  for (std::size_t i = 0; i + keep < checkpoints_.size();) {
    if (checkpoints_[i] == best_checkpoint_) {
      ++i;
      continue;
    }
    RETURN_IF_ERROR(RemoveAll(checkpoints_[i]));
    checkpoints_.erase(checkpoints_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return Status();
}

// What ends the training takes nothing from a checkpoint before it.
Status Trainer::TrainToEnd() {
  Status trained;
  try {
    trained = TrainSteps();
  } catch (...) {
    KeepCheckpoint();
    throw;
  }
  if (trained.ok()) return FinishCheckpoint();
  KeepCheckpoint();
  return trained;
}

void Trainer::KeepCheckpoint() {
  const std::string place = session_.place();
  try {
    static_cast<void>(FinishCheckpoint());
  } catch (const std::exception& error) {
    LogWarning("checkpoint_not_kept", {{"error", error.what()}});
  }
  session_.SetPlace(place);
}

Status Trainer::TrainSteps() {
  const std::int64_t n_steps = run_.train.steps();
  saved_ms_ = BootMs();
  Failpoint("trainer_before_first_step");
  bool stopped = false;
  bool final_written = false;
  while (!stopped) {
    RETURN_IF_ERROR(TakeCheckpoint());
    if (validation_pending_) {
      const Result<bool> best = Validate();
      if (!best && best.status().code() == Code::kCancelled) {
        stopped = true;
        break;
      }
      if (!best) return best.status();
      validation_pending_ = false;
      if (*best) {
        final_written = step_ == n_steps;
        RETURN_IF_ERROR(Checkpoint(final_written, true));
      }
    }
    if (step_ == n_steps) break;
    const bool due = BootMs() - saved_ms_ >= session_.task().checkpoint_every_ms;
    if (due && step_ > saved_step_) RETURN_IF_ERROR(Checkpoint(false, false));
    if (StopRequested()) {
      stopped = true;
      break;
    }
    const Result<bool> stepped = Step();
    if (!stepped) {
      // An error of this step, such as a sample that cannot be read, hides no result of another.
      const std::string place = session_.place();
      RETURN_IF_ERROR(ReadResults(0));
      session_.SetPlace(place);
      return stepped.status();
    }
    stopped = !*stepped;
  }
  if (stopped) {
    RETURN_IF_ERROR(ReadResults(0));
    if (step_ > saved_step_) RETURN_IF_ERROR(Checkpoint(false, false));
    RETURN_IF_ERROR(FinishCheckpoint());
    RETURN_IF_ERROR(session_.journal().Sync());
    return Status(Code::kCancelled, Str("stopped as asked, after step ", step_, " of ", n_steps));
  }
  return final_written ? Status() : Checkpoint(true, false);
}

// The most that a GPU's allocator held, beside what placement and `longrun plan` reckon with. On a
// CPU that also counts the program, which no allocator knows.
void LogMemory(const TaskFile& task, const c10::Device& device) {
  if (!device.is_cuda()) return;
  const MemoryMeter meter(device);
  const std::int64_t forecast_bytes =
      TrainMemoryBytes(task.run.model, task.run.train, task.execution.micro_batch,
                       BegunRunMemoryPath(task.execution, task.activation_checkpointing));
  LogInfo("training_memory", {{"peak_bytes", Str(meter.PeakAllocatedBytes())},
                              {"reserved_bytes", Str(meter.PeakReservedBytes())},
                              {"forecast_bytes", Str(forecast_bytes)}});
}

}  // namespace

Result<TrainStart> LoadStart(const TaskFile& task) {
  const Run& run = task.run;
  if (!run.parent.empty() && !task.resume) {
    return Status(Code::kInvalidArgument, Str("the run continues run ", run.parent,
                                              ", but the task names no checkpoint to resume from"));
  }
  TrainStart start;
  start.config.model = run.model;
  start.config.extension = run.train.extension;
  if (task.init) {
    const bool is_imported = run.init->is_imported();
    ASSIGN_OR_RETURN(StartWeights weights,
                     is_imported ? LoadImported(*task.init, run) : LoadBase(*task.init, run));
    start.config = std::move(weights.config);
    if (is_imported) {
      RETURN_IF_ERROR(SetExtension(run.train.extension, start.config).In("train.extend"));
    }
    start.parameters = std::move(weights.parameters);
    start.initial_weights = ParametersSha256(start.parameters);
    return start;
  }
  if (!task.resume) {
    ASSIGN_OR_RETURN(const std::vector<ParameterSpec> specs, ParametersOf(run.model));
    start.parameters = InitialParameters(specs, static_cast<std::uint64_t>(run.seed));
    start.initial_weights = ParametersSha256(start.parameters);
    return start;
  }
  ASSIGN_OR_RETURN(start.resumed, LoadCheckpoint(task.resume->checkpoint, task.resume->sha256));
  ASSIGN_OR_RETURN(start.config,
                   ConfigOfRun(start.resumed->model.config, run, task.resume->checkpoint));
  start.parameters = std::move(start.resumed->model.parameters);
  if (start.resumed->state.contains("initial_weights")) {
    ASSIGN_OR_RETURN(start.initial_weights,
                     GetString(start.resumed->state, "initial_weights", "state.json"));
  }
  return start;
}

Overlap OverlapOf(const Machine& machine) {
  if (machine.compute.device.is_cpu()) return {};
  return {.n_unread_max = 1, .writes_behind = true, .recorder = machine.recorder};
}

Status Train(Session& session, const Dataset& dataset, const Machine& machine, TrainStart start,
             const Overlap& overlap) {
  ASSIGN_OR_RETURN(Trainer trainer,
                   Trainer::Make(session, dataset, machine, std::move(start), overlap));
  RETURN_IF_ERROR(trainer.TrainToEnd());
  LogMemory(session.task(), machine.compute.device);
  return Status();
}

}  // namespace longrun::trainer
