// How long work will take, from how long work like it took. Pure: no clock, no I/O.
//
// A task's rate is FLOPs (by the formulas of sweeps/run.h) per second of its attempt. What is asked
// about is compared with the narrowest group of measured tasks of the same kind that there is:
//
//   same shape      the same model but for its position method, train length and precision
//   same method     the same position method on other shapes
//   same kind       any training, or any evaluation
//
// The likely time is FLOPs over the group's median rate. The range is that of the 10th to the 90th
// percentile of the rates, widened by what the group leaves out: by 1.25 for the same shape, by 2
// for the same method, by 4 otherwise (an attention of T^2 FLOPs runs at another rate than a matrix
// product, and start-up weighs more the smaller a task is).
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sweeps/run.h"
#include "sweeps/task.h"

namespace longrun {

// A task that succeeded in one attempt, from its first step.
struct MeasuredTask {
  TaskKind kind = TaskKind::kTrain;
  std::string device;    // DeviceName of the run's execution
  std::string position;  // method
  std::string shape;     // ShapeOf its run
  double flops = 0;
  double seconds = 0;
};

struct Estimate {
  double low_s = 0;
  double likely_s = 0;
  double high_s = 0;
  std::size_t n = 0;  // tasks it rests on
  std::string basis;  // "same shape" | "same method" | "same kind"
};

// The model but for its position method, train length and precision, as one text.
std::string ShapeOf(const Run& run);
// "cpu, 8 threads", "NVIDIA H200".
std::string DeviceName(const Execution& execution);

class Forecast {
 public:
  explicit Forecast(const std::vector<MeasuredTask>& measured);

  // Nothing when no task of this kind has been measured on the device.
  std::optional<Estimate> Of(TaskKind kind, const Run& run, double flops) const;
  // On whose tasks the estimates rest: the device with the most of them; "" without any.
  const std::string& device() const { return device_; }

 private:
  // FLOPs per second, ascending, of the tasks of a kind that ran on device_: by shape, by position
  // method, and all of them (under "").
  using Rates = std::map<std::pair<TaskKind, std::string>, std::vector<double>>;
  static const std::vector<double>* Find(const Rates& rates, TaskKind kind,
                                         const std::string& name);

  Rates of_shape_;
  Rates of_position_;
  Rates of_kind_;
  std::string device_;
};

}  // namespace longrun
