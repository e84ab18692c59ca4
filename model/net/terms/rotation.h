// The rotation of queries and keys by position (Rotation), and its growth: in front of the scores,
// not a term of them. Angles are computed in double.
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

struct RotationNumbers;

class Rotator {
 public:
  Rotator(Rotation rotation, const Compute& compute);

  // Other frequencies for the same pairs of channels, and a factor for the rotated channels, from
  // the next call on; the layout stays.
  void Set(std::vector<double> frequency, double magnitude);

  // The first of the rows is at position `begin` of a sequence with this middle, from which growth
  // counts.
  at::Tensor Queries(const at::Tensor& x_BHTD, std::int64_t begin, std::int64_t middle);
  at::Tensor Keys(const at::Tensor& x_BHTD, std::int64_t begin, std::int64_t middle);
  // The same for the fused kernel, for positions 0 .. n - 1.
  std::shared_ptr<const RotationNumbers> Numbers(std::int64_t n);

 private:
  at::Tensor Rotated(const at::Tensor& x_BHTD, std::int64_t begin);
  at::Tensor Grown(const at::Tensor& x_BHTD, std::int64_t begin_from_middle, double sign) const;

  Rotation rotation_;
  Compute compute_;
  double magnitude_ = 1.0;
  // Tables that are kept between calls.
  at::Tensor cos_TR_, sin_TR_;  // (T, R/2), times magnitude_; they only grow
  std::shared_ptr<const RotationNumbers> numbers_;
  std::int64_t n_numbers_ = 0;  // positions of numbers_
};

}  // namespace longrun
