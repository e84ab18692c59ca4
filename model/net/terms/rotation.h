// The rotation of queries and keys by position (Rotation), and its growth. It is applied before the
// scores are formed, so it is not a term of them. Angles are computed in double.
//
// Legend: B batch, H heads, T positions, D head_dim, R rotary channels.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "model/net/device.h"
#include "model/position/method.h"

namespace longrun {

struct PlannedReading;
struct RotationAngles;
struct RotationNumbers;

// The positions to which the rows of a tensor are rotated.
struct RowPositions {
  std::int64_t begin = 0;  // without ids_BT, row t is at position begin + t
  // (B, T), integers on the device: the position of each row, below n_positions. Undefined: `begin`
  // is used.
  at::Tensor ids_BT = {};
  std::int64_t n_positions = 0;  // of the sequence; growth counts from its middle
};

class Rotator {
 public:
  Rotator(Rotation rotation, const Compute& compute);

  // Sets other frequencies for the same pairs of channels, and a factor for the rotated channels,
  // from the next call on; the layout stays.
  void Set(std::vector<double> frequency, double magnitude);

  at::Tensor Queries(const at::Tensor& x_BHTD, const RowPositions& at);
  at::Tensor Keys(const at::Tensor& x_BHTD, const RowPositions& at);
  // The table for the fused kernel, for positions 0 .. n - 1.
  std::shared_ptr<const RotationNumbers> Numbers(std::int64_t n);
  // The same for the positions ids (B, T) below n_positions, with the row of each (int32).
  struct NumbersOfIds {
    std::shared_ptr<const RotationNumbers> numbers;
    at::Tensor row_BT;
  };
  NumbersOfIds Numbers(const at::Tensor& ids_BT, std::int64_t n_positions);

  // For a rotation without growth: the queries of a plan in a region, x (B, H, Q, D).
  at::Tensor Queries(const at::Tensor& x_BHQD, const PlannedReading& plan, std::size_t region);
  // The keys from plan.keys_from on, (B, H, K - keys_from, D), rotated as a key set of the plan
  // says.
  at::Tensor Keys(const at::Tensor& x_BHKD, const PlannedReading& plan, std::size_t key_set);
  // The table of the plan's rows for the fused kernel.
  std::shared_ptr<const RotationNumbers> Numbers(const PlannedReading& plan);

 private:
  struct Table {
    at::Tensor cos_PR, sin_PR;  // times magnitude_
  };
  Table TableOf(const at::Tensor& position) const;
  Table TableOf(const PlannedReading& plan);
  Table TableFor(const RowPositions& at, std::int64_t n);
  // Forgets what was made for other ids.
  void SetIds(const at::Tensor& ids_BT);
  bool HasIds(const at::Tensor& ids_BT) const;
  NumbersOfIds NumbersOnDevice(const at::Tensor& ids_BT) const;
  at::Tensor RotatedBy(const at::Tensor& x_BHTD, const at::Tensor& cos,
                       const at::Tensor& sin) const;
  at::Tensor Rotated(const at::Tensor& x_BHTD, const RowPositions& at);
  at::Tensor Grown(const at::Tensor& x_BHTD, const RowPositions& at, double sign) const;

  Rotation rotation_;
  Compute compute_;
  at::Tensor frequency_P_, growth_P_;  // those of rotation_, on the device; undefined: no growth
  double magnitude_ = 1.0;
  // Rows are kept between calls, so that the layers of one call share them.
  std::int64_t first_ = 0;  // the position of the first row of table_
  Table table_ = {};        // (T, R/2)
  // Of ids_table_ and ids_numbers_: a copy on a CPU; on a GPU the tensor itself, and its version.
  at::Tensor ids_BT_;
  std::int64_t ids_version_ = 0;
  Table ids_table_ = {};  // (B T, R/2)
  NumbersOfIds ids_numbers_ = {};
  // The tables of the last plan, which is recognised by its positions.
  std::vector<double> planned_;
  Table planned_table_ = {};
  std::shared_ptr<const RotationNumbers> planned_numbers_;
  std::shared_ptr<const RotationAngles> angles_;  // of positions from 0; a longer text adds rows
  std::shared_ptr<const RotationNumbers> numbers_;
  std::int64_t n_numbers_ = 0;  // positions of numbers_
};

}  // namespace longrun
