// The host's part of an attention call: it turns the call into the kernels' parameters, and
// launches them in their order. A template over a Device, so that tests run the same code on the
// host:
//
//   Device::Layer             the layer that kernels are compiled for (device.h)
//   device.Launch<Kernel>(n_block, shared_bytes, params)
//                             puts a kernel behind the work launched before; null, or an error
#pragma once

#include <cmath>
#include <cstddef>
#include <type_traits>

#include "kernels/cuda/backward-inl.h"
#include "kernels/cuda/few_queries-inl.h"
#include "kernels/cuda/forward-inl.h"
#include "kernels/cuda/pipelined_backward-inl.h"
#include "kernels/cuda/pipelined_distances-inl.h"
#include "kernels/cuda/pipelined_forward-inl.h"
#include "kernels/cuda/rows-inl.h"
#include "kernels/cuda/skip-inl.h"
#include "kernels/cuda/split-inl.h"
#include "kernels/cuda_plugin.h"

namespace longrun {
namespace gpu {

// The working memory of one call. It is released in the order of the stream.
class Workspace {
 public:
  explicit Workspace(const LongrunAttentionOptions& options) : options_(options) {}
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  ~Workspace() {
    for (int at = 0; at < n_; ++at) {
      options_.release(options_.allocate_context, addresses_[at], options_.stream);
    }
  }

  // Null if there is no memory, which has_failed() remembers, or if n is 0.
  template <typename T>
  T* Take(std::int64_t n) {
    if (n == 0 || has_failed_) return nullptr;
    void* const address = options_.allocate(
        options_.allocate_context, n * static_cast<std::int64_t>(sizeof(T)), options_.stream);
    has_failed_ = address == nullptr || n_ == kMax;
    if (has_failed_) return nullptr;
    addresses_[n_++] = address;
    return static_cast<T*>(address);
  }
  bool has_failed() const { return has_failed_; }

 private:
  static constexpr int kMax = 32;
  const LongrunAttentionOptions& options_;
  void* addresses_[kMax] = {};
  int n_ = 0;
  bool has_failed_ = false;
};

template <typename Device>
class AttentionCall {
 public:
  using Layer = typename Device::Layer;

  AttentionCall(const LongrunHeads& q, const LongrunHeads& k, const LongrunHeads& v,
                const LongrunAttentionTerms& terms, const LongrunAttentionOptions& options,
                Device& device)
      : terms_(terms),
        device_(device),
        shared_bytes_max_(device.SharedBytesMax()),
        memory_(options),
        skip_epsilon_(options.skip_epsilon),
        backward_(options.backward) {
    p_.batch = Int(q.batch);
    p_.n_head = Int(q.n_head);
    p_.n_kv_head = Int(k.n_head);
    p_.group = p_.n_head / p_.n_kv_head;
    p_.n_query = Int(q.n_row);
    p_.n_key = Int(k.n_row);
    p_.head_dim = Int(q.head_dim);
    p_.width = (p_.head_dim + 31) / 32 * 32;  // the tensor cores take 32 channels at once
    p_.n_query_tile = (p_.n_query + kRows - 1) / kRows;
    p_.n_key_tile = (p_.n_key + kRows - 1) / kRows;
    p_.v = ToRows(v);
  }

  const char* Forward(const LongrunAttentionForwardCall& call) {
    // An o in fp32 beside inputs of two bytes is not rounded, and neither is what it is computed
    // from. The growth of a rotation leaves the range of fp16.
    is_fp32_ = call.o.scalar == kScalarFp32 ||
               (call.q.scalar == kScalarFp16 && terms_.rotation.growth.n > 0);
    p_.o = ToRows(call.o);
    p_.lse = ToNumbers(call.lse);
    AddTerms();
    TurnInputs(call.q, call.k, true);
    if (skip_epsilon_ > 0.0 && MaySkip()) {
      LaunchSkip(call.first_key);
      p_.first_key = call.first_key;
    } else {
      Launch<ZeroKernel<Layer>>(Zeros{call.first_key, call.n_first_key});
    }
    WithMath([this](auto math) {
      using Math = decltype(math);
      if (IsSplit()) {
        LaunchSplit<Math>();
      } else if constexpr (!Math::kHasTensorCores) {
        LaunchShaped<ForwardKernel, Math>();
      } else if (!LaunchPipelinedForward<Math>()) {
        LaunchWith<ForwardKernel, Math>(p_);
      }
    });
    return Error();
  }

