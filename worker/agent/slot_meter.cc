#include "worker/agent/slot_meter.h"

#include <algorithm>

#include "sweeps/cost.h"

namespace longrun::agent {
namespace {

struct Peak {
  std::string_view device;  // its name in NVML
  double bf16;
  double fp32;
};
// From the data sheets of H200, H100 and A100; half of the sparse figure if they give only that.
constexpr Peak kPeaks[] = {
    {"NVIDIA H200", 989.5e12, 67e12},           {"NVIDIA H100 80GB HBM3", 989.5e12, 67e12},
    {"NVIDIA H100 PCIe", 756e12, 51e12},        {"NVIDIA A100-SXM4-80GB", 312e12, 19.5e12},
    {"NVIDIA A100-SXM4-40GB", 312e12, 19.5e12},
};

}  // namespace

std::optional<double> PeakFlops(std::string_view device_name, Precision precision) {
  for (const Peak& peak : kPeaks) {
    if (peak.device == device_name) return precision == Precision::kBf16 ? peak.bf16 : peak.fp32;
  }
  return std::nullopt;
}

SlotMeter::SlotMeter(const TaskFile& task)
    : kind_(EnumName(task.kind)),
      method_(task.run.model.position.method),
      dataset_(task.dataset_name) {
  if (task.kind != TaskKind::kTrain) return;
  const TrainConfig& train = task.run.train;
  const double tokens =
      static_cast<double>(train.steps()) * static_cast<double>(train.batch_tokens);
  if (tokens > 0) flops_per_token_ = TrainFlops(task.run.model, train) / tokens;
  peak_flops_ = PeakFlops(task.execution.device_name, train.precision);
}

std::optional<double> SlotMeter::Note(const JournalRecord& record) {
  if (const auto* const progress = record.As<ProgressRecord>()) {
    NoteProgress(*progress);
    return std::nullopt;
  }
  const auto* const series = record.As<SeriesRecord>();
  if (series == nullptr) return std::nullopt;
  if (const auto rate = series->ValueOf("tokens_per_s")) tokens_per_s_ = rate;
  const auto loss = series->ValueOf("loss");
  if (!loss) return std::nullopt;
  loss_ = loss;
  std::optional<double> step_seconds;
  // A journal that is read again jumps back.
  if (loss_step_ && *record.step > *loss_step_ && record.t_ms >= loss_ms_) {
    step_seconds = static_cast<double>(record.t_ms - loss_ms_) / 1000 /
                   static_cast<double>(*record.step - *loss_step_);
  }
  loss_step_ = *record.step;
  loss_ms_ = record.t_ms;
  return step_seconds;
}

void SlotMeter::NoteProgress(const ProgressRecord& progress) {
  if (progress.tokens_per_s) tokens_per_s_ = progress.tokens_per_s;
  // A validation or a checkpoint during training counts its own progress from 0.
  if (progress.phase != "train" && progress.phase != "evaluate") return;
  if (!progress.done || !progress.of || *progress.of <= 0) return;
  const double share = static_cast<double>(*progress.done) / static_cast<double>(*progress.of);
  progress_ = std::clamp(share, 0.0, 1.0);
}

std::optional<double> SlotMeter::mfu() const {
  if (!peak_flops_ || !tokens_per_s_) return std::nullopt;
  return flops_per_token_ * *tokens_per_s_ / *peak_flops_;
}

}  // namespace longrun::agent
