// The host's part of a call of the kernels over rows: it chooses the kernels, and launches them.
// A template over a Device, as attention-inl.h.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <type_traits>

#include "kernels/cuda/activation-inl.h"
#include "kernels/cuda/adamw-inl.h"
#include "kernels/cuda/cross_entropy-inl.h"
#include "kernels/cuda/key_bias-inl.h"
#include "kernels/cuda/norm-inl.h"
#include "kernels/cuda_plugin.h"

namespace longrun {
namespace gpu {

template <typename Device>
class RowCall {
 public:
  using Layer = typename Device::Layer;

  RowCall(const LongrunRowOptions& options, Device& device) : options_(options), device_(device) {}
  RowCall(const RowCall&) = delete;
  RowCall& operator=(const RowCall&) = delete;
  ~RowCall() {
    for (void* const address : memory_) {
      if (address != nullptr) options_.release(options_.allocate_context, address, options_.stream);
    }
  }

  const char* Run(const LongrunNormForwardCall& call) {
    const LongrunNormShape& shape = call.shape;
    NormForwardParams p;
    p.n_row = shape.n_row;
    p.n_channel = static_cast<int>(shape.n_channel);
    p.centred = shape.centred;
    p.epsilon = static_cast<float>(shape.epsilon);
    p.scale = 1.0F / static_cast<float>(shape.n_channel);
    p.x = call.x;
    p.addend = call.addend.data;
    p.gamma = call.gamma;
    p.beta = call.beta;
    p.sum = call.sum;
    p.y = call.y.data;
    p.mean = call.mean;
    p.rstd = call.rstd;
    const bool is_aligned =
        AreAligned(shape.n_channel, {p.x, p.addend, p.gamma, p.beta, p.sum, p.y});
    WithType(call.y, [&](auto y) {
      using Y = decltype(y);
      if (p.addend == nullptr) {
        Forward<NoAddend, Y>(p, is_aligned);
      } else {
        WithType(call.addend, [&](auto addend) {
          using Addend = decltype(addend);
          if constexpr (kMayMeet<Addend, Y>) {
            Forward<Addend, Y>(p, is_aligned);
          } else {
            error_ = "bf16 beside fp16 is not supported";
          }
        });
      }
    });
    return error_;
  }

  const char* Run(const LongrunNormBackwardCall& call) {
    const LongrunNormShape& shape = call.shape;
    NormBackwardParams p;
    p.n_row = shape.n_row;
    p.rows_of_range = RowsOfRange(shape.n_row, kNormRows);
    p.n_channel = static_cast<int>(shape.n_channel);
    p.centred = shape.centred;
    p.scale = 1.0F / static_cast<float>(shape.n_channel);
    p.dy = call.dy.data;
    p.sum = call.sum;
    p.gamma = call.gamma;
    p.mean = call.mean;
    p.rstd = call.rstd;
    p.d_sum = call.d_sum;
    p.dx = call.dx;
    p.d_addend = static_cast<Bf16Bits*>(call.d_addend);
    PartialSums sums;
    sums.n_part = RangesOf(shape.n_row, p.rows_of_range);
    sums.n_channel = p.n_channel;
    sums.n_sum = call.d_gamma == nullptr ? 0 : call.d_beta == nullptr ? 1 : 2;
    sums.total[0] = call.d_gamma;
    sums.total[1] = call.d_beta;
    TakeSums(sums);
    p.gamma_sums = sums_[0];
    p.beta_sums = sums_[1];
    const bool is_aligned =
        AreAligned(shape.n_channel, {p.dy, p.sum, p.gamma, p.d_sum, p.dx, p.d_addend});
    WithTrainedType(call.dy, [&](auto dy) { Backward<decltype(dy)>(p, is_aligned); });
    AddSums(sums);
    return error_;
  }