  const char* Backward(const LongrunAttentionBackwardCall& call) {
    // Models are trained in bf16 or fp32, so there are no kernels of backward for fp16.
    is_fp32_ = call.q.scalar != kScalarBf16;
    p_.lse = ToNumbers(call.lse);
    p_.o_gradient = ToRows(call.o_gradient);
    AddTerms();
    // The gradients meet their bounds without the low parts.
    TurnInputs(call.q, call.k, false);

    const std::int64_t n_row = static_cast<std::int64_t>(p_.batch) * p_.n_head * p_.n_query;
    Deltas deltas;
    deltas.batch = p_.batch;
    deltas.n_query = p_.n_query;
    deltas.n_head = p_.n_head;
    deltas.head_dim = p_.head_dim;
    deltas.o = ToRows(call.o);
    deltas.o_gradient = p_.o_gradient;
    deltas.to = memory_.template Take<float>(n_row);
    p_.delta = deltas.to;
    Launch<DeltaKernel<Layer>>(deltas);

    // Gradients of rotated rows, which are turned back, are kept in fp32 until then.
    const bool has_rotation = terms_.has_rotation != 0;
    p_.dq = has_rotation ? TakeRows(call.dq, kScalarFp32) : ToRows(call.dq);
    p_.dk = has_rotation ? TakeRows(call.dk, kScalarFp32) : ToRows(call.dk);
    p_.dv = ToRows(call.dv);
    p_.d_key_bias = ToNumbers(call.d_key_bias);
    if (p_.d_key_bias.data != nullptr && p_.two_sided != 0) {
      p_.query_bias = memory_.template Take<double>(n_row);
    }
    if (call.first_key.n > 0 && MaySkip()) FindQueryEnds(call.first_key.data);
    const bool has_pieces = call.d_slope.n > 0, has_psi = call.d_psi.n > 0;
    const std::int64_t n_head = static_cast<std::int64_t>(p_.batch) * p_.n_head;
    if (has_psi) p_.row_sums = memory_.template Take<double>(n_row);
    if (has_pieces) {
      p_.segment_sums =
          memory_.template Take<double>(n_head * p_.n_query_tile * (p_.n_knot + 1) * 2);
    }
    const bool has_distances = call.d_distance_table.n > 0;
    if (is_fp32_) {
      LaunchBackward<Fp32Math>();
      LaunchDistances<Fp32Math>(has_distances, has_psi);
    } else {
      LaunchBackward<Bf16Math>();
      LaunchDistances<Bf16Math>(has_distances, has_psi);
    }
    if (has_rotation) {
      TurnBack(p_.dq, call.dq, false);
      TurnBack(p_.dk, call.dk, true);
    }
    LaunchSum(Sum::kTable, call.d_distance_table);
    LaunchSum(Sum::kPsi, call.d_psi);
    LaunchSum(Sum::kRowFactor, call.d_row_factor);
    LaunchSum(Sum::kSlope, call.d_slope);
    LaunchSum(Sum::kIntercept, call.d_intercept);
    return Error();
  }

 private:
  static int Int(std::int64_t x) { return static_cast<int>(x); }
  // The largest int stands for all that are larger.
  static int Clamped(std::int64_t x) {
    constexpr std::int64_t kMax = std::int64_t{1} << 30;
    return Int(x < kMax ? x : kMax);
  }

  // Calls launch with the Math of the call.
  template <typename LaunchWithMath>
  void WithMath(const LaunchWithMath& launch) {
    if (is_fp32_) {
      launch(Fp32Math());
    } else if (p_.v.scalar == kScalarFp16) {
      launch(Fp16Math());
    } else {
      launch(Bf16Math());
    }
  }

  static Rows ToRows(const LongrunHeads& x) {
    Rows rows;
    rows.data = x.data;
    rows.scalar = x.scalar;
    rows.batch_step = x.batch_step;
    rows.row_step = x.row_step;
    rows.head_step = x.head_step;
    const std::int64_t element = HasTwoBytes(x.scalar) ? 2 : 4;
    const std::int64_t steps = (x.batch_step | x.row_step | x.head_step) * element;
    rows.is_aligned = IsAligned(x.data) && steps % 16 == 0 ? 1 : 0;
    return rows;
  }
  static Numbers ToNumbers(const LongrunNumbers& x) {
    Numbers numbers;
    numbers.data = x.n > 0 ? x.data : nullptr;
    numbers.is_double = x.scalar == kScalarFp64 ? 1 : 0;
    return numbers;
  }

