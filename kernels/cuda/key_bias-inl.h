// Sums of a learned bias per key, forward and backward: the formulas of kernels/key_bias.h, in
// fp64. Forward sums from the first key on, backward from the last one.
//
// A block owns a range of keys of eight heads, whose numbers lie side by side in a. There are two
// kernels: the first one leaves the sum of each range in working memory, and the second one begins
// with the sums of the ranges before its own. The ranges, and the order in which they are added,
// depend only on the number of keys, so the bits are the same each time and on every GPU.
#pragma once

#include "kernels/cuda/device.h"

namespace longrun {
namespace gpu {

struct KeyBiasSums {
  int batch = 0, n_head = 0, n_key = 0;
  int n_range = 0, keys_of_range = 0;  // a multiple of kKeyBiasBlock
  double gate_sign = 1.0;              // -1: the gate is FoX's
  double sign = 1.0;                   // of what is added, or of da
  const float* a = nullptr;
  double* range_sums = nullptr;  // (B, H, n_range)
  // Forward.
  const double* before = nullptr;
  double before_sign = 1.0;
  double* r = nullptr;
  float* local = nullptr;
  double* anchor = nullptr;
  // Backward.
  const double* dr = nullptr;
  float* da = nullptr;
};

// A block's part of kKeyBiasBlock keys and eight heads. Sixteen threads share a head: each sums
// kRun successive keys.
template <typename TheLayer, bool kIsBackward>
struct KeyBiasTile {
  using Layer = TheLayer;
  using Doubles = typename Layer::template Shared<double>;
  static constexpr int kKeys = 128, kHeads = 8, kRun = 8;  // kKeys: kKeyBiasBlock
  static constexpr int kLanes = kThreads / kHeads;
  static_assert(kLanes * kRun == kKeys && kThreads == kKeys);
  // Numbers of successive runs, and of successive heads, lie in different banks.
  static constexpr int kStride = kKeys + kKeys / kRun + 2;
  static constexpr int kBytes = 8 * (kHeads * kStride + kThreads);
  static LR_BOTH int At(int head, int key) { return head * kStride + key + key / kRun; }

  static LR_BOTH int HeadGroups(const KeyBiasSums& p) { return (p.n_head + kHeads - 1) / kHeads; }
  static std::int64_t Blocks(const KeyBiasSums& p) {
    return static_cast<std::int64_t>(p.batch) * HeadGroups(p) * p.n_range;
  }

  // The block's range, and the thread's head and run of each tile.
  LR_DEVICE explicit KeyBiasTile(const KeyBiasSums& call, typename Layer::Arena& arena)
      : p(call),
        numbers(arena.template Take<double>(kHeads * kStride)),
        shares(arena.template Take<double>(kThreads)),
        range(static_cast<int>(Layer::Block() % call.n_range)),
        begin(range * call.keys_of_range),
        end(Min(call.n_key, begin + call.keys_of_range)),
        lane(Layer::Thread() % kLanes) {
    const auto group = static_cast<int>(Layer::Block() / call.n_range);
    b = group / HeadGroups(call);
    first_head = group % HeadGroups(call) * kHeads;
    own_head = first_head + Layer::Thread() / kLanes;
    series = static_cast<std::int64_t>(b) * call.n_head + own_head;
  }

  LR_DEVICE bool HasHead() const { return own_head < p.n_head; }

  // Calls body(tile's first key) for the tiles of the range, in the order of the sum.
  template <typename Body>
  LR_DEVICE void ForTiles(const Body& body) const {
    const int n_tile = (end - begin + kKeys - 1) / kKeys;
    LR_ROLL
    for (int at = 0; at < n_tile; ++at) {
      body(begin + kKeys * (kIsBackward ? n_tile - 1 - at : at));
    }
  }
  // Calls body(number in shared memory, number in a) for what the thread has of a tile in the order
  // of a, (B, T, H).
  template <typename Body>
  LR_DEVICE void ForGates(int first_key, const Body& body) const {
    LR_UNROLL
    for (int n = 0; n < kRun; ++n) {
      const int at = Layer::Thread() + n * kThreads, key = at / kHeads, head = at % kHeads;
      const std::int64_t row = static_cast<std::int64_t>(b) * p.n_key + first_key + key;
      const bool exists = first_key + key < end && first_head + head < p.n_head;
      body(At(head, key), exists ? row * p.n_head + first_head + head : -1);
    }
  }
  // The same in the order of r, (B, H, T).
  template <typename Body>
  LR_DEVICE void ForSums(int first_key, const Body& body) const {
    const int key = Layer::Thread();
    LR_UNROLL
    for (int head = 0; head < kHeads; ++head) {
      const std::int64_t row = static_cast<std::int64_t>(b) * p.n_head + first_head + head;
      const bool exists = first_key + key < end && first_head + head < p.n_head;
      body(At(head, key), exists ? row * p.n_key + first_key + key : -1);
    }
  }

