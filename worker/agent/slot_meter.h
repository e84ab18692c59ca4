// The speed and loss in an attempt's journal, for the live numbers of its slot. It gets the records
// when they are forwarded, so the numbers do not change while the coordinator is away.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sweeps/event.h"
#include "sweeps/task.h"

namespace longrun::agent {

class SlotMeter {
 public:
  explicit SlotMeter(const TaskFile& task);

  // If the record ends a step, returns the seconds per step: the mean over the steps since the last
  // loss.
  std::optional<double> Note(const JournalRecord& record);

  // Labels.
  const std::string& kind() const { return kind_; }
  const std::string& method() const { return method_; }
  const std::string& dataset() const { return dataset_; }
  // nullopt until a record has the number.
  std::optional<double> loss() const { return loss_; }
  std::optional<double> tokens_per_s() const { return tokens_per_s_; }
  std::optional<double> progress() const { return progress_; }  // 0 to 1
  // Model FLOP/s over the device's peak, of training on a device with a known peak.
  std::optional<double> mfu() const;

 private:
  void NoteProgress(const ProgressRecord& progress);

  std::string kind_;
  std::string method_;
  std::string dataset_;
  double flops_per_token_ = 0;
  std::optional<double> peak_flops_;
  std::optional<std::int64_t> loss_step_;
  std::int64_t loss_ms_ = 0;
  std::optional<double> loss_;
  std::optional<double> tokens_per_s_;
  std::optional<double> progress_;
};

// The peak of dense matrix products in FLOP/s, from NVIDIA's data sheets: bf16 on the tensor cores;
// fp32 on the CUDA cores, since the trainer never uses TF32. nullopt for other devices.
std::optional<double> PeakFlops(std::string_view device_name, Precision precision);

}  // namespace longrun::agent
