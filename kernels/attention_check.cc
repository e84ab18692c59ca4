#include "kernels/attention_check.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <string>

#include "base/str.h"
#include "kernels/dropout.h"

namespace longrun {
namespace {

// Indices inside a tile are 32 bits wide, which limits the size of a tensor.
constexpr std::int64_t kElementsMax = std::int64_t{1} << 31;

Status Wrong(std::string_view argument, std::string_view what) {
  return Status(Code::kInvalidArgument, Str("attention: ", argument, ": ", what));
}

template <typename Pointer>
std::string Shape(const HeadsViewOf<Pointer>& x) {
  return Str("(", x.batch, ", ", x.n_row, ", ", x.n_head, ", ", x.head_dim, ")");
}

std::int64_t ScalarBytes(Scalar scalar) {
  switch (scalar) {
    case Scalar::kFp32:
      return 4;
    case Scalar::kBf16:
    case Scalar::kFp16:
      return 2;
    case Scalar::kFp64:
      return 8;
  }
  return 0;
}

// Elements from the first to the last that a view reaches; saturates instead of overflowing.
template <typename Pointer>
std::int64_t Reach(const HeadsViewOf<Pointer>& x) {
  std::int64_t reach = x.head_dim;
  const std::int64_t counts[] = {x.batch, x.n_row, x.n_head};
  const std::int64_t steps[] = {x.batch_step, x.row_step, x.head_step};
  for (int axis = 0; axis < 3; ++axis) {
    std::int64_t far = 0;
    if (__builtin_mul_overflow(counts[axis] - 1, steps[axis], &far) ||
        __builtin_add_overflow(reach, far, &reach)) {
      return std::numeric_limits<std::int64_t>::max();
    }
  }
  return reach;
}

Status CheckMemory(std::string_view name, const MemorySpace& found, const MemorySpace& expected) {
  if (found == expected) return {};
  return Wrong(
      name, Str("lies in ", MemoryName(found), ", but this back-end reads ", MemoryName(expected)));
}

template <typename Pointer>
Status CheckView(std::string_view name, const HeadsViewOf<Pointer>& x, const MemorySpace& memory) {
  if (x.batch < 0 || x.n_row < 0 || x.n_head <= 0 || x.head_dim <= 0) {
    return Wrong(name, Str("has the shape ", Shape(x), ": heads and channels must be positive"));
  }
  if (x.batch == 0 || x.n_row == 0) return {};
  RETURN_IF_ERROR(CheckMemory(name, x.memory, memory));
  if (x.data == nullptr) return Wrong(name, "is null");
  if (reinterpret_cast<std::uintptr_t>(x.data) %
          static_cast<std::uintptr_t>(ScalarBytes(x.scalar)) !=
      0) {
    return Wrong(name, Str("is not aligned to its type, ", ScalarName(x.scalar)));
  }
  if (x.batch_step < 0 || x.row_step < 0 || x.head_step < 0) {
    return Wrong(name,
                 Str("has a negative step: ", x.batch_step, ", ", x.row_step, ", ", x.head_step));
  }
  if (Reach(x) > kElementsMax) {
    return Wrong(name, Str("spans more than ", kElementsMax, " elements with the shape ", Shape(x),
                           ": split the batch"));
  }
  return {};
}

// Several threads write it, so no two elements may overlap.
Status CheckBuffer(std::string_view name, const HeadsBuffer& x, const MemorySpace& memory) {
  RETURN_IF_ERROR(CheckView(name, x, memory));
  if (x.batch == 0 || x.n_row == 0) return {};
  struct Axis {
    std::int64_t count, step;
  };
  Axis axes[] = {{x.batch, x.batch_step}, {x.n_row, x.row_step}, {x.n_head, x.head_step}};
  std::ranges::sort(axes, {}, &Axis::step);
  std::int64_t inner = x.head_dim;
  for (const Axis& axis : axes) {
    if (axis.count <= 1) continue;
    if (axis.step < inner) {
      return Wrong(name, Str("has rows that overlap: steps ", x.batch_step, ", ", x.row_step, ", ",
                             x.head_step, " for the shape ", Shape(x)));
    }
    inner = axis.step * (axis.count - 1) + inner;
  }
  return {};
}

template <typename Pointer>
Status CheckSameShape(std::string_view name, const HeadsViewOf<Pointer>& x, std::string_view like,
                      const HeadsView& expected) {
  if (x.batch == expected.batch && x.n_row == expected.n_row && x.n_head == expected.n_head &&
      x.head_dim == expected.head_dim) {
    return {};
  }
  return Wrong(name, Str("has the shape ", Shape(x), ", but ", like, " has ", Shape(expected)));
}

template <typename Pointer>
Status CheckSameType(std::string_view name, const HeadsViewOf<Pointer>& x, const HeadsView& q) {
  if (x.scalar == q.scalar) return {};
  return Wrong(name, Str("is ", ScalarName(x.scalar), ", but q is ", ScalarName(q.scalar)));
}

// o and its gradient: the type of q, or fp32 beside bf16 or fp16.
template <typename Pointer>
Status CheckOutputType(std::string_view name, const HeadsViewOf<Pointer>& x, const HeadsView& q) {
  if (x.scalar == Scalar::kFp32 && HasTwoBytes(q.scalar)) return {};
  return CheckSameType(name, x, q);
}

Status CheckInputs(const AttentionInputs& in, const MemorySpace& memory) {
  RETURN_IF_ERROR(CheckView("q", in.q, memory));
  RETURN_IF_ERROR(CheckView("k", in.k, memory));
  RETURN_IF_ERROR(CheckView("v", in.v, memory));
  RETURN_IF_ERROR(CheckSameType("k", in.k, in.q));
  RETURN_IF_ERROR(CheckSameType("v", in.v, in.q));
  RETURN_IF_ERROR(CheckSameShape("v", in.v, "k", in.k));
  if (in.k.batch != in.q.batch || in.k.head_dim != in.q.head_dim) {
    return Wrong("k", Str("has the shape ", Shape(in.k), ", but q has ", Shape(in.q)));
  }
  if (in.q.n_head % in.k.n_head != 0) {
    return Wrong("k", Str("has ", in.k.n_head, " heads, which do not divide q's ", in.q.n_head));
  }
  return {};
}

template <typename Span>
Status CheckCount(std::string_view name, const Span& x, std::int64_t expected) {
  if (static_cast<std::int64_t>(x.size()) == expected) return {};
  return Wrong(name, Str("has ", x.size(), " numbers, expected ", expected));
}

// lse, or the gradient of a term's numbers.
template <typename Pointer>
Status CheckNumbersView(std::string_view name, const NumbersViewOf<Pointer>& x,
                        std::int64_t expected, const MemorySpace& memory) {
  if (x.n != expected) return Wrong(name, Str("has ", x.n, " numbers, expected ", expected));
  if (expected == 0) return {};
  RETURN_IF_ERROR(CheckMemory(name, x.memory, memory));
  if (x.data == nullptr) return Wrong(name, "is null");
  if (x.scalar == Scalar::kFp32 || x.scalar == Scalar::kFp64) return {};
  return Wrong(name, Str("is ", ScalarName(x.scalar), ", but must be fp32 or fp64"));
}

struct Sizes {
  std::int64_t batch, n_query, n_head, n_key, q_offset, k_offset;
  bool every_query_at_a_key() const { return q_offset >= 0 && q_offset + n_query <= n_key; }
  // T_p of Visibility.
  std::int64_t n_position() const { return std::max(k_offset + n_key, q_offset + n_query); }
};

Status CheckVisibility(const Visibility& v, const Sizes& n) {
  if (v.q_offset < -kElementsMax || v.q_offset > kElementsMax) {
    return Wrong("visibility.q_offset", Str(v.q_offset, " is out of range"));
  }
  if (v.k_offset < 0 || v.k_offset > kElementsMax) {
    return Wrong("visibility.k_offset", Str(v.k_offset, " is out of range"));
  }
  if (v.window < 0) return Wrong("visibility.window", Str(v.window, " is negative"));
  if (v.n_sink < 0) return Wrong("visibility.n_sink", Str(v.n_sink, " is negative"));
  if (v.n_sink > 0 && v.window == 0) {
    return Wrong("visibility.n_sink", "needs a window, and there is none");
  }
  if (v.n_sink > 0 && !v.causal) {
    return Wrong("visibility.n_sink", "needs causal attention, and this call is bidirectional");
  }
  if (v.document_begin.empty()) return {};
  if (n.q_offset < 0) {
    return Wrong("visibility.document_begin", "every query must be at a position of the text");
  }
  return CheckCount("visibility.document_begin", v.document_begin, n.batch * n.n_position());
}

Status CheckDocumentBegins(const Visibility& v, const Sizes& n) {
  if (v.document_begin.empty()) return {};
  const std::int64_t n_position = n.n_position();
  for (std::int64_t b = 0; b < n.batch; ++b) {
    for (std::int64_t t = 0; t < n_position; ++t) {
      const auto at = static_cast<std::size_t>(b * n_position + t);
      const std::int32_t begin = v.document_begin[at];
      // A document begins where a position's begin is itself;
      // its other positions repeat that begin.
      const bool fits = begin == t || (t > 0 && begin == v.document_begin[at - 1]);
      if (!fits) {
        return Wrong("visibility.document_begin",
                     Str("position ", t, " of sequence ", b, " has the document begin ", begin,
                         ", expected ", t, " or that of the position before"));
      }
    }
  }
  return {};
}

Status CheckKeyBias(const KeyBias& bias, const Sizes& n) {
  const int n_forms = static_cast<int>(!bias.values.empty()) +
                      static_cast<int>(!bias.local.empty()) + static_cast<int>(!bias.slope.empty());
  const bool nothing = n.batch * n.n_key == 0;
  if (n_forms > 1 || (n_forms == 0 && !nothing)) {
    return Wrong("key_bias", "give exactly one of values, local (with anchor) and slope");
  }
  if (bias.two_sided && n.k_offset > 0) {
    return Status(Code::kUnimplemented,
                  Str("attention: key_bias: two-sided: visibility.k_offset is ", n.k_offset,
                      ", but the bias needs the number of each query's own key: give all keys in "
                      "one call"));
  }
  if (bias.two_sided && !n.every_query_at_a_key()) {
    return Wrong("key_bias", "two-sided: every query must be at the position of a key");
  }
  if (!bias.slope.empty()) return CheckCount("key_bias.slope", bias.slope, n.n_head);
  const std::int64_t n_series = n.batch * n.n_head;
  if (!bias.local.empty()) {
    RETURN_IF_ERROR(CheckCount("key_bias.local", bias.local, n_series * n.n_key));
    const std::int64_t n_anchor = (n.n_key + KeyBias::kAnchorKeys - 1) / KeyBias::kAnchorKeys;
    return CheckCount("key_bias.anchor", bias.anchor, n_series * n_anchor);
  }
  return CheckCount("key_bias.values", bias.values, n_series * n.n_key);
}

Status CheckRotation(const RotationTable& table, std::int64_t n_position, std::int64_t head_dim) {
  if (table.n_rotary <= 0 || table.n_rotary % 2 != 0 || table.n_rotary > head_dim) {
    return Wrong("rotation.n_rotary",
                 Str(table.n_rotary, " is not an even number of channels from 2 to ", head_dim));
  }
  if (static_cast<std::int64_t>(table.cos.size()) < n_position * (table.n_rotary / 2)) {
    return Wrong("rotation.cos", Str("has ", table.cos.size(), " numbers, too few for ", n_position,
                                     " positions of ", table.n_rotary / 2, " pairs"));
  }
  const auto n_angle = static_cast<std::int64_t>(table.cos.size());
  RETURN_IF_ERROR(CheckCount("rotation.sin", table.sin, n_angle));
  return table.growth.empty() ? Status() : CheckCount("rotation.growth", table.growth, n_angle);
}

// Of a table that CheckRotation passed.
std::int64_t RowsOf(const RotationTable& table) {
  return static_cast<std::int64_t>(table.cos.size()) / (table.n_rotary / 2);
}

Status CheckTableRows(std::string_view name, std::span<const std::int32_t> rows,
                      std::int64_t n_row) {
  for (std::size_t at = 0; at < rows.size(); ++at) {
    if (rows[at] >= 0 && rows[at] < n_row) continue;
    return Wrong(name, Str("number ", at, " is row ", rows[at], ", but the rotation table has ",
                           n_row, " rows"));
  }
  return {};
}

// Each begin must be between the first key and the begin of the region before (empty:
// after the last key).
Status CheckRegionBegins(std::string_view name, std::span<const std::int32_t> key_begin,
                         std::span<const std::int32_t> before, const Sizes& n) {
  for (std::size_t i = 0; i < key_begin.size(); ++i) {
    const std::int64_t end = before.empty() ? n.n_key : before[i];
    if (key_begin[i] >= 0 && key_begin[i] <= end) continue;
    return Wrong(name, Str("is ", key_begin[i], " for query ", i, ", outside of 0 to ", end,
                           ": give regions from the nearest to the oldest"));
  }
  return {};
}

Status CheckWeights(std::string_view name, std::span<const double> weight) {
  for (std::size_t at = 0; at < weight.size(); ++at) {
    if (weight[at] >= 0.0 && weight[at] <= 1.0) continue;
    return Wrong(name, Str("number ", at, " is ", weight[at], ", outside of 0 to 1"));
  }
  return {};
}

std::string RegionField(std::size_t r, std::string_view field) {
  return Str("regions[", r, "].", field);
}

Status CheckRegions(const AttentionTerms& terms, const Sizes& n) {
  const std::span<const Region> regions = terms.regions;
  if (!terms.rotation) return Wrong("regions", "need a rotation, and there is none");
  if (regions.size() > kRegionsMax) {
    return Wrong("regions",
                 Str("there are ", regions.size(), ", at most ", kRegionsMax, " are supported"));
  }
  for (std::size_t r = 0; r < regions.size(); ++r) {
    const auto name = [&](std::string_view field) { return RegionField(r, field); };
    const Region& region = regions[r];
    if (r + 1 < regions.size()) {
      RETURN_IF_ERROR(CheckCount(name("key_begin"), region.key_begin, n.n_query));
    } else if (!region.key_begin.empty()) {
      return Wrong(name("key_begin"), "must be empty: the last region reaches to the first key");
    }
    RETURN_IF_ERROR(CheckCount(name("query_row"), region.query_row, n.n_query));
    RETURN_IF_ERROR(CheckCount(name("key_row"), region.key_row, n.n_key));
    if (!region.blended) continue;
    RETURN_IF_ERROR(CheckCount(name("blended.row"), region.blended->row, n.n_key));
    RETURN_IF_ERROR(CheckCount(name("blended.weight"), region.blended->weight, n.n_key));
  }
  return {};
}

Status CheckRegionNumbers(const AttentionTerms& terms, const Sizes& n) {
  const std::span<const Region> regions = terms.regions;
  for (std::size_t r = 0; r < regions.size(); ++r) {
    const auto name = [&](std::string_view field) { return RegionField(r, field); };
    const Region& region = regions[r];
    const std::int64_t n_row = RowsOf(*terms.rotation);
    const std::span<const std::int32_t> before =
        r == 0 ? std::span<const std::int32_t>() : regions[r - 1].key_begin;
    RETURN_IF_ERROR(CheckRegionBegins(name("key_begin"), region.key_begin, before, n));
    RETURN_IF_ERROR(CheckTableRows(name("query_row"), region.query_row, n_row));
    RETURN_IF_ERROR(CheckTableRows(name("key_row"), region.key_row, n_row));
    if (!region.blended) continue;
    RETURN_IF_ERROR(CheckTableRows(name("blended.row"), region.blended->row, n_row));
    RETURN_IF_ERROR(CheckWeights(name("blended.weight"), region.blended->weight));
  }
  return {};
}

Status CheckDistanceTable(const DistanceTable& table, const Sizes& n) {
  if (table.n_distance <= 0) return Wrong("distance_table.n_distance", "must be positive");
  if (table.n_ahead < 0 || table.n_ahead >= table.n_distance) {
    return Wrong("distance_table.n_ahead", Str(table.n_ahead, " leaves no entry for distance 0"));
  }
  return CheckCount("distance_table.values", table.values, n.n_head * table.n_distance);
}

Status CheckPiecewise(const PiecewiseLinear& f, const Visibility& visibility, const Sizes& n) {
  const std::int64_t last = n.q_offset + n.n_query - 1;  // the position of the last query
  if (n.batch * n.n_key * n.n_query > 0) {
    if (n.q_offset < 0) {
      return Wrong("piecewise", Str("visibility.q_offset is ", n.q_offset,
                                    ", but every query needs a position of 0 or more"));
    }
    if (static_cast<std::int64_t>(f.row_factor.size()) <= last) {
      return Wrong(
          "piecewise.row_factor",
          Str("has ", f.row_factor.size(), " numbers, but the last query is at position ", last));
    }
    const std::int64_t behind = std::max<std::int64_t>(last - n.k_offset, 0);
    const std::int64_t ahead = visibility.causal ? 0 : n.k_offset + n.n_key - 1 - n.q_offset;
    const std::int64_t farthest = std::max(behind, ahead);
    if (static_cast<std::int64_t>(f.psi.size()) <= farthest) {
      return Wrong("piecewise.psi",
                   Str("has ", f.psi.size(), " numbers, but the largest distance is ", farthest));
    }
  }
  const std::int64_t n_number = n.n_head * (static_cast<std::int64_t>(f.knots.size()) + 1);
  RETURN_IF_ERROR(CheckCount("piecewise.slope", f.slope, n_number));
  return CheckCount("piecewise.intercept", f.intercept, n_number);
}

// Whether terms view any number. Those of nothing but scalars lie nowhere.
bool ViewNumbers(const AttentionTerms& terms) {
  return !terms.visibility.document_begin.empty() || terms.key_bias || terms.rotation ||
         terms.distance_table || terms.piecewise;
}

Status CheckTerms(const AttentionTerms& terms, const Sizes& n, std::int64_t head_dim,
                  const MemorySpace& memory) {
  if (ViewNumbers(terms)) RETURN_IF_ERROR(CheckMemory("terms", terms.memory, memory));
  RETURN_IF_ERROR(CheckVisibility(terms.visibility, n));
  if (terms.key_bias) RETURN_IF_ERROR(CheckKeyBias(*terms.key_bias, n));
  if (terms.rotation) {
    const RotationTable& table = *terms.rotation;
    // Rows that are named are checked one by one (CheckAttentionNumbers).
    const bool names_rows = !terms.regions.empty() || !table.row.empty();
    RETURN_IF_ERROR(CheckRotation(table, names_rows ? 0 : n.n_position(), head_dim));
    if (!table.row.empty()) {
      if (!terms.regions.empty()) {
        return Wrong("rotation.row", "must be empty: regions name rows of their own");
      }
      RETURN_IF_ERROR(CheckCount("rotation.row", table.row, n.batch * n.n_position()));
    }
  }
  if (!terms.regions.empty()) RETURN_IF_ERROR(CheckRegions(terms, n));
  if (terms.distance_table) RETURN_IF_ERROR(CheckDistanceTable(*terms.distance_table, n));
  if (terms.piecewise) RETURN_IF_ERROR(CheckPiecewise(*terms.piecewise, terms.visibility, n));
  if (terms.dropout && !(terms.dropout->probability >= 0.0 && terms.dropout->probability < 1.0)) {
    return Wrong("dropout.probability", Str(terms.dropout->probability, " is not in [0, 1)"));
  }
  if (terms.dropout && n.k_offset % kDropoutKeys != 0) {
    return Status(Code::kUnimplemented,
                  Str("attention: dropout: visibility.k_offset is ", n.k_offset,
                      ", but must be a multiple of ", kDropoutKeys, ", which are chosen at once"));
  }
  return {};
}

Sizes SizesOf(const AttentionInputs& in, const AttentionTerms& terms) {
  return {.batch = in.q.batch,
          .n_query = in.q.n_row,
          .n_head = in.q.n_head,
          .n_key = in.k.n_row,
          .q_offset = terms.visibility.q_offset,
          .k_offset = terms.visibility.k_offset};
}

Status CheckOptions(const AttentionKernelOptions& options, const MemorySpace& memory) {
  if (!(options.skip_epsilon >= 0.0 && options.skip_epsilon < 1.0)) {
    return Wrong("skip_epsilon", Str(options.skip_epsilon, " is not in [0, 1)"));
  }
  const WorkingMemory& working = options.working_memory;
  const bool allocates = working.allocate != nullptr && working.release != nullptr;
  const bool is_empty = working.allocate == nullptr && working.release == nullptr;
  if (memory.kind == MemorySpace::Kind::kCuda) {
    // A null stream is CUDA's default stream.
    return allocates ? Status() : Wrong("working_memory", "a GPU needs both functions");
  }
  if (options.stream != nullptr) return Wrong("stream", "is for a GPU, and this is the host");
  if (!is_empty) return Wrong("working_memory", "is for a GPU, and this is the host");
  return {};
}

// Gradient buffers that must be given in pairs, since one pass fills both.
Status CheckPair(std::string_view name, const NumbersBuffer& a, std::int64_t n_a,
                 std::string_view other, const NumbersBuffer& b, std::int64_t n_b,
                 const MemorySpace& memory) {
  if (a.empty() && b.empty()) return {};
  RETURN_IF_ERROR(CheckNumbersView(name, a, n_a, memory));
  return CheckNumbersView(other, b, n_b, memory);
}

Status CheckTermGradients(const AttentionBackwardCall& call, const AttentionTerms& terms,
                          const Sizes& n, const MemorySpace& memory) {
  if (!call.d_key_bias.empty()) {
    if (!terms.key_bias) return Wrong("d_key_bias", "there is no such term");
    RETURN_IF_ERROR(
        CheckNumbersView("d_key_bias", call.d_key_bias, n.batch * n.n_head * n.n_key, memory));
  }
  if (!call.d_distance_table.empty()) {
    if (!terms.distance_table) return Wrong("d_distance_table", "there is no such term");
    RETURN_IF_ERROR(CheckNumbersView("d_distance_table", call.d_distance_table,
                                     n.n_head * terms.distance_table->n_distance, memory));
  }
  if (!terms.piecewise) {
    const bool asked = !call.d_slope.empty() || !call.d_intercept.empty() || !call.d_psi.empty() ||
                       !call.d_row_factor.empty();
    return asked ? Wrong("d_slope, d_intercept, d_psi, d_row_factor", "there is no such term")
                 : Status();
  }
  const PiecewiseLinear& f = *terms.piecewise;
  const auto n_number = static_cast<std::int64_t>(f.slope.size());
  RETURN_IF_ERROR(CheckPair("d_slope", call.d_slope, n_number, "d_intercept", call.d_intercept,
                            n_number, memory));
  return CheckPair("d_psi", call.d_psi, static_cast<std::int64_t>(f.psi.size()), "d_row_factor",
                   call.d_row_factor, static_cast<std::int64_t>(f.row_factor.size()), memory);
}

}  // namespace

Status CheckAttentionShapes(const AttentionForwardCall& call, const AttentionTerms& terms,
                            const AttentionKernelOptions& options, const MemorySpace& memory) {
  RETURN_IF_ERROR(CheckInputs(call.inputs, memory));
  RETURN_IF_ERROR(CheckBuffer("o", call.o, memory));
  RETURN_IF_ERROR(CheckSameShape("o", call.o, "q", call.inputs.q));
  RETURN_IF_ERROR(CheckOutputType("o", call.o, call.inputs.q));
  const Sizes n = SizesOf(call.inputs, terms);
  RETURN_IF_ERROR(CheckNumbersView("lse", call.lse, n.batch * n.n_head * n.n_query, memory));
  RETURN_IF_ERROR(CheckOptions(options, memory));
  if (call.n_tiles != nullptr && memory.kind == MemorySpace::Kind::kCuda) {
    return Wrong("n_tiles", "must be null for a GPU, for which the host would have to wait");
  }
  if (!call.first_key.empty() || options.skip_epsilon > 0.0) {
    RETURN_IF_ERROR(CheckCount("first_key", call.first_key,
                               n.batch * n.n_head * VisitedKeys::Count(n.n_query)));
  }
  return CheckTerms(terms, n, call.inputs.q.head_dim, memory);
}

Status CheckAttentionShapes(const AttentionBackwardCall& call, const AttentionTerms& terms,
                            const AttentionKernelOptions& options, const MemorySpace& memory) {
  if (!terms.regions.empty()) {
    return Status(
        Code::kUnimplemented,
        "attention: regions: have no gradient, since they are for inference: leave them out, or "
        "call forward");
  }
  const HeadsView &q = call.inputs.q, &k = call.inputs.k;
  RETURN_IF_ERROR(CheckInputs(call.inputs, memory));
  RETURN_IF_ERROR(CheckView("o", call.o, memory));
  RETURN_IF_ERROR(CheckSameShape("o", call.o, "q", q));
  RETURN_IF_ERROR(CheckOutputType("o", call.o, q));
  RETURN_IF_ERROR(CheckView("do", call.do_, memory));
  RETURN_IF_ERROR(CheckSameShape("do", call.do_, "q", q));
  RETURN_IF_ERROR(CheckOutputType("do", call.do_, q));
  struct Gradient {
    std::string_view name, like_name;
    const HeadsBuffer& buffer;
    const HeadsView& like;
  };
  const Gradient gradients[] = {
      {"dq", "q", call.dq, q}, {"dk", "k", call.dk, k}, {"dv", "k", call.dv, k}};
  for (const Gradient& gradient : gradients) {
    RETURN_IF_ERROR(CheckBuffer(gradient.name, gradient.buffer, memory));
    RETURN_IF_ERROR(
        CheckSameShape(gradient.name, gradient.buffer, gradient.like_name, gradient.like));
    RETURN_IF_ERROR(CheckSameType(gradient.name, gradient.buffer, q));
  }
  const Sizes n = SizesOf(call.inputs, terms);
  RETURN_IF_ERROR(CheckNumbersView("lse", call.lse, n.batch * n.n_head * n.n_query, memory));
  RETURN_IF_ERROR(CheckOptions(options, memory));
  if (!call.first_key.empty() || options.skip_epsilon > 0.0) {
    RETURN_IF_ERROR(CheckCount("first_key", call.first_key,
                               n.batch * n.n_head * VisitedKeys::Count(n.n_query)));
  }
  RETURN_IF_ERROR(CheckTerms(terms, n, q.head_dim, memory));
  return CheckTermGradients(call, terms, n, memory);
}

Status CheckAttentionNumbers(const AttentionInputs& inputs, const AttentionTerms& terms) {
  if (ViewNumbers(terms)) RETURN_IF_ERROR(CheckMemory("terms", terms.memory, MemorySpace()));
  const Sizes n = SizesOf(inputs, terms);
  RETURN_IF_ERROR(CheckDocumentBegins(terms.visibility, n));
  if (terms.rotation) {
    RETURN_IF_ERROR(CheckTableRows("rotation.row", terms.rotation->row, RowsOf(*terms.rotation)));
  }
  RETURN_IF_ERROR(CheckRegionNumbers(terms, n));
  if (terms.piecewise && !std::ranges::is_sorted(terms.piecewise->knots)) {
    return Wrong("piecewise.knots", "must not decrease");
  }
  return {};
}

Status CheckAttentionCall(const AttentionForwardCall& call, const AttentionTerms& terms,
                          const AttentionKernelOptions& options) {
  RETURN_IF_ERROR(CheckAttentionShapes(call, terms, options, MemorySpace()));
  return CheckAttentionNumbers(call.inputs, terms);
}

Status CheckAttentionCall(const AttentionBackwardCall& call, const AttentionTerms& terms,
                          const AttentionKernelOptions& options) {
  RETURN_IF_ERROR(CheckAttentionShapes(call, terms, options, MemorySpace()));
  return CheckAttentionNumbers(call.inputs, terms);
}

}  // namespace longrun