  const char* Run(const LongrunActivationForwardCall& call) {
    ElementParams p = Elements(call.shape.n_row, call.shape.n_channel);
    p.activation = call.shape.activation;
    p.bias = call.bias;
    p.in[0] = call.h.data;
    p.in[1] = call.up.data;
    p.out[0] = call.y.data;
    if (call.up.data == nullptr) {
      LaunchElements<ActivateForward>(p, call.h);
    } else {
      LaunchElements<GateForward>(p, call.h);
    }
    return error_;
  }

  const char* Run(const LongrunActivationBackwardCall& call) {
    ElementParams p = Elements(call.shape.n_row, call.shape.n_channel);
    p.activation = call.shape.activation;
    p.bias = call.bias;
    p.in[0] = call.h.data;
    p.out[0] = call.dh.data;
    if (call.up.data != nullptr) {
      p.in[1] = call.up.data;
      p.in[2] = call.dy.data;
      p.out[1] = call.d_up.data;
      LaunchElements<GateBackward>(p, call.h);
      return error_;
    }
    p.in[1] = call.dy.data;
    LaunchWithSum<ActivateBackward>(p, call.h, call.d_bias);
    return error_;
  }

  const char* Run(const LongrunCrossEntropyCall& call) {
    CrossEntropyParams p;
    p.n_row = call.n_row;
    p.n_vocab = static_cast<int>(call.n_vocab);
    p.weight = static_cast<float>(call.weight);
    p.logits = call.logits.data;
    p.targets = call.targets;
    p.nll = call.nll;
    p.lse = call.lse;
    p.d_logits = call.d_logits.data;
    const bool is_aligned = AreAligned(p.n_vocab, {p.logits, p.d_logits});
    WithType(call.logits, [&](auto logit) {
      using T = decltype(logit);
      if (is_aligned) {
        Launch<CrossEntropyKernel<Layer, T, true>>(p);
      } else {
        Launch<CrossEntropyKernel<Layer, T, false>>(p);
      }
    });
    return error_;
  }

  const char* Run(const LongrunColumnSumCall& call) {
    ElementParams p = Elements(call.n_row, call.n_channel);
    p.in[0] = call.x.data;
    LaunchWithSum<SumOnly>(p, call.x, call.total);
    return error_;
  }

  const char* Run(const LongrunKeyBiasForwardCall& call) {
    KeyBiasSums p = SumsOf(call.shape);
    p.a = call.a;
    p.sign = call.negated != 0 ? 1.0 : -1.0;
    p.before = call.before;
    p.before_sign = call.negated != 0 ? -1.0 : 1.0;
    p.r = call.r;
    p.local = call.local;
    p.anchor = call.anchor;
    LaunchKeyBias<false>(p);
    return error_;
  }

  const char* Run(const LongrunKeyBiasBackwardCall& call) {
    KeyBiasSums p = SumsOf(call.shape);
    p.a = call.a;
    p.sign = p.gate_sign * (call.negated != 0 ? 1.0 : -1.0);
    p.dr = call.dr;
    p.da = call.da;
    LaunchKeyBias<true>(p);
    return error_;
  }

  const char* Run(const LongrunAdamWCall& call) {
    AdamWParams p;
    p.beta1 = call.beta1;
    p.beta2 = call.beta2;
    p.eps = call.eps;
    p.t = call.t;
    p.lr = call.lr;
    p.clip = call.clip;
    p.results = call.results;
    p.n_result = static_cast<int>(call.n_result);
    for (std::int64_t i = 0; i < call.n_vector; ++i) {
      const LongrunAdamWVector& of = call.vectors[i];
      const std::int64_t n_block = AdamWKernel<Layer>::BlocksOfVector(of.n);
      if (n_block > 0 && !Adds(p, n_block)) {
        Launch<AdamWKernel<Layer>>(p);
        p.n_vector = 0;
        if (!Adds(p, n_block)) return "a tensor is too large for AdamW";
      }
      if (n_block == 0) continue;
      AdamWVector& vector = p.vectors[p.n_vector];
      vector.gradient = of.gradient;
      vector.parameter = of.parameter;
      vector.m = of.m;
      vector.v = of.v;
      vector.copy = static_cast<Bf16Bits*>(of.copy);
      vector.n = of.n;
      vector.weight_decay = of.weight_decay;
      vector.is_aligned =
          AreAligned(kChunk, {of.gradient, of.parameter, of.m, of.v, of.copy}) ? 1 : 0;
      p.first_block[p.n_vector + 1] = p.first_block[p.n_vector] + static_cast<int>(n_block);
      ++p.n_vector;
    }
    Launch<AdamWKernel<Layer>>(p);
    return error_;
  }