  // Dense rows of the shape of x.
  Rows TakeRows(const LongrunHeads& x, int scalar) {
    Rows rows;
    rows.scalar = scalar;
    rows.head_step = x.head_dim;
    rows.row_step = x.n_head * x.head_dim;
    rows.batch_step = x.n_row * rows.row_step;
    rows.is_aligned = 1;
    rows.data = TakeNumbers(x.batch * rows.batch_step, scalar);
    return rows;
  }
  void* TakeNumbers(std::int64_t n, int scalar) {
    if (HasTwoBytes(scalar)) return memory_.template Take<std::uint16_t>(n);
    return memory_.template Take<float>(n);
  }

  const float* Converted(const LongrunDoubles& x, double factor) {
    Conversion conversion;
    conversion.from = x.data;
    conversion.to = memory_.template Take<float>(x.n);
    conversion.n = x.n;
    conversion.factor = factor;
    Launch<ConvertKernel<Layer>>(conversion);
    return conversion.to;
  }

  void AddTerms() {
    p_.scale = static_cast<float>(terms_.scale * kLog2E);
    p_.product_scale = static_cast<float>(terms_.scale);
    const LongrunVisibility& see = terms_.visibility;
    p_.causal = see.causal;
    p_.q_offset = Int(see.q_offset);
    p_.k_offset = Int(see.k_offset);
    p_.distance = p_.q_offset - p_.k_offset;
    // A window that hides nothing would take the kernels that look for hidden pairs.
    const int farthest = p_.distance + p_.n_query - 1, ahead = p_.n_key - 1 - p_.distance;
    const int longest = see.causal != 0 ? farthest : Max(farthest, ahead);
    if (see.window <= longest) {
      p_.window = Clamped(see.window);
      p_.n_sink = Clamped(see.n_sink);
    }
    p_.document_begin = see.document_begin.n > 0 ? see.document_begin.data : nullptr;
    p_.n_position = Max(p_.k_offset + p_.n_key, p_.q_offset + p_.n_query);
    if (terms_.has_key_bias != 0) {
      const LongrunKeyBias& bias = terms_.key_bias;
      p_.has_key_bias = 1;
      p_.two_sided = bias.two_sided;
      p_.key_values = bias.values.n > 0 ? bias.values.data : nullptr;
      p_.key_local = bias.local.data;
      p_.key_anchor = bias.anchor.data;
      p_.key_slope = bias.slope.n > 0 ? bias.slope.data : nullptr;
    }
    if (terms_.has_distance_table != 0) {
      p_.table = Converted(terms_.distance_table.values, kLog2E);
      p_.n_distance = Int(terms_.distance_table.n_distance);
      p_.n_ahead = Int(terms_.distance_table.n_ahead);
    }
    if (terms_.has_piecewise != 0) {
      const LongrunPiecewise& f = terms_.piecewise;
      p_.has_piecewise = 1;
      p_.n_knot = Int(f.knots.n);
      p_.n_psi = Int(f.psi.n);
      p_.psi = Converted(f.psi, 1.0);
      p_.row_factor = Converted(f.row_factor, 1.0);
      p_.knots = Converted(f.knots, 1.0);
      p_.slope = Converted(f.slope, kLog2E);
      p_.intercept = Converted(f.intercept, kLog2E);
    }
    if (terms_.has_dropout != 0) {
      const LongrunDropout& dropout = terms_.dropout;
      const double kept = 65536.0 - std::round(dropout.probability * 65536.0);
      p_.has_dropout = 1;
      p_.seed_low = static_cast<std::uint32_t>(dropout.seed);
      p_.seed_high = static_cast<std::uint32_t>(dropout.seed >> 32);
      p_.dropout_offset = dropout.offset;
      p_.dropout_threshold = static_cast<std::uint32_t>(65536.0 - kept);
      p_.dropout_factor = static_cast<float>(65536.0 / kept);
    }
  }

