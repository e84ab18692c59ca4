// The kernels over rows on inputs that make subnormal numbers in each of their terms: flushed, none
// is met (subnormal_traces.h) and the results stay within the bound of base/subnormals.h of the
// reference in double; kept, some are met, so that the inputs are worth something.
//
// Transpose is not here: it moves numbers and computes nothing. Attention is in
// conformance_test.cc.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "kernels/activation.h"
#include "kernels/adamw.h"
#include "kernels/cross_entropy.h"
#include "kernels/embedding.h"
#include "kernels/key_bias.h"
#include "kernels/norm.h"
#include "kernels/reference/key_bias.h"
#include "kernels/reference/rows.h"
#include "tests/kernels/rows.h"
#include "tests/kernels/subnormal_traces.h"

namespace longrun {
namespace {

using testing::Bound;
using testing::Draw;
using testing::SubnormalTraces;
using testing::ToDoubles;

constexpr double kLeastNormal = 0x1p-126;
constexpr double kTiny = 1e-39;  // a subnormal number
constexpr std::int64_t kRows = 70, kChannels = 37;
constexpr std::int64_t kElements = kRows * kChannels;

// One kernel with its inputs. What it writes is made anew each time.
struct Case {
  std::function<void(const KernelOptions&)> run;
  std::function<std::vector<double>()> results;
  std::vector<double> expected;
  Scalar type = Scalar::kFp32;
  // What flushing may change an element by.
  double slack = 100.0 * kLeastNormal;
};

class SubnormalsKernelTest : public testing::SimdTest {
 protected:
  // Operands and results that were subnormal.
  std::int64_t Met(const Case& one, Subnormals subnormals, std::int64_t n_threads) {
    SubnormalTraces traces;
    KernelOptions with = options();
    with.subnormals = subnormals;
    if (n_threads > 1) with.parallel_for = traces.Threads(n_threads);
    traces.Watch([&] { one.run(with); });
    traces.CountResults(one.results());
    return traces.n();
  }

