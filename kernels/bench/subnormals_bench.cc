// longrun-subnormals-bench [ROUNDS]: each of the CPU's kernels on inputs that make subnormal
// numbers, compared with the same kernel on inputs that make none, as measurements
// (tools/bench.py).
//
// Milliseconds of processor time of one thread, in turn, round by round. Rows with a target flush
// subnormal numbers, like a run does; the row after each is the same with subnormal numbers kept,
// which shows their cost on this processor.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/measurement.h"
#include "base/random.h"
#include "base/str.h"
#include "base/subnormals.h"
#include "kernels/activation.h"
#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/backends.h"
#include "kernels/cross_entropy.h"
#include "kernels/embedding.h"
#include "kernels/key_bias.h"
#include "kernels/norm.h"

namespace longrun {
namespace {

constexpr double kSecondsMin = 0.02;  // shortest time of a measurement
constexpr int kRoundsKept = 3;
constexpr double kTiny = 1e-39;  // a subnormal number
constexpr std::int64_t kRows = 1024, kChannels = 768;

// Aligns every array to a cache line: otherwise it would be chance which arrays straddle lines.
template <typename T>
struct AtCacheLine {
  using value_type = T;
  AtCacheLine() = default;
  template <typename U>
  explicit AtCacheLine(const AtCacheLine<U>&) {}
  T* allocate(std::size_t n) {
    return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t(64)));
  }
  void deallocate(T* p, std::size_t) { ::operator delete(p, std::align_val_t(64)); }
  bool operator==(const AtCacheLine&) const = default;
};
using Floats = std::vector<float, AtCacheLine<float>>;

Floats Normal(std::int64_t n, double deviation = 1.0) {
  static SeededRandom random(1);
  constexpr double kTwoPi = 6.283185307179586;
  Floats x(static_cast<std::size_t>(n));
  for (float& one : x) {
    const double u = 1.0 - random.Uniform();
    one = static_cast<float>(deviation * std::sqrt(-2.0 * std::log(u)) *
                             std::cos(kTwoPi * random.Uniform()));
  }
  return x;
}

// The same numbers, but one in five is tiny.
Floats WithTiny(Floats x) {
  for (std::size_t i = 0; i < x.size(); i += 5) x[i] *= static_cast<float>(kTiny);
  return x;
}

using Work = std::function<void(Subnormals)>;

double Milliseconds(const Work& work, Subnormals subnormals, int n) {
  const double begin = ThreadCpuSeconds();
  for (int i = 0; i < n; ++i) work(subnormals);
  return 1e3 * (ThreadCpuSeconds() - begin) / n;
}

class Bench {
 public:
  explicit Bench(int n_rounds) : n_rounds_(n_rounds) {}

  void Measure(const std::string& name, const Work& with, const Work& without) const {
    for (const Subnormals subnormals : {Subnormals::kFlushed, Subnormals::kKept}) {
      const bool flushed = subnormals == Subnormals::kFlushed;
      Measurement found = {.name = Str(name, flushed ? "" : ", kept"),
                           .unit = "calls/s",
                           .what_baseline = "inputs that make none",
                           .target = flushed ? "ratio >= 0.9" : ""};
      // Kept subnormals can cost a hundredfold: a few rounds show that,
      // and its spread does not matter.
      const int n_rounds = flushed ? n_rounds_ : std::min(n_rounds_, kRoundsKept);
      int n = 1;
      Milliseconds(with, subnormals, n);
      while (Milliseconds(without, subnormals, n) * n < 1e3 * kSecondsMin) n *= 2;
      for (int round = 0; round < n_rounds; ++round) {
        found.ours.push_back(1e3 / Milliseconds(with, subnormals, n));
        found.baseline.push_back(1e3 / Milliseconds(without, subnormals, n));
      }
      Print(found);
    }
  }

 private:
  int n_rounds_ = 0;
};

// ---- attention ----------------------------------------------------------------------------------

constexpr std::int64_t kHeads = 12, kLength = 1024, kHeadDim = 64;
constexpr std::int64_t kElements = kHeads * kLength * kHeadDim;

// A bias that falls by kSteep per key makes the probabilities of 46 of 1024 keys subnormal, and
// most others zero; the gentle one makes none.
constexpr double kSteep = 0.5, kGentle = 0.01;

struct AttentionProblem {
  AttentionProblem(Floats the_q, Floats the_do)
      : q(std::move(the_q)),
        k(Normal(kElements)),
        v(Normal(kElements)),
        o_gradient(std::move(the_do)),
        o(q.size()),
        dq(q.size()),
        dk(q.size()),
        dv(q.size()),
        lse(static_cast<std::size_t>(kHeads * kLength)) {}