 private:
  // Whether a launch has room for one more vector.
  static bool Adds(const AdamWParams& p, std::int64_t n_block) {
    constexpr std::int64_t kBlocksMax = 0x7fffffff;
    return p.n_vector < kAdamWVectorsMax && p.first_block[p.n_vector] + n_block <= kBlocksMax;
  }

  // The least rows of a range: few enough that thousands of blocks share a training step's rows,
  // many enough that the partial sums are small beside the rows.
  static constexpr std::int64_t kNormRows = 16, kElementRows = 64;
  static constexpr std::int64_t kRangeKeys = 256;
  static_assert(kRangeKeys % KeyBiasTile<Layer, false>::kKeys == 0);

  // Whether all rows begin at a multiple of 16 bytes, and consist of whole chunks.
  static bool AreAligned(std::int64_t n_channel, std::initializer_list<const void*> arrays) {
    return n_channel % kChunk == 0 && std::all_of(arrays.begin(), arrays.end(), &IsAligned);
  }

  // bf16 and fp16 do not meet in a call.
  template <typename A, typename B>
  static constexpr bool kMayMeet =
      std::is_same_v<A, B> || std::is_same_v<A, float> || std::is_same_v<B, float>;

  // Calls body with an element of the type.
  template <typename Body>
  static void WithType(const LongrunElements& type, const Body& body) {
    if (type.scalar == kScalarFp16) {
      body(Fp16Bits());
    } else if (type.scalar == kScalarBf16) {
      body(Bf16Bits());
    } else {
      body(float());
    }
  }
  // The same for a call that computes gradients.
  template <typename Body>
  void WithTrainedType(const LongrunElements& type, const Body& body) {
    if (type.scalar == kScalarFp16) {
      error_ = "the gradients of elements in fp16 are not supported";
    } else if (type.scalar == kScalarBf16) {
      body(Bf16Bits());
    } else {
      body(float());
    }
  }

  template <typename Kernel>
  void Launch(const typename Kernel::Params& p) {
    const std::int64_t n_block = Kernel::Blocks(p);
    if (error_ == nullptr && n_block > 0) {
      error_ = device_.template Launch<Kernel>(n_block, Kernel::SharedBytes(p), p);
    }
  }

  template <typename Addend, typename Y>
  void Forward(const NormForwardParams& p, bool is_aligned) {
    WithShape(p.n_channel, is_aligned,
              [&](auto shape) { Launch<NormForwardKernel<Layer, Addend, Y, decltype(shape)>>(p); });
  }
  template <typename Dy>
  void Backward(const NormBackwardParams& p, bool is_aligned) {
    WithShape(p.n_channel, is_aligned,
              [&](auto shape) { Launch<NormBackwardKernel<Layer, Dy, decltype(shape)>>(p); });
  }
  template <typename Body>
  static void WithShape(int n_channel, bool is_aligned, const Body& body) {
    if (!is_aligned) {
      body(UnalignedRows());
    } else if (n_channel <= ShortRows::kHeld * ShortRows::kStep) {
      body(ShortRows());
    } else if (n_channel <= MiddleRows::kHeld * MiddleRows::kStep) {
      body(MiddleRows());
    } else if (n_channel <= LongRows::kHeld * LongRows::kStep) {
      body(LongRows());
    } else {
      body(AnyRows());
    }
  }

