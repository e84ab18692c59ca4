// The kernels around attention's own: they turn rows before and after it, convert the terms'
// numbers, and add up what its blocks have summed.
#pragma once

#include "kernels/cuda/columns-inl.h"

namespace longrun {
namespace gpu {

// The number of this thread in the grid.
template <typename Layer>
LR_DEVICE std::int64_t Item() {
  return Layer::Block() * kThreads + Layer::Thread();
}
inline std::int64_t BlocksOf(std::int64_t n_item) { return (n_item + kThreads - 1) / kThreads; }

struct Quotient {
  std::int64_t quotient;
  int rest;
};
// A GPU divides 32 bits in a quarter of the instructions that 64 bits take.
LR_DEVICE Quotient Divided(std::int64_t x, int by) {
  constexpr std::int64_t kMax = 0xffffffff;
  if (x > kMax) return {x / by, static_cast<int>(x % by)};
  const auto low = static_cast<std::uint32_t>(x), divisor = static_cast<std::uint32_t>(by);
  return {low / divisor, static_cast<int>(low % divisor)};
}

// ---- eight channels ----------------------------------------------------------------------------

// Eight channels of a row.
template <typename Layer>
LR_DEVICE void ReadEight(const Rows& rows, std::int64_t at, float (&x)[kChunk]) {
  if (rows.is_aligned != 0 && HasTwoBytes(rows.scalar)) {
    alignas(16) std::uint16_t bits[kChunk];
    Layer::LoadEight(static_cast<const std::uint16_t*>(rows.data) + at, bits);
    LR_UNROLL
    for (int c = 0; c < kChunk; ++c) x[c] = FromTwoBytes(rows.scalar, bits[c]);
  } else if (rows.is_aligned != 0) {
    Layer::LoadEight(static_cast<const float*>(rows.data) + at, x);
  } else {
    LR_UNROLL
    for (int c = 0; c < kChunk; ++c) x[c] = ReadNumber(rows.scalar, rows.data, at + c);
  }
}

// The same, to an aligned row.
template <typename Layer>
LR_DEVICE void WriteEight(int scalar, void* data, std::int64_t at, const float (&x)[kChunk]) {
  if (scalar == kScalarFp16) {
    StoreChunk<Layer>(static_cast<Fp16Bits*>(data) + at, x);
  } else if (scalar == kScalarBf16) {
    StoreChunk<Layer>(static_cast<Bf16Bits*>(data) + at, x);
  } else {
    StoreChunk<Layer>(static_cast<float*>(data) + at, x);
  }
}

// ---- rotation ----------------------------------------------------------------------------------

struct Turns {
  int batch = 0, n_row = 0, n_head = 0, head_dim = 0;
  const double *cos = nullptr, *sin = nullptr, *growth = nullptr;
  int n_rotary = 0, is_half = 0;
  int is_key = 0;  // keys are divided by the growth
  int is_back = 0;
  int offset = 0;                       // the position of row 0
  const std::int32_t* row = nullptr;    // the table's row of each row, or of each position
  std::int64_t row_step = 0;            // from one sequence to the next; 0: shared
  const std::int32_t* other = nullptr;  // of blended keys
  const double* weight = nullptr;
  Rows from, to;
};

// x rotated in channel c to a row of the table.
LR_DEVICE double Turned(const Turns& p, const void* data, std::int64_t at, int c,
                        std::int64_t table_row) {
  const double x = static_cast<double>(ReadNumber(p.from.scalar, data, at + c));
  if (table_row < 0 || c >= p.n_rotary) return x;
  const int n_pair = p.n_rotary / 2;
  const int pair = p.is_half != 0 ? c % n_pair : c / 2;
  const bool is_first = p.is_half != 0 ? c < n_pair : c % 2 == 0;
  const int apart = p.is_half != 0 ? n_pair : 1;
  const double partner =
      static_cast<double>(ReadNumber(p.from.scalar, data, at + (is_first ? c + apart : c - apart)));
  const std::int64_t angle = table_row * n_pair + pair;
  const double sin = p.is_back != 0 ? -p.sin[angle] : p.sin[angle];
  const double y = is_first ? x * p.cos[angle] - partner * sin : x * p.cos[angle] + partner * sin;
  if (p.growth == nullptr) return y;
  return p.is_key != 0 ? y * (1.0 / p.growth[angle]) : y * p.growth[angle];
}

// to = from, rotated or turned back: a channel for each thread.
template <typename TheLayer>
struct TurnKernel {
  using Layer = TheLayer;
  using Params = Turns;
  static int SharedBytes(const Params& /*p*/) { return 0; }
  static LR_BOTH std::int64_t Items(const Params& p) {
    return static_cast<std::int64_t>(p.batch) * p.n_row * p.n_head * p.head_dim;
  }
  static std::int64_t Blocks(const Params& p) { return BlocksOf(Items(p)); }