  template <typename View, typename Numbers>
  static View Heads(Numbers& x) {
    return {.data = x.data(),
            .batch = 1,
            .n_row = kLength,
            .n_head = kHeads,
            .head_dim = kHeadDim,
            .batch_step = kElements,
            .row_step = kHeads * kHeadDim,
            .head_step = kHeadDim};
  }
  AttentionInputs Inputs() const {
    return {.q = Heads<HeadsView>(q), .k = Heads<HeadsView>(k), .v = Heads<HeadsView>(v)};
  }
  void Forward(Subnormals subnormals) {
    LR_CHECK(FindAttentionKernel("cpu")
                 ->forward({.inputs = Inputs(), .o = Heads<HeadsBuffer>(o), .lse = lse}, terms,
                           {.subnormals = subnormals})
                 .ok());
  }
  void Backward(Subnormals subnormals) {
    LR_CHECK(FindAttentionKernel("cpu")
                 ->backward({.inputs = Inputs(),
                             .o = Heads<HeadsView>(o),
                             .do_ = Heads<HeadsView>(o_gradient),
                             .lse = lse,
                             .dq = Heads<HeadsBuffer>(dq),
                             .dk = Heads<HeadsBuffer>(dk),
                             .dv = Heads<HeadsBuffer>(dv),
                             .d_key_bias = d_key_bias,
                             .d_distance_table = d_table,
                             .d_slope = d_slope,
                             .d_intercept = d_intercept},
                            terms, {.subnormals = subnormals})
                 .ok());
  }

  Floats q, k, v, o_gradient, o, dq, dk, dv;
  std::vector<double> lse, d_key_bias, d_table, d_slope, d_intercept;
  std::vector<double> numbers, psi, row_factor, intercept;  // numbers of the terms
  AttentionTerms terms = {.scale = 0.125};
};

using AddTerm = std::function<void(AttentionProblem&, double fall)>;

void AddKeyBias(AttentionProblem& p, double fall) {
  for (std::int64_t at = 0; at < kHeads * kLength; ++at) {
    p.numbers.push_back(fall * static_cast<double>(at % kLength));
  }
  p.terms.key_bias = KeyBias{.values = p.numbers};
  p.d_key_bias.resize(p.numbers.size());
}
void AddTwoSided(AttentionProblem& p, double fall) {
  p.terms.visibility.causal = false;
  AddKeyBias(p, -fall);
  p.terms.key_bias->two_sided = true;
}
void AddDistances(AttentionProblem& p, double fall) {
  AddKeyBias(p, -fall);
  p.terms.key_bias.reset();
  p.d_key_bias.clear();
  p.terms.distance_table = DistanceTable{.values = p.numbers, .n_distance = kLength, .n_ahead = 0};
  p.d_table.resize(p.numbers.size());
}
void AddPiecewise(AttentionProblem& p, double fall) {
  for (std::int64_t t = 0; t < kLength; ++t) p.psi.push_back(static_cast<double>(t));
  p.row_factor.assign(kLength, 1.0);
  p.numbers.assign(kHeads, -fall);
  p.intercept.assign(kHeads, 0.0);
  p.terms.piecewise = PiecewiseLinear{.psi = p.psi,
                                      .row_factor = p.row_factor,
                                      .knots = {},
                                      .slope = p.numbers,
                                      .intercept = p.intercept};
  p.d_slope.resize(kHeads);
  p.d_intercept.resize(kHeads);
}

void MeasureAttention(const Bench& bench) {
  const Floats q = Normal(kElements), o_gradient = Normal(kElements);
  const auto measure_backward = [&](const std::string& what, AttentionProblem& with,
                                    AttentionProblem& without) {
    with.Forward(Subnormals::kFlushed);  // leaves what backward reads
    without.Forward(Subnormals::kFlushed);
    bench.Measure(
        Str("attention backward, ", what), [&](Subnormals s) { with.Backward(s); },
        [&](Subnormals s) { without.Backward(s); });
  };
  const auto measure = [&](const std::string& what, AttentionProblem& with,
                           AttentionProblem& without) {
    bench.Measure(
        Str("attention forward, ", what), [&](Subnormals s) { with.Forward(s); },
        [&](Subnormals s) { without.Forward(s); });
    measure_backward(what, with, without);
  };
  const std::pair<const char*, AddTerm> terms[] = {{"a falling key bias", &AddKeyBias},
                                                   {"a falling two-sided bias", &AddTwoSided},
                                                   {"a falling distance table", &AddDistances},
                                                   {"a falling piecewise bias", &AddPiecewise}};
  for (const auto& [what, add] : terms) {
    AttentionProblem with(q, o_gradient), without(q, o_gradient);
    add(with, kSteep);
    add(without, kGentle);
    measure(what, with, without);
  }
  AttentionProblem tiny_inputs(WithTiny(q), WithTiny(o_gradient)), plain(q, o_gradient);
  measure("inputs that are", tiny_inputs, plain);
  AttentionProblem tiny_gradients(q, Normal(kElements, kTiny));
  measure_backward("gradients that are", tiny_gradients, plain);
}

