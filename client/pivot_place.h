// Where numbers stand in a pivot: among evaluations, and on its axes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "client/metric.h"
#include "client/pivot_axes.h"

namespace longrun {

// Where a number stands among evaluations: a value for each of EvaluationAxes().
struct Place {
  const Metric* metric = nullptr;
  std::vector<Json> values = {};
  std::string key = {};  // canonical `values`

  const Json& At(const std::string& axis) const {
    const auto& axes = EvaluationAxes();
    return values.at(static_cast<std::size_t>(std::ranges::find(axes, axis) - axes.begin()));
  }
  std::string KeyAt(std::int64_t context_length) const {
    std::vector<Json> elsewhere = values;
    elsewhere.back() = context_length;
    return CanonicalJson(elsewhere);
  }
};

// The values of an axis, in the order in which they are shown.
class AxisOrder {
 public:
  explicit AxisOrder(std::string axis) : axis_(std::move(axis)) {}

  void Add(const Json& value) {
    if (std::ranges::find(values_, value) == values_.end()) values_.push_back(value);
  }
  // A sweep's values keep the order of its file; an evaluation's rise.
  void Sort() {
    if (IsEvaluationAxis(axis_) && axis_ != "metric") std::ranges::sort(values_);
  }
  std::size_t RankOf(const Json& value) const {
    return static_cast<std::size_t>(std::ranges::find(values_, value) - values_.begin());
  }
  const std::string& axis() const { return axis_; }
  const Json& value(std::size_t rank) const { return values_.at(rank); }

 private:
  std::string axis_;
  std::vector<Json> values_;
};

}  // namespace longrun
