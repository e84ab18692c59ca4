// Reads rows of tensors into floats (converted, rotated, scaled) and writes them back.
#if defined(LONGRUN_KERNELS_CPU_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LONGRUN_KERNELS_CPU_ROWS_INL_H_
#undef LONGRUN_KERNELS_CPU_ROWS_INL_H_
#else
#define LONGRUN_KERNELS_CPU_ROWS_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <vector>

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/cpu/plan.h"
#include "kernels/cpu/transpose-inl.h"
#include "kernels/cpu/vector-inl.h"
#include "kernels/scalar.h"

HWY_BEFORE_NAMESPACE();
namespace longrun {
namespace HWY_NAMESPACE {

// How a row is rotated: forward, or by the transpose.
enum class Turn { kQuery, kKey, kQueryBack, kKeyBack };

// Row `position` of a rotation table, in floats.
struct TurnNumbers {
  const float* cos;
  const float* sin;
  const double* growth;  // null: none
  std::int64_t n_pairs;
  RotationTable::Layout layout;
};

HWY_INLINE TurnNumbers TurnAt(const AttentionPlan& plan, std::int64_t position) {
  const RotationTable& table = *plan.terms.rotation;
  const std::int64_t n_pairs = table.n_rotary / 2, at = position * n_pairs;
  return {.cos = plan.cos.data() + at,
          .sin = plan.sin.data() + at,
          .growth = table.growth.empty() ? nullptr : table.growth.data() + at,
          .n_pairs = n_pairs,
          .layout = table.layout};
}

// (x, y) to (x cos - y sin, y cos + x sin).
HWY_INLINE void TurnPair(V& x, V& y, V cosine, V sine) {
  const V x_turned = hn::MulSub(x, cosine, hn::Mul(y, sine));
  y = hn::MulAdd(y, cosine, hn::Mul(x, sine));
  x = x_turned;
}

HWY_NOINLINE void TurnRow(const TurnNumbers& by, Turn turn, float* row) {
  const F f;
  const bool back = turn == Turn::kQueryBack || turn == Turn::kKeyBack;
  const V sign = hn::Set(f, back ? -1.0F : 1.0F);
  const bool half = by.layout == RotationTable::Layout::kHalf;
  const std::int64_t step = half ? 1 : 2;
  const std::int64_t other = half ? by.n_pairs : 1;
  for (std::int64_t c = 0; c < by.n_pairs; c += kLanes) {
    const Part part = {std::min(kLanes, by.n_pairs - c)};
    const V cosine = part.Load(by.cos + c);
    const V sine = hn::Mul(sign, part.Load(by.sin + c));
    if (half) {
      V x = part.Load(row + c), y = part.Load(row + other + c);
      TurnPair(x, y, cosine, sine);
      part.Store(x, row + c);
      part.Store(y, row + other + c);
      continue;
    }
    HWY_ALIGN float pairs[2 * kLanes];
    std::copy_n(row + 2 * c, 2 * part.n, pairs);
    V x, y;
    hn::LoadInterleaved2(f, pairs, x, y);
    TurnPair(x, y, cosine, sine);
    hn::StoreInterleaved2(x, y, f, pairs);
    std::copy_n(pairs, 2 * part.n, row + 2 * c);
  }
  if (by.growth == nullptr) return;
  const bool is_query = turn == Turn::kQuery || turn == Turn::kQueryBack;
  for (std::int64_t c = 0; c < by.n_pairs; ++c) {
    const auto factor = static_cast<float>(is_query ? by.growth[c] : 1.0 / by.growth[c]);
    row[c * step] *= factor;
    row[c * step + other] *= factor;
  }
}

// Rows of a head are too far apart for processors to prefetch: we prefetch this many rows ahead.
inline constexpr std::int64_t kRowsAhead = 8;

// Reads row t of (b, h) as floats, with zeros up to `width`.
template <typename Pointer>
HWY_INLINE void ReadRow(const HeadsViewOf<Pointer>& x, std::int64_t b, std::int64_t h,
                        std::int64_t t, std::int64_t width, float* HWY_RESTRICT row) {
  const std::int64_t at = b * x.batch_step + h * x.head_step + t * x.row_step;
  const auto read = [&](const auto* from) {
    constexpr auto kLine = static_cast<std::int64_t>(64 / sizeof(*from));
    if (t + kRowsAhead < x.n_row) {
      const auto* ahead = from + kRowsAhead * x.row_step;
      for (std::int64_t c = 0; c < x.head_dim; c += kLine) hwy::Prefetch(ahead + c);
      hwy::Prefetch(ahead + x.head_dim - 1);
    }
    ForColumns(x.head_dim,
               [&](std::int64_t c, auto part) { hn::Store(part.Load(from + c), F(), row + c); });
  };
  if (x.scalar == Scalar::kFp32) {
    read(static_cast<const float*>(x.data) + at);
  } else if (x.scalar == Scalar::kFp16) {
    read(static_cast<const Fp16*>(x.data) + at);
  } else {
    read(static_cast<const Bf16*>(x.data) + at);
  }
  for (std::int64_t c = (x.head_dim + kLanes - 1) / kLanes * kLanes; c < width; c += kLanes) {
    hn::Store(hn::Zero(F()), F(), row + c);
  }
}

// Writes factor * row.
HWY_INLINE void WriteRow(const HeadsBuffer& x, std::int64_t b, std::int64_t h, std::int64_t t,
                         float factor, const float* HWY_RESTRICT row) {
  const std::int64_t at = b * x.batch_step + h * x.head_step + t * x.row_step;
  const auto write = [&](auto* to) {
    ForColumns(x.head_dim, [&](std::int64_t c, auto part) {
      part.Store(hn::Mul(hn::Set(F(), factor), hn::Load(F(), row + c)), to + c);
    });
  };
  if (x.scalar == Scalar::kFp32) {
    write(static_cast<float*>(x.data) + at);
  } else if (x.scalar == Scalar::kFp16) {
    write(static_cast<Fp16*>(x.data) + at);
  } else {
    write(static_cast<Bf16*>(x.data) + at);
  }
}

// Reads queries [begin, end) of head (b, h), rotated as `region` says, times scale log2(e): n_row
// rows, zeros after the last query.
HWY_NOINLINE void ReadQueries(const AttentionPlan& plan, const HeadsView& q, std::int64_t region,
                              std::int64_t b, std::int64_t h, std::int64_t begin, std::int64_t end,
                              std::int64_t n_row, float* rows) {
  const F f;
  const V scale = hn::Set(f, static_cast<float>(plan.terms.scale * kLog2E));
  for (std::int64_t i = begin; i < end; ++i) {
    float* row = rows + (i - begin) * plan.width;
    ReadRow(q, b, h, i, plan.width, row);
    const std::int64_t turn = plan.QueryTurn(region, b, i);
    if (plan.terms.rotation && turn >= 0) TurnRow(TurnAt(plan, turn), Turn::kQuery, row);
    for (std::int64_t c = 0; c < plan.width; c += kLanes) {
      hn::Store(hn::Mul(scale, hn::Load(f, row + c)), f, row + c);
    }
  }
  std::fill(rows + (end - begin) * plan.width, rows + n_row * plan.width, 0.0F);
}

// Reads the values of a tile, or its keys before rotation: kKeyTile rows, zeros after the last key.
HWY_NOINLINE void ReadTile(const AttentionPlan& plan, const HeadsView& x, std::int64_t b,
                           std::int64_t h_kv, std::int64_t tile, float* rows) {
  const std::int64_t begin = tile * kKeyTile;
  const std::int64_t n = std::min(kKeyTile, plan.n_key - begin);
  for (std::int64_t j = 0; j < n; ++j) {
    ReadRow(x, b, h_kv, begin + j, plan.width, rows + j * plan.width);
  }
  std::fill(rows + n * plan.width, rows + kKeyTile * plan.width, 0.0F);
}

// Rotates a key to row `from` of the table and to row `to` at once. A rotated key is linear in
// cosine and sine, so these are blended, in double, instead of two rotated keys.
class KeyBlend {
 public:
  explicit KeyBlend(const RotationTable& table)
      : table_(table),
        cos_(static_cast<std::size_t>(table.n_rotary / 2)),
        sin_(static_cast<std::size_t>(table.n_rotary / 2)) {}

