// Which evaluations `--refresh-errors` measures again, from rows.
#include "coordinator/refresh.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/json.h"
#include "base/str.h"

namespace longrun::coordinator {
namespace {

const std::string kRun = Str("3f2a91c0", std::string(56, '0'));

ResultBody Row(const std::string& task, const std::string& cell, const Json& extra) {
  const Json body = {{"metric", "nll"}, {"status", "ok"}, {"extra", extra}};
  return {.run_key = kRun,
          .cell = cell,
          .task = task,
          .attempt = Str("attempt of ", task),
          .body_json = CanonicalJson(body),
          .evaluation_json = "{}"};
}

const Json kOld = {{"clusters", "window"}};
const Json kNew = {{"clusters", "block"}, {"blocks", Json::object()}};

TEST(FindStaleTest, TakesEachTaskOneOfWhoseRowsLacksIt) {
  const std::vector<StaleTask> stale =
      FindStale({Row("b", "b64", kNew), Row("c", "c64", kOld), Row("a", "a64", kOld),
                 Row("a", "a64", kOld), Row("a", "a128", kNew), Row("a", "a256", kOld)});

  ASSERT_EQ(stale.size(), 2u);
  EXPECT_EQ(stale[0].task, "a");
  EXPECT_EQ(stale[0].attempt, "attempt of a");
  EXPECT_EQ(stale[0].run_key, kRun);
  EXPECT_EQ(stale[0].cells, (std::set<std::string>{"a64", "a256"}));
  EXPECT_EQ(stale[1].task, "c");
}

TEST(FindStaleTest, LeavesARowThatCannotBeReadToRetry) {
  ResultBody row = Row("a", "a64", kOld);
  row.body_json = "{";
  EXPECT_TRUE(FindStale({row}).empty());
}

TEST(NotRefreshedTextTest, NamesTheRunTheLengthsAndTheReason) {
  const std::vector<ExpectedCell> cells = {
      {.cell = "a64", .metric = "nll", .context_length = 64},
      {.cell = "a64", .metric = "nll", .context_length = 64, .variant = "unigram"},
      {.cell = "a128", .metric = "nll", .context_length = 128},
      {.cell = "a256", .metric = "nll", .context_length = 256}};
  const StaleTask stale = FindStale({Row("a", "a64", kOld), Row("a", "a256", kOld)}).at(0);

  EXPECT_EQ(NotRefreshedText(stale, cells, "why"), "run 3f2a91c0: nll at 64, 256: why");
}

}  // namespace
}  // namespace longrun::coordinator
