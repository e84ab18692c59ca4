#include "model/net/terms/rotation.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/equal.h>
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
#include "model/net/to_device.h"

namespace longrun {
namespace {

// Signs of a rotation's growth: keys lose what queries gain.
constexpr double kOfQueries = 1.0, kOfKeys = -1.0;

at::Tensor Doubles(std::span<const double> values, const c10::Device& device) {
  return ToDevice(at::tensor(at::ArrayRef<double>(values.data(), values.size()),
                             at::TensorOptions().dtype(at::kDouble)),
                  device);
}

// Rows made at once for a text that is read on token by token.
constexpr std::int64_t kRowsAtOnce = 128;
// For ids below this, the fused kernel's table has a row for each position and is made only once:
// 16 MB for 32 pairs of channels. Beyond it, each batch has a table of its own positions.
constexpr std::int64_t kIdsTableMax = std::int64_t{1} << 15;

// rows[from], rows[from + 1], ...
at::Tensor RowTensor(const std::vector<std::int32_t>& rows, std::int64_t from,
                     const c10::Device& device) {
  const std::vector<std::int64_t> wide(rows.begin() + from, rows.end());
  return ToDevice(at::tensor(wide, at::TensorOptions().dtype(at::kLong)), device);
}

std::int64_t MiddleOf(std::int64_t n_positions) { return (n_positions + 1) / 2; }

// Adds rows.
void AddAngles(const Rotation& rotation, double magnitude, std::span<const double> positions,
               RotationAngles& angles) {
  const std::size_t n_angle = angles.cos.size() + positions.size() * rotation.frequency.size();
  angles.cos.reserve(n_angle);
  angles.sin.reserve(n_angle);
  for (const double position : positions) {
    for (const double frequency : rotation.frequency) {
      const double angle = position * frequency;
      angles.cos.push_back(std::cos(angle) * magnitude);
      angles.sin.push_back(std::sin(angle) * magnitude);
    }
  }
}

// Of the first n rows, without growth.
RotationNumbers NumbersOf(const Rotation& rotation, std::shared_ptr<const RotationAngles> angles,
                          std::int64_t n) {
  const std::int64_t n_pairs = std::ssize(rotation.frequency);
  return {.angles = std::move(angles),
          .n_angle = n * n_pairs,
          .n_rotary = 2 * n_pairs,
          .layout = rotation.layout == Rotation::Layout::kHalf
                        ? RotationTable::Layout::kHalf
                        : RotationTable::Layout::kInterleaved};
}

// With copies on a GPU.
std::shared_ptr<const RotationNumbers> Shared(RotationNumbers numbers, const c10::Device& device) {
  if (!device.is_cpu()) {
    const auto n_angle = static_cast<std::size_t>(numbers.n_angle);
    numbers.device_cos = Doubles(std::span(numbers.angles->cos).first(n_angle), device);
    numbers.device_sin = Doubles(std::span(numbers.angles->sin).first(n_angle), device);
    if (!numbers.growth.empty()) numbers.device_growth = Doubles(numbers.growth, device);
  }
  return std::make_shared<const RotationNumbers>(std::move(numbers));
}

std::shared_ptr<const RotationNumbers> MakeRotationNumbers(const Rotation& rotation,
                                                           double magnitude,
                                                           std::span<const double> positions,
                                                           const c10::Device& device) {
  auto angles = std::make_shared<RotationAngles>();
  AddAngles(rotation, magnitude, positions, *angles);
  return Shared(NumbersOf(rotation, std::move(angles), std::ssize(positions)), device);
}

}  // namespace

Rotator::Rotator(Rotation rotation, const Compute& compute)
    : rotation_(std::move(rotation)),
      compute_(compute),
      frequency_P_(Doubles(rotation_.frequency, compute.device)),
      growth_P_(rotation_.growth.empty() ? at::Tensor()
                                         : Doubles(rotation_.growth, compute.device)) {}

void Rotator::Set(std::vector<double> frequency, double magnitude) {
  LR_CHECK(frequency.size() == rotation_.frequency.size());
  if (frequency == rotation_.frequency && magnitude == magnitude_) return;
  rotation_.frequency = std::move(frequency);
  frequency_P_ = Doubles(rotation_.frequency, compute_.device);
  magnitude_ = magnitude;
  angles_.reset();
  numbers_.reset();
  table_ = {};
  SetIds({});
  planned_.clear();
}

at::Tensor Rotator::Queries(const at::Tensor& x_BHTD, const RowPositions& at) {
  return Grown(Rotated(x_BHTD, at), at, kOfQueries);
}

at::Tensor Rotator::Keys(const at::Tensor& x_BHTD, const RowPositions& at) {
  return Grown(Rotated(x_BHTD, at), at, kOfKeys);
}

// Growth counts from the middle of the n positions.
std::shared_ptr<const RotationNumbers> Rotator::Numbers(std::int64_t n) {
  if (numbers_ && n_numbers_ == n) return numbers_;
  const std::int64_t n_pairs = std::ssize(rotation_.frequency);
  const std::int64_t n_made = angles_ ? std::ssize(angles_->cos) / n_pairs : 0;
  if (n_made < n) {
    std::vector<double> positions(static_cast<std::size_t>(n - n_made));
    std::iota(positions.begin(), positions.end(), static_cast<double>(n_made));
    auto longer =
        angles_ ? std::make_shared<RotationAngles>(*angles_) : std::make_shared<RotationAngles>();
    AddAngles(rotation_, magnitude_, positions, *longer);
    angles_ = std::move(longer);
  }
  RotationNumbers numbers = NumbersOf(rotation_, angles_, n);
  for (std::int64_t position = 0; position < n; ++position) {
    for (const double growth : rotation_.growth) {
      numbers.growth.push_back(std::exp(growth * static_cast<double>(position - MiddleOf(n))));
    }
  }
  numbers_ = Shared(std::move(numbers), compute_.device);
  n_numbers_ = n;
  return numbers_;
}

void Rotator::SetIds(const at::Tensor& ids_BT) {
  const bool is_compared = ids_BT.defined() && ids_BT.is_cpu();
  ids_BT_ = is_compared ? ids_BT.clone() : ids_BT;
  ids_version_ = ids_BT.defined() ? ids_BT._version() : 0;
  ids_table_ = {};
  ids_numbers_ = {};
}

// The host would wait for a comparison on a GPU. There, ids are recognised only as the same tensor,
// which the layers of one call share.
bool Rotator::HasIds(const at::Tensor& ids_BT) const {
  if (!ids_BT_.defined()) return false;
  if (ids_BT.is_cpu()) return at::equal(ids_BT_, ids_BT);
  return ids_BT_.is_same(ids_BT) && ids_version_ == ids_BT._version();
}

// A row for each token, computed on the device: the host would have to wait to see which ids are
// equal.
Rotator::NumbersOfIds Rotator::NumbersOnDevice(const at::Tensor& ids_BT) const {
  const at::Tensor angle = at::outer(ids_BT.flatten().to(at::kDouble), frequency_P_);
  RotationNumbers numbers = NumbersOf(rotation_, nullptr, ids_BT.numel());
  numbers.device_cos = at::cos(angle) * magnitude_;
  numbers.device_sin = at::sin(angle) * magnitude_;
  return {.numbers = std::make_shared<const RotationNumbers>(std::move(numbers)),
          .row_BT = at::arange(ids_BT.numel(), ids_BT.options()).view(ids_BT.sizes())};
}

Rotator::NumbersOfIds Rotator::Numbers(const at::Tensor& ids_BT, std::int64_t n_positions) {
  if (n_positions <= kIdsTableMax || !rotation_.growth.empty()) {
    return {.numbers = Numbers(n_positions), .row_BT = ids_BT.contiguous()};
  }
  if (!HasIds(ids_BT)) SetIds(ids_BT);
  if (!ids_numbers_.numbers && !ids_BT.is_cpu()) {
    ids_numbers_ = NumbersOnDevice(ids_BT);
  } else if (!ids_numbers_.numbers) {
    const at::Tensor dense_BT = ids_BT.contiguous();
    const std::span<const std::int32_t> ids(dense_BT.const_data_ptr<std::int32_t>(),
                                            static_cast<std::size_t>(dense_BT.numel()));
    std::vector<std::int32_t> used(ids.begin(), ids.end());
    std::ranges::sort(used);
    const auto rest = std::ranges::unique(used);
    used.erase(rest.begin(), rest.end());
    const at::Tensor row_BT = at::empty_like(dense_BT);
    std::ranges::transform(ids, row_BT.mutable_data_ptr<std::int32_t>(), [&](std::int32_t id) {
      return static_cast<std::int32_t>(std::ranges::lower_bound(used, id) - used.begin());
    });
    const std::vector<double> positions(used.begin(), used.end());
    ids_numbers_ = {
        .numbers = MakeRotationNumbers(rotation_, magnitude_, positions, compute_.device),
        .row_BT = row_BT};
  }
  return ids_numbers_;
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
    planned_numbers_ = MakeRotationNumbers(rotation_, magnitude_, plan.position, compute_.device);
  }
  return planned_numbers_;
}

