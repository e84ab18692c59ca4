#include "model/net/terms/rotation.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <utility>

#include "base/check.h"
#include "model/net/kernel_attention.h"
#include "model/net/planned_reading.h"

namespace longrun {
namespace {

// Signs of a rotation's growth: keys lose what queries gain.
constexpr double kOfQueries = 1.0, kOfKeys = -1.0;

at::Tensor Doubles(const std::vector<double>& values, const c10::Device& device) {
  return at::tensor(values, at::TensorOptions().dtype(at::kDouble)).to(device);
}

// The rows of a table for these positions: (T, R), or (B, 1, T, R) for each sequence's own.
at::Tensor RowsOf(const at::Tensor& table_PR, const RowPositions& at, std::int64_t n) {
  if (!at.ids_BT.defined()) return table_PR.narrow(0, at.begin, n);
  const at::Tensor rows = table_PR.index_select(0, at.ids_BT.flatten());
  return rows.view({at.ids_BT.size(0), 1, at.ids_BT.size(1), table_PR.size(1)});
}

// rows[from], rows[from + 1], ...
at::Tensor RowTensor(const std::vector<std::int32_t>& rows, std::int64_t from,
                     const c10::Device& device) {
  const std::vector<std::int64_t> wide(rows.begin() + from, rows.end());
  return at::tensor(wide, at::TensorOptions().dtype(at::kLong)).to(device);
}

std::int64_t MiddleOf(std::int64_t n_positions) { return (n_positions + 1) / 2; }

// Growth counts from the middle of the n positions.
std::shared_ptr<const RotationNumbers> MakeRotationNumbers(const Rotation& rotation,
                                                           double magnitude,
                                                           std::span<const double> positions) {
  RotationNumbers numbers = {.n_rotary = 2 * static_cast<std::int64_t>(rotation.frequency.size()),
                             .layout = rotation.layout == Rotation::Layout::kHalf
                                           ? RotationTable::Layout::kHalf
                                           : RotationTable::Layout::kInterleaved};
  const auto middle = static_cast<double>(MiddleOf(std::ssize(positions)));
  numbers.cos.reserve(positions.size() * rotation.frequency.size());
  numbers.sin.reserve(positions.size() * rotation.frequency.size());
  for (const double position : positions) {
    for (const double frequency : rotation.frequency) {
      const double angle = position * frequency;
      numbers.cos.push_back(std::cos(angle) * magnitude);
      numbers.sin.push_back(std::sin(angle) * magnitude);
    }
    for (const double growth : rotation.growth) {
      numbers.growth.push_back(std::exp(growth * (position - middle)));
    }
  }
  return std::make_shared<const RotationNumbers>(std::move(numbers));
}

}  // namespace

Rotator::Rotator(Rotation rotation, const Compute& compute)
    : rotation_(std::move(rotation)), compute_(compute) {}

void Rotator::Set(std::vector<double> frequency, double magnitude) {
  LR_CHECK(frequency.size() == rotation_.frequency.size());
  if (frequency == rotation_.frequency && magnitude == magnitude_) return;
  rotation_.frequency = std::move(frequency);
  magnitude_ = magnitude;
  numbers_.reset();
  cos_TR_.reset();
  sin_TR_.reset();
  planned_.clear();
}

at::Tensor Rotator::Queries(const at::Tensor& x_BHTD, const RowPositions& at) {
  return Grown(Rotated(x_BHTD, at), at, kOfQueries);
}

at::Tensor Rotator::Keys(const at::Tensor& x_BHTD, const RowPositions& at) {
  return Grown(Rotated(x_BHTD, at), at, kOfKeys);
}

std::shared_ptr<const RotationNumbers> Rotator::Numbers(std::int64_t n) {
  if (!numbers_ || n_numbers_ != n) {
    std::vector<double> positions(static_cast<std::size_t>(n));
    std::iota(positions.begin(), positions.end(), 0.0);
    numbers_ = MakeRotationNumbers(rotation_, magnitude_, positions);
    n_numbers_ = n;
  }
  return numbers_;
}

at::Tensor Rotator::Queries(const at::Tensor& x_BHQD, const PlannedReading& plan,
                            std::size_t region) {
  const Table& table = TableOf(plan);
  const at::Tensor rows = RowTensor(plan.reading.regions.at(region).query_row, 0, compute_.device);
  return RotatedBy(x_BHQD, table.cos_PR.index_select(0, rows), table.sin_PR.index_select(0, rows));
}

at::Tensor Rotator::Keys(const at::Tensor& x_BHKD, const PlannedReading& plan,
                         std::size_t key_set) {
  const Table& table = TableOf(plan);
  const KeySet& set = plan.reading.key_sets.at(key_set);
  const auto rotated = [&](const std::vector<std::int32_t>& numbers) {
    const at::Tensor rows = RowTensor(numbers, plan.keys_from, compute_.device);
    return RotatedBy(x_BHKD, table.cos_PR.index_select(0, rows),
                     table.sin_PR.index_select(0, rows));
  };
  const at::Tensor keys = rotated(set.row);
  if (set.blended_weight.empty()) return keys;
  const std::vector<double> weights(set.blended_weight.begin() + plan.keys_from,
                                    set.blended_weight.end());
  const at::Tensor weight_K1 = Doubles(weights, compute_.device).to(compute_.dtype).unsqueeze(1);
  return ((1.0 - weight_K1) * keys + weight_K1 * rotated(set.blended_row)).to(x_BHKD.scalar_type());
}

std::shared_ptr<const RotationNumbers> Rotator::Numbers(const PlannedReading& plan) {
  if (!planned_numbers_ || planned_ != plan.position) {
    planned_ = plan.position;
    planned_table_ = {};
    planned_numbers_ = MakeRotationNumbers(rotation_, magnitude_, plan.position);
  }
  return planned_numbers_;
}

Rotator::Table Rotator::TableOf(const at::Tensor& position) const {
  const at::Tensor angle = at::outer(position, Doubles(rotation_.frequency, compute_.device));
  return {.cos_PR = (at::cos(angle) * magnitude_).to(compute_.dtype),
          .sin_PR = (at::sin(angle) * magnitude_).to(compute_.dtype)};
}

Rotator::Table Rotator::TableOf(const PlannedReading& plan) {
  LR_CHECK(rotation_.growth.empty());
  if (!planned_table_.cos_PR.defined() || planned_ != plan.position) {
    planned_ = plan.position;
    planned_numbers_.reset();
    planned_table_ = TableOf(Doubles(plan.position, compute_.device));
  }
  return planned_table_;
}

// y[c] = x[c] cos - x[c + R/2] sin, y[c + R/2] = x[c + R/2] cos + x[c] sin (half), or the same on
// pairs (2c, 2c + 1) (interleaved).
at::Tensor Rotator::Rotated(const at::Tensor& x_BHTD, const RowPositions& at) {
  const std::int64_t begin = at.begin;
  const std::int64_t n_positions = at.ids_BT.defined() ? at.n_positions : begin + x_BHTD.size(2);
  if (!cos_TR_.defined() || cos_TR_.size(0) < n_positions) {
    // Double the table, so that generating token by token does not make a new one each time.
    const std::int64_t n_rows =
        begin > 0 && cos_TR_.defined() ? std::max(n_positions, 2 * cos_TR_.size(0)) : n_positions;
    const at::Tensor position =
        at::arange(n_rows, at::TensorOptions().dtype(at::kDouble).device(compute_.device));
    const Table table = TableOf(position);
    cos_TR_ = table.cos_PR;
    sin_TR_ = table.sin_PR;
  }
  return RotatedBy(x_BHTD, RowsOf(cos_TR_, at, x_BHTD.size(2)),
                   RowsOf(sin_TR_, at, x_BHTD.size(2)));
}

at::Tensor Rotator::RotatedBy(const at::Tensor& x_BHTD, const at::Tensor& cos,
                              const at::Tensor& sin) const {
  const auto n_pairs = static_cast<std::int64_t>(rotation_.frequency.size());
  const at::Tensor channels = x_BHTD.narrow(3, 0, 2 * n_pairs).to(compute_.dtype);
  at::Tensor rotated;
  if (rotation_.layout == Rotation::Layout::kHalf) {
    const at::Tensor a = channels.narrow(3, 0, n_pairs);
    const at::Tensor b = channels.narrow(3, n_pairs, n_pairs);
    rotated = at::cat({a * cos - b * sin, b * cos + a * sin}, 3);
  } else {
    const at::Tensor pairs = channels.unflatten(3, {n_pairs, 2});
    const at::Tensor a = pairs.select(4, 0);
    const at::Tensor b = pairs.select(4, 1);
    rotated = at::stack({a * cos - b * sin, b * cos + a * sin}, 4).flatten(3, 4);
  }
  rotated = rotated.to(x_BHTD.scalar_type());
  const std::int64_t n_fixed = x_BHTD.size(3) - 2 * n_pairs;
  if (n_fixed == 0) return rotated;
  return at::cat({rotated, x_BHTD.narrow(3, 2 * n_pairs, n_fixed)}, 3);
}

// x[c] * exp(sign * growth[c] * (position - middle)) for each rotated pair.
at::Tensor Rotator::Grown(const at::Tensor& x_BHTD, const RowPositions& at, double sign) const {
  if (rotation_.growth.empty()) return x_BHTD;
  const at::Tensor growth = Doubles(rotation_.growth, compute_.device) * sign;
  const std::int64_t begin = at.ids_BT.defined() ? 0 : at.begin;
  const std::int64_t end = at.ids_BT.defined() ? at.n_positions : at.begin + x_BHTD.size(2);
  const std::int64_t middle = MiddleOf(at.n_positions);
  const at::Tensor position = at::arange(begin - middle, end - middle, growth.options());
  const at::Tensor factor_TR = at::exp(at::outer(position, growth)).to(compute_.dtype);
  const bool half = rotation_.layout == Rotation::Layout::kHalf;
  at::Tensor factor_TD =
      half ? at::cat({factor_TR, factor_TR}, 1) : factor_TR.repeat_interleave(2, 1);
  const std::int64_t n_rotated = factor_TD.size(1), n_fixed = x_BHTD.size(3) - n_rotated;
  if (at.ids_BT.defined()) factor_TD = RowsOf(factor_TD, at, x_BHTD.size(2));
  at::Tensor grown =
      (x_BHTD.narrow(3, 0, n_rotated).to(compute_.dtype) * factor_TD).to(x_BHTD.scalar_type());
  if (n_fixed == 0) return grown;
  return at::cat({grown, x_BHTD.narrow(3, n_rotated, n_fixed)}, 3);
}

}  // namespace longrun
