// See forecast.h.
#include "coordinator/forecast.h"

#include <algorithm>

#include "base/str.h"

namespace longrun::coordinator {
namespace {

// The quantile of sorted values, interpolated between the two nearest ones.
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
             EnumName(run.train.precision));
}

std::string DeviceName(const Execution& execution) {
  if (execution.device_kind == DeviceKind::kGpu) return execution.device_name;
  return Str(EnumName(execution.device_kind), ", ", execution.threads,
             execution.threads == 1 ? " thread" : " threads");
}

Forecast::Forecast(const std::vector<MeasuredTask>& measured) {
  std::map<std::string, std::size_t> n_of_device;
  for (const MeasuredTask& task : measured) {
    const std::size_t n = ++n_of_device[task.device];
    if (device_.empty() || n > n_of_device[device_]) device_ = task.device;
  }
  for (const MeasuredTask& task : measured) {
    if (task.device != device_) continue;
    if (task.start_s) starts_.push_back(*task.start_s);
    if (task.flops <= 0 || task.seconds <= 0) continue;
    const double rate = task.flops / task.seconds;
    of_shape_[{task.kind, task.shape}].push_back(rate);
    of_position_[{task.kind, task.position}].push_back(rate);
    of_kind_[{task.kind, ""}].push_back(rate);
  }
  std::ranges::sort(starts_);
  for (Rates* const rates : {&of_shape_, &of_position_, &of_kind_}) {
    for (auto& [name, values] : *rates) std::ranges::sort(values);
  }
}

const std::vector<double>* Forecast::Find(const Rates& rates, TaskKind kind,
                                          const std::string& name) {
  const auto found = rates.find({kind, name});
  return found == rates.end() ? nullptr : &found->second;
}

std::optional<Estimate> Forecast::Of(TaskKind kind, const Run& run, double flops) const {
  const struct {
    std::string_view basis;
    double widening;  // factor by which the range grows both ways
    const std::vector<double>* rates;
  } groups[] = {
      {"same shape", 1.25, Find(of_shape_, kind, ShapeOf(run))},
      {"same method", 2.0, Find(of_position_, kind, run.model.position.method)},
      {"same kind", 4.0, Find(of_kind_, kind, "")},
  };
  for (const auto& [basis, widening, rates] : groups) {
    if (rates == nullptr) continue;
    const auto start_s = [&](double q) { return starts_.empty() ? 0.0 : Quantile(starts_, q); };
    return Estimate{.low_s = flops / Quantile(*rates, 0.9) / widening + start_s(0.1),
                    .likely_s = flops / Quantile(*rates, 0.5) + start_s(0.5),
                    .high_s = flops / Quantile(*rates, 0.1) * widening + start_s(0.9),
                    .n = rates->size(),
                    .basis = std::string(basis)};
  }
  return std::nullopt;
}

}  // namespace longrun::coordinator