Rotator::Table Rotator::TableOf(const at::Tensor& position) const {
  const at::Tensor angle = at::outer(position, frequency_P_);
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

// The rows of n tokens: (n, R/2), or (B, 1, n, R/2) for each sequence's own.
Rotator::Table Rotator::TableFor(const RowPositions& at, std::int64_t n) {
  if (at.ids_BT.defined()) {
    const auto rows = [&](const Table& table) -> Table {
      const std::vector<std::int64_t> shape = {at.ids_BT.size(0), 1, n, table.cos_PR.size(1)};
      return {.cos_PR = table.cos_PR.view(shape), .sin_PR = table.sin_PR.view(shape)};
    };
    if (!HasIds(at.ids_BT)) SetIds(at.ids_BT);
    if (!ids_table_.cos_PR.defined()) ids_table_ = TableOf(at.ids_BT.flatten().to(at::kDouble));
    return rows(ids_table_);
  }
  const bool is_made = table_.cos_PR.defined() && at.begin >= first_ &&
                       at.begin + n <= first_ + table_.cos_PR.size(0);
  if (!is_made) {
    const std::int64_t n_rows = at.begin == 0 ? n : std::max(n, kRowsAtOnce);
    first_ = at.begin;
    table_ = TableOf(at::arange(first_, first_ + n_rows,
                                at::TensorOptions().dtype(at::kDouble).device(compute_.device)));
  }
  return {.cos_PR = table_.cos_PR.narrow(0, at.begin - first_, n),
          .sin_PR = table_.sin_PR.narrow(0, at.begin - first_, n)};
}

at::Tensor Rotator::Rotated(const at::Tensor& x_BHTD, const RowPositions& at) {
  const Table table = TableFor(at, x_BHTD.size(2));
  return RotatedBy(x_BHTD, table.cos_PR, table.sin_PR);
}

// y[c] = x[c] cos - x[c + R/2] sin, y[c + R/2] = x[c + R/2] cos + x[c] sin (half), or the same on
// pairs (2c, 2c + 1) (interleaved).
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
  const at::Tensor growth = growth_P_ * sign;
  const std::int64_t middle = MiddleOf(at.n_positions);
  const at::Tensor position =
      at.ids_BT.defined()
          ? at.ids_BT.flatten().to(at::kDouble) - middle
          : at::arange(at.begin - middle, at.begin + x_BHTD.size(2) - middle, growth.options());
  const at::Tensor factor_TR = at::exp(at::outer(position, growth)).to(compute_.dtype);
  const bool half = rotation_.layout == Rotation::Layout::kHalf;
  at::Tensor factor_TD =
      half ? at::cat({factor_TR, factor_TR}, 1) : factor_TR.repeat_interleave(2, 1);
  const std::int64_t n_rotated = factor_TD.size(1), n_fixed = x_BHTD.size(3) - n_rotated;
  if (at.ids_BT.defined()) {
    factor_TD = factor_TD.view({at.ids_BT.size(0), 1, at.ids_BT.size(1), n_rotated});
  }
  at::Tensor grown =
      (x_BHTD.narrow(3, 0, n_rotated).to(compute_.dtype) * factor_TD).to(x_BHTD.scalar_type());
  if (n_fixed == 0) return grown;
  return at::cat({grown, x_BHTD.narrow(3, n_rotated, n_fixed)}, 3);
}

}  // namespace longrun
