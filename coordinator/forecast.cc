// See forecast.h.
#include "coordinator/forecast.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <utility>

#include "base/str.h"

namespace longrun {
namespace {

struct Group {
  std::string_view basis;
  double widening = 1;  // of the range, both ways
  std::function<bool(const MeasuredTask&)> has;
};

// Of sorted values, between the two nearest ones.
double Quantile(const std::vector<double>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  const double part = at - static_cast<double>(below);
  return sorted[below] + part * (sorted[above] - sorted[below]);
}

}  // namespace

std::string ShapeOf(const Run& run) {
  return Str(CanonicalJson(run.model.ToJson()), " ", run.train.train_length, " ",
             run.train.precision);
}

std::string DeviceName(const Execution& execution) {
  if (execution.device_kind == "gpu") return execution.device_name;
  return Str(execution.device_kind, ", ", execution.threads,
             execution.threads == 1 ? " thread" : " threads");
}

Forecast::Forecast(std::vector<MeasuredTask> measured) {
  std::map<std::string, std::size_t> n_of_device;
  for (const MeasuredTask& task : measured) {
    const std::size_t n = ++n_of_device[task.device];
    if (device_.empty() || n > n_of_device[device_]) device_ = task.device;
  }
  std::erase_if(measured, [this](const MeasuredTask& task) { return task.device != device_; });
  measured_ = std::move(measured);
}

std::optional<Estimate> Forecast::Of(TaskKind kind, const Run& run, double flops) const {
  const std::string shape = ShapeOf(run);
  const Group groups[] = {
      {"same shape", 1.25, [&](const MeasuredTask& task) { return task.shape == shape; }},
      {"same method", 2.0,
       [&](const MeasuredTask& task) { return task.position == run.model.position.method; }},
      {"same kind", 4.0, [](const MeasuredTask&) { return true; }},
  };
  for (const Group& group : groups) {
    std::vector<double> rates;
    for (const MeasuredTask& task : measured_) {
      const bool counts = task.kind == kind && task.flops > 0 && task.seconds > 0;
      if (counts && group.has(task)) rates.push_back(task.flops / task.seconds);
    }
    if (rates.empty()) continue;
    std::ranges::sort(rates);
    return Estimate{.low_s = flops / Quantile(rates, 0.9) / group.widening,
                    .likely_s = flops / Quantile(rates, 0.5),
                    .high_s = flops / Quantile(rates, 0.1) * group.widening,
                    .n = rates.size(),
                    .basis = std::string(group.basis)};
  }
  return std::nullopt;
}

}  // namespace longrun
