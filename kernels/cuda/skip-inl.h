// The proof that a tile of queries may skip its oldest keys (kernels/cpu/skip.h has the inequality
// and its reason), made before forward runs. So forward and backward only begin at a later key, and
// both visit the same pairs:
//
//   MaximaKernel   the largest |k| and the largest key bias of each kSkipTile keys
//   ScanKernel     the largest of all older keys, and of a distance table the largest bias at each
//                  distance or more
//   SkipKernel     a block owns kSkipTile queries of one head. What its rows score with their
//                  nearest keys bounds what each must reach; then each row finds how many of the
//                  oldest tiles weigh too little, and the block writes the least of them
//
// Before backward, EndKernel finds the last queries that visit each tile of keys.
//
// A bound with the maximum of nearest keys is weaker than one with the maximum of all visited keys,
// which kernels/cpu has; but no kernel waits in its loop for the votes of a block's rows, and the
// kernels of backward find the same keys without any scores.
#pragma once

#include "kernels/cuda/products-inl.h"
#include "kernels/cuda/terms-inl.h"

namespace longrun {
namespace gpu {

inline constexpr int kNearKeys = 32;  // that each row scores at least, if it sees as many

// Of calls that skip: no biases but a one-sided key bias and a distance table, and no sinks. A mask
// is hidden from the loop over the nearest keys, too (FirstSeen).
struct SkipParams : Params {
  static constexpr int window = 0, two_sided = 0, has_piecewise = 0, n_region = 1;
  static constexpr const std::int32_t* document_begin = nullptr;

  int n_tile = 0;  // of kSkipTile keys
  double log2_epsilon = 0.0;
  double* norm_max = nullptr;            // (B, H_kv, n_tile): of this tile and all before it
  double* bias_max = nullptr;            // (B, H, n_tile): likewise; null without a key bias
  const double* table_max = nullptr;     // (H, n_distance): at this distance or more
  std::int32_t* first_key_of = nullptr;  // (B, H, VisitedKeys::Count(T_q))
};

// A NaN would be lost in a maximum, and its key then skipped.
LR_DEVICE double NanIsLargest(double x) {
  return x == x ? x : static_cast<double>(__builtin_huge_valf());
}

// Eight channels of a row, of its rounded part or of its low part.
template <typename Layer>
LR_DEVICE void ReadPart(const Rows& rows, const void* part, std::int64_t at, float (&x)[kChunk]) {
  if (rows.is_aligned == 0) {
    LR_UNROLL
    for (int e = 0; e < kChunk; ++e) x[e] = ReadNumber(rows.scalar, part, at + e);
  } else if (HasTwoBytes(rows.scalar)) {
    alignas(16) std::uint16_t bits[kChunk];
    Layer::LoadEight(static_cast<const std::uint16_t*>(part) + at, bits);
    LR_UNROLL
    for (int e = 0; e < kChunk; ++e) x[e] = FromTwoBytes(rows.scalar, bits[e]);
  } else {
    Layer::LoadEight(static_cast<const float*>(part) + at, x);
  }
}

// The norm of a row, with its low part.
template <typename Layer>
LR_DEVICE double Norm(const Rows& rows, std::int64_t at, int head_dim) {
  double sum = 0.0;
  for (int c = 0; c < head_dim; c += kChunk) {
    alignas(16) float x[kChunk], low[kChunk] = {};
    ReadPart<Layer>(rows, rows.data, at + c, x);
    if (rows.low != nullptr) ReadPart<Layer>(rows, rows.low, at + c, low);
    LR_UNROLL
    for (int e = 0; e < kChunk; ++e) {
      const double whole = static_cast<double>(x[e]) + static_cast<double>(low[e]);
      sum += whole * whole;
    }
  }
  return sqrt(sum);
}

// A block has one tile of keys of one head, and each thread one key.
template <typename TheLayer>
struct MaximaKernel {
  using Layer = TheLayer;
  using Params = SkipParams;
  static_assert(kSkipTile == kThreads);
  static int SharedBytes(const Params& /*p*/) { return 2 * 8 * kThreads; }
  static std::int64_t Blocks(const Params& p) {
    return static_cast<std::int64_t>(p.batch) * p.n_head * p.n_tile;
  }