  static LR_DEVICE void Run(const Params& p) {
    const std::int64_t item = Item<Layer>();
    if (item >= Items(p)) return;
    const auto [row, c] = Divided(item, p.head_dim);
    const auto [bt, h] = Divided(row, p.n_head);
    const auto [sequence, t] = Divided(bt, p.n_row);
    const auto b = static_cast<int>(sequence);
    std::int64_t table_row = p.offset + t;
    if (p.row != nullptr && table_row >= 0) table_row = p.row[b * p.row_step + table_row];
    const std::int64_t at = p.from.At(b, h, t);
    double x = Turned(p, p.from.data, at, c, table_row);
    if (p.other != nullptr) {
      const double other = Turned(p, p.from.data, at, c, p.other[t]);
      x = (1.0 - p.weight[t]) * x + p.weight[t] * other;
    }
    const auto rounded = static_cast<float>(x);
    const std::int64_t to = p.to.At(b, h, t) + c;
    WriteNumber(p.to.scalar, p.to.data, to, rounded);
    if (p.to.low != nullptr) {
      const double high = static_cast<double>(ReadNumber(p.to.scalar, p.to.data, to));
      WriteNumber(p.to.scalar, p.to.low, to, static_cast<float>(x - high));
    }
  }
};

// The same for rows that are aligned and not blended, in multiples of 16 channels: eight pairs for
// each thread. It takes a fifth of the instructions, and reads and writes 16 bytes at once.
template <typename TheLayer>
struct TurnPairsKernel {
  using Layer = TheLayer;
  using Params = Turns;
  static constexpr int kItem = 2 * kChunk;  // channels of a thread
  static int SharedBytes(const Params& /*p*/) { return 0; }
  static LR_BOTH std::int64_t Items(const Params& p) {
    return static_cast<std::int64_t>(p.batch) * p.n_row * p.n_head * (p.head_dim / kItem);
  }
  static std::int64_t Blocks(const Params& p) { return BlocksOf(Items(p)); }

  static bool Supports(const Params& p) {
    return p.other == nullptr && p.from.is_aligned != 0 && p.to.is_aligned != 0 &&
           p.head_dim % kItem == 0 && p.n_rotary % kItem == 0 && IsAligned(p.to.low);
  }

  static LR_DEVICE void Run(const Params& p) {
    const std::int64_t item = Item<Layer>();
    if (item >= Items(p)) return;
    const auto [row, group] = Divided(item, p.head_dim / kItem);
    const auto [bt, h] = Divided(row, p.n_head);
    const auto [sequence, t] = Divided(bt, p.n_row);
    const auto b = static_cast<int>(sequence);
    std::int64_t table_row = p.offset + t;
    if (p.row != nullptr && table_row >= 0) table_row = p.row[b * p.row_step + table_row];

    // x holds the firsts of the pairs and then their seconds if these lie apart, else the pairs.
    const bool is_turned = table_row >= 0 && group * kItem < p.n_rotary;
    const bool is_apart = is_turned && p.is_half != 0;
    const int low = is_apart ? group * kChunk : group * kItem;
    const int high = is_apart ? p.n_rotary / 2 + low : low + kChunk;
    const std::int64_t from = p.from.At(b, h, t);
    alignas(16) float x[2][kChunk];
    ReadEight<Layer>(p.from, from + low, x[0]);
    ReadEight<Layer>(p.from, from + high, x[1]);
    alignas(16) float rest[2][kChunk] = {};
    if (is_turned) {
      const std::int64_t angle = table_row * (p.n_rotary / 2) + group * kChunk;
      if (is_apart) {
        LR_UNROLL
        for (int j = 0; j < kChunk; ++j) {
          Turn(p, angle + j, x[0][j], x[1][j], rest[0][j], rest[1][j]);
        }
      } else {
        LR_UNROLL
        for (int j = 0; j < kChunk; ++j) {
          const int half = j / 4, c = 2 * j % kChunk;
          Turn(p, angle + j, x[half][c], x[half][c + 1], rest[half][c], rest[half][c + 1]);
        }
      }
    }
    const std::int64_t to = p.to.At(b, h, t);
    WriteEight<Layer>(p.to.scalar, p.to.data, to + low, x[0]);
    WriteEight<Layer>(p.to.scalar, p.to.data, to + high, x[1]);
    if (p.to.low == nullptr) return;
    LR_UNROLL
    for (int half = 0; half < 2; ++half) {
      LR_UNROLL
      for (int c = 0; c < kChunk; ++c) {
        const float of_row = FromTwoBytes(p.to.scalar, ToTwoBytes(p.to.scalar, x[half][c]));
        rest[half][c] += x[half][c] - of_row;
      }
    }
    WriteEight<Layer>(p.to.scalar, p.to.low, to + low, rest[0]);
    WriteEight<Layer>(p.to.scalar, p.to.low, to + high, rest[1]);
  }

