// Every call is taken apart by a structured binding that names all of its fields: one that is added
// does not compile until it is listed here.
#include "tests/kernels/global_regions.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <functional>
#include <utility>

#include "kernels/attention.h"
#include "kernels/key_bias.h"

namespace longrun::testing {
namespace {

std::int64_t BytesOf(std::int32_t scalar) {
  switch (static_cast<Scalar>(scalar)) {
    case Scalar::kFp64:
      return 8;
    case Scalar::kFp32:
      return 4;
    case Scalar::kBf16:
    case Scalar::kFp16:
      return 2;
  }
  return 0;
}

}  // namespace

// ---- what lies where ---------------------------------------------------------------------------

bool GlobalRegions::Region::Contains(std::uintptr_t at, std::int64_t n) const {
  if (at < begin) return false;
  auto offset = static_cast<std::int64_t>(at - begin);
  for (int d = 0; d < 3; ++d) {
    if (step[d] == 0) continue;
    const std::int64_t index = std::min(offset / step[d], count[d] - 1);
    offset -= index * step[d];
  }
  return offset + n <= n_byte;
}

bool GlobalRegions::Contain(std::uintptr_t at, std::int64_t n) const {
  for (std::size_t tried = 0; tried < regions_.size(); ++tried) {
    const std::size_t which = (last_ + tried) % regions_.size();
    if (!regions_[which].Contains(at, n)) continue;
    last_ = which;
    return true;
  }
  return false;
}

void GlobalRegions::AddBytes(const void* data, std::int64_t n) {
  if (data == nullptr || n <= 0) return;
  regions_.push_back({.begin = reinterpret_cast<std::uintptr_t>(data), .n_byte = n});
}

template <typename T>
void GlobalRegions::Add(const T* data, std::int64_t n) {
  AddBytes(data, n * static_cast<std::int64_t>(sizeof(T)));
}

template <typename Numbers>
void GlobalRegions::AddNumbers(const Numbers& numbers) {
  Add(numbers.data, numbers.n);
}

void GlobalRegions::Add(const LongrunNumbers& numbers) {
  AddBytes(numbers.data, numbers.n * BytesOf(numbers.scalar));
}

void GlobalRegions::Add(const LongrunElements& elements, std::int64_t n) {
  if (elements.data != nullptr) AddBytes(elements.data, n * BytesOf(elements.scalar));
}

void GlobalRegions::Add(const LongrunHeads& x) {
  const auto& [data, scalar, batch, n_row, n_head, head_dim, batch_step, row_step, head_step,
               memory] = x;
  if (data == nullptr || batch == 0 || n_row == 0 || n_head == 0) return;
  const std::int64_t size = BytesOf(scalar);
  std::array<std::pair<std::int64_t, std::int64_t>, 3> steps = {
      {{batch_step, batch}, {row_step, n_row}, {head_step, n_head}}};
  std::ranges::sort(steps, std::greater<>());
  Region region = {.begin = reinterpret_cast<std::uintptr_t>(data), .n_byte = head_dim * size};
  for (std::size_t d = 0; d < 3; ++d) {
    if (steps[d].second > 1) region.step[d] = steps[d].first * size;
    region.count[d] = steps[d].second;
  }
  regions_.push_back(region);
}

// ---- attention ---------------------------------------------------------------------------------

GlobalRegions::GlobalRegions(const LongrunAttentionForwardCall& call) {
  const auto& [q, k, v, o, lse, first_key, n_first_key, n_tiles] = call;
  for (const LongrunHeads& x : {q, k, v, o}) Add(x);
  Add(lse);
  Add(first_key, n_first_key);
  Add(n_tiles, 1);
}

GlobalRegions::GlobalRegions(const LongrunAttentionBackwardCall& call) {
  const auto& [q, k, v, o, o_gradient, lse, first_key, dq, dk, dv, d_key_bias, d_distance_table,
               d_slope, d_intercept, d_psi, d_row_factor] = call;
  for (const LongrunHeads& x : {q, k, v, o, o_gradient, dq, dk, dv}) Add(x);
  for (const LongrunNumbers& x :
       {lse, d_key_bias, d_distance_table, d_slope, d_intercept, d_psi, d_row_factor}) {
    Add(x);
  }
  AddNumbers(first_key);
}

void GlobalRegions::Add(const LongrunAttentionTerms& terms) {
  const auto& [scale, visibility, has_key_bias, key_bias, has_rotation, rotation, n_region, regions,
               has_distance_table, distance_table, has_piecewise, piecewise, has_dropout, dropout,
               memory] = terms;
  AddNumbers(visibility.document_begin);
  if (has_key_bias != 0) {
    const auto& [values, two_sided, local, anchor, slope] = key_bias;
    AddNumbers(values);
    AddNumbers(local);
    AddNumbers(anchor);
    AddNumbers(slope);
  }
  if (has_rotation != 0) {
    const auto& [cos, sin, n_rotary, layout, growth, row] = rotation;
    AddNumbers(cos);
    AddNumbers(sin);
    AddNumbers(growth);
    AddNumbers(row);
  }
  for (std::int64_t r = 0; r < n_region; ++r) {
    const auto& [key_begin, query_row, key_row, has_blended, blended_row, blended_weight] =
        regions[r];
    AddNumbers(key_begin);
    AddNumbers(query_row);
    AddNumbers(key_row);
    if (has_blended == 0) continue;
    AddNumbers(blended_row);
    AddNumbers(blended_weight);
  }
  if (has_distance_table != 0) AddNumbers(distance_table.values);
  if (has_piecewise != 0) {
    const auto& [psi, row_factor, knots, slope, intercept] = piecewise;
    AddNumbers(psi);
    AddNumbers(row_factor);
    AddNumbers(knots);
    AddNumbers(slope);
    AddNumbers(intercept);
  }
}

// ---- kernels over rows -------------------------------------------------------------------------

GlobalRegions::GlobalRegions(const LongrunNormForwardCall& call) {
  const auto& [shape, x, addend, gamma, beta, sum, y, mean, rstd] = call;
  const std::int64_t n = shape.n_row * shape.n_channel;
  Add(x, n);
  Add(addend, n);
  Add(gamma, shape.n_channel);
  Add(beta, shape.n_channel);
  Add(sum, n);
  Add(y, n);
  Add(mean, shape.n_row);
  Add(rstd, shape.n_row);
}

GlobalRegions::GlobalRegions(const LongrunNormBackwardCall& call) {
  const auto& [shape, dy, sum, gamma, mean, rstd, d_sum, dx, d_addend, d_gamma, d_beta] = call;
  const std::int64_t n = shape.n_row * shape.n_channel;
  Add(dy, n);
  for (const float* x : {sum, d_sum, static_cast<const float*>(dx)}) Add(x, n);
  Add(static_cast<const std::uint16_t*>(d_addend), n);
  Add(mean, shape.n_row);
  Add(rstd, shape.n_row);
  Add(gamma, shape.n_channel);
  Add(d_gamma, shape.n_channel);
  Add(d_beta, shape.n_channel);
}

GlobalRegions::GlobalRegions(const LongrunActivationForwardCall& call) {
  const auto& [shape, h, up, bias, y] = call;
  const std::int64_t n = shape.n_row * shape.n_channel;
  for (const LongrunElements& x : {h, up, y}) Add(x, n);
  Add(bias, shape.n_channel);
}

GlobalRegions::GlobalRegions(const LongrunActivationBackwardCall& call) {
  const auto& [shape, h, up, bias, dy, dh, d_up, d_bias] = call;
  const std::int64_t n = shape.n_row * shape.n_channel;
  for (const LongrunElements& x : {h, up, dy, dh, d_up}) Add(x, n);
  Add(bias, shape.n_channel);
  Add(d_bias, shape.n_channel);
}

GlobalRegions::GlobalRegions(const LongrunCrossEntropyCall& call) {
  const auto& [n_row, n_vocab, logits, targets, nll, lse, d_logits, weight] = call;
  Add(logits, n_row * n_vocab);
  Add(d_logits, n_row * n_vocab);
  Add(targets, n_row);
  Add(nll, n_row);
  Add(lse, n_row);
}

GlobalRegions::GlobalRegions(const LongrunColumnSumCall& call) {
  const auto& [n_row, n_channel, x, total] = call;
  Add(x, n_row * n_channel);
  Add(total, n_channel);
}

GlobalRegions::GlobalRegions(const LongrunKeyBiasForwardCall& call) {
  const auto& [shape, a, before, r, local, anchor, negated] = call;
  const std::int64_t n_head = shape.batch * shape.n_head, n = n_head * shape.n_key;
  Add(a, n);
  Add(before, n_head);
  Add(r, n);
  Add(local, n);
  Add(anchor, n_head * ((shape.n_key + kKeyBiasBlock - 1) / kKeyBiasBlock));
}

GlobalRegions::GlobalRegions(const LongrunKeyBiasBackwardCall& call) {
  const auto& [shape, a, dr, da, negated] = call;
  const std::int64_t n = shape.batch * shape.n_head * shape.n_key;
  Add(a, n);
  Add(dr, n);
  Add(da, n);
}

GlobalRegions::GlobalRegions(const LongrunAdamWCall& call) {
  const auto& [vectors, n_vector, beta1, beta2, eps, t, lr, clip, results, n_result] = call;
  for (std::int64_t at = 0; at < n_vector; ++at) {
    const auto& [gradient, parameter, m, v, copy, n, weight_decay] = vectors[at];
    for (const float* x : {gradient, static_cast<const float*>(parameter),
                           static_cast<const float*>(m), static_cast<const float*>(v)}) {
      Add(x, n);
    }
    Add(static_cast<const std::uint16_t*>(copy), n);
  }
  Add(t, 1);
  Add(lr, 1);
  Add(clip, 1);
  Add(results, n_result);
}

}  // namespace longrun::testing
