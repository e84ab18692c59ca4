// Rows of tensors, read into floats (converted, turned, scaled) and written back.
#if defined(LONGRUN_KERNELS_CPU_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LONGRUN_KERNELS_CPU_ROWS_INL_H_
#undef LONGRUN_KERNELS_CPU_ROWS_INL_H_
#else
#define LONGRUN_KERNELS_CPU_ROWS_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <vector>

#include "hwy/highway.h"
#include "kernels/cpu/plan.h"
#include "kernels/cpu/vector-inl.h"
#include "kernels/scalar.h"

HWY_BEFORE_NAMESPACE();
namespace longrun {
namespace HWY_NAMESPACE {

// What rotation does to a row: forward, or its transpose.
enum class Turn { kQuery, kKey, kQueryBack, kKeyBack };

HWY_NOINLINE void TurnRow(const RotationTable& table, Turn turn, std::int64_t position,
                          float* row) {
  const std::int64_t n_pairs = table.n_rotary / 2;
  const double* cos = table.cos.data() + position * n_pairs;
  const double* sin = table.sin.data() + position * n_pairs;
  const float sign = turn == Turn::kQueryBack || turn == Turn::kKeyBack ? -1.0F : 1.0F;
  const bool half = table.layout == RotationTable::Layout::kHalf;
  const std::int64_t step = half ? 1 : 2;
  const std::int64_t other = half ? n_pairs : 1;
  for (std::int64_t c = 0; c < n_pairs; ++c) {
    const auto cosine = static_cast<float>(cos[c]);
    const float sine = sign * static_cast<float>(sin[c]);
    float& x = row[c * step];
    float& y = row[c * step + other];
    const float x_turned = x * cosine - y * sine;
    y = y * cosine + x * sine;
    x = x_turned;
  }
  if (table.growth.empty()) return;
  const double* growth = table.growth.data() + position * n_pairs;
  const bool is_query = turn == Turn::kQuery || turn == Turn::kQueryBack;
  for (std::int64_t c = 0; c < n_pairs; ++c) {
    const auto factor = static_cast<float>(is_query ? growth[c] : 1.0 / growth[c]);
    row[c * step] *= factor;
    row[c * step + other] *= factor;
  }
}

// Row t of (b, h) as floats, zeros up to `width`.
template <typename Pointer>
HWY_INLINE void ReadRow(const HeadsViewOf<Pointer>& x, std::int64_t b, std::int64_t h,
                        std::int64_t t, std::int64_t width, float* HWY_RESTRICT row) {
  const std::int64_t at = b * x.batch_step + h * x.head_step + t * x.row_step;
  if (x.scalar == Scalar::kFp32) {
    const float* from = static_cast<const float*>(x.data) + at;
    for (std::int64_t c = 0; c < x.head_dim; ++c) row[c] = from[c];
  } else {
    const std::uint16_t* from = static_cast<const std::uint16_t*>(x.data) + at;
    for (std::int64_t c = 0; c < x.head_dim; ++c) row[c] = FromBf16(from[c]);
  }
  for (std::int64_t c = x.head_dim; c < width; ++c) row[c] = 0.0F;
}

// Writes factor * row.
HWY_INLINE void WriteRow(const HeadsBuffer& x, std::int64_t b, std::int64_t h, std::int64_t t,
                         float factor, const float* HWY_RESTRICT row) {
  const std::int64_t at = b * x.batch_step + h * x.head_step + t * x.row_step;
  if (x.scalar == Scalar::kFp32) {
    float* to = static_cast<float*>(x.data) + at;
    for (std::int64_t c = 0; c < x.head_dim; ++c) to[c] = factor * row[c];
  } else {
    std::uint16_t* to = static_cast<std::uint16_t*>(x.data) + at;
    for (std::int64_t c = 0; c < x.head_dim; ++c) to[c] = ToBf16(factor * row[c]);
  }
}

// Queries [begin, end) of head (b, h), turned as `region` says, times scale log2(e); n_row rows, zeros
// behind the last.
HWY_NOINLINE void ReadQueries(const AttentionPlan& plan, const HeadsView& q, std::int64_t region,
                              std::int64_t b, std::int64_t h, std::int64_t begin, std::int64_t end,
                              std::int64_t n_row, float* rows) {
  const auto scale = static_cast<float>(plan.terms.scale * kLog2E);
  for (std::int64_t i = begin; i < end; ++i) {
    float* row = rows + (i - begin) * plan.width;
    ReadRow(q, b, h, i, plan.width, row);
    const std::int64_t turn = plan.QueryTurn(region, i);
    if (plan.terms.rotation && turn >= 0) TurnRow(*plan.terms.rotation, Turn::kQuery, turn, row);
    for (std::int64_t c = 0; c < plan.head_dim; ++c) row[c] *= scale;
  }
  std::fill(rows + (end - begin) * plan.width, rows + n_row * plan.width, 0.0F);
}

// The values of a tile, or its keys before they turn: kKeyTile rows, zeros behind the last key.
HWY_NOINLINE void ReadTile(const AttentionPlan& plan, const HeadsView& x, std::int64_t b,
                           std::int64_t h_kv, std::int64_t tile, float* rows) {
  const std::int64_t begin = tile * kKeyTile;
  const std::int64_t n = std::min(kKeyTile, plan.n_key - begin);
  for (std::int64_t j = 0; j < n; ++j) {
    ReadRow(x, b, h_kv, begin + j, plan.width, rows + j * plan.width);
  }
  std::fill(rows + n * plan.width, rows + kKeyTile * plan.width, 0.0F);
}

// Turns a key to row `from` of the table and to row `to` at once. The turn is linear in cosine and sine,
// so these blend in the place of the keys, in double.
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
      cos_[c] = of_a * table_.cos[a] + of_b * table_.cos[b];
      sin_[c] = of_a * table_.sin[a] + of_b * table_.sin[b];
    }
    TurnRow({.cos = cos_, .sin = sin_, .n_rotary = table_.n_rotary, .layout = table_.layout},
            Turn::kKey, 0, row);
  }

 private:
  double Growth(std::size_t at) const { return table_.growth.empty() ? 1.0 : table_.growth[at]; }

  const RotationTable& table_;
  std::vector<double> cos_, sin_;
};

// The keys of a tile, turned as `region` says.
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
      blend.TurnKey(plan.KeyTurn(region, begin + j), blended->row[key], blended->weight[key],
                    rows + j * plan.width);
    }
    return;
  }
  for (std::int64_t j = 0; j < n; ++j) {
    TurnRow(*plan.terms.rotation, Turn::kKey, plan.KeyTurn(region, begin + j),
            rows + j * plan.width);
  }
}

// (kKeyTile, width) to (head_dim, kKeyTile).
HWY_NOINLINE void Transpose(const float* HWY_RESTRICT rows, std::int64_t width,
                            std::int64_t head_dim, float* HWY_RESTRICT columns) {
  constexpr std::int64_t kBlock = 8;  // head_dim is a multiple of it
  for (std::int64_t c = 0; c < head_dim; c += kBlock) {
    for (std::int64_t j = 0; j < kKeyTile; ++j) {
      for (std::int64_t in = 0; in < kBlock; ++in) {
        columns[(c + in) * kKeyTile + j] = rows[j * width + c + in];
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace longrun
HWY_AFTER_NAMESPACE();

#endif  // the include guard, which each target passes once
