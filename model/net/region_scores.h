// Scores under a reading by LibTorch's operators: for the `reference` back-end, and for single
// tokens after cached ones.
//
// Legend: B batch, H heads, D head_dim, Q queries, K keys.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/net/planned_reading.h"
#include "model/net/terms/rotation.h"

namespace longrun {

// <q_i, k_j> of each query head with the key head that it reads: the query heads of a group are
// rows of one product, so that keys are never copied.
at::Tensor Scores(const at::Tensor& q_BHQD, const at::Tensor& k_BGKD);

// q times one factor for each query, (Q); q itself if there are none.
at::Tensor WithFactors(const at::Tensor& q_BHQD, const std::vector<double>& factors,
                       c10::ScalarType compute);

// The scores of a call's queries, each with the rotations of its keys' regions.
class RegionScorer {
 public:
  // q, k: those of the call, not rotated. The queries are those of the plan, the keys those of the
  // whole text so far.
  RegionScorer(const at::Tensor& q_BHQD, const at::Tensor& k_BHKD, const PlannedReading& plan,
               Rotator& rotator);

  // <q~_i, k~_j> of the queries at positions [q_begin, q_begin + n_query) with keys [0, n_key);
  // -inf where the window of the reading hides a key. Keys after the query are not hidden.
  at::Tensor Of(std::int64_t q_begin, std::int64_t n_query, std::int64_t n_key) const;

 private:
  const PlannedReading& plan_;
  std::vector<at::Tensor> q_BHQD_;  // by region
  std::vector<at::Tensor> k_BHKD_;  // by set of keys
};

// The keys [begin, end) in a region.
struct VisibleKeys {
  std::size_t region = 0;
  std::int64_t begin = 0, end = 0;
};
// The keys that the only query of a plan sees, from the oldest to the nearest.
std::vector<VisibleKeys> VisibleKeysOfLast(const PlannedReading& plan);

}  // namespace longrun