  // What turns rows of x, of queries or of keys.
  Turns TurnsOf(const LongrunHeads& x, bool is_key) const {
    const LongrunRotation& rotation = terms_.rotation;
    Turns turns;
    turns.batch = Int(x.batch);
    turns.n_row = Int(x.n_row);
    turns.n_head = Int(x.n_head);
    turns.head_dim = Int(x.head_dim);
    turns.cos = rotation.cos.data;
    turns.sin = rotation.sin.data;
    turns.growth = rotation.growth.n > 0 ? rotation.growth.data : nullptr;
    turns.n_rotary = Int(rotation.n_rotary);
    turns.is_half = rotation.layout == 0 ? 1 : 0;
    turns.is_key = is_key ? 1 : 0;
    turns.offset = is_key ? p_.k_offset : p_.q_offset;
    if (rotation.row.n > 0) {
      turns.row = rotation.row.data;
      turns.row_step = p_.n_position;
    }
    return turns;
  }

  // Rotates q and k as each region says. In bf16 and fp16, a rotated row is kept as a rounded part
  // and a low part where scores must be exact.
  void TurnInputs(const LongrunHeads& q, const LongrunHeads& k, bool is_exact) {
    p_.q[0] = ToRows(q);
    p_.k[0] = ToRows(k);
    if (terms_.has_rotation == 0) return;
    p_.n_region = Max(1, Int(terms_.n_region));
    for (int r = 0; r < p_.n_region; ++r) {
      const LongrunRegion* const region = terms_.n_region > 0 ? &terms_.regions[r] : nullptr;
      if (region != nullptr) p_.regions[r].key_begin = region->key_begin.data;
      p_.q[r] = Turned(q, region, false, is_exact);
      p_.k[r] = Turned(k, region, true, is_exact);
    }
  }
  Rows Turned(const LongrunHeads& x, const LongrunRegion* region, bool is_key, bool is_exact) {
    Turns turns = TurnsOf(x, is_key);
    if (region != nullptr) {
      turns.offset = 0;
      turns.row = is_key ? region->key_row.data : region->query_row.data;
      turns.row_step = 0;
      if (is_key && region->has_blended != 0) {
        turns.other = region->blended_row.data;
        turns.weight = region->blended_weight.data;
      }
    }
    turns.from = ToRows(x);
    turns.to = TakeRows(x, is_fp32_ ? kScalarFp32 : x.scalar);
    if (!is_fp32_ && is_exact) {
      turns.to.low = TakeNumbers(x.batch * turns.to.batch_step, x.scalar);
    }
    LaunchTurn(turns);
    return turns.to;
  }
  void TurnBack(const Rows& from, const LongrunHeads& to, bool is_key) {
    Turns turns = TurnsOf(to, is_key);
    turns.is_back = 1;
    turns.from = from;
    turns.to = ToRows(to);
    LaunchTurn(turns);
  }
  void LaunchTurn(const Turns& turns) {
    if (TurnPairsKernel<Layer>::Supports(turns)) {
      Launch<TurnPairsKernel<Layer>>(turns);
    } else {
      Launch<TurnKernel<Layer>>(turns);
    }
  }