  static LR_DEVICE void Run(const Params& p) {
    const int tile = static_cast<int>(Layer::Block() % p.n_tile);
    const std::int64_t head = Layer::Block() / p.n_tile;
    const int b = static_cast<int>(head / p.n_head), h = static_cast<int>(head % p.n_head);
    const int h_kv = h / p.group, j = tile * kSkipTile + Layer::Thread();
    const bool has_norm = h % p.group == 0;

    typename Layer::Arena arena;
    const auto norms = arena.template Take<double>(kThreads);
    const auto biases = arena.template Take<double>(kThreads);
    double norm = 0.0, bias = static_cast<double>(kHidden);
    if (j < p.n_key) {
      if (has_norm) norm = NanIsLargest(Norm<Layer>(p.k[0], p.k[0].At(b, h_kv, j), p.head_dim));
      if (p.has_key_bias != 0) bias = NanIsLargest(KeyNumber(p, b, h, j));
    }
    norms.Set(Layer::Thread(), norm);
    biases.Set(Layer::Thread(), bias);
    for (int n = kThreads / 2; n > 0; n /= 2) {
      Layer::Barrier();
      const int at = Layer::Thread();
      if (at >= n) continue;
      norms.Set(at, fmax(norms.Get(at), norms.Get(at + n)));
      biases.Set(at, fmax(biases.Get(at), biases.Get(at + n)));
    }
    if (Layer::Thread() != 0) return;
    if (has_norm) {
      const std::int64_t kv_head = static_cast<std::int64_t>(b) * p.n_kv_head + h_kv;
      p.norm_max[kv_head * p.n_tile + tile] = norms.Get(0);
    }
    if (p.bias_max != nullptr) p.bias_max[Layer::Block()] = biases.Get(0);
  }
};

// Each number of a row becomes the largest of itself and all before it; or all after it, if they
// come from a table.
struct Scan {
  std::int64_t n_row = 0;
  int n = 0;
  const float* table = nullptr;  // null: the numbers lie in `to`
  double* to = nullptr;

  LR_DEVICE double At(std::int64_t at) const {
    return table == nullptr ? to[at] : NanIsLargest(static_cast<double>(table[at]));
  }
};

// A block has a row, and each thread a part of it.
template <typename TheLayer>
struct ScanKernel {
  using Layer = TheLayer;
  using Params = Scan;
  static int SharedBytes(const Params& /*p*/) { return 8 * kThreads; }
  static std::int64_t Blocks(const Params& p) { return p.n_row; }

  static LR_DEVICE void Run(const Params& p) {
    typename Layer::Arena arena;
    const auto of_parts = arena.template Take<double>(kThreads);
    const int n_part = (p.n + kThreads - 1) / kThreads, begin = Layer::Thread() * n_part;
    const int end = Min(begin + n_part, p.n);
    const auto place = [&](int at) {
      return Layer::Block() * p.n + (p.table == nullptr ? at : p.n - 1 - at);
    };
    double largest = static_cast<double>(kHidden);
    for (int at = begin; at < end; ++at) largest = fmax(largest, p.At(place(at)));
    of_parts.Set(Layer::Thread(), largest);
    Layer::Barrier();
    largest = static_cast<double>(kHidden);
    for (int part = 0; part < Layer::Thread(); ++part) largest = fmax(largest, of_parts.Get(part));
    for (int at = begin; at < end; ++at) {
      largest = fmax(largest, p.At(place(at)));
      p.to[place(at)] = largest;
    }
  }
};

template <typename TheLayer, typename TheShape>
struct SkipKernel {
  using Layer = TheLayer;
  using Shape = TheShape;
  using Params = typename Shape::Params;
  using Element = typename Shape::Element;
  using Tile = typename Layer::template Shared<Element>;
  static constexpr int kColumns = Shape::kColumns;
  static constexpr int kNarrowHeadDim = 256;  // the least with NarrowMath

  // Rotated rows have low parts where forward's scores must be exact, and these are the same.
  static LR_BOTH bool HasLow(const Params& p) {
    return HasTwoBytes(Shape::Math::kScalar) && p.q[0].low != nullptr;
  }
  static int SharedBytes(const Params& p) {
    const int parts = HasLow(p) ? 2 : 1;
    return parts * (Shape::TileBytes(kRows) + Shape::TileBytes(kColumns)) +
           TileNumbers<Layer>::kBytes + 4 * kRows + 4 * kWarps;
  }
  static std::int64_t Blocks(const Params& p) {
    return static_cast<std::int64_t>(p.batch) * p.n_head * SkipTiles(p.n_query);
  }

