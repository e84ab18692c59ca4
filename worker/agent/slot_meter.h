// What an attempt's journal says of its speed and its loss, for the live numbers of its slot. Fed with
// the records as they are forwarded, so it stands still while the coordinator is away.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sweeps/event.h"
#include "sweeps/task.h"

namespace longrun {

class SlotMeter {
 public:
  explicit SlotMeter(const TaskFile& task);

  // Seconds of one step, when the record ends one: the mean over the steps since the loss before.
  std::optional<double> Note(const JournalRecord& record);

  // Labels.
  const std::string& kind() const { return kind_; }
  const std::string& method() const { return method_; }
  const std::string& dataset() const { return dataset_; }
  // Nothing until a record said it.
  std::optional<double> loss() const { return loss_; }
  std::optional<double> tokens_per_s() const { return tokens_per_s_; }
  std::optional<double> progress() const { return progress_; }  // 0 to 1
  // Model FLOP/s over the device's peak, of a training on a device whose peak is known.
  std::optional<double> mfu() const;

 private:
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

// Peak of dense matrix products, in FLOP/s, as NVIDIA's data sheets give it: bf16 on the tensor cores;
// fp32 on the CUDA cores, since the trainer never uses TF32. Nothing for other devices.
std::optional<double> PeakFlops(std::string_view device_name, std::string_view precision);

}  // namespace longrun