  template <typename Math>
  bool LaunchPipelinedForward() {
    if (!TakesPipelined<Math>()) return false;
    const auto launch = [this](auto known) {
      return TryNarrow<PipelinedForwardKernel, Math, decltype(known)>();
    };
    return p_.q[0].low != nullptr ? WithMask(RotatedParams(), launch) : WithMask(launch);
  }
  template <typename Math>
  void LaunchBackward() {
    if (backward_ == kLongrunUnorderedKernel) {
      if (!LaunchUnorderedBackward()) error_ = kNoUnorderedBackward;
      return;
    }
    // Queries before keys, which add the former's sums of a two-sided bias.
    if constexpr (Math::kScalar == kScalarFp32) {
      LaunchShaped<QueryKernel, Math>();
      LaunchShaped<KeyKernel, Math>();
    } else {
      if (!LaunchSingleBackward()) {
        if (!LaunchPipelinedQueries()) LaunchWith<QueryKernel, Math>(p_);
        if (!LaunchPipelinedKeys()) LaunchWith<KeyKernel, Math>(p_);
      }
    }
  }
  template <typename Math>
  void LaunchDistances(bool has_table, bool has_psi) {
    if (!has_table && !has_psi) return;
    const auto take_sums = [&](int diagonal_rows) {
      p_.diagonal_rows = diagonal_rows;
      const std::int64_t n_head = static_cast<std::int64_t>(p_.batch) * p_.n_head;
      const std::int64_t n = n_head * p_.Diagonals() * p_.Distances();
      if (has_table) p_.distance_sums = memory_.template Take<double>(n);
      if (has_psi) p_.psi_sums = memory_.template Take<double>(n);
    };
    if constexpr (Math::kHasTensorCores) {
      if (LaunchPipelinedDistances(take_sums)) return;
    }
    take_sums(kRows);
    if constexpr (!Math::kHasTensorCores) {
      const bool is_few = HasFewTerms<Math>() && !HasMask() && p_.table != nullptr;
      if (is_few && TryNarrow<DistanceKernel, Math, TableParams>()) return;
    }
    LaunchWith<DistanceKernel, Math>(p_);
  }
  template <typename TakeSums>
  bool LaunchPipelinedDistances(const TakeSums& take_sums) {
    if (!TakesPipelined<Bf16Math>()) return false;
    const auto launch = [&](auto known) {
      using Known = decltype(known);
      if constexpr (Known::kHasTable || Known::kHasPieces) {
        return p_.head_dim <= 64 ? TryDistances<Known, 64>(take_sums)
                                 : TryDistances<Known, 128>(take_sums);
      } else {
        return false;
      }
    };
    return WithMask(launch);
  }
  template <typename Known, int kHeadDim, typename TakeSums>
  bool TryDistances(const TakeSums& take_sums) {
    using Kernel = PipelinedDistanceKernel<Layer, Shape<Bf16Math, kHeadDim, Known>>;
    Known known;
    if (Kernel::SharedBytes(known) > shared_bytes_max_) return false;
    take_sums(Kernel::kBlockRows);
    static_cast<Params&>(known) = p_;
    Launch<Kernel>(known);
    return true;
  }
  bool LaunchPipelinedQueries() {
    if (!TakesPipelined<Bf16Math>()) return false;
    return WithMask([this](auto known) {
      return TryNarrow<PipelinedQueryKernel, Bf16Math, decltype(known)>();
    });
  }
  bool LaunchPipelinedKeys() {
    if (!TakesPipelined<Bf16Math>()) return false;
    return WithSkips(
        [this](auto known) { return TryNarrow<PipelinedKeyKernel, Bf16Math, decltype(known)>(); });
  }
  bool LaunchSingleBackward() {
    if (backward_ != kLongrunSingleKernel || !TakesPipelined<Bf16Math>()) return false;
    return WithSkips([this](auto known) {
      using Known = decltype(known);
      // The kernel of queries also computes gradients of a piecewise linear function, and of a
      // two-sided bias.
      if constexpr (Known::kHasPieces || Known::kIsTwoSided) {
        return false;
      } else {
        return p_.head_dim <= 64 ? TrySingleBackward<Known, 64>() : TrySingleBackward<Known, 128>();
      }
    });
  }
  template <typename Known, int kHeadDim>
  bool TrySingleBackward() {
    using Single = SingleBackwardParams<Known>;
    using Kernel = PipelinedKeyKernel<Layer, Shape<Bf16Math, kHeadDim, Single>>;
    Single single;
    static_cast<Params&>(single) = p_;
    if (Kernel::SharedBytes(single) > shared_bytes_max_) return false;
    const std::int64_t n_head = static_cast<std::int64_t>(p_.batch) * p_.n_head;
    const std::int64_t n_kv_head = static_cast<std::int64_t>(p_.batch) * p_.n_kv_head;
    QuerySumParams sums;
    static_cast<Params&>(sums) = p_;
    sums.n_tile = SkipTiles(p_.n_key);
    sums.maxima = memory_.template Take<float>(2 * n_kv_head * sums.n_tile);
    sums.of_queries.factors = memory_.template Take<float>(n_head * p_.n_query);
    sums.of_queries.is_infinite = memory_.template Take<std::int32_t>(n_head * p_.n_query);
    sums.of_queries.sums = memory_.template Take<std::int64_t>(
        n_head * p_.n_query_tile * QueryPart<Layer, kHeadDim>::kTileSums);
    single.of_queries = sums.of_queries;
    Launch<MaximaOfKeysKernel<Layer>>(sums);
    Launch<BeginSumsKernel<Layer, kHeadDim, QuerySumParams>>(sums);
    Launch<Kernel>(single);
    Launch<EndSumsKernel<Layer, kHeadDim, QuerySumParams>>(sums);
    return true;
  }
  bool LaunchUnorderedBackward() {
    if (is_fp32_ || !TakesPipelined<Bf16Math>()) return false;
    return WithSkips([this](auto known) {
      using Known = decltype(known);
      if constexpr (std::is_same_v<Known, PlainParams> || std::is_same_v<Known, KeyBiasParams>) {
        return p_.head_dim <= 64 ? TryUnorderedBackward<Known, 64>()
                                 : TryUnorderedBackward<Known, 128>();
      } else {
        return false;
      }
    });
  }
  template <typename Known, int kHeadDim>
  bool TryUnorderedBackward() {
    using Unordered = UnorderedBackwardParams<Known>;
    using Kernel = PipelinedKeyKernel<Layer, Shape<Bf16Math, kHeadDim, Unordered>>;
    Unordered unordered;
    static_cast<Params&>(unordered) = p_;
    if (Kernel::SharedBytes(unordered) > shared_bytes_max_) {
      error_ = kTooLittleMemory;
      return true;
    }
    const std::int64_t n_head = static_cast<std::int64_t>(p_.batch) * p_.n_head;
    UnorderedSumParams sums;
    static_cast<Params&>(sums) = p_;
    sums.of_queries.sums = memory_.template Take<float>(n_head * p_.n_query_tile *
                                                        QueryPart<Layer, kHeadDim>::kTileSums);
    unordered.of_queries = sums.of_queries;
    Launch<BeginSumsKernel<Layer, kHeadDim, UnorderedSumParams>>(sums);
    Launch<Kernel>(unordered);
    Launch<EndSumsKernel<Layer, kHeadDim, UnorderedSumParams>>(sums);
    return true;
  }
  void LaunchSum(Sum sum, const LongrunNumbers& to) {
    Sums sums;
    sums.sum = sum;
    sums.call = p_;
    sums.to = ToNumbers(to);
    sums.n = to.n;
    Launch<SumKernel<Layer>>(sums);
  }

