// Metrics and folds are closed forms.
#include "client/tables/metric.h"

#include <gtest/gtest.h>

#include <cmath>

namespace longrun::client {
namespace {

ResultMetric Find(const std::string& name) {
  for (const ResultMetric& metric : MetricsOf({"nll", name})) {
    if (metric.name == name) return metric;
  }
  ADD_FAILURE() << "no metric " << name;
  return {};
}

// 1000 tokens, 2000 bytes, mean ln 8: 3 bits a token, 1.5 bits a byte.
RowBody Body() { return {.se = 0.02, .nll_sum = 1000 * std::log(8.0), .n = 1000, .n_bytes = 2000}; }

TEST(MetricTest, PerplexityIsFoldedAsNllAndItsErrorIsRelative) {
  const ResultMetric metric = Find("perplexity");
  const Reading reading = metric.Read(Body()).value();
  EXPECT_NEAR(metric.Value(reading.x), 8.0, 1e-12);
  // d exp(x) = exp(x) dx
  EXPECT_NEAR(metric.ValueError(reading.x, *reading.se), 8.0 * 0.02, 1e-12);
}

TEST(MetricTest, BitsAreNatsOverLnTwoByTokenOrByByte) {
  const Reading by_token = Find("bits_per_token").Read(Body()).value();
  EXPECT_NEAR(by_token.x, 3.0, 1e-12);
  EXPECT_NEAR(*by_token.se, 0.02 / std::log(2.0), 1e-12);
  const Reading by_byte = Find("bits_per_byte").Read(Body()).value();
  EXPECT_NEAR(by_byte.x, 1.5, 1e-12);
  EXPECT_NEAR(*by_byte.se, 0.01 / std::log(2.0), 1e-12);
}

TEST(MetricTest, WithoutBytesThereAreNoBitsPerByte) {
  RowBody body = Body();
  body.n_bytes.reset();
  EXPECT_FALSE(Find("bits_per_byte").Read(body).has_value());
  EXPECT_TRUE(Find("nll").Read(body).has_value());
}

TEST(MetricTest, APseudoPerplexityIsFoldedAsAPerplexityIsAndHasItsOwnName) {
  std::vector<std::string> names;
  for (const ResultMetric& metric : MetricsOf({"pseudo_nll", "peak_bytes"}))
    names.push_back(metric.name);
  EXPECT_EQ(names,
            (std::vector<std::string>{"pseudo_perplexity", "pseudo_nll", "pseudo_bits_per_token",
                                      "pseudo_bits_per_byte", "peak_bytes"}));
  const ResultMetric metric = MetricsOf({"pseudo_nll"}).front();
  EXPECT_EQ(metric.words(), "pseudo-perplexity");
  EXPECT_EQ(metric.better, ResultMetric::Better::kLower);
  EXPECT_TRUE(metric.variants_are_models());
  EXPECT_NEAR(metric.Value(metric.Read(Body())->x), 8.0, 1e-12);
  EXPECT_NEAR(MetricsOf({"pseudo_nll"}).back().Read(Body())->x, 1.5, 1e-12);
  std::vector<ResultRow> rows;
  for (const char* source : {"pseudo_nll", "peak_bytes"}) {
    rows.push_back({.run_key = "a", .body = {.metric = source}});
  }
  const std::vector<SweepResults> results = {{.rows = rows}};
  EXPECT_EQ(OtherMetricsNote(results), "also measured: peak_bytes; --metric shows it");
}

TEST(MetricTest, ARowThatHoldsBucketsHasMetricsByPositionToo) {
  const ResultRow row = {.run_key = "a", .body = {.metric = "nll", .protocol = "per_position"}};
  const std::vector<SweepResults> results = {{.rows = {row}}};
  std::vector<std::string> names;
  for (const ResultMetric& metric : MetricsOf(SourcesOf(results))) names.push_back(metric.name);
  EXPECT_EQ(names, (std::vector<std::string>{"perplexity", "nll", "bits_per_token", "bits_per_byte",
                                             "perplexity_by_position", "nll_by_position",
                                             "bits_per_token_by_position"}));
  EXPECT_EQ(OtherMetricsNote(results), "also measured: nll_by_position; --metric shows it");
}

TEST(MetricTest, AnotherMetricStandsForItselfAndItsNameSaysWhichWayIsBetter) {
  const ResultMetric metric = Find("tokens_per_s");
  EXPECT_EQ(metric.better, ResultMetric::Better::kHigher);
  EXPECT_EQ(Find("peak_bytes").better, ResultMetric::Better::kLower);
  EXPECT_EQ(Find("shoe_size").better, ResultMetric::Better::kNeither);
  const Reading reading = metric.Read({.value = 120.5}).value();
  EXPECT_EQ(reading.x, 120.5);
  EXPECT_FALSE(reading.se.has_value());
}

// Of 10 right answers of 10 the plain error is sqrt(1 * 0 / 10) = 0;
// Wilson's interval is 0.7225 to 1.
TEST(MetricTest, AShareHasAnErrorAtItsEndsToo) {
  const RowBody all_right = {.value = 1.0, .se = 0.0, .wilson95 = {{0.722467, 1.0}}};
  const ResultMetric metric = Find("acc");
  EXPECT_TRUE(metric.is_share());
  EXPECT_NEAR(*metric.Read(all_right)->se, (1.0 - 0.722467) / (2 * 1.959964), 1e-6);
  // 500 of 1000: 0.46907 to 0.53093, where sqrt(p (1 - p) / n) = 0.015811.
  const RowBody half = {.value = 0.5, .se = 0.015811, .wilson95 = {{0.469070, 0.530930}}};
  EXPECT_NEAR(*metric.Read(half)->se, 0.015811, 5e-5);
  // A row without the interval keeps the error that it has.
  EXPECT_EQ(metric.Read({.value = 0.5, .se = 0.1})->se, 0.1);
  EXPECT_FALSE(Find("tokens_per_s").is_share());
}

TEST(FoldTest, ARatioHasTheErrorsOfBoth) {
  // Logarithms: ln 6 - ln 2 = ln 3, error sqrt(0.3^2 + 0.4^2).
  const Reading log = RelativeTo(Find("perplexity"), {.x = std::log(6.0), .se = 0.3},
                                 {.x = std::log(2.0), .se = 0.4})
                          .value();
  EXPECT_NEAR(std::exp(log.x), 3.0, 1e-12);
  EXPECT_NEAR(*log.se, 0.5, 1e-12);
  // 6/2 with errors 0.6 and 0.8: 3 * sqrt(0.1^2 + 0.4^2).
  const Reading linear =
      RelativeTo(Find("nll"), {.x = 6.0, .se = 0.6}, {.x = 2.0, .se = 0.8}).value();
  EXPECT_NEAR(linear.x, 3.0, 1e-12);
  EXPECT_NEAR(*linear.se, 3.0 * std::sqrt(0.17), 1e-12);
  EXPECT_FALSE(RelativeTo(Find("nll"), {.x = 6.0}, {.x = 0.0}).has_value());
}

}  // namespace
}  // namespace longrun::client