 private:
  // Turns a pair; the rests are what fp32 leaves out.
  static LR_DEVICE void Turn(const Params& p, std::int64_t angle, float& first, float& second,
                             float& first_rest, float& second_rest) {
    const auto a = static_cast<double>(first), b = static_cast<double>(second);
    const double cos = p.cos[angle], sin = p.is_back != 0 ? -p.sin[angle] : p.sin[angle];
    double growth = 1.0;
    if (p.growth != nullptr) growth = p.is_key != 0 ? 1.0 / p.growth[angle] : p.growth[angle];
    const double x = (a * cos - b * sin) * growth, y = (b * cos + a * sin) * growth;
    first = static_cast<float>(x);
    second = static_cast<float>(y);
    first_rest = static_cast<float>(x - static_cast<double>(first));
    second_rest = static_cast<float>(y - static_cast<double>(second));
  }
};

// ---- numbers -----------------------------------------------------------------------------------

struct Conversion {
  const double* from = nullptr;
  float* to = nullptr;
  std::int64_t n = 0;
  double factor = 1.0;
};

// to = factor from
template <typename TheLayer>
struct ConvertKernel {
  using Layer = TheLayer;
  using Params = Conversion;
  static int SharedBytes(const Params& /*p*/) { return 0; }
  static std::int64_t Blocks(const Params& p) { return BlocksOf(p.n); }
  static LR_DEVICE void Run(const Params& p) {
    const std::int64_t at = Item<Layer>();
    if (at < p.n) p.to[at] = static_cast<float>(p.from[at] * p.factor);
  }
};

struct Zeros {
  std::int32_t* to = nullptr;
  std::int64_t n = 0;
};

template <typename TheLayer>
struct ZeroKernel {
  using Layer = TheLayer;
  using Params = Zeros;
  static int SharedBytes(const Params& /*p*/) { return 0; }
  static std::int64_t Blocks(const Params& p) { return BlocksOf(p.n); }
  static LR_DEVICE void Run(const Params& p) {
    const std::int64_t at = Item<Layer>();
    if (at < p.n) p.to[at] = 0;
  }
};

struct Deltas {
  int batch = 0, n_query = 0, n_head = 0, head_dim = 0;
  Rows o, o_gradient;
  float* to = nullptr;  // (B, H, T_q)
};

// to = <do_i, o_i>. Four lanes share two rows that lie side by side.
template <typename TheLayer>
struct DeltaKernel {
  using Layer = TheLayer;
  using Params = Deltas;
  static int SharedBytes(const Params& /*p*/) { return 0; }
  static std::int64_t Blocks(const Params& p) {
    return BlocksOf(2 * static_cast<std::int64_t>(p.batch) * p.n_query * p.n_head);
  }
  static LR_DEVICE void Run(const Params& p) {
    const std::int64_t n_row = static_cast<std::int64_t>(p.batch) * p.n_query * p.n_head;
    const std::int64_t first = Item<Layer>() / 4 * 2;
    double sums[2] = {};
    std::int64_t to[2] = {};
    LR_UNROLL
    for (int r = 0; r < 2; ++r) {
      if (first + r >= n_row) continue;
      const auto [bi, h] = Divided(first + r, p.n_head);
      const auto [sequence, i] = Divided(bi, p.n_query);
      const auto b = static_cast<int>(sequence);
      to[r] = (sequence * p.n_head + h) * p.n_query + i;
      for (int c = Layer::Thread() % 4 * kChunk; c < p.head_dim; c += 4 * kChunk) {
        alignas(16) float o[kChunk], o_gradient[kChunk];
        ReadEight<Layer>(p.o, p.o.At(b, h, i) + c, o);
        ReadEight<Layer>(p.o_gradient, p.o_gradient.At(b, h, i) + c, o_gradient);
        LR_UNROLL
        for (int at = 0; at < kChunk; ++at) {
          sums[r] += static_cast<double>(o[at]) * static_cast<double>(o_gradient[at]);
        }
      }
    }
    Layer::QuadSum(sums);
    LR_UNROLL
    for (int r = 0; r < 2; ++r) {
      if (Layer::Thread() % 4 == r && first + r < n_row) p.to[to[r]] = static_cast<float>(sums[r]);
    }
  }
};

// ---- sums --------------------------------------------------------------------------------------

enum class Sum { kTable, kPsi, kRowFactor, kSlope, kIntercept };

struct Sums {
  Sum sum = Sum::kTable;
  gpu::Params call;
  Numbers to;
  std::int64_t n = 0;  // of `to`
};

// to[entry] = the sum of the parts that attention's blocks left for it. A block adds one entry, in
// an order that depends only on the shapes.
template <typename TheLayer>
struct SumKernel {
  using Layer = TheLayer;
  using Params = Sums;
  static int SharedBytes(const Params& /*p*/) { return 8 * kThreads; }
  static std::int64_t Blocks(const Params& p) { return p.n; }