  // Without a split, a single tile of queries would leave most of a GPU idle while one block of
  // each head walks all keys. It depends only on the lengths, so that a sequence's bits do not
  // depend on the others of its batch.
  bool IsSplit() const { return p_.n_query_tile == 1 && p_.n_key > kSplitKeys; }
  template <typename Math>
  void LaunchSplit() {
    SplitParams split;
    static_cast<Params&>(split) = p_;
    split.n_split = (p_.n_key + kSplitKeys - 1) / kSplitKeys;
    const std::int64_t n_row = static_cast<std::int64_t>(p_.batch) * p_.n_head * p_.n_query;
    split.parts = memory_.template Take<float>(n_row * split.n_split * split.PartStep());
    if (!LaunchFewQueries<Math>(split)) LaunchWith<ForwardKernel, Math>(split);
    if (!TryWith<MergeKernel, Fp32Math>(split)) error_ = kTooLittleMemory;
  }
  template <typename Math>
  bool LaunchFewQueries(const SplitParams& split) {
    if (p_.n_query > kFewRows || p_.n_region != 1) return false;
    if constexpr (Math::kHasTensorCores) {
      if (p_.q[0].low != nullptr) return TryFewQueries<Math, RotatedFewQueriesParams>(split);
    }
    return TryFewQueries<Math, FewQueriesParams>(split);
  }
  template <typename Math, typename Known>
  bool TryFewQueries(const SplitParams& split) {
    Known known;
    static_cast<SplitParams&>(known) = split;
    return TryWith<FewQueriesKernel, Math>(known);
  }