  static LR_DEVICE void Run(const Params& p) {
    const int group = static_cast<int>(Layer::Block() % SkipTiles(p.n_query));
    const std::int64_t head = Layer::Block() / SkipTiles(p.n_query);
    const int b = static_cast<int>(head / p.n_head), h = static_cast<int>(head % p.n_head);
    const int row = Layer::Thread() / 32 * 16;
    const bool has_low = HasLow(p);

    typename Layer::Arena arena;
    const Tile q = arena.template Take<Element>(kRows * Shape::kStride);
    const Tile q_low = arena.template Take<Element>(has_low ? kRows * Shape::kStride : 0);
    const Tile k = arena.template Take<Element>(kColumns * Shape::kStride);
    const Tile k_low = arena.template Take<Element>(has_low ? kColumns * Shape::kStride : 0);
    const TileNumbers<Layer> numbers(arena);
    const auto of_rows = arena.template Take<float>(kRows);
    const auto of_warps = arena.template Take<int>(kWarps);

    int n_skipped = p.n_tile;  // tiles of keys that the thread's rows, and so the block's, skip
    const int end = Min((group + 1) * kSkipTile, p.n_query);
    for (int i_0 = group * kSkipTile; i_0 < end; i_0 += kRows) {
      const double anchor = AnchorOf(p, b, h, i_0);
      Layer::Barrier();  // the queries before have been read
      LoadTile<Layer, Shape>(p, p.q[0], p.q[0].data, b, h, i_0, kRows, p.n_query, q);
      if (has_low) {
        LoadTile<Layer, Shape>(p, p.q[0], p.q[0].low, b, h, i_0, kRows, p.n_query, q_low);
      }
      float largest[2] = {kHidden, kHidden};
      const int oldest = Max(KeyAt(p, i_0) - (kNearKeys - 1), 0) / kColumns;
      for (int tile = KeyAt(p, i_0 + kRows - 1) / kColumns; tile >= oldest; --tile) {
        const int j_0 = tile * kColumns;
        Layer::Barrier();  // the keys before have been read
        numbers.ReadKeys(p, b, h, j_0, kColumns, anchor);
        LoadTile<Layer, Shape>(p, p.k[0], p.k[0].data, b, h / p.group, j_0, kColumns, p.n_key, k);
        if (has_low) {
          LoadTile<Layer, Shape>(p, p.k[0], p.k[0].low, b, h / p.group, j_0, kColumns, p.n_key,
                                 k_low);
        }
        Layer::Barrier();
        float s[kColumns / 8][4] = {};
        AddRowProducts<Layer, Shape, kColumns>(p, q, row, k, s);
        if (has_low) {
          AddRowProducts<Layer, Shape, kColumns>(p, q_low, row, k, s);
          AddRowProducts<Layer, Shape, kColumns>(p, q, row, k_low, s);
        }
        AddTerms<Layer, false, kColumns>(p, h, numbers, false, i_0, j_0, row, s);
        LR_UNROLL
        for (int n = 0; n < kColumns / 8; ++n) {
          LR_UNROLL
          for (int e = 0; e < 4; ++e) largest[e / 2] = Larger(largest[e / 2], s[n][e]);
        }
      }
      Layer::QuadMax(largest);
      const int lane = Layer::Thread() % 32;
      if (lane % 4 == 0) {
        of_rows.Set(row + lane / 4, largest[0]);
        of_rows.Set(row + lane / 4 + 8, largest[1]);
      }
      Layer::Barrier();
      // The nearest keys must be visited for the bound to hold.
      n_skipped = Min(n_skipped, oldest * kColumns / kSkipTile);
      const int i = i_0 + Layer::Thread();
      if (Layer::Thread() < kRows && i < p.n_query) {
        n_skipped = Skipped(p, b, h, i, anchor, of_rows.Get(Layer::Thread()), n_skipped);
      }
    }

    n_skipped = Layer::WarpMin(n_skipped);
    if (Layer::Thread() % 32 == 0) of_warps.Set(Layer::Thread() / 32, n_skipped);
    Layer::Barrier();
    const int n_block = VisitedBlocks(p.n_query);
    const int block = group * (kSkipTile / kVisitedQueries) + Layer::Thread();
    if (Layer::Thread() >= kSkipTile / kVisitedQueries || block >= n_block) return;
    for (int warp = 0; warp < kWarps; ++warp) n_skipped = Min(n_skipped, of_warps.Get(warp));
    p.first_key_of[head * n_block + block] = n_skipped * kSkipTile;
  }