// ---- rows ---------------------------------------------------------------------------------------

KernelOptions With(Subnormals subnormals) { return {.subnormals = subnormals}; }

void MeasureNorms(const Bench& bench) {
  constexpr std::int64_t n = kRows * kChannels;
  const NormShape shape = {.n_row = kRows, .n_channel = kChannels};
  const Floats gamma = Normal(kChannels), beta = Normal(kChannels);
  Floats sum(n), y(n), mean(kRows), rstd(kRows), dx(n), d_gamma(kChannels), d_beta(kChannels);
  const auto forward = [&](const Floats& x) -> Work {
    return [&](Subnormals s) {
      NormForward({.shape = shape,
                   .x = x.data(),
                   .addend = x.data(),
                   .gamma = gamma.data(),
                   .beta = beta.data(),
                   .sum = sum.data(),
                   .y = y.data(),
                   .mean = mean.data(),
                   .rstd = rstd.data()},
                  With(s));
    };
  };
  const Floats x = Normal(n), tiny = Normal(n, kTiny);
  bench.Measure("residual + LayerNorm", forward(tiny), forward(x));
  forward(x)(Subnormals::kFlushed);  // leaves what backward reads
  const auto backward = [&](const Floats& dy) -> Work {
    return [&](Subnormals s) {
      NormBackward({.shape = shape,
                    .dy = dy.data(),
                    .sum = sum.data(),
                    .gamma = gamma.data(),
                    .mean = mean.data(),
                    .rstd = rstd.data(),
                    .dx = dx.data(),
                    .d_gamma = d_gamma.data(),
                    .d_beta = d_beta.data()},
                   With(s));
    };
  };
  bench.Measure("residual + LayerNorm backward", backward(tiny), backward(x));
}

void MeasureActivations(const Bench& bench) {
  constexpr std::int64_t n = kRows * kChannels;
  const Floats ordinary = Normal(n), tiny = WithTiny(ordinary), ordinary_up = Normal(n);
  const Floats dy = Normal(n), tiny_dy = Normal(n, kTiny);
  Floats y(n), dh(n), d_up(n), d_bias(kChannels);
  const std::pair<const char*, Activation> activations[] = {
      {"gelu_new", Activation::kGeluNew}, {"gelu", Activation::kGelu}, {"silu", Activation::kSilu}};
  for (const auto& [name, activation] : activations) {
    const ActivationShape shape = {
        .n_row = kRows, .n_channel = kChannels, .activation = activation};
    const auto forward = [&](const Floats& h) -> Work {
      return [&, shape](Subnormals s) {
        ActivationForward({.shape = shape, .h = h.data(), .y = y.data()}, With(s));
      };
    };
    const auto backward = [&](const Floats& h, const Floats& d) -> Work {
      return [&, shape](Subnormals s) {
        ActivationBackward({.shape = shape,
                            .h = h.data(),
                            .dy = d.data(),
                            .dh = dh.data(),
                            .d_bias = d_bias.data()},
                           With(s));
      };
    };
    bench.Measure(name, forward(tiny), forward(ordinary));
    bench.Measure(Str(name, " backward"), backward(tiny, tiny_dy), backward(ordinary, dy));
  }
  const ActivationShape shape = {
      .n_row = kRows, .n_channel = kChannels, .activation = Activation::kSilu};
  const auto gate = [&](const Floats& h, const Floats& up) -> Work {
    return [&](Subnormals s) {
      GatedForward({.shape = shape, .gate = h.data(), .up = up.data(), .y = y.data()}, With(s));
    };
  };
  const auto gate_backward = [&](const Floats& h, const Floats& d) -> Work {
    return [&](Subnormals s) {
      GatedBackward({.shape = shape,
                     .gate = h.data(),
                     .up = ordinary_up.data(),
                     .dy = d.data(),
                     .d_gate = dh.data(),
                     .d_up = d_up.data()},
                    With(s));
    };
  };
  bench.Measure("SwiGLU", gate(tiny, tiny_dy), gate(ordinary, dy));
  bench.Measure("SwiGLU backward", gate_backward(tiny, tiny_dy), gate_backward(ordinary, dy));
}