  // Biases make keys weigh little that lie far away. With fewer keys, in the call or in the window,
  // finding them takes longer than visiting them. Sinks would have to be visited beyond skipped
  // keys.
  bool MaySkip() const {
    const bool has_bias = p_.has_key_bias != 0 || p_.table != nullptr;
    const int n_seen = p_.window > 0 ? Min(p_.window, p_.n_key) : p_.n_key;
    return has_bias && n_seen > kSplitKeys && !IsSplit() && p_.causal != 0 && p_.n_sink == 0 &&
           p_.two_sided == 0 && p_.has_piecewise == 0 && terms_.rotation.growth.n == 0 &&
           terms_.n_region == 0;
  }
  void LaunchSkip(std::int32_t* first_key) {
    SkipParams skip;
    static_cast<Params&>(skip) = p_;
    skip.n_tile = SkipTiles(p_.n_key);
    skip.log2_epsilon = std::log2(skip_epsilon_);
    skip.first_key_of = first_key;
    const std::int64_t n_head = static_cast<std::int64_t>(p_.batch) * p_.n_head;
    const std::int64_t n_kv_head = static_cast<std::int64_t>(p_.batch) * p_.n_kv_head;
    skip.norm_max = memory_.template Take<double>(n_kv_head * skip.n_tile);
    if (p_.has_key_bias != 0) {
      skip.bias_max = memory_.template Take<double>(n_head * skip.n_tile);
    }
    Launch<MaximaKernel<Layer>>(skip);
    Launch<ScanKernel<Layer>>(Scan{n_kv_head, skip.n_tile, nullptr, skip.norm_max});
    if (p_.has_key_bias != 0) {
      Launch<ScanKernel<Layer>>(Scan{n_head, skip.n_tile, nullptr, skip.bias_max});
    }
    if (p_.table != nullptr) {
      double* const table_max =
          memory_.template Take<double>(static_cast<std::int64_t>(p_.n_head) * p_.n_distance);
      Launch<ScanKernel<Layer>>(Scan{p_.n_head, p_.n_distance, p_.table, table_max});
      skip.table_max = table_max;
    }
    WithMath([&](auto math) { LaunchWith<SkipKernel, decltype(math)>(skip); });
  }
  void FindQueryEnds(const std::int32_t* first_key) {
    QueryEnds ends;
    ends.n_query = p_.n_query;
    ends.n_block = VisitedBlocks(p_.n_query);
    ends.n_tile = SkipTiles(p_.n_key);
    ends.n_head = static_cast<std::int64_t>(p_.batch) * p_.n_head;
    ends.first_key = first_key;
    ends.to = memory_.template Take<std::int32_t>(ends.n_head * ends.n_tile);
    Launch<EndKernel<Layer>>(ends);
    p_.first_key = first_key;
    p_.query_end = ends.to;
  }

  bool HasMask() const { return p_.window > 0 || p_.document_begin != nullptr; }
  // Whether FewParams describes the call, but for a mask.
  template <typename Math>
  bool HasFewTerms() const {
    const auto is_copied = [](const Rows& rows) {
      return rows.data == nullptr || (rows.scalar == Math::kScalar && rows.is_aligned != 0);
    };
    const bool has_key_bias = p_.has_key_bias != 0, has_table = p_.table != nullptr;
    return p_.head_dim <= 128 && p_.has_dropout == 0 && terms_.n_region == 0 &&
           has_key_bias + has_table + p_.has_piecewise + terms_.has_rotation <= 1 &&
           is_copied(p_.q[0]) && is_copied(p_.k[0]) && is_copied(p_.v) && is_copied(p_.o_gradient);
  }
  // Calls launch with parameters of the kind that describes the call's bias, which is neither
  // two-sided nor a piecewise linear function.
  template <typename LaunchWithKnown>
  bool WithFewTerms(const LaunchWithKnown& launch) {
    if (p_.has_key_bias != 0) return launch(KeyBiasParams());
    if (p_.table != nullptr) return launch(TableParams());
    return launch(PlainParams());
  }
  // The same, for kernels that are compiled for such biases, and for calls with a mask.
  template <typename LaunchWithKnown>
  bool WithMask(const LaunchWithKnown& launch) {
    if (p_.has_piecewise != 0) return WithMask(PiecesParams(), launch);
    if (p_.two_sided != 0) return WithMask(TwoSidedParams(), launch);
    return WithFewTerms([this, &launch](auto known) { return WithMask(known, launch); });
  }
  template <typename Known, typename LaunchWithKnown>
  bool WithMask(const Known& known, const LaunchWithKnown& launch) {
    return HasMask() ? launch(MaskedParams<Known>()) : launch(known);
  }
  // The same, for the kernel whose loop is another one if a call without a mask skips keys. Only
  // calls with a bias do.
  template <typename LaunchWithKnown>
  bool WithSkips(const LaunchWithKnown& launch) {
    return WithMask([this, &launch](auto known) {
      using Known = decltype(known);
      if constexpr (std::is_same_v<Known, KeyBiasParams> || std::is_same_v<Known, TableParams>) {
        if (p_.first_key != nullptr) return launch(SkippingParams<Known>());
      }
      return launch(known);
    });
  }
  template <template <typename, typename> typename Kernel, typename Math>
  void LaunchShaped() {
    const bool is_few =
        HasFewTerms<Math>() && !HasMask() && p_.has_piecewise == 0 && p_.two_sided == 0;
    if (!is_few || !TryFew<Kernel, Math>()) LaunchWith<Kernel, Math>(p_);
  }
  // The pipelined kernels find a row's maximum before they multiply by the scale, and number the
  // tiles of queries.
  template <typename Math>
  bool TakesPipelined() const {
    return p_.scale > 0.0F && p_.n_query > 0 && HasFewTerms<Math>();
  }
  template <template <typename, typename> typename Kernel, typename Math, typename Known>
  void LaunchWith(const Known& params) {
    if (TryWith<Kernel, Math>(params) || TryNarrowTiles<Kernel, Math>(params)) return;
    error_ = kTooLittleMemory;
  }

