// The error of a mean NLL from the text: against an independent implementation, and by simulation.
#include "model/evaluation/text_error.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "base/random.h"
#include "model/evaluation/perplexity.h"
#include "model/evaluation/protocol.h"

namespace longrun {
namespace {

std::vector<ClusterSum> Blocks(const std::vector<double>& sums, std::int64_t n) {
  std::vector<ClusterSum> blocks;
  for (const double sum : sums) {
    blocks.push_back({.id = static_cast<std::int64_t>(blocks.size()), .n = n, .nll_sum = sum});
  }
  return blocks;
}

// The expected numbers are NumPy's, from the header's formulas with numpy.linalg.inv and slogdet.
TEST(BlockStandardErrorTest, AgreesWithAnIndependentImplementation) {
  const auto drifting = Blocks({10.5, 11.25, 12.0, 11.5, 12.5, 13.0, 13.25, 12.75, 11.0, 10.75,
                                10.0, 9.5, 9.75, 10.25, 11.5, 12.25},
                               5);
  EXPECT_NEAR(BlockStandardError(drifting).value(), 0.15702320389439, 1e-12);
  const auto alternating = Blocks({10.5, 13.25, 9.0, 12.5, 10.5, 13.0, 9.25, 12.75, 11.0, 13.75,
                                   9.0, 13.5, 9.75, 12.25, 9.5, 12.25},
                                  5);
  EXPECT_NEAR(BlockStandardError(alternating).value(), 0.102844613974167, 1e-12);
  auto unequal = Blocks({10.5, 3.25, 12.0, 11.5}, 5);
  unequal[1].n = 2;
  unequal[3].n = 4;
  EXPECT_NEAR(BlockStandardError(unequal).value(), 0.271803430832349, 1e-12);
}

// Blocks that drift are worth fewer than blocks that do not: the ratio estimator gives 0.059 and
// 0.086 for the two series of sixteen.
TEST(BlockStandardErrorTest, ExceedsTheRatioEstimatorWhereBlocksResembleTheirNeighbours) {
  const auto drifting = Blocks({10.5, 11.25, 12.0, 11.5, 12.5, 13.0, 13.25, 12.75, 11.0, 10.75,
                                10.0, 9.5, 9.75, 10.25, 11.5, 12.25},
                               5);
  EXPECT_GT(BlockStandardError(drifting).value(), 2.5 * StandardError(drifting).value());
}

// With two blocks, y = (-a, a) and r = 2^(2H - 1) - 1: |R| = 1 - r^2, 1'R^-1 1 = 2 / (1 + r), and
// s^2 = 2 a^2 / (1 - r).
TEST(BlockStandardErrorTest, IsTheClosedFormForTwoBlocks) {
  const double a = 0.3;
  double weights = 0.0, log_se = 0.0;
  for (int i = 0; i < 19; ++i) {
    const double h = 0.5 + 0.025 * i, r = std::pow(2.0, 2.0 * h - 1.0) - 1.0;
    const double variance = 2.0 * a * a / (1.0 - r);
    const double weight = std::exp(
        -0.5 * (std::log((1.0 - r * r) * 2.0 / (1.0 + r)) + std::log(variance)) - 6.0 * (h - 0.5));
    weights += weight;
    log_se += weight * (0.5 * std::log(variance) + (h - 1.0) * std::log(2.0));
  }
  // Sums 10 and 13 of 5 tokens each: means 2 and 2.6.
  const double expected = std::exp(log_se / weights);
  EXPECT_NEAR(BlockStandardError(Blocks({10.0, 13.0}, 5)).value(), expected, 1e-12);
}

TEST(BlockStandardErrorTest, EqualBlocksHaveNoErrorAndOneBlockHasNone) {
  EXPECT_EQ(BlockStandardError(Blocks({2.0, 2.0, 2.0}, 4)), 0.0);
  EXPECT_EQ(BlockStandardError(Blocks({2.0}, 4)), std::nullopt);
  EXPECT_EQ(BlockStandardError({}), std::nullopt);
}

// Four blocks of n 5, 2, 5, 4 are worth 16^2 / 70 equal ones. The error is that of the test above.
TEST(BucketErrorTest, HasTheFreedomOfTheEffectiveBlocksAndNeedsTwo) {
  auto unequal = Blocks({10.5, 3.25, 12.0, 11.5}, 5);
  unequal[1].n = 2;
  unequal[3].n = 4;
  const TextError error = BucketError(unequal);
  EXPECT_NEAR(error.se.value(), 0.271803430832349, 1e-12);
  EXPECT_NEAR(error.df, 256.0 / 70.0 - 1.0, 1e-12);
  EXPECT_EQ(error.n_clusters, 4);
  EXPECT_EQ(error.clusters, "block");
  EXPECT_TRUE(BucketError(Blocks({10.0, 13.0}, 5)).se.has_value());
  auto one_long = Blocks({10.0, 13.0}, 5);
  one_long[0].n = 4;
  EXPECT_EQ(BucketError(one_long).se, std::nullopt);
  EXPECT_EQ(BucketError({}).se, std::nullopt);
}

// Blocks of 16 tokens, 20 of them, in 16 groups; 24 tokens of one bucket, the others of the next.
TEST(TextBlocksOfBucketsTest, ABucketHasTheGroupsOfTheText) {
  Score score;
  score.block_tokens = 16;
  score.bucket_blocks.resize(3);
  for (std::int64_t id = 0; id < 20; ++id) {
    score.blocks.push_back({.id = id, .n = 16, .nll_sum = 32.0, .bytes = 16});
    const std::int64_t n_first = id == 0 ? 16 : id == 4 ? 8 : 0;
    const auto share = [&](std::int64_t n, double nll) {
      return ClusterSum{.id = id, .n = n, .nll_sum = nll * static_cast<double>(n), .bytes = n};
    };
    if (n_first > 0) score.bucket_blocks[0].push_back(share(n_first, 2.0));
    if (n_first < 16) score.bucket_blocks[1].push_back(share(16 - n_first, 2.0));
  }
  const std::vector<ClusterSum> whole = TextBlocks(score);
  const auto buckets = TextBlocksOfBuckets(score);
  ASSERT_EQ(whole.size(), 16u);
  ASSERT_EQ(buckets.size(), 3u);
  ASSERT_EQ(buckets[0].size(), 2u);
  EXPECT_TRUE(buckets[2].empty());
  std::map<std::int64_t, ClusterSum> sums;
  for (const auto& bucket : buckets) {
    for (const ClusterSum& block : bucket) {
      sums[block.id].n += block.n;
      sums[block.id].nll_sum += block.nll_sum;
      sums[block.id].bytes += block.bytes;
    }
  }
  for (const ClusterSum& block : whole) {
    EXPECT_EQ(sums[block.id].n, block.n);
    EXPECT_DOUBLE_EQ(sums[block.id].nll_sum, block.nll_sum);
    EXPECT_EQ(sums[block.id].bytes, block.bytes);
  }
}

TEST(TextBlockTokensTest, IsAPowerOfTwoThatDependsOnTheSplit) {
  EXPECT_EQ(TextBlockTokens(100, 100), 16);
  EXPECT_EQ(TextBlockTokens(4096, 4096), 16);
  EXPECT_EQ(TextBlockTokens(4097, 4097), 32);
  EXPECT_EQ(TextBlockTokens(287645, 262145), 2048);
  EXPECT_EQ(TextBlockTokens(287645, 131072), 2048);
  // Of a small part of the split, the blocks are shorter.
  EXPECT_EQ(TextBlockTokens(287645, 131071), 1024);
  EXPECT_EQ(TextBlockTokens(287645, 4096), 64);
  EXPECT_EQ(TextBlockTokens(287645, 100), 16);
}

// ---- simulation --------------------------------------------------------------------------------

// A text whose token t has the loss loss[t] for every model, plus 1 / (1 + c) with c tokens of
// context.
class LossModel final : public LanguageModel {
 public:
  explicit LossModel(std::span<const double> loss) : loss_(loss) {}