  // Puts what is summed into shared memory; 0 for what does not exist.
  LR_DEVICE void Load(int first_key) const {
    if constexpr (kIsBackward) {
      ForSums(first_key,
              [&](int to, std::int64_t from) { numbers.Set(to, from < 0 ? 0.0 : p.dr[from]); });
    } else {
      ForGates(first_key, [&](int to, std::int64_t from) {
        numbers.Set(to, from < 0 ? 0.0 : p.sign * Softplus(Gate(from)));
      });
    }
  }
  // Loads a tile. The sums of the thread's run up to each of its keys; returns the last one.
  LR_DEVICE double SumRun(int first_key, double (&sums)[kRun]) const {
    Layer::Barrier();  // the tile before has been read
    Load(first_key);
    Layer::Barrier();
    const int head = Layer::Thread() / kLanes;
    double sum = 0.0;
    LR_UNROLL
    for (int at = 0; at < kRun; ++at) {
      const int n = kIsBackward ? kRun - 1 - at : at;
      sum += numbers.Get(At(head, lane * kRun + n));
      sums[n] = sum;
    }
    return sum;
  }
  // The sum of x over the threads of the own head, and over those that come before.
  struct Totals {
    double all, before;
  };
  LR_DEVICE Totals Total(double x) const {
    shares.Set(Layer::Thread(), x);
    Layer::Barrier();
    Totals totals = {0.0, 0.0};
    LR_UNROLL
    for (int at = 0; at < kLanes; ++at) {
      const int of = kIsBackward ? kLanes - 1 - at : at;
      if (of == lane) totals.before = totals.all;
      totals.all += shares.Get(Layer::Thread() - lane + of);
    }
    return totals;
  }

  LR_DEVICE double Gate(std::int64_t at) const {
    return p.gate_sign * static_cast<double>(p.a[at]);
  }
  static LR_DEVICE double Softplus(double x) {
    return fmax(x, 0.0) + Layer::Log1p(Layer::Exp(-fabs(x)));
  }
  static LR_DEVICE double Sigmoid(double x) {
    const double small = Layer::Exp(-fabs(x));
    return (x < 0.0 ? small : 1.0) / (1.0 + small);
  }

  const KeyBiasSums& p;
  const Doubles numbers, shares;
  const int range, begin, end, lane;
  int b = 0, first_head = 0, own_head = 0;
  std::int64_t series = 0;  // the sequence and the head
};

// What the two kernels share.
template <typename TheLayer, bool kIsBackward>
struct KeyBiasTileKernel {
  using Layer = TheLayer;
  using Params = KeyBiasSums;
  using Tile = KeyBiasTile<Layer, kIsBackward>;
  static int SharedBytes(const Params& /*p*/) { return Tile::kBytes; }
  static std::int64_t Blocks(const Params& p) { return Tile::Blocks(p); }
};

template <typename TheLayer, bool kIsBackward>
struct KeyBiasRangesKernel : KeyBiasTileKernel<TheLayer, kIsBackward> {
  using Base = KeyBiasTileKernel<TheLayer, kIsBackward>;
  using typename Base::Layer, typename Base::Params, typename Base::Tile;

  static LR_DEVICE void Run(const Params& p) {
    typename Layer::Arena arena;
    const Tile tile(p, arena);
    double sum = 0.0;
    tile.ForTiles([&](int first_key) {
      double sums[Tile::kRun];
      sum += tile.SumRun(first_key, sums);
    });
    const double all = tile.Total(sum).all;
    if (tile.lane == 0 && tile.HasHead()) {
      p.range_sums[tile.series * p.n_range + tile.range] = all;
    }
  }
};

template <typename TheLayer, bool kIsBackward>
struct KeyBiasKernel : KeyBiasTileKernel<TheLayer, kIsBackward> {
  using Base = KeyBiasTileKernel<TheLayer, kIsBackward>;
  using typename Base::Layer, typename Base::Params, typename Base::Tile;

  static LR_DEVICE void Run(const Params& p) {
    typename Layer::Arena arena;
    const Tile tile(p, arena);
    double before = BeforeRange(p, tile);
    tile.ForTiles([&](int first_key) {
      double sums[Tile::kRun];
      const typename Tile::Totals totals = tile.Total(tile.SumRun(first_key, sums));
      if (!kIsBackward && p.anchor != nullptr && tile.lane == 0 && tile.HasHead()) {
        const std::int64_t n_block = (p.n_key + Tile::kKeys - 1) / Tile::kKeys;
        p.anchor[tile.series * n_block + first_key / Tile::kKeys] = before;
      }
      const double base = !kIsBackward && p.local != nullptr ? 0.0 : before;
      LR_UNROLL
      for (int n = 0; n < Tile::kRun; ++n) {
        const int at = Tile::At(Layer::Thread() / Tile::kLanes, tile.lane * Tile::kRun + n);
        tile.numbers.Set(at, base + (totals.before + sums[n]));
      }
      before += totals.all;
      Layer::Barrier();
      Store(p, tile, first_key);
    });
  }

 private:
  static LR_DEVICE double BeforeRange(const Params& p, const Tile& tile) {
    double sum = 0.0;
    if (tile.HasHead()) {
      const std::int64_t of_series = tile.series * p.n_range;
      const int begin = kIsBackward ? tile.range + 1 : 0;
      const int end = kIsBackward ? p.n_range : tile.range;
      LR_ROLL
      for (int at = begin + tile.lane; at < end; at += Tile::kLanes) {
        sum += p.range_sums[of_series + at];
      }
    }
    sum = tile.Total(sum).all;
    if (!kIsBackward && p.before != nullptr && tile.HasHead()) {
      sum = p.before_sign * p.before[tile.series] + sum;
    }
    return sum;
  }
  static LR_DEVICE void Store(const Params& p, const Tile& tile, int first_key) {
    if constexpr (kIsBackward) {
      tile.ForGates(first_key, [&](int from, std::int64_t to) {
        if (to < 0) return;
        p.da[to] =
            static_cast<float>(p.sign * Tile::Sigmoid(tile.Gate(to)) * tile.numbers.Get(from));
      });
    } else {
      tile.ForSums(first_key, [&](int from, std::int64_t to) {
        if (to < 0) return;
        if (p.r != nullptr) {
          p.r[to] = tile.numbers.Get(from);
        } else {
          p.local[to] = static_cast<float>(tile.numbers.Get(from));
        }
      });
    }
  }
};

}  // namespace gpu
}  // namespace longrun