  void Expect(const Case& one) {
    const bool met = Met(one, Subnormals::kKept, 1) > 0;
    const std::vector<double> kept = one.results();
    Met(one, Subnormals::kFlushed, 1);
    // Where the processor notes no operand, one that reaches no result shows by what
    // flushing changes.
    const bool changed = !testing::kNotesOperands && one.results() != kept;
    EXPECT_TRUE(met || changed) << "the inputs make no subnormal numbers";
    for (const std::int64_t n_threads : {1, 3}) {
      EXPECT_EQ(Met(one, Subnormals::kFlushed, n_threads), 0) << n_threads << " threads";
      const std::vector<double> found = one.results();
      ASSERT_EQ(found.size(), one.expected.size());
      double mean = 0.0;
      for (const double x : one.expected) mean += std::abs(x);
      mean /= static_cast<double>(found.size());
      for (std::size_t i = 0; i < found.size(); ++i) {
        const double size = std::max(std::abs(one.expected[i]), 20.0 * mean);
        ASSERT_LE(std::abs(found[i] - one.expected[i]), Bound(one.type) * size + one.slack)
            << "element " << i;
      }
    }
  }
};
LONGRUN_FOR_EVERY_SIMD(SubnormalsKernelTest);

template <typename T>
std::vector<double> Joined(std::initializer_list<const std::vector<T>*> parts) {
  std::vector<double> all;
  for (const std::vector<T>* part : parts) {
    const std::vector<double> doubles = ToDoubles(*part);
    all.insert(all.end(), doubles.begin(), doubles.end());
  }
  return all;
}

std::vector<double> Joined(std::initializer_list<std::vector<double>> parts) {
  std::vector<double> all;
  for (const std::vector<double>& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

TEST_P(SubnormalsKernelTest, NormsOfSubnormalRows) {
  for (const bool centred : {true, false}) {
    const NormShape shape = {.n_row = kRows, .n_channel = kChannels, .centred = centred};
    const std::vector<float> x = Draw<float>(kElements, 1, kTiny);
    const std::vector<float> addend = Draw<float>(kElements, 2, kTiny);
    const std::vector<float> gamma = Draw<float>(kChannels, 3), beta = Draw<float>(kChannels, 4);
    std::vector<float> sum(kElements), y(kElements), mean(kRows), rstd(kRows);
    const ReferenceNorm expected = ReferenceNormForward(shape, ToDoubles(x), ToDoubles(addend),
                                                        ToDoubles(gamma), ToDoubles(beta));
    Expect({.run =
                [&](const KernelOptions& options) {
                  NormForward({.shape = shape,
                               .x = x.data(),
                               .addend = addend.data(),
                               .gamma = gamma.data(),
                               .beta = beta.data(),
                               .sum = sum.data(),
                               .y = y.data(),
                               .mean = centred ? mean.data() : nullptr,
                               .rstd = rstd.data()},
                              options);
                },
            .results =
                [&] {
                  return Joined({&sum, &y});
                },
            .expected = Joined({expected.sum, expected.y}),
            // rstd is 1 / sqrt(1e-5) here, and gamma at most 5.
            .slack = 1e4 * kLeastNormal});
  }
}

TEST_P(SubnormalsKernelTest, NormsOfSubnormalGradients) {
  for (const bool centred : {true, false}) {
    const NormShape shape = {.n_row = kRows, .n_channel = kChannels, .centred = centred};
    const std::vector<float> sum = Draw<float>(kElements, 1), gamma = Draw<float>(kChannels, 2);
    const std::vector<float> dy = Draw<float>(kElements, 3, kTiny);
    std::vector<float> y(kElements), mean(kRows), rstd(kRows);
    NormForward({.shape = shape,
                 .x = sum.data(),
                 .gamma = gamma.data(),
                 .y = y.data(),
                 .mean = centred ? mean.data() : nullptr,
                 .rstd = rstd.data()},
                options());
    std::vector<float> dx(kElements), d_gamma(kChannels), d_beta(kChannels);
    const ReferenceNormGradient expected =
        ReferenceNormBackward(shape, ToDoubles(sum), ToDoubles(gamma), ToDoubles(dy), {});
    Expect({.run =
                [&](const KernelOptions& options) {
                  NormBackward({.shape = shape,
                                .dy = dy.data(),
                                .sum = sum.data(),
                                .gamma = gamma.data(),
                                .mean = centred ? mean.data() : nullptr,
                                .rstd = rstd.data(),
                                .dx = dx.data(),
                                .d_gamma = d_gamma.data(),
                                .d_beta = d_beta.data()},
                               options);
                },
            .results =
                [&] {
                  return Joined({&dx, &d_gamma, &d_beta});
                },
            .expected = Joined({expected.x, expected.gamma, expected.beta}),
            .slack = 1e4 * kLeastNormal});
  }
}

// Inputs of an activation: ordinary ones, tiny ones, and some so far out that its exponential is.
template <typename T>
std::vector<T> FarOut(std::uint64_t stream) {
  std::vector<T> h = Draw<T>(kElements, stream);
  const std::vector<T> tiny = Draw<T>(kElements, stream + 100, kTiny);
  for (std::size_t i = 0; i < h.size(); i += 2) {
    const float far = (i % 4 == 0 ? -13.1F : -92.0F) + ToFloat(h[i]);
    if (i % 3 == 0) {
      h[i] = tiny[i];
    } else if constexpr (std::is_same_v<T, Bf16>) {
      h[i] = RoundedToBf16(far);
    } else {
      h[i] = far;
    }
  }
  return h;
}

constexpr Activation kActivations[] = {Activation::kGeluNew, Activation::kGelu, Activation::kSilu};

TEST_P(SubnormalsKernelTest, ActivationsOfSubnormalNumbersAndFarOut) {
  const auto of_type = [&](auto type) {
    using T = decltype(type);
    for (const Activation activation : kActivations) {
      const ActivationShape shape = {
          .n_row = kRows, .n_channel = kChannels, .activation = activation};
      const std::vector<T> h = FarOut<T>(5);
      std::vector<T> y(kElements);
      Expect({.run =
                  [&](const KernelOptions& options) {
                    ActivationForward({.shape = shape, .h = h.data(), .y = y.data()}, options);
                  },
              .results = [&] { return Joined({&y}); },
              .expected = ReferenceActivationForward(shape, ToDoubles(h), {}),
              .type = testing::kScalarOf<T>});
    }
  };
  of_type(0.0F);
  of_type(Bf16());
}

TEST_P(SubnormalsKernelTest, ActivationsOfSubnormalGradients) {
  for (const Activation activation : kActivations) {
    const ActivationShape shape = {
        .n_row = kRows, .n_channel = kChannels, .activation = activation};
    const std::vector<float> h = FarOut<float>(6), dy = Draw<float>(kElements, 7, kTiny);
    const std::vector<float> bias = Draw<float>(kChannels, 8, kTiny);
    std::vector<float> dh(kElements), d_bias(kChannels);
    const ReferenceActivationGradient expected =
        ReferenceActivationBackward(shape, ToDoubles(h), ToDoubles(bias), ToDoubles(dy));
    Expect({.run =
                [&](const KernelOptions& options) {
                  ActivationBackward({.shape = shape,
                                      .h = h.data(),
                                      .bias = bias.data(),
                                      .dy = dy.data(),
                                      .dh = dh.data(),
                                      .d_bias = d_bias.data()},
                                     options);
                },
            .results =
                [&] {
                  return Joined({&dh, &d_bias});
                },
            .expected = Joined({expected.h, expected.bias})});
  }
}

TEST_P(SubnormalsKernelTest, GatesOfSubnormalNumbers) {
  for (const Activation activation : kActivations) {
    const ActivationShape shape = {
        .n_row = kRows, .n_channel = kChannels, .activation = activation};
    const std::vector<float> gate = FarOut<float>(9), up = Draw<float>(kElements, 10, kTiny);
    std::vector<float> y(kElements);
    Expect({.run =
                [&](const KernelOptions& options) {
                  GatedForward(
                      {.shape = shape, .gate = gate.data(), .up = up.data(), .y = y.data()},
                      options);
                },
            .results = [&] { return Joined({&y}); },
            .expected = ReferenceGatedForward(shape, ToDoubles(gate), ToDoubles(up)),
            .slack = 1e3 * kLeastNormal});
    const std::vector<float> dy = Draw<float>(kElements, 11, kTiny);
    std::vector<float> d_gate(kElements), d_up(kElements);
    const ReferenceGatedGradient expected =
        ReferenceGatedBackward(shape, ToDoubles(gate), ToDoubles(up), ToDoubles(dy));
    Expect({.run =
                [&](const KernelOptions& options) {
                  GatedBackward({.shape = shape,
                                 .gate = gate.data(),
                                 .up = up.data(),
                                 .dy = dy.data(),
                                 .d_gate = d_gate.data(),
                                 .d_up = d_up.data()},
                                options);
                },
            .results =
                [&] {
                  return Joined({&d_gate, &d_up});
                },
            .expected = Joined({expected.gate, expected.up}),
            .slack = 1e3 * kLeastNormal});
  }
}

TEST_P(SubnormalsKernelTest, LossesOfUnlikelyWords) {
  constexpr std::int64_t kVocab = 61;
  // Probabilities from 1 down to e^-110; times the weight, the gradients of likelier words are
  // subnormal as well.
  std::vector<float> logits = Draw<float>(kRows * kVocab, 12);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    logits[i] -= 110.0F * static_cast<float>(i % kVocab) / static_cast<float>(kVocab);
  }
  std::vector<std::int64_t> targets;
  for (std::int64_t row = 0; row < kRows; ++row) targets.push_back(row % kVocab);
  constexpr double kWeight = 1e-3;
  std::vector<float> nll(kRows), lse(kRows), d_logits(logits.size());
  const ReferenceLoss expected = ReferenceCrossEntropy(kVocab, ToDoubles(logits), targets, kWeight);
  Expect({.run =
              [&](const KernelOptions& options) {
                CrossEntropy({.n_row = kRows,
                              .n_vocab = kVocab,
                              .logits = logits.data(),
                              .targets = targets.data(),
                              .nll = nll.data(),
                              .lse = lse.data(),
                              .d_logits = d_logits.data(),
                              .weight = kWeight},
                             options);
              },
          .results =
              [&] {
                return Joined({&nll, &lse, &d_logits});
              },
          .expected = Joined({expected.nll, expected.lse, expected.d_logits})});
}

// Gradients of a word that no text has, and moments that have all but faded.
TEST_P(SubnormalsKernelTest, StepsOfFadingMoments) {
  const std::vector<float> start = Draw<float>(kElements, 13);
  const std::vector<float> m_start = Draw<float>(kElements, 14, kTiny);
  std::vector<float> v_start = Draw<float>(kElements, 15, kTiny);
  for (float& v : v_start) v = std::abs(v);
  const std::vector<float> gradient = Draw<float>(kElements, 16, 1e-20);
  const AdamWStep step = {.lr = 0.01, .beta1 = 0.9, .beta2 = 0.95, .t = 900, .clip = 0.5};
  std::vector<float> parameter, m, v;
  ReferenceAdamWState expected = {
      .parameter = ToDoubles(start), .m = ToDoubles(m_start), .v = ToDoubles(v_start)};
  ReferenceAdamWUpdate(step, 0.1, ToDoubles(gradient), expected);
  Expect({.run =
              [&](const KernelOptions& options) {
                parameter = start;
                m = m_start;
                v = v_start;
                AdamWUpdate(std::vector<AdamWTensor>{{.n = kElements,
                                                      .gradient = gradient.data(),
                                                      .parameter = parameter.data(),
                                                      .m = m.data(),
                                                      .v = v.data(),
                                                      .weight_decay = 0.1}},
                            step, options);
              },
          .results =
              [&] {
                return Joined({&parameter, &m, &v});
              },
          .expected = Joined({expected.parameter, expected.m, expected.v}),
          // m / sqrt(v) is m / eps here: the error of m is 1e8 times as large beside the parameter.
          .slack = 1e8 * kLeastNormal});
}

TEST_P(SubnormalsKernelTest, TheNormOfSmallGradients) {
  const std::vector<float> gradient = Draw<float>(kElements, 17, 1e-20);
  double norm = 0.0;
  Expect({.run =
              [&](const KernelOptions& options) {
                norm = GlobalNorm(
                    std::vector<ConstVector>{{.data = gradient.data(), .n = kElements}}, options);
              },
          .results = [&] { return std::vector<double>{norm}; },
          .expected = {ReferenceGlobalNorm(ToDoubles(gradient))},
          // A square below the least normal number is 0: each of them.
          .slack = std::sqrt(static_cast<double>(kElements) * kLeastNormal)});
}

TEST_P(SubnormalsKernelTest, EmbeddingsOfSubnormalGradients) {
  constexpr std::int64_t kVocab = 11;
  std::vector<std::int64_t> ids;
  for (std::int64_t row = 0; row < kRows; ++row) ids.push_back(row * row % kVocab);
  const std::vector<float> dy = Draw<float>(kElements, 18, kTiny);
  std::vector<float> d_weight;
  Expect({.run =
              [&](const KernelOptions& options) {
                d_weight.assign(static_cast<std::size_t>(kVocab * kChannels), 0.0F);
                EmbeddingGradient({.n_channel = kChannels,
                                   .n_vocab = kVocab,
                                   .ids = ids,
                                   .dy = dy.data(),
                                   .d_weight = d_weight.data()},
                                  options);
              },
          .results = [&] { return Joined({&d_weight}); },
          .expected = ReferenceEmbeddingGradient(kVocab, kChannels, ids, ToDoubles(dy), -1)});
}

// Gates that are shut so firmly that a softplus is subnormal in fp32, or even in double.
TEST_P(SubnormalsKernelTest, KeyBiasesOfShutGates) {
  constexpr std::int64_t kBatch = 4, kHeads = 3, kKeys = 150;
  const KeyBiasShape shape = {.batch = kBatch, .n_head = kHeads, .n_key = kKeys};
  const KeyBiasSize size = {.batch = kBatch, .n_head = kHeads, .n_key = kKeys};
  std::vector<float> a = Draw<float>(kBatch * kKeys * kHeads, 19);
  for (std::size_t i = 0; i < a.size(); ++i) a[i] -= i % 2 == 0 ? 100.0F : 720.0F;
  std::vector<float> local(a.size());
  std::vector<double> anchor(static_cast<std::size_t>(kBatch * kHeads * 2));
  std::vector<double> expected = ReferenceKeyBiasForward(size, ToDoubles(a));
  // As local and anchor: what lies behind an anchor begins anew.
  for (std::int64_t series = 0; series < kBatch * kHeads; ++series) {
    const auto at = static_cast<std::size_t>(series * kKeys);
    const double before = expected[at + kKeyBiasBlock - 1];
    for (std::size_t t = kKeyBiasBlock; t < kKeys; ++t) expected[at + t] -= before;
  }
  Expect({.run =
              [&](const KernelOptions& options) {
                KeyBiasForward(
                    {.shape = shape, .a = a.data(), .local = local.data(), .anchor = anchor.data()},
                    options);
              },
          .results = [&] { return Joined({&local}); },
          .expected = expected});
  std::vector<double> dr = Draw<double>(static_cast<std::int64_t>(a.size()), 20, 1e-3);
  std::vector<float> da(a.size());
  Expect({.run =
              [&](const KernelOptions& options) {
                KeyBiasBackward({.shape = shape, .a = a.data(), .dr = dr.data(), .da = da.data()},
                                options);
              },
          .results = [&] { return Joined({&da}); },
          .expected = ReferenceKeyBiasBackward(size, ToDoubles(a), dr)});
}

}  // namespace
}  // namespace longrun
