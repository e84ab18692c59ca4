// Scores under a reading by LibTorch's operators: for the `reference` back-end, for single tokens
// after cached ones, and for readings that the kernels cannot express (Reading::IsForKernels).
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

// Queries and keys by their places among the keys that are held: queries [q_begin, q_begin +
// n_query), keys [0, n_key).
struct ScoreSpan {
  std::int64_t q_begin = 0, n_query = 0, n_key = 0;
};

// (1 - r) of_set + r of_other, with the weights of the region's pair_blend, which it must have.
at::Tensor BlendPairs(const at::Tensor& of_set_BHQK, const at::Tensor& of_other_BHQK,
                      const PlannedReading& plan, std::size_t region, const ScoreSpan& span,
                      c10::ScalarType compute);

// Adds the plan's noise to scaled scores, of type `compute`; returns them if the plan has none.
// Scores of later keys than the query do not matter.
at::Tensor WithNoise(const at::Tensor& scores_BHQK, const PlannedReading& plan, std::int64_t layer,
                     const ScoreSpan& span);

// The scores of a call's queries, each with the rotations of its keys' regions.
class RegionScorer {
 public:
  // q, k: those of the call, not rotated. The queries are those of the plan, the keys all that are
  // held of the text so far.
  RegionScorer(const at::Tensor& q_BHQD, const at::Tensor& k_BHKD, const PlannedReading& plan,
               Rotator& rotator, std::int64_t layer, c10::ScalarType compute);

  // scale <q~_i, k~_j> and the reading's noise, of type `compute`; -inf where the window of the
  // reading hides a key. Keys after the query are not hidden.
  at::Tensor Of(const ScoreSpan& span, double scale) const;

 private:
  at::Tensor OfRegion(std::size_t region, const ScoreSpan& span) const;
  at::Tensor Products(const ScoreSpan& span) const;

  const PlannedReading& plan_;
  std::int64_t layer_;
  c10::ScalarType compute_;
  std::vector<at::Tensor> q_BHQD_;  // by region
  std::vector<at::Tensor> k_BHKD_;  // by set of keys; undefined if no region reads it
};

// The keys at the places [begin, end) in a region.
struct VisibleKeys {
  std::size_t region = 0;
  std::int64_t begin = 0, end = 0;
};
// The keys that the only query of a plan sees, from the oldest to the nearest.
std::vector<VisibleKeys> VisibleKeysOfLast(const PlannedReading& plan);

}  // namespace longrun
