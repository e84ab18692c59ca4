// The table of metrics keeps Prometheus's naming rules (prometheus.io/docs/practices/naming) and
// ours, and docs/metrics.md is what it prints.
#include "metrics/table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/process.h"
#include "base/str.h"

namespace longrun {
namespace {

// What a label may be: closed sets, and names that people give. Never a run, a task or an attempt;
// `job` and `instance` are Prometheus's own.
const std::set<std::string> kLabels = {
    "version",        "revision", "kind",   "state",    "from",       "to",
    "gate",           "class",    "worker", "outcome",  "method",     "code",
    "sweep",          "dataset",  "split",  "protocol", "evaluation", "train_length",
    "context_length", "slot",     "device", "name",     "stage"};
// Base units, and the words that stand for what has none.
const std::set<std::string> kUnits = {"seconds",           "bytes", "ratio", "watts", "celsius",
                                      "tokens_per_second", "nats",  "ppl",   "info",  ""};

// Why the row breaks a rule, or "".
std::string WhyWrong(const MetricRow& row) {
  const std::string name(row.name);
  static const std::regex kName("(longrun|process)(_[a-z][a-z0-9]*)+");
  static const std::regex kNoBaseUnit(".*_(ms|milliseconds|minutes|kb|mb|percent|megabytes)(_.*)?");
  if (!std::regex_match(name, kName)) return "no name of ours";
  if (std::regex_match(name, kNoBaseUnit)) return "no base unit";
  const bool is_total = name.ends_with("_total");
  if (is_total != (row.type == MetricType::kCounter)) return "_total is for counters, and for all";
  if (!kUnits.contains(std::string(row.unit))) return "unknown unit";
  const std::string stem = is_total ? name.substr(0, name.size() - 6) : name;
  if (!row.unit.empty() && !stem.ends_with(Str("_", row.unit))) return "its unit is not last";
  for (const std::string& unit : kUnits) {
    if (row.unit.empty() && !unit.empty() && stem.ends_with("_" + unit)) return "unit not told";
  }
  for (const char* suffix : {"_count", "_sum", "_bucket"}) {
    if (name.ends_with(suffix)) return "a suffix that histograms own";
  }
  for (const std::string& label : row.label_names()) {
    if (!kLabels.contains(label)) return "a label of no closed set";
  }
  if (row.help.empty() || !row.help.ends_with('.')) return "its help is no sentence";
  return "";
}

TEST(MetricTableTest, EveryRowKeepsTheNamingRules) {
  for (const MetricRow& row : MetricTable()) EXPECT_EQ(WhyWrong(row), "") << row.name;
}

TEST(MetricTableTest, NoNameStandsTwice) {
  std::set<std::string_view> names;
  for (const MetricRow& row : MetricTable()) EXPECT_TRUE(names.insert(row.name).second) << row.name;
}

TEST(MetricTableTest, BucketsRiseFromAMillisecondToTenMinutes) {
  const auto buckets = BucketsOf(RowOf(Metric::kStoreCommitSeconds));
  ASSERT_FALSE(buckets.empty());
  EXPECT_EQ(buckets.front(), 0.001);
  EXPECT_EQ(buckets.back(), 600);
  EXPECT_TRUE(std::ranges::is_sorted(buckets));
  EXPECT_TRUE(BucketsOf(RowOf(Metric::kSessions)).empty());
}

TEST(MetricTableTest, BrokenRowsAreFound) {
  const MetricRow good = {Metric::kFenced, "longrun_a_seconds", MetricType::kGauge,
                          "state",         "seconds",           MetricOwner::kBoth,
                          "Help."};
  EXPECT_EQ(WhyWrong(good), "");
  MetricRow bad = good;
  bad.name = "longrun_a_ms";
  EXPECT_EQ(WhyWrong(bad), "no base unit");
  bad = good;
  bad.name = "longrun_a_seconds_total";
  EXPECT_EQ(WhyWrong(bad), "_total is for counters, and for all");
  bad = good;
  bad.type = MetricType::kCounter;
  EXPECT_EQ(WhyWrong(bad), "_total is for counters, and for all");
  bad = good;
  bad.unit = "";
  EXPECT_EQ(WhyWrong(bad), "unit not told");
  bad = good;
  bad.labels = "state run";
  EXPECT_EQ(WhyWrong(bad), "a label of no closed set");
  bad = good;
  bad.help = "no sentence";
  EXPECT_EQ(WhyWrong(bad), "its help is no sentence");
}

TEST(MetricTableTest, TheReferencePageIsWhatTheTablePrints) {
  const std::string path = LONGRUN_SOURCE_DIR "/docs/metrics.md";
  if (GetEnv("LONGRUN_UPDATE")) {
    ASSERT_TRUE(WriteFileAtomic(path, MetricReference()).ok());
  }
  const Result<std::string> page = ReadFile(path);
  ASSERT_TRUE(page.ok()) << "LONGRUN_UPDATE=1 writes it";
  EXPECT_EQ(*page, MetricReference()) << "LONGRUN_UPDATE=1 rewrites it";
}

}  // namespace
}  // namespace longrun