void MeasureLoss(const Bench& bench) {
  constexpr std::int64_t kLosses = 166, kVocab = 50257;
  const Floats ordinary = Normal(kLosses * kVocab);
  Floats unlikely = ordinary;
  // Probabilities down to e^-104; half of those below e^-87 are subnormal.
  for (std::size_t i = 0; i < unlikely.size(); ++i) {
    unlikely[i] -= 104.0F * static_cast<float>(i % kVocab) / static_cast<float>(kVocab);
  }
  std::vector<std::int64_t> targets(kLosses, 5);
  Floats nll(kLosses), d_logits(ordinary.size());
  const auto loss = [&](const Floats& logits) -> Work {
    return [&](Subnormals s) {
      CrossEntropy({.n_row = kLosses,
                    .n_vocab = kVocab,
                    .logits = logits.data(),
                    .targets = targets.data(),
                    .nll = nll.data(),
                    .d_logits = d_logits.data(),
                    .weight = 1e-3},
                   With(s));
    };
  };
  bench.Measure("cross-entropy with gradient", loss(unlikely), loss(ordinary));
}

void MeasureOptimizer(const Bench& bench) {
  constexpr std::int64_t n = 1 << 16;  // fits into the cache, wherever its pages are
  struct State {
    Floats gradient, parameter = Normal(n), m, v;
  };
  State tiny = {.gradient = Normal(n, kTiny), .m = Normal(n, kTiny), .v = Normal(n, kTiny)};
  State ordinary = {.gradient = Normal(n), .m = Normal(n), .v = Normal(n)};
  for (State* state : {&tiny, &ordinary}) {
    for (float& v : state->v) v = std::abs(v);
  }
  const auto update = [&](State& state) -> Work {
    return [&](Subnormals s) {
      AdamWUpdate(std::vector<AdamWTensor>{{.n = n,
                                            .gradient = state.gradient.data(),
                                            .parameter = state.parameter.data(),
                                            .m = state.m.data(),
                                            .v = state.v.data(),
                                            .weight_decay = 0.1}},
                  {.lr = 1e-6, .beta2 = 0.95, .t = 1000}, With(s));
    };
  };
  bench.Measure("AdamW", update(tiny), update(ordinary));
  const Floats small = Normal(n, 1e-20);  // whose squares are subnormal
  const auto norm = [&](const Floats& gradient) -> Work {
    return [&](Subnormals s) {
      GlobalNorm(std::vector<ConstVector>{{.data = gradient.data(), .n = n}}, With(s));
    };
  };
  bench.Measure("global norm", norm(small), norm(ordinary.gradient));
}

void MeasureEmbedding(const Bench& bench) {
  constexpr std::int64_t kVocab = 257;
  std::vector<std::int64_t> ids;
  for (std::int64_t row = 0; row < kRows; ++row) ids.push_back(row * row % kVocab);
  const Floats ordinary = Normal(kRows * kChannels);
  const Floats tiny = Normal(kRows * kChannels, kTiny);
  Floats d_weight;
  const auto gradient = [&](const Floats& dy) -> Work {
    return [&](Subnormals s) {
      d_weight.assign(static_cast<std::size_t>(kVocab * kChannels), 0.0F);
      EmbeddingGradient({.n_channel = kChannels,
                         .n_vocab = kVocab,
                         .ids = ids,
                         .dy = dy.data(),
                         .d_weight = d_weight.data()},
                        With(s));
    };
  };
  bench.Measure("embedding gradient", gradient(tiny), gradient(ordinary));
}

void MeasureKeyBias(const Bench& bench) {
  const KeyBiasShape shape = {.batch = 1, .n_head = kHeads, .n_key = kLength};
  constexpr std::int64_t n = kHeads * kLength;
  const Floats ordinary = Normal(n);
  Floats shut = ordinary;  // a softplus of 1e-43 in fp32, or of 1e-313 in double
  for (std::size_t i = 0; i < shut.size(); ++i) shut[i] -= i % 2 == 0 ? 99.0F : 720.0F;
  Floats local(n), da(n);
  std::vector<double> anchor(kHeads * (kLength / kKeyBiasBlock)), dr(n, 1e-3);
  const auto forward = [&](const Floats& a) -> Work {
    return [&](Subnormals s) {
      KeyBiasForward(
          {.shape = shape, .a = a.data(), .local = local.data(), .anchor = anchor.data()}, With(s));
    };
  };
  const auto backward = [&](const Floats& a) -> Work {
    return [&](Subnormals s) {
      KeyBiasBackward({.shape = shape, .a = a.data(), .dr = dr.data(), .da = da.data()}, With(s));
    };
  };
  bench.Measure("key bias", forward(shut), forward(ordinary));
  bench.Measure("key bias backward", backward(shut), backward(ordinary));
}

int Main(int argc, char** argv) {
  const Bench bench(IntArgument(argc, argv, 1, 9, 1000));
  MeasureAttention(bench);
  MeasureNorms(bench);
  MeasureActivations(bench);
  MeasureLoss(bench);
  MeasureOptimizer(bench);
  MeasureEmbedding(bench);
  MeasureKeyBias(bench);
  return 0;
}

}  // namespace
}  // namespace longrun

int main(int argc, char** argv) { return longrun::Main(argc, argv); }
