// Every structure is taken apart by a structured binding that names all of its fields. A field that
// is added on either side does not compile until it is converted.
#include "kernels/cuda_calls.h"

#include <cstddef>
#include <optional>
#include <span>

#include "base/check.h"

namespace longrun {
namespace {

static_assert(std::size(LongrunAttentionTerms{}.regions) == kRegionsMax);

template <typename Enum>
std::int32_t Number(Enum x) {
  return static_cast<std::int32_t>(x);
}

// ---- to C --------------------------------------------------------------------------------------

LongrunMemory ToC(const MemorySpace& x) {
  const auto& [kind, ordinal] = x;
  return {Number(kind), ordinal};
}

template <typename Pointer>
LongrunHeads ToC(const HeadsViewOf<Pointer>& x) {
  const auto& [data, scalar, batch, n_row, n_head, head_dim, batch_step, row_step, head_step,
               memory] = x;
  return {const_cast<void*>(data),
          Number(scalar),
          batch,
          n_row,
          n_head,
          head_dim,
          batch_step,
          row_step,
          head_step,
          ToC(memory)};
}

template <typename Pointer>
LongrunNumbers ToC(const NumbersViewOf<Pointer>& x) {
  const auto& [data, n, scalar, memory] = x;
  return {const_cast<void*>(data), n, Number(scalar), ToC(memory)};
}

LongrunDoubles ToC(std::span<const double> x) {
  return {x.data(), static_cast<std::int64_t>(x.size())};
}
LongrunFloats ToC(std::span<const float> x) {
  return {x.data(), static_cast<std::int64_t>(x.size())};
}
LongrunInts ToC(std::span<const std::int32_t> x) {
  return {x.data(), static_cast<std::int64_t>(x.size())};
}

LongrunVisibility ToC(const Visibility& x) {
  const auto& [causal, q_offset, k_offset, window, n_sink, document_begin] = x;
  return {causal ? 1 : 0, q_offset, k_offset, window, n_sink, ToC(document_begin)};
}

LongrunKeyBias ToC(const KeyBias& x) {
  const auto& [values, two_sided, local, anchor, slope] = x;
  return {ToC(values), two_sided ? 1 : 0, ToC(local), ToC(anchor), ToC(slope)};
}

LongrunRotation ToC(const RotationTable& x) {
  const auto& [cos, sin, n_rotary, layout, growth, row] = x;
  return {ToC(cos), ToC(sin), n_rotary, Number(layout), ToC(growth), ToC(row)};
}

LongrunRegion ToC(const Region& x) {
  const auto& [key_begin, query_row, key_row, blended] = x;
  LongrunRegion y = {ToC(key_begin), ToC(query_row), ToC(key_row), 0, {}, {}};
  if (!blended) return y;
  const auto& [row, weight] = *blended;
  y.has_blended = 1;
  y.blended_row = ToC(row);
  y.blended_weight = ToC(weight);
  return y;
}

LongrunDistanceTable ToC(const DistanceTable& x) {
  const auto& [values, n_distance, n_ahead] = x;
  return {ToC(values), n_distance, n_ahead};
}

LongrunPiecewise ToC(const PiecewiseLinear& x) {
  const auto& [psi, row_factor, knots, slope, intercept] = x;
  return {ToC(psi), ToC(row_factor), ToC(knots), ToC(slope), ToC(intercept)};
}

LongrunDropout ToC(const Dropout& x) {
  const auto& [probability, seed, offset] = x;
  return {probability, seed, offset};
}

// Sets `has` and `to`, where there is a term.
template <typename Term, typename Mirror>
void SetTerm(const std::optional<Term>& x, std::int32_t& has, Mirror& to) {
  has = x.has_value() ? 1 : 0;
  if (x) to = ToC(*x);
}

// ---- from C ------------------------------------------------------------------------------------

MemorySpace FromC(const LongrunMemory& x) {
  const auto& [kind, ordinal] = x;
  return {.kind = static_cast<MemorySpace::Kind>(kind), .ordinal = ordinal};
}

template <typename View>
View HeadsFromC(const LongrunHeads& x) {
  const auto& [data, scalar, batch, n_row, n_head, head_dim, batch_step, row_step, head_step,
               memory] = x;
  return {.data = data,
          .scalar = static_cast<Scalar>(scalar),
          .batch = batch,
          .n_row = n_row,
          .n_head = n_head,
          .head_dim = head_dim,
          .batch_step = batch_step,
          .row_step = row_step,
          .head_step = head_step,
          .memory = FromC(memory)};
}

template <typename View>
View NumbersFromC(const LongrunNumbers& x) {
  const auto& [data, n, scalar, memory] = x;
  return {data, n, static_cast<Scalar>(scalar), FromC(memory)};
}

template <typename Mirror>
auto SpanFromC(const Mirror& x) {
  const auto& [data, n] = x;
  return std::span(data, static_cast<std::size_t>(n));
}

Visibility FromC(const LongrunVisibility& x) {
  const auto& [causal, q_offset, k_offset, window, n_sink, document_begin] = x;
  return {.causal = causal != 0,
          .q_offset = q_offset,
          .k_offset = k_offset,
          .window = window,
          .n_sink = n_sink,
          .document_begin = SpanFromC(document_begin)};
}

KeyBias FromC(const LongrunKeyBias& x) {
  const auto& [values, two_sided, local, anchor, slope] = x;
  return {.values = SpanFromC(values),
          .two_sided = two_sided != 0,
          .local = SpanFromC(local),
          .anchor = SpanFromC(anchor),
          .slope = SpanFromC(slope)};
}

RotationTable FromC(const LongrunRotation& x) {
  const auto& [cos, sin, n_rotary, layout, growth, row] = x;
  return {.cos = SpanFromC(cos),
          .sin = SpanFromC(sin),
          .n_rotary = n_rotary,
          .layout = static_cast<RotationTable::Layout>(layout),
          .growth = SpanFromC(growth),
          .row = SpanFromC(row)};
}

Region FromC(const LongrunRegion& x) {
  const auto& [key_begin, query_row, key_row, has_blended, blended_row, blended_weight] = x;
  Region region = {.key_begin = SpanFromC(key_begin),
                   .query_row = SpanFromC(query_row),
                   .key_row = SpanFromC(key_row)};
  if (has_blended != 0) {
    region.blended =
        BlendedKeys{.row = SpanFromC(blended_row), .weight = SpanFromC(blended_weight)};
  }
  return region;
}

DistanceTable FromC(const LongrunDistanceTable& x) {
  const auto& [values, n_distance, n_ahead] = x;
  return {.values = SpanFromC(values), .n_distance = n_distance, .n_ahead = n_ahead};
}

PiecewiseLinear FromC(const LongrunPiecewise& x) {
  const auto& [psi, row_factor, knots, slope, intercept] = x;
  return {.psi = SpanFromC(psi),
          .row_factor = SpanFromC(row_factor),
          .knots = SpanFromC(knots),
          .slope = SpanFromC(slope),
          .intercept = SpanFromC(intercept)};
}

Dropout FromC(const LongrunDropout& x) {
  const auto& [probability, seed, offset] = x;
  return {.probability = probability, .seed = seed, .offset = offset};
}

template <typename Mirror>
auto TermFromC(std::int32_t has, const Mirror& x) {
  return has != 0 ? std::optional(FromC(x)) : std::nullopt;
}

}  // namespace

LongrunAttentionTerms ToPlugin(const AttentionTerms& terms) {
  const auto& [scale, visibility, key_bias, rotation, regions, distance_table, piecewise, dropout,
               memory] = terms;
  LR_CHECK(regions.size() <= kRegionsMax);
  LongrunAttentionTerms to = {};
  to.scale = scale;
  to.visibility = ToC(visibility);
  SetTerm(key_bias, to.has_key_bias, to.key_bias);
  SetTerm(rotation, to.has_rotation, to.rotation);
  to.n_region = static_cast<std::int64_t>(regions.size());
  for (std::size_t r = 0; r < regions.size(); ++r) to.regions[r] = ToC(regions[r]);
  SetTerm(distance_table, to.has_distance_table, to.distance_table);
  SetTerm(piecewise, to.has_piecewise, to.piecewise);
  SetTerm(dropout, to.has_dropout, to.dropout);
  to.memory = ToC(memory);
  return to;
}

LongrunAttentionOptions ToPlugin(const AttentionKernelOptions& options) {
  const auto& [parallel_for, skip_epsilon, subnormals, stream, working_memory] = options;
  const auto& [context, allocate, release] = working_memory;
  return {skip_epsilon, Number(subnormals), 0, stream, context, allocate, release};
}

LongrunAttentionForwardCall ToPlugin(const AttentionForwardCall& call) {
  const auto& [inputs, o, lse, first_key, n_tiles] = call;
  const auto& [q, k, v] = inputs;
  return {ToC(q),
          ToC(k),
          ToC(v),
          ToC(o),
          ToC(lse),
          first_key.data(),
          static_cast<std::int64_t>(first_key.size()),
          n_tiles};
}

LongrunAttentionBackwardCall ToPlugin(const AttentionBackwardCall& call) {
  const auto& [inputs, o, o_gradient, lse, first_key, dq, dk, dv, d_key_bias, d_distance_table,
               d_slope, d_intercept, d_psi, d_row_factor] = call;
  const auto& [q, k, v] = inputs;
  return {ToC(q),          ToC(k),           ToC(v),          ToC(o),
          ToC(o_gradient), ToC(lse),         ToC(first_key),  ToC(dq),
          ToC(dk),         ToC(dv),          ToC(d_key_bias), ToC(d_distance_table),
          ToC(d_slope),    ToC(d_intercept), ToC(d_psi),      ToC(d_row_factor)};
}

AttentionTerms FromPlugin(const LongrunAttentionTerms& terms, std::vector<Region>& regions) {
  const auto& [scale, visibility, has_key_bias, key_bias, has_rotation, rotation, n_region,
               region_array, has_distance_table, distance_table, has_piecewise, piecewise,
               has_dropout, dropout, memory] = terms;
  regions.clear();
  for (std::int64_t r = 0; r < n_region; ++r) regions.push_back(FromC(region_array[r]));
  return {.scale = scale,
          .visibility = FromC(visibility),
          .key_bias = TermFromC(has_key_bias, key_bias),
          .rotation = TermFromC(has_rotation, rotation),
          .regions = regions,
          .distance_table = TermFromC(has_distance_table, distance_table),
          .piecewise = TermFromC(has_piecewise, piecewise),
          .dropout = TermFromC(has_dropout, dropout),
          .memory = FromC(memory)};
}

AttentionKernelOptions FromPlugin(const LongrunAttentionOptions& options) {
  const auto& [skip_epsilon, subnormals, backward, stream, context, allocate, release] = options;
  return {.parallel_for = {},
          .skip_epsilon = skip_epsilon,
          .subnormals = static_cast<Subnormals>(subnormals),
          .stream = stream,
          .working_memory = {.context = context, .allocate = allocate, .release = release}};
}

AttentionForwardCall FromPlugin(const LongrunAttentionForwardCall& call) {
  const auto& [q, k, v, o, lse, first_key, n_first_key, n_tiles] = call;
  return {.inputs = {.q = HeadsFromC<HeadsView>(q),
                     .k = HeadsFromC<HeadsView>(k),
                     .v = HeadsFromC<HeadsView>(v)},
          .o = HeadsFromC<HeadsBuffer>(o),
          .lse = NumbersFromC<NumbersBuffer>(lse),
          .first_key = {first_key, static_cast<std::size_t>(n_first_key)},
          .n_tiles = n_tiles};
}

AttentionBackwardCall FromPlugin(const LongrunAttentionBackwardCall& call) {
  const auto& [q, k, v, o, o_gradient, lse, first_key, dq, dk, dv, d_key_bias, d_distance_table,
               d_slope, d_intercept, d_psi, d_row_factor] = call;
  return {.inputs = {.q = HeadsFromC<HeadsView>(q),
                     .k = HeadsFromC<HeadsView>(k),
                     .v = HeadsFromC<HeadsView>(v)},
          .o = HeadsFromC<HeadsView>(o),
          .do_ = HeadsFromC<HeadsView>(o_gradient),
          .lse = NumbersFromC<NumbersView>(lse),
          .first_key = SpanFromC(first_key),
          .dq = HeadsFromC<HeadsBuffer>(dq),
          .dk = HeadsFromC<HeadsBuffer>(dk),
          .dv = HeadsFromC<HeadsBuffer>(dv),
          .d_key_bias = NumbersFromC<NumbersBuffer>(d_key_bias),
          .d_distance_table = NumbersFromC<NumbersBuffer>(d_distance_table),
          .d_slope = NumbersFromC<NumbersBuffer>(d_slope),
          .d_intercept = NumbersFromC<NumbersBuffer>(d_intercept),
          .d_psi = NumbersFromC<NumbersBuffer>(d_psi),
          .d_row_factor = NumbersFromC<NumbersBuffer>(d_row_factor)};
}

}  // namespace longrun