  // Each of these launches nothing and returns false if a block of the kernel takes more shared
  // memory than the GPU has. Then kernels with narrow tiles take the call.
  template <template <typename, typename> typename Kernel, typename Math>
  bool TryFew() {
    return WithFewTerms([this](auto known) { return TryNarrow<Kernel, Math, decltype(known)>(); });
  }
  template <template <typename, typename> typename Kernel, typename Math, typename Known>
  bool TryNarrow() {
    Known known;
    static_cast<Params&>(known) = p_;
    if (p_.head_dim <= 64) return Try<Kernel<Layer, Shape<Math, 64, Known>>>(known);
    return Try<Kernel<Layer, Shape<Math, 128, Known>>>(known);
  }
  template <template <typename, typename> typename Kernel, typename Math, typename Known>
  bool TryWith(const Known& params) {
    if (p_.head_dim <= 64) return Try<Kernel<Layer, Shape<Math, 64, Known>>>(params);
    if (p_.head_dim <= 128) return Try<Kernel<Layer, Shape<Math, 128, Known>>>(params);
    return Try<Kernel<Layer, Shape<Math, 256, Known>>>(params);
  }
  template <template <typename, typename> typename Kernel, typename Math, typename Known>
  bool TryNarrowTiles(const Known& params) {
    constexpr int kLeast = Kernel<Layer, Shape<Math, 256, Known>>::kNarrowHeadDim;
    if (p_.head_dim > 128) return Try<Kernel<Layer, Shape<NarrowMath<Math>, 256, Known>>>(params);
    if constexpr (kLeast <= 128) {
      return Try<Kernel<Layer, Shape<NarrowMath<Math>, 128, Known>>>(params);
    } else {
      return false;
    }
  }
  template <typename Kernel>
  bool Try(const typename Kernel::Params& params) {
    if (Kernel::SharedBytes(params) > shared_bytes_max_) return false;
    Launch<Kernel>(params);
    return true;
  }
  // After an error, and for nothing to do, it launches nothing.
  template <typename Kernel>
  void Launch(const typename Kernel::Params& params) {
    const std::int64_t n_block = Kernel::Blocks(params);
    if (Error() != nullptr || n_block == 0) return;
    error_ = device_.template Launch<Kernel>(n_block, Kernel::SharedBytes(params), params);
  }
  const char* Error() const { return memory_.has_failed() ? "there is no working memory" : error_; }

  static constexpr const char* kTooLittleMemory =
      "a block of this GPU has too little shared memory";
  // Another kernel in its place would be measured as if it were this one.
  static constexpr const char* kNoUnorderedBackward =
      "backward that adds in any order has no kernel for this call: it is for bf16, heads of up to "
      "128 channels, and at most a rotation or a one-sided key bias, without a window, documents "
      "and skipped keys";
  const LongrunAttentionTerms& terms_;
  Device& device_;
  const int shared_bytes_max_;
  Workspace memory_;
  double skip_epsilon_ = 0.0;
  std::int32_t backward_ = kLongrunTwoKernels;
  bool is_fp32_ = false;  // the type of the products
  Params p_;
  const char* error_ = nullptr;
};

template <typename Device>
const char* ForwardAttention(const LongrunAttentionForwardCall& call,
                             const LongrunAttentionTerms& terms,
                             const LongrunAttentionOptions& options, Device& device) {
  return AttentionCall<Device>(call.q, call.k, call.v, terms, options, device).Forward(call);
}

template <typename Device>
const char* BackwardAttention(const LongrunAttentionBackwardCall& call,
                              const LongrunAttentionTerms& terms,
                              const LongrunAttentionOptions& options, Device& device) {
  return AttentionCall<Device>(call.q, call.k, call.v, terms, options, device).Backward(call);
}

}  // namespace gpu
}  // namespace longrun
