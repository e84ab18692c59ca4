// Attention under an extension that moves keys or hides them (model/extension/reading.h): the
// vectors of a numpy program of the published formulas, and attention pair by pair as the formulas
// of tests/kernels/region_methods.h say it.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/max.h>
#include <ATen/ops/sin.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <numbers>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/str.h"
#include "model/extension/extension.h"
#include "model/net/attention.h"
#include "model/net/decoder.h"
#include "model/net/planned_reading.h"
#include "model/position/method.h"
#include "tests/commit_seed.h"
#include "tests/kernels/region_methods.h"
#include "tests/model/net/small_model.h"

namespace longrun {
namespace {

using testing::RegionMethod;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double MaxDifference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

// Sequences of queries [q_begin, q_begin + n_query) and keys up to the last of them.
struct Problem {
  Stretch stretch = {};
  AttentionShape shape = {};
  at::Tensor q_BHTD = {}, k_BHTD = {}, v_BHTD = {};
  std::int64_t layer = 0;

  TermSpec Terms(const Json& position) const {
    const PositionConfig config = ResolvePosition(position).value();
    return FindPositionMethod(config.method).value()->terms(config.params, shape).value();
  }
  at::Tensor Output(const Json& given, const Json& position, const std::string& precision,
                    AttentionBackend backend) const {
    const Compute compute = OpenCompute("cpu", precision).value();
    const TermSpec terms = Terms(position);
    Attention attention = Attention::Make(terms, "rope", shape, backend, compute).value();
    // At once: what an extension does in pieces is tried by networks.
    const Json params = ResolveExtension(given).value();
    Extension extension = **FindExtension(params.at("method").get<std::string>());
    extension.piece = nullptr;
    ReadingPlanner planner(extension, params);
    const at::NoGradGuard no_grad;
    return attention.Forward({.q_BHTD = q_BHTD.to(compute.product),
                              .k_BHTD = k_BHTD.to(compute.product),
                              .v_BHTD = v_BHTD.to(compute.product),
                              .x_BTC = {},
                              .learned = {},
                              .scale = terms.scale,
                              .reading = &planner,
                              .layer = layer});
  }
};

at::Tensor Wave(const std::vector<std::int64_t>& shape, double a, double b) {
  std::int64_t n = 1;
  for (const std::int64_t size : shape) n *= size;
  return at::sin(at::arange(n, at::kDouble) * a + b).view(shape);
}

Problem FixedProblem(std::int64_t n_head, std::int64_t n, std::int64_t d) {
  return {.stretch = {.n_query = n},
          .shape = {.n_head = n_head, .head_dim = d, .d_model = n_head * d, .causal = true},
          .q_BHTD = Wave({1, n_head, n, d}, 0.37, 0.11),
          .k_BHTD = Wave({1, n_head, n, d}, 0.53, 0.29),
          .v_BHTD = Wave({1, n_head, n, d}, 0.71, 0.05)};
}

// The sum of x[n] cos(0.05 n + 0.3).
double Digest(const at::Tensor& x) {
  const at::Tensor weight = at::cos(at::arange(x.numel(), at::kDouble) * 0.05 + 0.3);
  return (x.reshape({-1}) * weight).sum().item<double>();
}

TEST(ReadingNetTest, TheVectorsOfTheMethodsComeOut) {
  struct Case {
    std::int64_t n;
    Json given;
    double digest;
  };
  const std::vector<Case> cases = {
      {9,
       {{"method", "streaming"}, {"sinks", 2}, {"recent", 4}, {"original_length", 6}},
       0.145814230},
      {9,
       {{"method", "lm_infinite"},
        {"local", 4},
        {"global", 2},
        {"limit", 4},
        {"original_length", 4}},
       0.140621521},
      {9,
       {{"method", "rerope"}, {"window", 3}, {"logn", false}, {"original_length", 4}},
       0.241346548},
      {9, {{"method", "rerope"}, {"window", 3}, {"original_length", 4}}, 0.243631203},
      {9,
       {{"method", "leaky_rerope"},
        {"window", 3},
        {"k", 2},
        {"logn", false},
        {"original_length", 4}},
       0.156811240},
      {12,
       {{"method", "self_extend"}, {"group", 3}, {"window", 4}, {"original_length", 8}},
       1.522753202},
      {12,
       {{"method", "self_extend"},
        {"group", 3},
        {"window", 4},
        {"float_offset", true},
        {"original_length", 8}},
       1.572884765},
      {12,
       {{"method", "self_extend"}, {"group", 2}, {"window", 4}, {"original_length", 8}},
       1.515952655},
      {24, {{"method", "dca"}, {"original_length", 16}}, 0.917632108},
      {24, {{"method", "dca"}, {"temperature", 0.1}, {"original_length", 16}}, 0.851717563},
      {24, {{"method", "dca"}, {"local_window", 1}, {"original_length", 16}}, 0.953774231},
      {12, {{"method", "gali"}, {"local_window", 2}, {"original_length", 8}}, 1.877261317}};
  for (const Case& one : cases) {
    const Problem problem = FixedProblem(2, one.n, 8);
    const at::Tensor o = problem.Output(one.given, "rope", "fp64", AttentionBackend::kReference);
    EXPECT_NEAR(Digest(o), one.digest, 1e-6) << one.given.dump();
  }
}

// Runs of transformers' frequencies in an attention of its own, at positions 0 to 5.
TEST(ReadingNetTest, TheVectorsOfScaledFrequenciesComeOut) {
  const Problem problem = FixedProblem(2, 6, 16);
  const auto digest = [&](const Json& given) {
    const Json params = ResolveExtension(given).value();
    const ExtendedRotation rotation = FindExtension(params.at("method").get<std::string>())
                                          .value()
                                          ->rotation(params, {.base = 10000.0, .n_rotary = 16}, 6)
                                          .value();
    const TermSpec terms = problem.Terms("rope");
    Attention attention =
        Attention::Make(terms, "rope", problem.shape, AttentionBackend::kReference,
                        OpenCompute("cpu", "fp64").value())
            .value();
    attention.SetRotation(rotation.frequency, rotation.magnitude);
    const at::NoGradGuard no_grad;
    return Digest(attention.Forward({.q_BHTD = problem.q_BHTD,
                                     .k_BHTD = problem.k_BHTD,
                                     .v_BHTD = problem.v_BHTD,
                                     .x_BTC = {},
                                     .learned = {},
                                     .scale = terms.scale}));
  };
  EXPECT_NEAR(digest({{"method", "pi"}, {"factor", 1}}), 2.394553666, 1e-8);
  EXPECT_NEAR(digest({{"method", "ntk"}, {"factor", 4}}), 2.364519718, 1e-8);
  Json yarn = {{"method", "yarn"}, {"factor", 8}, {"original_length", 256}};
  EXPECT_NEAR(digest(yarn), 2.703218563, 1e-8);
  yarn["attention_factor"] = 1.0;  // without the magnitude
  EXPECT_NEAR(digest(yarn), 2.357217765, 1e-8);
}

// GALI's noise, as the header of model/extension/gali.cc says it.
struct LiteralNoise {
  bool is_gaussian = true;
  double std = 1.0;
  std::uint64_t seed = 1;

