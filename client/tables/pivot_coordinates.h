// The place of numbers in a pivot: among evaluations, and on its axes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "client/tables/metric.h"
#include "client/tables/pivot_axes.h"
#include "sweeps/extended.h"

namespace longrun::client {

// A result's place on the evaluation axes: one value for each of EvaluationAxes(), in that order.
struct Coordinates {
  const ResultMetric* metric = nullptr;
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

// The values of an axis, in display order.
class AxisOrder {
 public:
  explicit AxisOrder(std::string axis) : axis_(std::move(axis)) {}

  void Add(const Json& value) {
    if (ranks_.try_emplace(value, values_.size()).second) values_.push_back(value);
  }
  // A sweep's values keep the order of its file; an evaluation's are sorted in ascending order.
  void Sort() {
    if (!IsEvaluationAxis(axis_) || axis_ == "metric") return;
    if (axis_ == "extension") {
      std::ranges::sort(values_, IsExtensionBefore);
    } else {
      std::ranges::sort(values_);
    }
    for (std::size_t i = 0; i < values_.size(); ++i) ranks_.at(values_[i]) = i;
  }
  std::size_t RankOf(const Json& value) const { return ranks_.at(value); }  // of an added value
  const std::string& axis() const { return axis_; }
  const Json& value(std::size_t rank) const { return values_.at(rank); }

 private:
  std::string axis_;
  std::vector<Json> values_;
  std::map<Json, std::size_t> ranks_;
};

}  // namespace longrun::client