  void TurnKey(std::int64_t from, std::int64_t to, double weight, float* row) {
    const std::size_t n_pairs = cos_.size();
    for (std::size_t c = 0; c < n_pairs; ++c) {
      const std::size_t a = static_cast<std::size_t>(from) * n_pairs + c;
      const std::size_t b = static_cast<std::size_t>(to) * n_pairs + c;
      const double of_a = (1.0 - weight) / Growth(a), of_b = weight / Growth(b);
      cos_[c] = static_cast<float>(of_a * table_.cos[a] + of_b * table_.cos[b]);
      sin_[c] = static_cast<float>(of_a * table_.sin[a] + of_b * table_.sin[b]);
    }
    TurnRow({.cos = cos_.data(),
             .sin = sin_.data(),
             .growth = nullptr,
             .n_pairs = table_.n_rotary / 2,
             .layout = table_.layout},
            Turn::kKey, row);
  }

 private:
  double Growth(std::size_t at) const { return table_.growth.empty() ? 1.0 : table_.growth[at]; }

  const RotationTable& table_;
  std::vector<float> cos_, sin_;
};

// Reads the keys of a tile, rotated as `region` says.
HWY_NOINLINE void ReadKeys(const AttentionPlan& plan, const HeadsView& k, std::int64_t region,
                           std::int64_t b, std::int64_t h_kv, std::int64_t tile, float* rows) {
  ReadTile(plan, k, b, h_kv, tile, rows);
  if (!plan.terms.rotation) return;
  const std::int64_t begin = tile * kKeyTile;
  const std::int64_t n = std::min(kKeyTile, plan.n_key - begin);
  if (const BlendedKeys* blended = plan.Blended(region)) {
    KeyBlend blend(*plan.terms.rotation);
    for (std::int64_t j = 0; j < n; ++j) {
      const auto key = static_cast<std::size_t>(begin + j);
      blend.TurnKey(plan.KeyTurn(region, b, begin + j), blended->row[key], blended->weight[key],
                    rows + j * plan.width);
    }
    return;
  }
  for (std::int64_t j = 0; j < n; ++j) {
    TurnRow(TurnAt(plan, plan.KeyTurn(region, b, begin + j)), Turn::kKey, rows + j * plan.width);
  }
}

// Transposes (kKeyTile, width) to (head_dim, kKeyTile).
HWY_NOINLINE void TransposeTile(const float* HWY_RESTRICT rows, std::int64_t width,
                                std::int64_t head_dim, float* HWY_RESTRICT columns) {
  static_assert(kKeyTile % 4 == 0);  // and head_dim is a multiple of 8
  TransposeFloats(rows, width, kKeyTile, head_dim, columns, kKeyTile);
}

}  // namespace HWY_NAMESPACE
}  // namespace longrun
HWY_AFTER_NAMESPACE();

#endif  // the include guard, which each target passes once
