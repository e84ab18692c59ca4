#include "kernels/embedding.h"

#include <vector>

#include "kernels/cpu/row_targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/embedding.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/cpu/row-inl.h"

HWY_BEFORE_NAMESPACE();
namespace longrun {
namespace HWY_NAMESPACE {

// dW[id] += the sum of the rows of dy that `rows` names, in that order.
// `sum` has room for C elements.
void AddSegmentOf(const EmbeddingGradientCall& call, std::int64_t id,
                  std::span<const std::int64_t> rows, float* sum) {
  const std::int64_t n = call.n_channel;
  const float* total = call.dy + rows.front() * n;
  if (rows.size() > 1) {
    std::copy_n(total, n, sum);
    for (const std::int64_t row : rows.subspan(1)) {
      const float* const dy = call.dy + row * n;
      ForColumns(n, [&](std::int64_t c, auto at) HWY_ATTR {
        at.Store(hn::Add(at.Load(sum + c), at.Load(dy + c)), sum + c);
      });
    }
    total = sum;
  }
  float* const to = call.d_weight + id * n;
  ForColumns(n, [&](std::int64_t c, auto at)
                    HWY_ATTR { at.Store(hn::Add(at.Load(to + c), at.Load(total + c)), to + c); });
}

}  // namespace HWY_NAMESPACE
}  // namespace longrun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace longrun {
namespace {

// The rows sorted by id, and rows of the same id in order: a counting sort,
// 11 bits of the id at a time.
std::vector<std::int64_t> SortedById(std::span<const std::int64_t> ids, std::int64_t n_vocab) {
  constexpr int kBits = 11;
  constexpr std::int64_t kDigits = std::int64_t{1} << kBits;
  std::vector<std::int64_t> rows(ids.size()), next(ids.size());
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::int64_t>(i);
  for (int shift = 0; (n_vocab - 1) >> shift > 0; shift += kBits) {
    const auto digit = [&](std::int64_t row) {
      return static_cast<std::size_t>((ids[static_cast<std::size_t>(row)] >> shift) &
                                      (kDigits - 1));
    };
    std::vector<std::size_t> begin(static_cast<std::size_t>(kDigits) + 1);
    for (const std::int64_t row : rows) ++begin[digit(row) + 1];
    for (std::size_t d = 1; d < begin.size(); ++d) begin[d] += begin[d - 1];
    for (const std::int64_t row : rows) next[begin[digit(row)]++] = row;
    rows.swap(next);
  }
  return rows;
}

}  // namespace

void EmbeddingGradient(const EmbeddingGradientCall& call, const KernelOptions& options) {
  LR_CHECK(call.n_channel > 0 && call.n_vocab > 0 && call.d_weight != nullptr);
  LR_CHECK(call.ids.empty() || call.dy != nullptr);
  for (const std::int64_t id : call.ids) LR_CHECK(id >= 0 && id < call.n_vocab);
  const ScopedSubnormals mode(options.subnormals);
  const auto add_segment = LONGRUN_OF_SIMD(AddSegmentOf, options.simd);
  const std::vector<std::int64_t> rows = SortedById(call.ids, call.n_vocab);
  const auto id_of = [&](std::size_t at) { return call.ids[static_cast<std::size_t>(rows[at])]; };
  std::vector<std::size_t> begins;  // starts of the segments of equal ids, and the last one's end
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (i == 0 || id_of(i) != id_of(i - 1)) begins.push_back(i);
  }
  const auto n_segment = static_cast<std::int64_t>(begins.size());
  begins.push_back(rows.size());
  ForParts(options, n_segment, [&](std::int64_t first, std::int64_t last) {
    std::vector<float> sum(static_cast<std::size_t>(call.n_channel));
    for (auto s = static_cast<std::size_t>(first); s < static_cast<std::size_t>(last); ++s) {
      const std::int64_t id = id_of(begins[s]);
      if (id == call.padding_id) continue;
      add_segment(call, id, std::span(rows).subspan(begins[s], begins[s + 1] - begins[s]),
                  sum.data());
    }
  });
}

}  // namespace longrun

#endif  // HWY_ONCE
