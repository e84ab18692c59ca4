// Predicts how long work will take from how long similar work took. Pure: no clock, no I/O.
//
// A task's rate is FLOPs (by the formulas of sweeps/cost.h) per second of its attempt. Work is
// compared with measured tasks of the same kind: with the first of these groups that has any.
//
//   same shape      the same model except for its position method, train length and precision
//   same method     the same position method on other shapes
//   same kind       any training, or any evaluation
//
// The likely time is FLOPs over the group's median rate. The range goes from the 10th to the 90th
// percentile of the rates. It is widened for differences within the group: by a factor of 1.25 for
// the same shape, 2 for the same method, and 4 otherwise. (An attention of T^2 FLOPs has another
// rate than a matrix product, and start-up weighs more in smaller tasks.) To this comes the time
// from an attempt's offer to its first record, in which its worker starts the trainer: the median
// over all measured tasks, of any kind, and the same percentiles.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sweeps/run.h"
#include "sweeps/task.h"

namespace longrun::coordinator {

// A task that one attempt completed, from the first step to the last.
struct MeasuredTask {
  TaskKind kind = TaskKind::kTrain;
  std::string device;    // DeviceName of the run's execution
  std::string position;  // method
  std::string shape;     // ShapeOf(run)
  double flops = 0;
  double seconds = 0;
  std::optional<double> start_s = {};  // from the attempt's offer to its first record
};

struct Estimate {
  double low_s = 0;
  double likely_s = 0;
  double high_s = 0;
  std::size_t n = 0;  // number of tasks used
  std::string basis;  // "same shape" | "same method" | "same kind"
};

// The model except for its position method, train length and precision, as one text.
std::string ShapeOf(const Run& run);
// "cpu, 8 threads", "NVIDIA H200".
std::string DeviceName(const Execution& execution);

class Forecast {
 public:
  explicit Forecast(const std::vector<MeasuredTask>& measured);

  // Returns nullopt if no task of this kind has been measured on the device.
  std::optional<Estimate> Of(TaskKind kind, const Run& run, double flops) const;
  // The device whose tasks are used: the one with the most tasks; "" if there are none.
  const std::string& device() const { return device_; }

 private:
  // The FLOPs per second of the tasks of each kind that ran on device_, in ascending order: by
  // shape, by position method, or all of them under "".
  using Rates = std::map<std::pair<TaskKind, std::string>, std::vector<double>>;
  static const std::vector<double>* Find(const Rates& rates, TaskKind kind,
                                         const std::string& name);

  Rates of_shape_;
  Rates of_position_;
  Rates of_kind_;
  std::vector<double> starts_;  // in ascending order
  std::string device_;
};

}  // namespace longrun::coordinator