  static double OfContext(const Window& window, std::int64_t t) {
    return 1.0 / (1.0 + static_cast<double>(t - window.context_begin + (window.bos ? 1 : 0)));
  }
  Result<std::vector<std::vector<float>>> Nll(std::span<const std::int32_t>,
                                              std::span<const Window> windows) override {
    std::vector<std::vector<float>> nll;
    for (const Window& window : windows) {
      std::vector<float> row;
      for (std::int64_t t = window.score_begin; t < window.score_end; ++t) {
        const double own = loss_[static_cast<std::size_t>(t)];
        row.push_back(static_cast<float>(own + OfContext(window, t)));
      }
      nll.push_back(std::move(row));
    }
    return nll;
  }

 private:
  std::span<const double> loss_;
};

constexpr std::int64_t kTokens = 16384;

struct Text {
  std::vector<double> loss;
  std::vector<std::int64_t> document_starts;
};

double Exponential(SeededRandom& random) { return -std::log1p(-random.Uniform()); }

// Independent tokens, of mean 1.
Text Independent(SeededRandom& random) {
  Text text;
  while (static_cast<std::int64_t>(text.loss.size()) < kTokens) {
    text.loss.push_back(Exponential(random));
  }
  text.document_starts = {0, kTokens};
  return text;
}

// Two states with means 1 and 2 that last for kLasting tokens on average; mean 1.5.
template <int kLasting>
Text Switching(SeededRandom& random) {
  Text text = Independent(random);
  bool high = random.Chance(0.5);
  for (double& loss : text.loss) {
    if (random.Chance(1.0 / kLasting)) high = !high;
    if (high) loss += 1.0;
  }
  return text;
}

// Documents of random length, 300 tokens on average, each with a mean of its own, uniform from 1
// to 2; mean 1.5.
Text Joined(SeededRandom& random) {
  Text text = Independent(random);
  text.document_starts = {0};
  double left = 0.0, own = 0.0;
  for (std::size_t t = 0; t < text.loss.size(); ++t) {
    if (left <= 0.0) {
      left = std::ceil(100.0 + 200.0 * Exponential(random));
      own = random.Uniform();
      if (t > 0) text.document_starts.push_back(static_cast<std::int64_t>(t));
    }
    text.loss[t] += own;
    left -= 1.0;
  }
  text.document_starts.push_back(kTokens);
  return text;
}

// The same, but the text does not tell where they begin.
Text Unmarked(SeededRandom& random) {
  Text text = Joined(random);
  text.document_starts = {0, kTokens};
  return text;
}

struct ProtocolCase {
  std::string_view protocol;
  Json params;
  std::int64_t context_length;
};

std::vector<Window> PlanOf(const ProtocolCase& given, std::int64_t score_tokens) {
  Json params = given.params;
  params["context_lengths"] = {given.context_length};
  params["protocol"] = given.protocol;
  const Json resolved = ResolveParams(PerplexityEvaluation().params, params, "perplexity").value();
  const TextSpan document = {0, kTokens};
  return FindProtocol(given.protocol)
      .plan({.n_tokens = kTokens,
             .context_length = given.context_length,
             .score_tokens = score_tokens,
             .documents = {&document, 1},
             .params = resolved})
      .value();
}

Score ScoreOf(const Text& text, const std::vector<Window>& windows,
              std::span<const std::int64_t> bucket_edges = {}) {
  const std::vector<std::int32_t> tokens(text.loss.size());
  LossModel model(text.loss);
  return ScoreWindows(model, {.tokens = tokens,
                              .windows = windows,
                              .document_starts = text.document_starts,
                              .block_tokens = TextBlockTokens(kTokens, windows.back().score_end),
                              .windows_per_call = 64,
                              .bucket_edges = bucket_edges})
      .value();
}

// The 97.5 % quantile of Student's t by degrees of freedom (a printed table), between entries by
// 1 / df.
double Quantile(double df) {
  static const std::map<double, double> table = {
      {7, 2.3646},  {8, 2.3060},  {9, 2.2622},  {10, 2.2281}, {12, 2.1788},
      {15, 2.1314}, {20, 2.0860}, {30, 2.0423}, {60, 2.0003}, {1e9, 1.9600}};
  auto above = table.lower_bound(df);
  if (above == table.begin() || above->first == df) return above->second;
  const auto below = std::prev(above);
  const double x = (1.0 / below->first - 1.0 / df) / (1.0 / below->first - 1.0 / above->first);
  return below->second + x * (above->second - below->second);
}

const std::vector<ProtocolCase>& ProtocolCases() {
  static const std::vector<ProtocolCase> cases = {
      {"nonoverlap", Json::object(), 64},        {"nonoverlap", Json::object(), 1024},
      {"sliding_bos", {{"stride", 64}}, 256},    {"rolling", {{"context_len", 1}}, 256},
      {"last_k", {{"k", 16}, {"every", 0}}, 64},
  };
  return cases;
}

struct Process {
  std::string_view name;
  Text (*make)(SeededRandom& random);
  double mean;
  std::string_view clusters;
  double most;  // the largest share of texts covered
};

class CoverageTest : public testing::TestWithParam<Process> {};

// Of 1,000 texts, the 95 % interval covers the model's true loss in 90 to 99 %, for every protocol
// and length; in a little more if no token depends on another, since 16 blocks cannot show that.
TEST_P(CoverageTest, IntervalsCoverTheTruth) {
  constexpr int kTexts = 1000;
  const Process& process = GetParam();
  std::vector<std::vector<Window>> plans;
  std::vector<double> of_context;  // the mean of 1 / (1 + c)
  for (const ProtocolCase& given : ProtocolCases()) {
    plans.push_back(PlanOf(given, 0));
    double sum = 0.0, n = 0.0;
    for (const Window& window : plans.back()) {
      for (std::int64_t t = window.score_begin; t < window.score_end; ++t, ++n) {
        sum += LossModel::OfContext(window, t);
      }
    }
    of_context.push_back(sum / n);
  }
  std::vector<int> n_covered(plans.size());
  SeededRandom random(20261122);
  for (int i = 0; i < kTexts; ++i) {
    const Text text = process.make(random);
    for (std::size_t p = 0; p < plans.size(); ++p) {
      const Score score = ScoreOf(text, plans[p]);
      const TextError error = TextErrorOf(score);
      ASSERT_EQ(error.clusters, process.clusters);
      const double away = std::abs(score.MeanNll() - process.mean - of_context[p]);
      if (away <= Quantile(error.df) * error.se.value()) n_covered[p] += 1;
    }
  }
  for (std::size_t p = 0; p < plans.size(); ++p) {
    const double share = static_cast<double>(n_covered[p]) / kTexts;
    const ProtocolCase& given = ProtocolCases()[p];
    EXPECT_GE(share, 0.90) << given.protocol << " " << given.context_length;
    EXPECT_LE(share, process.most) << given.protocol << " " << given.context_length;
    RecordProperty(std::string(given.protocol) + std::to_string(given.context_length),
                   std::to_string(share));
  }
}

// The same for each bucket of context lengths, from one token of a window to half of it. Buckets
// have no documents as clusters, so the last process would be the one before it.
TEST_P(CoverageTest, IntervalsOfBucketsCoverTheTruth) {
  constexpr int kTexts = 500;
  const Process& process = GetParam();
  if (process.clusters == "document") return;
  SeededRandom random(20261123);
  for (const std::int64_t length : {64, 1024}) {
    const std::vector<Window> windows = PlanOf({"nonoverlap", Json::object(), length}, 0);
    const std::vector<std::int64_t> edges =
        FindProtocol("per_position")
            .bucket_edges(
                {.context_length = length, .params = {{"buckets", 6}, {"spacing", "log"}}});
    std::vector<int> n_covered(edges.size() - 1);
    for (int i = 0; i < kTexts; ++i) {
      const Text text = process.make(random);
      const Score score = ScoreOf(text, windows, edges);
      const auto blocks = TextBlocksOfBuckets(score);
      for (std::size_t b = 0; b < n_covered.size(); ++b) {
        double truth = process.mean;
        for (std::int64_t c = edges[b]; c < edges[b + 1]; ++c) {
          truth += 1.0 / static_cast<double>((1 + c) * (edges[b + 1] - edges[b]));
        }
        const TextError error = BucketError(blocks[b]);
        const double away =
            std::abs(score.buckets[b].nll_sum / static_cast<double>(score.buckets[b].n) - truth);
        if (away <= Quantile(error.df) * error.se.value()) n_covered[b] += 1;
      }
    }
    for (std::size_t b = 0; b < n_covered.size(); ++b) {
      const double share = static_cast<double>(n_covered[b]) / kTexts;
      EXPECT_GE(share, 0.90) << length << " from " << edges[b];
      EXPECT_LT(share, 1.0) << length << " from " << edges[b];
      RecordProperty("bucket" + std::to_string(length) + "_" + std::to_string(edges[b]),
                     std::to_string(share));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Processes, CoverageTest,
                         testing::Values(Process{"independent", &Independent, 1.0, "block", 0.998},
                                         Process{"switching", &Switching<200>, 1.5, "block", 0.99},
                                         Process{"slow", &Switching<800>, 1.5, "block", 0.99},
                                         Process{"unmarked", &Unmarked, 1.5, "block", 0.99},
                                         Process{"documents", &Joined, 1.5, "document", 0.99}),
                         [](const auto& one) { return std::string(one.param.name); });

// The error is that of the text, so it does not depend on how windows are laid over it.
TEST(TextErrorTest, IsTheSameForEveryWindow) {
  SeededRandom random(7);
  const Text text = Switching<200>(random);
  std::vector<double> errors;
  for (const ProtocolCase& given : ProtocolCases()) {
    if (given.protocol == "last_k") continue;  // scores other tokens
    errors.push_back(TextErrorOf(ScoreOf(text, PlanOf(given, 15360))).se.value());
  }
  for (const double error : errors) EXPECT_NEAR(error / errors[0], 1.0, 0.02);
}

}  // namespace
}  // namespace longrun
