// A bias per key from the layer's input (KeyBiasGate): bias[i][j] = b_i - b_j, or -|b_i - b_j|.
//
// b_t is summed in double and taken relative to the first query of its block: |b| grows with T
// (0.69 T at initialisation), and two fp32 numbers of that size must never be subtracted.
#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/linear.h>

#include "model/net/kernel_attention.h"
#include "model/net/row_operators.h"
#include "model/net/terms/term.h"

namespace longrun {
namespace {

class Gate final : public AttentionTerm {
 public:
  Gate(const TermSpec& spec, const Compute& compute)
      : AttentionTerm({.reads_input = true}),
        log_sigmoid_(spec.key_bias_gate->gate == KeyBiasGate::Gate::kLogSigmoid),
        two_sided_(spec.key_bias_gate->two_sided),
        places_(PlacesOf(spec, {spec.key_bias_gate->weight, spec.key_bias_gate->bias})),
        compute_(compute) {}

  // Returns b_t if the bias is two-sided, else -b_t, as attention takes it. b_t is minus the sum of
  // the tokens' costs up to t.
  Tensors Prepare(const TermCall& call) const override {
    const Tensors learned = LearnedAt(places_, call);
    const at::Tensor h_BTH = at::linear(call.x_BTC, learned[0], learned[1]).to(compute_.dtype);
    at::Tensor sums_BHT = CumulatedGate(h_BTH, log_sigmoid_, !two_sided_, compute_);
    if (!call.held_BHT.defined()) return {sums_BHT};
    const std::int64_t n = sums_BHT.size(2), begin = call.n_positions - n;
    if (begin > 0) sums_BHT = sums_BHT + call.held_BHT.narrow(2, begin - 1, 1);
    call.held_BHT.narrow(2, begin, n).copy_(sums_BHT);
    return {call.held_BHT.narrow(2, 0, call.n_positions)};
  }

  void AddTo(const Tensors& prepared, ScoreBlock& block) override {
    const at::Tensor& sums_BHT = prepared[0];
    at::Tensor& scores = block.scores_BHQK;
    const std::int64_t n_query = scores.size(2), n_key = scores.size(3);
    const at::Tensor anchor = sums_BHT.narrow(2, block.q_begin, 1).detach();
    const at::Tensor key = (Part(sums_BHT, 2, block.k_begin, n_key) - anchor).to(compute_.dtype);
    if (!two_sided_) {
      scores.add_(key.unsqueeze(2));  // b_i is the same in all of its row, so it cancels
      return;
    }
    const at::Tensor query =
        (sums_BHT.narrow(2, block.q_begin, n_query) - anchor).to(compute_.dtype);
    scores = scores - at::abs(query.unsqueeze(3) - key.unsqueeze(2));
  }

  // b_i relative to the block's first query.
  at::Tensor LeftOut(const Tensors& prepared, const ScoreBlock& block) const override {
    if (two_sided_) return {};
    const at::Tensor sums_BHQ = prepared[0].narrow(2, block.q_begin, block.scores_BHQK.size(2));
    return (sums_BHQ.narrow(2, 0, 1) - sums_BHQ).to(compute_.dtype);
  }

  void Fill(Tensors prepared, KernelAttentionCall& kernel) const override {
    kernel.two_sided = two_sided_;
    kernel.key_bias_BHT = prepared[0];
  }

 private:
  bool log_sigmoid_, two_sided_;
  LearnedPlaces places_;  // of weight and bias
  Compute compute_;
};

}  // namespace

std::unique_ptr<AttentionTerm> MakeGate(const TermSpec& spec, const AttentionShape&,
                                        const Compute& compute) {
  return spec.key_bias_gate ? std::make_unique<Gate>(spec, compute) : nullptr;
}

}  // namespace longrun