  // The sum of the pairs of a head with query minus key = difference, in 0 to 2 diagonals.
  static LR_DEVICE double OfDifference(const gpu::Params& p, const double* parts, int b, int h,
                                       int difference) {
    const int n_diagonal = p.Diagonals(), n_row = p.diagonal_rows;
    const int shifted = difference + p.Squares(p.n_key) * n_row;  // not negative
    double sum = 0.0;
    for (int next = 0; next < 2; ++next) {
      const int diagonal = shifted / n_row - 1 + next;  // 0: the first queries with the last keys
      const int within = shifted % n_row - next * n_row;
      if (diagonal < 0 || diagonal >= n_diagonal || within <= -n_row) continue;
      const std::int64_t block =
          (static_cast<std::int64_t>(b) * p.n_head + h) * n_diagonal + diagonal;
      sum += parts[block * p.Distances() + within + n_row - 1];
    }
    return sum;
  }

  // The thread's share of an entry.
  static LR_DEVICE double Share(const Sums& s, std::int64_t entry) {
    const gpu::Params& p = s.call;
    double sum = 0.0;
    const int first = -(p.n_key - 1), last = p.n_query - 1;  // query minus key
    if (s.sum == Sum::kTable) {
      const int h = static_cast<int>(entry / p.n_distance);
      const int own = static_cast<int>(entry % p.n_distance);
      // The ends of the table also have all distances beyond them.
      const int exact = own - p.n_ahead - p.distance;
      const int from = own == 0 ? first : Max(first, exact);
      const int to = own == p.n_distance - 1 ? last : Min(last, exact);
      for (int b = 0; b < p.batch; ++b) {
        for (int difference = from + Layer::Thread(); difference <= to; difference += kThreads) {
          sum += OfDifference(p, p.distance_sums, b, h, difference);
        }
      }
    } else if (s.sum == Sum::kPsi) {
      const int ahead = static_cast<int>(-entry) - p.distance;
      const int behind = static_cast<int>(entry) - p.distance;
      for (int at = Layer::Thread(); at < p.batch * p.n_head; at += kThreads) {
        const int b = at / p.n_head, h = at % p.n_head;
        if (behind >= first && behind <= last) sum += OfDifference(p, p.psi_sums, b, h, behind);
        if (entry == 0 || ahead < first || ahead > last) continue;
        sum += OfDifference(p, p.psi_sums, b, h, ahead);
      }
    } else if (s.sum == Sum::kRowFactor) {
      const std::int64_t i = entry - p.q_offset;
      if (i < 0 || i >= p.n_query) return sum;
      for (int head = Layer::Thread(); head < p.batch * p.n_head; head += kThreads) {
        sum += p.row_sums[static_cast<std::int64_t>(head) * p.n_query + i];
      }
    } else {
      const int n_segment = p.n_knot + 1;
      const int h = static_cast<int>(entry / n_segment);
      const int at = static_cast<int>(entry % n_segment) * 2 + (s.sum == Sum::kSlope ? 0 : 1);
      const std::int64_t n_part = static_cast<std::int64_t>(p.batch) * p.n_query_tile;
      for (std::int64_t part = Layer::Thread(); part < n_part; part += kThreads) {
        const std::int64_t head = part / p.n_query_tile * p.n_head + h;
        const std::int64_t block = head * p.n_query_tile + part % p.n_query_tile;
        sum += p.segment_sums[block * 2 * n_segment + at];
      }
    }
    return sum;
  }

  static LR_DEVICE void Run(const Params& p) {
    typename Layer::Arena arena;
    const auto shares = arena.template Take<double>(kThreads);
    shares.Set(Layer::Thread(), Share(p, Layer::Block()));
    for (int n = kThreads / 2; n > 0; n /= 2) {
      Layer::Barrier();
      if (Layer::Thread() < n) {
        shares.Set(Layer::Thread(), shares.Get(Layer::Thread()) + shares.Get(Layer::Thread() + n));
      }
    }
    if (Layer::Thread() == 0) WriteNumber(p.to, Layer::Block(), shares.Get(0));
  }
};

}  // namespace gpu
}  // namespace longrun
