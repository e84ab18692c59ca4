// Attention maps: the scores and probabilities that an observer sees are those of the formulas,
// written out here in double; and a map is the mean of what its layers,
// heads and texts give one by one.
#include "model/net/attention_probe.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/sin.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/str.h"
#include "model/extension/extension.h"
#include "model/net/scorer.h"
#include "tests/model/net/golden.h"
#include "tests/model/net/small_model.h"

namespace longrun {
namespace {

// ---- one attention, against the formulas --------------------------------------------------------

constexpr std::int64_t kH = 3, kT = 133, kD = 8, kC = kH * kD;  // T spans two blocks of queries
constexpr std::int64_t kP = 16;                                 // rows of CoPE's table

at::Tensor G(const std::vector<std::int64_t>& shape, double a, double b) {
  std::int64_t n = 1;
  for (const std::int64_t size : shape) n *= size;
  return at::sin(at::arange(n, at::kDouble) * a + b).view(shape);
}

struct Inputs {
  at::Tensor q = G({1, kH, kT, kD}, 0.37, 0.11);
  at::Tensor k = G({1, kH, kT, kD}, 0.53, 0.29);
  at::Tensor v = G({1, kH, kT, kD}, 0.71, 0.05);
  at::Tensor x = G({1, kT, kC}, 0.23, 0.17);
  at::Tensor weight = G({kH, kC}, 0.41, 0.31) * 0.1;
  at::Tensor bias = G({kH}, 0.9, 0.2) * 0.1;
  at::Tensor table = G({kD, kP}, 0.61, 0.4);
};

// s and p, (H, T, T) row by row; -inf and 0 where nothing is visible.
struct Seen {
  std::vector<double> s, p;
};
std::size_t At(std::int64_t h, std::int64_t i, std::int64_t j) {
  return static_cast<std::size_t>((h * kT + i) * kT + j);
}

using Vector = std::vector<double>;
Vector Row(const at::Tensor& x_1HTD, std::int64_t h, std::int64_t t) {
  const double* begin = x_1HTD.const_data_ptr<double>() + (h * kT + t) * kD;
  return {begin, begin + kD};
}
double Dot(const Vector& a, const Vector& b) {
  double sum = 0.0;
  for (std::size_t c = 0; c < a.size(); ++c) sum += a[c] * b[c];
  return sum;
}

// The scores of one method without visibility: score(h, i, j).
template <typename Score>
Seen Naive(const Score& score, std::int64_t window = 0) {
  Seen seen;
  seen.s.assign(kH * kT * kT, -std::numeric_limits<double>::infinity());
  seen.p.assign(kH * kT * kT, 0.0);
  for (std::int64_t h = 0; h < kH; ++h) {
    for (std::int64_t i = 0; i < kT; ++i) {
      double sum = 0.0;
      for (std::int64_t j = 0; j <= i; ++j) {
        if (window > 0 && i - j >= window) continue;
        seen.s[At(h, i, j)] = score(h, i, j);
        sum += std::exp(seen.s[At(h, i, j)]);
      }
      for (std::int64_t j = 0; j <= i; ++j) {
        seen.p[At(h, i, j)] = std::exp(seen.s[At(h, i, j)]) / sum;
      }
    }
  }
  return seen;
}

Seen Observed(const Json& position, const std::vector<at::Tensor>& learned, const char* dtype,
              std::int64_t window = 0, AttentionBackend backend = AttentionBackend::kReference) {
  const Inputs in;
  const AttentionShape shape = {.n_head = kH, .head_dim = kD, .d_model = kC, .window = window};
  const PositionConfig config = ResolvePosition(position).value();
  const TermSpec terms =
      FindPositionMethod(config.method).value()->terms(config.params, shape).value();
  const Compute compute = OpenCompute("cpu", dtype).value();
  Attention attention = Attention::Make(terms, "the case's", shape, backend, compute).value();
  Seen seen;
  seen.s.assign(kH * kT * kT, -std::numeric_limits<double>::infinity());
  seen.p.assign(kH * kT * kT, 0.0);
  const AttentionObserver observer = [&](const AttentionBlock& block) {
    for (const bool of_scores : {true, false}) {
      const at::Tensor x =
          (of_scores ? block.scores_BHQK : block.p_BHQK).to(at::kDouble).contiguous();
      const double* value = x.const_data_ptr<double>();
      for (std::int64_t h = 0; h < kH; ++h) {
        for (std::int64_t r = 0; r < x.size(2); ++r) {
          for (std::int64_t c = 0; c < x.size(3); ++c) {
            (of_scores ? seen.s : seen.p)[At(h, block.q_begin + r, block.k_begin + c)] = *value++;
          }
        }
      }
    }
  };
  const auto cast = [&](const at::Tensor& t) { return t.to(compute.dtype); };
  std::vector<at::Tensor> given;
  for (const at::Tensor& tensor : learned) given.push_back(cast(tensor));
  const at::NoGradGuard no_grad;
  Attention::Call call = {.q_BHTD = cast(in.q),
                          .k_BHTD = cast(in.k),
                          .v_BHTD = cast(in.v),
                          .x_BTC = cast(in.x),
                          .learned = given,
                          .scale = terms.scale};
  const at::Tensor plain = attention.Forward(call);
  call.observer = &observer;
  const at::Tensor shown = attention.Forward(call);
  // Who looks changes nothing; the fused attention adds in another order.
  EXPECT_LT((plain - shown).abs().max().item<double>(),
            backend == AttentionBackend::kTorch ? 1e-5 : 1e-300);
  return seen;
}

void ExpectNear(const Seen& found, const Seen& expected, double limit) {
  double s = 0.0, p = 0.0;
  for (std::size_t n = 0; n < expected.p.size(); ++n) {
    p = std::max(p, std::abs(found.p[n] - expected.p[n]));
    if (std::isinf(expected.s[n])) {
      ASSERT_EQ(found.s[n], expected.s[n]) << n;
    } else {
      s = std::max(s, std::abs(found.s[n] - expected.s[n]));
    }
  }
  EXPECT_LT(s, limit);
  EXPECT_LT(p, limit);
}

const double kScale = 1.0 / std::sqrt(static_cast<double>(kD));

// ALiBi, arXiv:2108.12409, section 3: of 3 heads the slopes 2^-4 and 2^-8 of 2, and 2^-2 of 4.
TEST(AttentionObserverTest, OfAlibiItSeesTheFormula) {
  const Inputs in;
  const double slope[] = {1.0 / 16, 1.0 / 256, 1.0 / 4};
  const Seen expected = Naive([&](std::int64_t h, std::int64_t i, std::int64_t j) {
    return kScale * Dot(Row(in.q, h, i), Row(in.k, h, j)) - slope[h] * static_cast<double>(i - j);
  });
  ExpectNear(Observed("alibi", {}, "fp64"), expected, 1e-11);
  ExpectNear(Observed("alibi", {}, "fp32"), expected, 2e-5);
}

// RoPE, arXiv:2104.09864, equation 34, with the pairs (c, c + D/2) of Llama.
TEST(AttentionObserverTest, OfRopeItSeesTheFormulaAlsoThroughAWindow) {
  const Inputs in;
  const auto turned = [](Vector x, std::int64_t t) {
    Vector y = x;
    for (std::size_t c = 0; c < kD / 2; ++c) {
      const double angle =
          static_cast<double>(t) * std::pow(10000.0, -2.0 * static_cast<double>(c) / kD);
      y[c] = x[c] * std::cos(angle) - x[c + kD / 2] * std::sin(angle);
      y[c + kD / 2] = x[c + kD / 2] * std::cos(angle) + x[c] * std::sin(angle);
    }
    return y;
  };
  const auto score = [&](std::int64_t h, std::int64_t i, std::int64_t j) {
    return kScale * Dot(turned(Row(in.q, h, i), i), turned(Row(in.k, h, j), j));
  };
  ExpectNear(Observed("rope", {}, "fp64"), Naive(score), 1e-11);
  ExpectNear(Observed("rope", {}, "fp64", 5), Naive(score, 5), 1e-11);
  ExpectNear(Observed("rope", {}, "fp32", 0, AttentionBackend::kTorch), Naive(score), 2e-5);
}

// Cable, arXiv:2503.08067, as its official code has it, without 1/sqrt(D): b_t = -sum over u <= t
// of softplus(w x_u + beta), bias b_i - b_j.
TEST(AttentionObserverTest, OfCableItSeesTheLogitsWithTheirRowsOwnPart) {
  const Inputs in;
  std::vector<Vector> b(kH);
  for (std::int64_t h = 0; h < kH; ++h) {
    double sum = 0.0;
    for (std::int64_t t = 0; t < kT; ++t) {
      double gate = in.bias.const_data_ptr<double>()[h];
      for (std::int64_t c = 0; c < kC; ++c) {
        gate += in.weight.const_data_ptr<double>()[h * kC + c] *
                in.x.const_data_ptr<double>()[t * kC + c];
      }
      sum -= std::log1p(std::exp(gate));
      b[static_cast<std::size_t>(h)].push_back(sum);
    }
  }
  const Seen expected = Naive([&](std::int64_t h, std::int64_t i, std::int64_t j) {
    const Vector& of_head = b[static_cast<std::size_t>(h)];
    return Dot(Row(in.q, h, i), Row(in.k, h, j)) + of_head[static_cast<std::size_t>(i)] -
           of_head[static_cast<std::size_t>(j)];
  });
  ExpectNear(Observed("cable", {in.weight, in.bias}, "fp64"), expected, 1e-11);
  // |b| reaches 90 here: fp32 keeps 1e-5 of it.
  ExpectNear(Observed("cable", {in.weight, in.bias}, "fp32"), expected, 1e-4);
}

// CoPE, arXiv:2405.18719, section 4: gates counted from the query to the left.
TEST(AttentionObserverTest, OfCopeItSeesTheFormula) {
  const Inputs in;
  const auto entry = [&](const Vector& q, double position) {
    double dot = 0.0;
    for (std::int64_t c = 0; c < kD; ++c) {
      dot += q[static_cast<std::size_t>(c)] *
             in.table.const_data_ptr<double>()[c * kP + static_cast<std::int64_t>(position)];
    }
    return dot;
  };
  const Seen expected = Naive([&](std::int64_t h, std::int64_t i, std::int64_t j) {
    const Vector q = Row(in.q, h, i);
    double position = 0.0;
    for (std::int64_t t = j; t <= i; ++t) {
      position += 1.0 / (1.0 + std::exp(-kScale * Dot(q, Row(in.k, h, t))));
    }
    position = std::min(position, static_cast<double>(kP - 1));
    const double share = position - std::floor(position);
    return kScale * Dot(q, Row(in.k, h, j)) + share * entry(q, std::ceil(position)) +
           (1.0 - share) * entry(q, std::floor(position));
  });
  const Json cope = {{"method", "cope"}, {"max_positions", kP}};
  ExpectNear(Observed(cope, {in.table}, "fp64"), expected, 1e-10);
}

// ---- the map of a model -------------------------------------------------------------------------

constexpr std::int64_t kTokens = 23;

std::vector<std::int32_t> Ids(std::int64_t b, std::int64_t t) {
  const at::Tensor ids = SmallTokens(b, t).to(at::kInt).contiguous();
  const std::int32_t* begin = ids.const_data_ptr<std::int32_t>();
  return {begin, begin + ids.numel()};
}

NetConfig ConfigOf(const std::string& method) {
  const bool has_table = FindPositionMethod(method).value()->has_position_table;
  return SmallConfig(method, has_table ? kTokens : 0);
}

AttentionMap MapOf(Transformer& net, const AttentionMapRequest& request) {
  const Result<AttentionMap> map = NetAttention(net).Map(request, {});
  EXPECT_TRUE(map.ok()) << map.status().message();
  return map.ok() ? *map : AttentionMap();
}

class AttentionMapTest : public testing::TestWithParam<std::string> {};

TEST_P(AttentionMapTest, EachRowSumsToOneOverVisibleKeysAndHasItsEntropy) {
  Transformer net = SmallNet(ConfigOf(GetParam()), "fp32");
  const std::vector<std::int32_t> ids = Ids(1, kTokens);
  const AttentionMap map = MapOf(net, {.tokens = ids});
  EXPECT_EQ(map.labels.at("method"), GetParam());
  EXPECT_EQ(map.layers, (std::vector<std::int64_t>{0, 1}));
  for (std::int64_t i = 0; i < kTokens; ++i) {
    double sum = 0.0, entropy = 0.0;
    for (std::int64_t j = 0; j < kTokens; ++j) {
      const double a = map.values[static_cast<std::size_t>(i * kTokens + j)];
      if (j > i) {
        EXPECT_EQ(a, 0.0);
      }
      sum += a;
      if (a > 0.0) entropy -= a * std::log(a);
    }
    EXPECT_NEAR(sum, 1.0, 1e-6);
    const auto at = static_cast<std::size_t>(i);
    EXPECT_NEAR(map.entropy[at], entropy, 1e-5);
    EXPECT_LE(map.head_entropy[at], map.entropy[at] + 1e-6);  // entropy is concave
    EXPECT_LE(map.entropy[at], std::log(static_cast<double>(i + 1)) + 1e-6);
  }
}

TEST_P(AttentionMapTest, TheMeanOverLayersHeadsAndTextsIsTheMeanOfSingleOnes) {
  Transformer net = SmallNet(ConfigOf(GetParam()), "fp32");
  const std::vector<std::int32_t> ids = Ids(2, kTokens);
  for (const auto of : {AttentionMap::Values::kProbabilities, AttentionMap::Values::kLogits}) {
    const AttentionMap whole = MapOf(net, {.tokens = ids, .n_texts = 2, .values_of = of});
    std::vector<double> mean(kTokens * kTokens), head_entropy(kTokens);
    for (const std::int64_t text : {0, 1}) {
      for (const std::int64_t layer : {0, 1}) {
        for (const std::int64_t head : {0, 1}) {
          const AttentionMap one = MapOf(
              net,
              {.tokens = std::span(ids).subspan(static_cast<std::size_t>(text * kTokens), kTokens),
               .layers = {layer},
               .heads = {head},
               .values_of = of});
          for (std::size_t n = 0; n < mean.size(); ++n) mean[n] += one.values[n] / 8.0;
          for (std::size_t i = 0; i < kTokens; ++i) head_entropy[i] += one.head_entropy[i] / 8.0;
          if (of == AttentionMap::Values::kLogits) {
            EXPECT_TRUE(one.entropy.empty());
            continue;
          }
          // Of one head both entropies are the same thing.
          for (std::size_t i = 0; i < kTokens; ++i) {
            EXPECT_NEAR(one.entropy[i], one.head_entropy[i], 1e-5);
          }
        }
      }
    }
    for (std::size_t n = 0; n < mean.size(); ++n) {
      const bool is_hidden = n % kTokens > n / kTokens;
      ASSERT_EQ(std::isnan(whole.values[n]), is_hidden && of == AttentionMap::Values::kLogits);
      if (!is_hidden) {
        EXPECT_NEAR(whole.values[n], mean[n], 1e-5 * std::max(1.0, std::abs(mean[n])));
      }
    }
    for (std::size_t i = 0; i < kTokens; ++i) {
      EXPECT_NEAR(whole.head_entropy[i], head_entropy[i], 1e-9);
    }
  }
}

TEST_P(AttentionMapTest, TheSoftmaxOfAHeadsLogitsAreItsProbabilities) {
  Transformer net = SmallNet(ConfigOf(GetParam()), "fp32");
  const std::vector<std::int32_t> ids = Ids(1, kTokens);
  AttentionMapRequest request = {.tokens = ids, .layers = {1}, .heads = {0}};
  const AttentionMap p = MapOf(net, request);
  request.values_of = AttentionMap::Values::kLogits;
  const AttentionMap s = MapOf(net, request);
  for (std::size_t i = 0; i < kTokens; ++i) {
    double sum = 0.0;
    for (std::size_t j = 0; j <= i; ++j) sum += std::exp(s.values[i * kTokens + j]);
    for (std::size_t j = 0; j <= i; ++j) {
      EXPECT_NEAR(std::exp(s.values[i * kTokens + j]) / sum, p.values[i * kTokens + j], 1e-5);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, AttentionMapTest, testing::ValuesIn(PositionMethodNames()));

TEST(NetAttentionTest, AModelWithAWindowLooksNoFurther) {
  const NetConfig config = GoldenConfig("bodies/mistral");
  Transformer net =
      Transformer::Make(config, FormulaWeights(config.model), AttentionBackend::kReference,
                        OpenCompute("cpu", "fp32").value())
          .value();
  const std::vector<std::int32_t> ids = Ids(1, 17);
  const AttentionMap map = MapOf(net, {.tokens = ids});
  EXPECT_EQ(map.window, 5);
  for (std::int64_t i = 0; i < 17; ++i) {
    double sum = 0.0;
    for (std::int64_t j = 0; j < 17; ++j) {
      const float a = map.values[static_cast<std::size_t>(i * 17 + j)];
      EXPECT_EQ(a > 0.0F, j <= i && i - j < 5) << i << " " << j;
      sum += a;
    }
    EXPECT_NEAR(sum, 1.0, 1e-6);
  }
}

// Layer 0 or 1 sees all, the other a window: the map has all,
// and a logit beyond the window is that layer's.
TEST(NetAttentionTest, OfWindowsByLayerItHasWhatAnyLayerSees) {
  const NetConfig config = GoldenConfig("bodies/qwen2_layers");
  ASSERT_FALSE(config.full_layers.empty());
  const std::int64_t window = config.model.body.window, n = 17;
  Transformer net =
      Transformer::Make(config, FormulaWeights(config.model), AttentionBackend::kReference,
                        OpenCompute("cpu", "fp32").value())
          .value();
  const std::vector<std::int32_t> ids = Ids(1, n);
  AttentionMapRequest request = {.tokens = ids, .values_of = AttentionMap::Values::kLogits};
  const AttentionMap whole = MapOf(net, request);
  EXPECT_EQ(whole.window, 0);
  std::vector<double> sum(whole.values.size()), count(whole.values.size());
  for (std::int64_t layer = 0; layer < config.model.n_layer; ++layer) {
    request.layers = {layer};
    const AttentionMap one = MapOf(net, request);
    const bool is_full = std::ranges::count(config.full_layers, layer) > 0;
    EXPECT_EQ(one.window, is_full ? 0 : window);
    for (std::size_t k = 0; k < sum.size(); ++k) {
      if (std::isnan(one.values[k])) continue;
      sum[k] += one.values[k];
      count[k] += 1.0;
    }
  }
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j <= i; ++j) {
      const auto k = static_cast<std::size_t>(i * n + j);
      EXPECT_NEAR(whole.values[k], sum[k] / count[k], 1e-4) << i << " " << j;
    }
  }
}

// Probabilities that an extension gives are those of its logits, and what it hides has none.
TEST(NetAttentionTest, UnderAnExtensionHiddenKeysHaveNoLogit) {
  constexpr std::int64_t n = 24;
  for (const Json& given : {Json{{"method", "streaming"}, {"sinks", 2}, {"recent", 5}},
                            Json{{"method", "window"}, {"window", 6}},
                            Json{{"method", "self_extend"}, {"group", 4}, {"window", 4}},
                            Json{{"method", "gali"}, {"local_window", 4}}}) {
    Json with_length = given;
    with_length["original_length"] = 12;
    NetConfig config = SmallConfig("rope");
    config.extension = ResolveExtension(with_length).value();
    Transformer net = SmallNet(config, "fp32");
    const std::vector<std::int32_t> ids = Ids(1, n);
    AttentionMapRequest request = {.tokens = ids, .layers = {1}, .heads = {0}};
    const AttentionMap p = MapOf(net, request);
    request.values_of = AttentionMap::Values::kLogits;
    const AttentionMap s = MapOf(net, request);
    EXPECT_TRUE(s.labels.at("extension").starts_with(given.at("method").get<std::string>()));
    EXPECT_EQ(s.window, given.at("method") == "window" ? 6 : 0);
    for (std::int64_t i = 0; i < n; ++i) {
      double sum = 0.0;
      for (std::int64_t j = 0; j <= i; ++j) {
        const float logit = s.values[static_cast<std::size_t>(i * n + j)];
        const bool is_hidden = given.at("method") == "streaming" ? j >= 2 && i - j >= 5
                               : given.at("method") == "window"  ? i - j >= 6
                                                                 : false;
        ASSERT_EQ(std::isnan(logit), is_hidden) << given << i << " " << j;
        if (!is_hidden) sum += std::exp(logit);
      }
      for (std::int64_t j = 0; j <= i; ++j) {
        const auto k = static_cast<std::size_t>(i * n + j);
        const double expected = std::isnan(s.values[k]) ? 0.0 : std::exp(s.values[k]) / sum;
        EXPECT_NEAR(p.values[k], expected, 1e-5) << given << i << " " << j;
      }
    }
    // Pooled, a cell is the mean of what is not hidden.
    const AttentionMap pooled = PoolMap(s, 6, AttentionMap::Pool::kMean);
    for (std::int64_t r = 0; r < 6; ++r) {
      for (std::int64_t c = 0; c < 6; ++c) {
        double sum = 0.0, count = 0.0;
        for (std::int64_t i = 4 * r; i < 4 * r + 4; ++i) {
          for (std::int64_t j = 4 * c; j < 4 * c + 4; ++j) {
            const float logit = s.values[static_cast<std::size_t>(i * n + j)];
            if (j > i || std::isnan(logit)) continue;
            sum += logit;
            count += 1.0;
          }
        }
        const float value = pooled.values[static_cast<std::size_t>(r * 6 + c)];
        ASSERT_EQ(std::isnan(value), count == 0.0) << given << r << " " << c;
        if (count > 0.0) {
          EXPECT_NEAR(value, sum / count, 1e-5);
        }
      }
    }
  }
}

TEST(NetAttentionTest, WhatAModelHasNotIsRefusedByName) {
  Transformer net = SmallNet(ConfigOf("learned"), "fp32");
  const std::vector<std::int32_t> ids = Ids(1, kTokens);
  const auto refusal = [&](const AttentionMapRequest& request) {
    return NetAttention(net).Map(request, {}).status();
  };
  EXPECT_EQ(refusal({.tokens = ids, .layers = {2}}).message(),
            "there is no layer 2: the model has 2, numbered from 0");
  EXPECT_EQ(refusal({.tokens = ids, .heads = {0, 7}}).message(),
            "there is no head 7: the model has 2, numbered from 0");
  EXPECT_EQ(refusal({.tokens = ids, .layers = {2}}).code(), Code::kOutOfRange);
  const std::vector<std::int32_t> longer = Ids(1, kTokens + 1);
  EXPECT_EQ(refusal({.tokens = longer}).code(), Code::kOutOfRange);
  const std::vector<std::int32_t> wild = {0, 13, 1};
  EXPECT_EQ(refusal({.tokens = wild}).message(),
            "token 1 has id 13, but the model has the ids 0 to 12");
}

TEST(NetAttentionTest, ItCanBeStoppedBetweenLayersAndReadsNoMoreThanItNeeds) {
  Transformer net = SmallNet(ConfigOf("rope"), "fp32");
  NetScorer scorer(net);
  const std::vector<std::int32_t> ids = Ids(2, kTokens);
  std::vector<std::pair<std::int64_t, std::int64_t>> steps;
  const auto count = [&](std::int64_t done, std::int64_t of) {
    steps.emplace_back(done, of);
    return steps.size() < 4;
  };
  EXPECT_EQ(scorer.attention()->Map({.tokens = ids, .n_texts = 2}, count).status().code(),
            Code::kCancelled);
  EXPECT_EQ(steps, (decltype(steps){{0, 4}, {1, 4}, {2, 4}, {3, 4}}));
  steps.clear();
  EXPECT_TRUE(scorer.attention()->Map({.tokens = ids, .n_texts = 2, .layers = {0}}, count).ok());
  EXPECT_EQ(steps, (decltype(steps){{0, 2}, {1, 2}}));
}

}  // namespace
}  // namespace longrun