  // A row sees all keys from this one on to its own position. If it is older than the nearest keys,
  // the row sees them; else the row sees no older keys, and whatever it scores with those, there
  // is nothing to prove.
  static LR_DEVICE int FirstSeen(const gpu::Params& p, int b, int i) {
    int first = 0;
    if (p.document_begin != nullptr) first = DocumentsOf(p, b)[p.q_offset + i] - p.k_offset;
    if (p.window > 0) first = Max(first, p.distance + i - p.window + 1);
    return Max(first, 0);
  }
  // How many of the oldest n_tile tiles of keys row i may skip. `largest` is what it scores with a
  // key that it visits, relative to the anchor. What the row loses grows with each tile, from those
  // on that it does not see.
  static LR_DEVICE int Skipped(const Params& p, int b, int h, int i, double anchor, float largest,
                               int n_tile) {
    const int first_seen = FirstSeen(p, b, i), end_seen = Min(p.distance + i + 1, p.n_key);
    if (first_seen >= end_seen) return n_tile;
    int first = Min(first_seen / kSkipTile, n_tile), last = n_tile;
    if (largest == kHidden) return first;  // its scores are NaN, or -infinity
    // Norms and scores are rounded, so the bound gets some slack to stay a bound. Low parts leave
    // out 2^-16 of a row in bf16, and their product with each other from the scores.
    const double slack = HasLow(p) ? 1.0 + 0x1p-14 : 1.0 + 1e-5;
    const double norm = Norm<Layer>(p.q[0], p.q[0].At(b, h, i), p.head_dim) * slack *
                        fabs(static_cast<double>(p.scale));
    const std::int64_t head = static_cast<std::int64_t>(b) * p.n_head + h;
    const std::int64_t kv_head = static_cast<std::int64_t>(b) * p.n_kv_head + h / p.group;
    while (first < last) {
      const int middle = (first + last + 1) / 2;
      const int n_key = Min(middle * kSkipTile, end_seen) - first_seen;
      double bound = Layer::Log(static_cast<double>(n_key)) * kLog2E +
                     norm * p.norm_max[kv_head * p.n_tile + middle - 1] -
                     static_cast<double>(largest);
      if (p.bias_max != nullptr) {
        bound += (p.bias_max[head * p.n_tile + middle - 1] - anchor) * kLog2E;
      }
      if (p.table_max != nullptr) {
        const int distance = p.distance + i - (middle * kSkipTile - 1);
        const int entry = Max(0, Min(distance + p.n_ahead, p.n_distance - 1));
        bound += p.table_max[static_cast<std::int64_t>(h) * p.n_distance + entry];
      }
      // A NaN in the bound compares false, and then nothing is skipped.
      if (bound <= p.log2_epsilon) {
        first = middle;
      } else {
        last = middle - 1;
      }
    }
    return first;
  }
};

struct QueryEnds {
  int n_query = 0, n_block = 0, n_tile = 0;
  std::int64_t n_head = 0;  // of all sequences
  const std::int32_t* first_key = nullptr;
  std::int32_t* to = nullptr;  // (n_head, n_tile)
};

// A block has one tile of keys of one head.
template <typename TheLayer>
struct EndKernel {
  using Layer = TheLayer;
  using Params = QueryEnds;
  static int SharedBytes(const Params& /*p*/) { return 4 * kWarps; }
  static std::int64_t Blocks(const Params& p) { return p.n_head * p.n_tile; }

  static LR_DEVICE void Run(const Params& p) {
    const std::int64_t head = Layer::Block() / p.n_tile;
    const int key = static_cast<int>(Layer::Block() % p.n_tile) * kSkipTile;
    typename Layer::Arena arena;
    const auto of_warps = arena.template Take<int>(kWarps);
    int end = 0;
    for (int block = Layer::Thread(); block < p.n_block; block += kThreads) {
      if (p.first_key[head * p.n_block + block] <= key) end = block + 1;
    }
    end = Layer::WarpMax(end);
    if (Layer::Thread() % 32 == 0) of_warps.Set(Layer::Thread() / 32, end);
    Layer::Barrier();
    if (Layer::Thread() != 0) return;
    for (int warp = 1; warp < kWarps; ++warp) end = Max(end, of_warps.Get(warp));
    p.to[Layer::Block()] = Min(end * kVisitedQueries, p.n_query);
  }
};

}  // namespace gpu
}  // namespace longrun