  // By the formulas of model/extension/score_noise.h.
  double Drawn(std::int64_t layer, std::int64_t head, std::int64_t i, std::int64_t j) const {
    const auto word = [](std::int64_t x) { return static_cast<std::uint32_t>(x); };
    const auto words = Philox4x32(
        std::array{word(j / 4), word(i), word(head), word(layer)},
        std::array{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
    const auto u = [&](std::int64_t k) {
      return (static_cast<double>(words.at(static_cast<std::size_t>(k))) + 0.5) / 4294967296.0;
    };
    const std::int64_t k = j % 4, even = k - k % 2;
    if (!is_gaussian) return u(k);
    const double angle = 2.0 * std::numbers::pi * u(even + 1);
    return std::sqrt(-2.0 * std::log(u(even))) * (k % 2 == 0 ? std::cos(angle) : std::sin(angle));
  }
};

struct Case {
  Json given;
  RegionMethod method;
  double temperature = 0.0;  // of dca
  std::int64_t logn = 0;     // the original length, with logn
  std::optional<LiteralNoise> noise = {};
};

std::vector<Case> AnyCases(const Stretch& stretch, SeededRandom& random) {
  const testing::Stretch n = {
      .n_query = stretch.n_query, .n_key = stretch.n_key(), .q_offset = stretch.q_begin};
  const auto between = [&](std::int64_t from, std::int64_t to) {
    return from +
           static_cast<std::int64_t>(random.Below(static_cast<std::uint64_t>(to - from + 1)));
  };
  const std::int64_t original = between(8, 60), w = between(1, original - 1), g = between(1, 6);
  const std::int64_t s = 3 * original / 4, local_window = between(1, s - 1);
  const std::int64_t sinks = between(1, 9), limit = between(1, 50);
  const auto given = [&](Json params) {
    params["original_length"] = original;
    return params;
  };
  const auto noisy = [&](const char* noise, const char* precision) {
    const LiteralNoise literal = {.is_gaussian = noise == std::string("gaussian"),
                                  .std = 2.0 * random.Uniform(),
                                  .seed = random.Next() >> 12};
    return Case{.given = given({{"method", "gali"},
                                {"local_window", w},
                                {"noise", noise},
                                {"noise_std", literal.std},
                                {"noise_seed", literal.seed},
                                {"rel_precision", precision}}),
                .method = precision == std::string("fp32") ? Gali(n, original, w)
                                                           : GaliInBf16(n, original, w),
                .noise = literal};
  };
  return {
      {given({{"method", "self_extend"}, {"group", g}, {"window", w}}), SelfExtend(n, g, w)},
      {given({{"method", "self_extend"}, {"group", g}, {"window", w}, {"float_offset", true}}),
       SelfExtend(n, g, w, true)},
      {given({{"method", "dca"}, {"local_window", local_window}, {"temperature", 0.1}}),
       ChunkLlama(n, s - local_window, s),
       stretch.n_key() > original
           ? 0.1 * std::log(static_cast<double>(stretch.n_key()) / static_cast<double>(original))
           : 0.0},
      {given({{"method", "rerope"}, {"window", w}}), ReRope(n, w, 0), 0.0, original},
      {given({{"method", "leaky_rerope"}, {"window", w}, {"k", g}, {"logn", false}}),
       ReRope(n, w, g)},
      {given({{"method", "lm_infinite"}, {"local", w}, {"global", sinks}, {"limit", limit}}),
       LmInfinite(n, w, sinks, limit)},
      {given({{"method", "streaming"}, {"sinks", sinks}, {"recent", w}}),
       StreamingLlm(n, sinks, w)},
      {given({{"method", "gali"}, {"local_window", w}}), Gali(n, original, w)},
      {given({{"method", "gali"}, {"local_window", w}, {"rel_precision", "bf16_compat"}}),
       GaliInBf16(n, original, w)},
      noisy("gaussian", "fp32"),
      noisy("uniform", "fp32"),
      noisy("gaussian", "bf16_compat"),
      noisy("uniform", "bf16_compat"),
      {given({{"method", "window"}, {"window", w}}),
       {.name = "a window",
        .sees = [w](std::int64_t p, std::int64_t j) { return p - j < w; },
        .distance = [](std::int64_t p, std::int64_t j) { return static_cast<double>(p - j); }}}};
}

// Attention by the definition alone, one pair after the other, in double: the first n_rotary
// channels of q and k are turned against each other by distance * frequency.
at::Tensor Literal(const Problem& problem, const Case& one, const Rotation& rotation,
                   double scale) {
  const at::Tensor q = problem.q_BHTD.contiguous(), k = problem.k_BHTD.contiguous(),
                   v = problem.v_BHTD.contiguous();
  at::Tensor o = at::empty_like(q);
  const std::int64_t n_head = q.size(1), n_query = q.size(2), d = q.size(3);
  const std::int64_t n_kv = k.size(1), n_key = k.size(2);
  const auto n_pairs = static_cast<std::int64_t>(rotation.frequency.size());
  const bool is_half = rotation.layout == Rotation::Layout::kHalf;
  for (std::int64_t bh = 0; bh < q.size(0) * n_head; ++bh) {
    const std::int64_t b = bh / n_head, kv = b * n_kv + bh % n_head / (n_head / n_kv);
    for (std::int64_t i = 0; i < n_query; ++i) {
      const std::int64_t p = problem.stretch.q_begin + i;
      const double* q_row = q.const_data_ptr<double>() + (bh * n_query + i) * d;
      double factor = (one.temperature + 1.0) * (one.temperature + 1.0);
      if (one.logn > 0) {
        factor = std::max(
            1.0, std::log(static_cast<double>(p + 1)) / std::log(static_cast<double>(one.logn)));
      }
      std::vector<double> s(static_cast<std::size_t>(p + 1), -kInfinity);
      double max = -kInfinity;
      for (std::int64_t j = 0; j <= p; ++j) {
        if (!one.method.sees(p, j)) continue;
        const double* k_row = k.const_data_ptr<double>() + (kv * n_key + j) * d;
        const auto score = [&](double distance) {
          double sum = 0.0;
          for (std::int64_t c = 2 * n_pairs; c < d; ++c) sum += q_row[c] * k_row[c];
          for (std::int64_t c = 0; c < n_pairs; ++c) {
            const std::int64_t x = is_half ? c : 2 * c, y = is_half ? c + n_pairs : 2 * c + 1;
            const double angle = distance * rotation.frequency[static_cast<std::size_t>(c)];
            sum += std::cos(angle) * (q_row[x] * k_row[x] + q_row[y] * k_row[y]) +
                   std::sin(angle) * (q_row[x] * k_row[y] - q_row[y] * k_row[x]);
          }
          return sum * scale * factor;
        };
        double total = score(one.method.distance(p, j));
        if (one.method.weight) {
          const double weight = one.method.weight(p, j);
          total = (1.0 - weight) * total + weight * score(one.method.other_distance(p, j));
        }
        s[static_cast<std::size_t>(j)] = total;
        max = std::max(max, s[static_cast<std::size_t>(j)]);
      }
      if (one.noise && p < problem.stretch.n_text()) {
        const double max_before = max;
        for (std::int64_t j = 0; j <= p; ++j) {
          if (one.method.weight(p, j) == 0.0) continue;
          const double share =
              static_cast<double>(p - j) / static_cast<double>(problem.stretch.n_text());
          s[static_cast<std::size_t>(j)] += one.noise->Drawn(problem.layer, bh % n_head, p, j) *
                                            one.noise->std * share *
                                            (one.noise->is_gaussian ? 1.0 : max_before);
        }
        max = *std::ranges::max_element(s);
      }
      double total = 0.0;
      std::vector<double> row(static_cast<std::size_t>(d), 0.0);
      for (std::int64_t j = 0; j <= p; ++j) {
        const double weight = std::exp(s[static_cast<std::size_t>(j)] - max);
        const double* v_row = v.const_data_ptr<double>() + (kv * n_key + j) * d;
        for (std::int64_t c = 0; c < d; ++c) row[static_cast<std::size_t>(c)] += weight * v_row[c];
        total += weight;
      }
      double* o_row = o.data_ptr<double>() + (bh * n_query + i) * d;
      for (std::int64_t c = 0; c < d; ++c) o_row[c] = row[static_cast<std::size_t>(c)] / total;
    }
  }
  return o;
}

TEST(ReadingNetTest, AnyStretchIsWhatTheFormulasSayPairByPair) {
  SeededRandom random(testing::CommitSeed());
  const std::vector<Json> positions = {"rope",
                                       {{"method", "rope"}, {"layout", "interleaved"}},
                                       {{"method", "rope"}, {"partial", 0.5}}};
  for (int draw = 0; draw < 12; ++draw) {
    // Several tiles of keys and blocks of queries now and then.
    const std::int64_t longest = draw % 4 == 0 ? 400 : 60;
    const auto n_query =
        static_cast<std::int64_t>(1 + random.Below(static_cast<std::uint64_t>(longest)));
    const Stretch stretch = {.q_begin = static_cast<std::int64_t>(random.Below(90)),
                             .n_query = n_query};
    const auto n_sequences = static_cast<std::int64_t>(1 + random.Below(3));
    const std::int64_t n_kv_head = random.Below(2) == 0 ? 2 : 1, d = 16;
    const double phase = random.Uniform();
    const Problem problem = {
        .stretch = stretch,
        .shape =
            {.n_head = 2, .head_dim = d, .d_model = 2 * d, .causal = true, .n_kv_head = n_kv_head},
        .q_BHTD = Wave({n_sequences, 2, n_query, d}, 0.37, phase) * 2.0,
        .k_BHTD = Wave({n_sequences, n_kv_head, stretch.n_key(), d}, 0.53, phase) * 2.0,
        .v_BHTD = Wave({n_sequences, n_kv_head, stretch.n_key(), d}, 0.71, phase),
        .layer = static_cast<std::int64_t>(random.Below(100))};
    const Json& position = positions[random.Below(positions.size())];
    const TermSpec terms = problem.Terms(position);
    for (const Case& one : AnyCases(stretch, random)) {
      SCOPED_TRACE(one.given.dump() + " " + position.dump() + ", queries " +
                   std::to_string(stretch.q_begin) + " + " + std::to_string(n_query) + ", seed " +
                   std::to_string(testing::CommitSeed()));
      const at::Tensor expected = Literal(problem, one, *terms.rotation, terms.scale);
      const auto error = [&](const char* precision, AttentionBackend backend) {
        return MaxDifference(problem.Output(one.given, position, precision, backend), expected);
      };
      EXPECT_LT(error("fp64", AttentionBackend::kReference), 1e-9);
      EXPECT_LT(error("fp32", AttentionBackend::kReference), 2e-5);
      EXPECT_LT(error("fp32", AttentionBackend::kFused), 2e-5);
      EXPECT_LT(error("bf16", AttentionBackend::kFused), 0.1);
      EXPECT_LT(error("fp16", AttentionBackend::kFused), 0.1 / 8);
      EXPECT_LT(error("fp16", AttentionBackend::kReference), 0.1 / 8);
    }
  }
}

// ---- networks ----------------------------------------------------------------------------------

const std::vector<Json>& AllReadings() {
  static const std::vector<Json> all = {
      {{"method", "self_extend"}, {"group", 7}, {"window", 20}, {"original_length", 64}},
      {{"method", "self_extend"},
       {"group", 7},
       {"window", 20},
       {"float_offset", true},
       {"original_length", 64}},
      {{"method", "dca"}, {"original_length", 64}},
      {{"method", "rerope"}, {"window", 20}, {"original_length", 64}},
      {{"method", "leaky_rerope"}, {"window", 20}, {"k", 7}, {"original_length", 64}},
      {{"method", "lm_infinite"}, {"local", 50}, {"original_length", 64}},
      {{"method", "streaming"}, {"original_length", 64}},
      {{"method", "gali"}, {"local_window", 20}, {"original_length", 64}},
      {{"method", "gali"}, {"local_window", 20}, {"chunk", 100}, {"original_length", 64}},
      {{"method", "gali"},
       {"local_window", 20},
       {"chunk", 100},
       {"noise", "gaussian"},
       {"original_length", 64}},
      {{"method", "gali"},
       {"local_window", 20},
       {"noise", "uniform"},
       {"rel_precision", "bf16_compat"},
       {"original_length", 64}},
      {{"method", "window"}, {"original_length", 64}}};
  return all;
}

NetConfig ReadingConfig(const Json& given, const std::string& architecture) {
  NetConfig config = SmallConfig("rope");
  config.model.d_model = 32;  // the fused attention has heads of 8, 16, ... channels
  if (architecture != "gpt2") config = WithBody(config, architecture);
  config.extension = ResolveExtension(given).value();
  return config;
}

// After the first n tokens of a text that is read at once.
at::Tensor LogitsAfter(Transformer& net, const at::Tensor& ids_BT, std::int64_t n) {
  const at::NoGradGuard no_grad;
  return HeadLogits(net.Hidden(ids_BT).select(1, n - 1), net.head(), net.compute());
}

at::Tensor Logits(Transformer& net, const at::Tensor& ids_BT) {
  return LogitsAfter(net, ids_BT, ids_BT.size(1));
}

TEST(ReadingNetTest, WithinItsLengthAWindowOrSinksChangeNothing) {
  const at::Tensor ids_BT = SmallTokens(2, 48);
  for (const char* method : {"window", "streaming", "lm_infinite"}) {
    const NetConfig config = ReadingConfig({{"method", method}, {"original_length", 64}}, "llama");
    NetConfig plain = config;
    plain.extension = Json();
    Transformer net = SmallNet(config, "fp64"), as_trained = SmallNet(plain, "fp64");
    EXPECT_LT(MaxDifference(Logits(net, ids_BT), Logits(as_trained, ids_BT)), 1e-12) << method;
  }
}

// Pieces that add up to n tokens: half of them single tokens, as in generation.
std::vector<std::int64_t> DrawCuts(std::int64_t n, SeededRandom& random) {
  std::vector<std::int64_t> cuts;
  while (n > 0) {
    const std::uint64_t longest = random.Chance(0.5) ? 1 : 160;
    cuts.push_back(std::min(n, static_cast<std::int64_t>(1 + random.Below(longest))));
    n -= cuts.back();
  }
  return cuts;
}

TEST(ReadingNetTest, CutsAndSingleTokensGiveTheLogitsOfTheTextAtOnce) {
  constexpr std::int64_t kTokens = 300;
  const std::uint64_t seed = testing::CommitSeed();
  SeededRandom random(seed);
  for (const Json& given : AllReadings()) {
    for (const char* architecture : {"gpt2", "llama"}) {
      const std::vector<std::int64_t> cuts = DrawCuts(kTokens, random);
      const auto n_sequences = static_cast<std::int64_t>(1 + random.Below(3));
      const at::Tensor ids_BT = SmallTokens(n_sequences, kTokens);
      SCOPED_TRACE(Str("seed ", seed, " ", given.dump(), " ", architecture, " ", n_sequences,
                       " sequences, cuts ", Json(cuts).dump()));
      const NetConfig config = ReadingConfig(given, architecture);
      Transformer exact = SmallNet(config, "fp64");
      Transformer fused = SmallNet(config, "fp32", 7, AttentionBackend::kFused);
      const double size = Logits(exact, ids_BT).abs().max().item<double>();
      Decoder decoder = Decoder::Make(exact, n_sequences, kTokens).value();
      Decoder in_fp32 = Decoder::Make(fused, n_sequences, kTokens).value();
      for (const std::int64_t cut : cuts) {
        const at::Tensor next_BT = ids_BT.narrow(1, decoder.n_fed(), cut);
        const std::int64_t n_to_come = kTokens - decoder.n_fed() - cut;
        const at::Tensor found = decoder.Feed(next_BT, n_to_come);
        const at::Tensor expected = LogitsAfter(exact, ids_BT, decoder.n_fed());
        EXPECT_LT(MaxDifference(found, expected), 1e-11) << "token " << decoder.n_fed();
        EXPECT_LT(MaxDifference(in_fp32.Feed(next_BT, n_to_come), expected), 1e-5 * size)
            << "token " << decoder.n_fed();
      }
      ASSERT_EQ(decoder.n_fed(), kTokens);
      EXPECT_LT(MaxDifference(Logits(fused, ids_BT), Logits(exact, ids_BT)), 1e-5 * size);
    }
  }
}

// What a text gets when it is generated: each token is a piece of its own. Its keys stand elsewhere
// with each token, and so do those of a prompt that ends within a chunk.
TEST(ReadingNetTest, GaliWritesTokenByTokenWhatAChunkOfOneReads) {
  Json given = {{"method", "gali"}, {"local_window", 20}, {"chunk", 1}, {"original_length", 64}};
  const at::Tensor ids_BT = SmallTokens(2, 400);
  Transformer one = SmallNet(ReadingConfig(given, "llama"), "fp64");
  given["chunk"] = 100;
  Transformer hundred = SmallNet(ReadingConfig(given, "llama"), "fp64");
  Transformer fused = SmallNet(ReadingConfig(given, "llama"), "fp32", 7, AttentionBackend::kFused);
  const double size = Logits(one, ids_BT).abs().max().item<double>();
  Decoder decoder = Decoder::Make(hundred, 2, 400).value();
  Decoder in_fp32 = Decoder::Make(fused, 2, 400).value();
  decoder.Feed(ids_BT.narrow(1, 0, 64));
  in_fp32.Feed(ids_BT.narrow(1, 0, 64));
  for (std::int64_t t = 64; t < 400; ++t) {
    const at::Tensor next_BT = ids_BT.narrow(1, t, 1);
    const at::Tensor found = decoder.Feed(next_BT), found_in_fp32 = in_fp32.Feed(next_BT);
    if (t % 67 != 0 && t != 399) continue;
    const at::Tensor expected = LogitsAfter(one, ids_BT, t + 1);
    EXPECT_LT(MaxDifference(found, expected), 1e-11) << "token " << t;
    EXPECT_LT(MaxDifference(found_in_fp32, expected), 1e-5 * size) << "token " << t;
  }
  // A chunk of 100 is not the same: the queries in it have no distances of their own.
  EXPECT_GT(MaxDifference(Logits(hundred, ids_BT), Logits(one, ids_BT)), 1e-3);
}

// ---- noise -------------------------------------------------------------------------------------

Json NoisyGali(const char* noise, double std, std::int64_t seed) {
  return {{"method", "gali"}, {"local_window", 20}, {"noise", noise},
          {"noise_std", std}, {"noise_seed", seed}, {"original_length", 64}};
}

TEST(ReadingNetTest, NoiseOfStandardDeviationZeroIsNoNoise) {
  const at::Tensor ids_BT = SmallTokens(2, 200);
  Json none = NoisyGali("none", 0.0, 1);
  none.erase("noise_std");
  none.erase("noise_seed");
  Transformer plain = SmallNet(ReadingConfig(none, "llama"), "fp64");
  const at::Tensor expected = Logits(plain, ids_BT);
  for (const char* noise : {"gaussian", "uniform"}) {
    Transformer silent = SmallNet(ReadingConfig(NoisyGali(noise, 0.0, 1), "llama"), "fp64");
    EXPECT_EQ(MaxDifference(Logits(silent, ids_BT), expected), 0.0) << noise;
    Transformer noisy = SmallNet(ReadingConfig(NoisyGali(noise, 1.0, 1), "llama"), "fp64");
    EXPECT_GT(MaxDifference(Logits(noisy, ids_BT), expected), 1e-6) << noise;
  }
}

TEST(ReadingNetTest, NoiseDependsOnTheSeedAndNotOnTheBatch) {
  const at::Tensor ids_BT = SmallTokens(3, 200);
  for (const char* noise : {"gaussian", "uniform"}) {
    Transformer net = SmallNet(ReadingConfig(NoisyGali(noise, 1.0, 1), "llama"), "fp64");
    const at::Tensor together = Logits(net, ids_BT);
    for (std::int64_t b = 0; b < 3; ++b) {
      const at::Tensor alone = Logits(net, ids_BT.narrow(0, b, 1));
      EXPECT_LT(MaxDifference(alone, together.narrow(0, b, 1)), 1e-12) << noise;
    }
    Transformer other = SmallNet(ReadingConfig(NoisyGali(noise, 1.0, 2), "llama"), "fp64");
    EXPECT_GT(MaxDifference(Logits(other, ids_BT), together), 1e-6) << noise;
  }
}

// If all queries are 0, scores are noise alone.
TEST(ReadingNetTest, EachLayerAndHeadHasItsOwnNoise) {
  constexpr std::int64_t kTokens = 150;
  NetConfig config = ReadingConfig(NoisyGali("gaussian", 1.5, 3), "llama");
  config.model.n_layer = 3;
  const std::vector<ParameterSpec> specs = ParametersOf(config.model).value();
  ParameterMap parameters = InitialParameters(specs, 7);
  for (auto& [name, tensor] : parameters) {
    if (name.find("q_proj") != std::string::npos) tensor.zero_();
  }
  // As one chunk: the positions are those of the whole text.
  config.extension["chunk"] = kTokens - 64;
  Transformer net = Transformer::Make(config, std::move(parameters), AttentionBackend::kFused,
                                      OpenCompute("cpu", "fp32").value())
                        .value();
  const RegionMethod gali = testing::Gali({.n_query = kTokens, .n_key = kTokens}, 64, 20);
  const LiteralNoise noise = {.std = 1.5, .seed = 3};
  std::int64_t n_noisy = 0;
  std::int64_t layer = -1;
  const auto compare = [&](const AttentionBlock& block) {
    const at::Tensor scores_BHQK = block.scores_BHQK.to(at::kDouble);
    for (std::int64_t i = 0; i < scores_BHQK.size(2); ++i) {
      const std::int64_t p = block.q_begin + i;
      if (p < 64) continue;
      for (std::int64_t h = 0; h < scores_BHQK.size(1); ++h) {
        const at::Tensor row_K = scores_BHQK.select(0, 0).select(0, h).select(0, i).contiguous();
        for (std::int64_t j = 0; j <= p; ++j) {
          const bool is_noisy = gali.weight(p, j) != 0.0;
          const double expected =
              is_noisy ? noise.Drawn(layer, h, p, j) * 1.5 * static_cast<double>(p - j) / kTokens
                       : 0.0;
          ASSERT_NEAR(row_K.const_data_ptr<double>()[j], expected, 1e-6)
              << "layer " << layer << " head " << h << " query " << p << " key " << j;
          n_noisy += is_noisy ? 1 : 0;
        }
      }
    }
  };
  ASSERT_TRUE(net.Observe(SmallTokens(1, kTokens), 3, [&](std::int64_t l, AttentionObserver& see) {
    layer = l;
    see = compare;
    return true;
  }));
  EXPECT_EQ(layer, 2);
  EXPECT_GT(n_noisy, 1000);
}

TEST(ReadingNetTest, ATemperatureByLengthHasNoCacheBeyondTheOriginalLength) {
  Transformer net = SmallNet(
      ReadingConfig({{"method", "dca"}, {"temperature", 0.1}, {"original_length", 64}}, "llama"),
      "fp64");
  EXPECT_EQ(net.CachedLengthMax(), 64);
  EXPECT_EQ(Decoder::Make(net, 1, 65).status().code(), Code::kUnimplemented);
}

TEST(ReadingNetTest, WhatCannotBeReadSaysSo) {
  const Json given = {{"method", "window"}, {"original_length", 64}};
  const auto made = [](const NetConfig& config, AttentionBackend backend) {
    const std::vector<ParameterSpec> specs = ParametersOf(config.model).value();
    return Transformer::Make(config, InitialParameters(specs, 7), backend,
                             OpenCompute("cpu", "fp32").value())
        .status();
  };
  EXPECT_EQ(made(ReadingConfig(given, "llama"), AttentionBackend::kTorch).message(),
            "attention back-end \"torch\" supports only one position for each key, but extension "
            "window moves keys: use "
            "the back-end \"auto\", \"fused\" or \"reference\"");
  EXPECT_EQ(made(ReadingConfig(given, "mistral"), AttentionBackend::kReference).message(),
            "extend.method: window needs a causal model that sees all keys, but this one has "
            "a sliding window of 5 tokens");
}

}  // namespace
}  // namespace longrun