  static ElementParams Elements(std::int64_t n_row, std::int64_t n_channel) {
    ElementParams p;
    p.n_row = n_row;
    p.rows_of_range = RowsOfRange(n_row, kElementRows);
    p.n_channel = static_cast<int>(n_channel);
    return p;
  }
  template <typename Op>
  void LaunchElements(const ElementParams& p, const LongrunElements& type) {
    const bool is_aligned =
        AreAligned(p.n_channel, {p.in[0], p.in[1], p.in[2], p.out[0], p.out[1], p.bias});
    const auto launch = [&](auto element) {
      using T = decltype(element);
      if (is_aligned) {
        Launch<ElementKernel<Layer, T, Op, true>>(p);
      } else {
        Launch<ElementKernel<Layer, T, Op, false>>(p);
      }
    };
    if constexpr (Op::kIsForward) {
      WithType(type, launch);
    } else {
      WithTrainedType(type, launch);
    }
  }
  template <typename Op>
  void LaunchWithSum(ElementParams p, const LongrunElements& type, float* total) {
    PartialSums sums;
    sums.n_part = RangesOf(p.n_row, p.rows_of_range);
    sums.n_channel = p.n_channel;
    sums.n_sum = total == nullptr ? 0 : 1;
    sums.total[0] = total;
    TakeSums(sums);
    p.sums = sums_[0];
    LaunchElements<Op>(p, type);
    AddSums(sums);
  }

  static KeyBiasSums SumsOf(const LongrunKeyBiasShape& shape) {
    KeyBiasSums p;
    p.batch = static_cast<int>(shape.batch);
    p.n_head = static_cast<int>(shape.n_head);
    p.n_key = static_cast<int>(shape.n_key);
    p.gate_sign = shape.log_sigmoid != 0 ? -1.0 : 1.0;
    const std::int64_t keys_of_range = RowsOfRange(shape.n_key, kRangeKeys);
    p.keys_of_range = static_cast<int>(keys_of_range);
    p.n_range = static_cast<int>(RangesOf(shape.n_key, keys_of_range));
    return p;
  }
  template <bool kIsBackward>
  void LaunchKeyBias(KeyBiasSums& p) {
    if (p.n_range > 1 && p.batch > 0 && p.n_head > 0) {
      p.range_sums = Take<double>(0, std::int64_t{p.batch} * p.n_head * p.n_range);
      Launch<KeyBiasRangesKernel<Layer, kIsBackward>>(p);
    }
    Launch<KeyBiasKernel<Layer, kIsBackward>>(p);
  }

  // Working memory for the sums of the ranges. It is released in the order of the stream.
  void TakeSums(PartialSums& sums) {
    for (int at = 0; at < sums.n_sum && sums.n_part > 0; ++at) {
      sums_[at] = Take<float>(at, sums.n_part * sums.n_channel);
      sums.partial[at] = sums_[at];
    }
  }
  template <typename T>
  T* Take(int at, std::int64_t n) {
    memory_[at] = options_.allocate(options_.allocate_context,
                                    n * static_cast<std::int64_t>(sizeof(T)), options_.stream);
    if (memory_[at] == nullptr) error_ = "there is no working memory";
    return static_cast<T*>(memory_[at]);
  }
  void AddSums(const PartialSums& sums) {
    if (sums.n_sum > 0) Launch<PartialSumKernel<Layer>>(sums);
  }

  const LongrunRowOptions& options_;
  Device& device_;
  void* memory_[2] = {};
  float* sums_[2] = {};
  const char* error_ = nullptr;
};

// Puts the call's work on the stream. Null, or an error.
template <typename Call, typename Device>
const char* RunRows(const Call& call, const LongrunRowOptions& options, Device& device) {
  return RowCall<Device>(options, device).Run(call);
}

}  // namespace gpu
}  // namespace longrun
