// How a sweep stands, as lines.
#include "client/words/sweep_view.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/str.h"
#include "client/words/run_limit.h"
#include "client/words/window.h"

namespace longrun {
namespace {

// The example of the ULID specification, of 2016-07-30T22:36:16.385Z;
// submitted again, the id stays.
TEST(FirstSubmittedTest, IsWhatTheIdSaysWhateverCameAfter) {
  EXPECT_EQ(
      FirstSubmitted({{"sweep_id", "01ARYZ6S41TSV4RRFFQ69G5FAV"}, {"submitted_ms", 1800000000000}}),
      "2016-07-30T22:36:16Z");
}

Json RunWith(const std::string& key, const char* position, const char* state) {
  return {{"run_key", key},
          {"axes", {{"position", position}, {"train_length", 64}}},
          {"tasks",
           Json::array({{{"task", key},
                         {"kind", "train"},
                         {"state", state},
                         {"reason", "waits"},
                         {"attempts", state == std::string("READY") ? 0 : 1},
                         {"progress",
                          {{"phase", ""}, {"tokens_per_s", 0}, {"loss_tail", Json::array()}}}}})}};
}

Json Sweep() {
  return {{"info",
           {{"name", "a"},
            {"state", "RUNNING"},
            {"tasks", 4},
            {"tasks_succeeded", 1},
            {"tasks_running", 1},
            {"tasks_failed", 0}}},
          {"runs",
           {RunWith("1", "alibi", "SUCCEEDED"), RunWith("2", "cable", "READY"),
            RunWith("3", "nope", "READY"), RunWith("4", "rope", "RUNNING")}},
          {"workers", Json::array()},
          {"time_left",
           {{"time", {{"low_s", 60.2}, {"likely_s", 90.0}, {"high_s", 200.0}, {"n", 3}}},
            {"slots", 2},
            {"tasks_not_measured", 0}}}};
}

// The headline, the columns and what follows the runs stay;
// what is at work comes before what waits.
TEST(RenderProgressTest, FitsATerminalOfAnyHeight) {
  EXPECT_EQ(RenderProgress(Sweep(), 7),
            "a RUNNING  1 of 4 tasks done, 1 running, 0 failed\n"
            "position  train_length    now            loss  tokens/s  ETA\n"
            "cable     64              train ready\n"
            "rope      64              train running\n"
            "… 2 more\n"
            "time left: about 1min 30s (1min to 3min 20s) on 2 slots\n"
            "workers: none\n");
  for (const std::size_t n_lines : {5U, 6U, 7U, 8U, 9U}) {
    const std::string text = RenderProgress(Sweep(), n_lines);
    EXPECT_LE(std::ranges::count(text, '\n'), n_lines) << text;
  }
  const std::string whole = RenderProgress(Sweep());
  EXPECT_EQ(std::ranges::count(whole, '\n'), 8);
}

// What is printed below the runs, wrapped by the terminal, takes rows of it too.
TEST(FitProgressTest, TenThousandRunsFitTenRowsWithWhatComesBelow) {
  Json message = Sweep();
  for (int i = 0; i < 10'000; ++i) {
    message["runs"].push_back(RunWith(Str("more", i), "rope", "READY"));
  }
  const std::string below = std::string(41, 'x') + "\nshort\n";  // two rows and one
  const std::string text = FitProgress(message, {.rows = 10, .columns = 40}, below);
  EXPECT_EQ(std::ranges::count(text, '\n'), 6) << text;
  EXPECT_NE(text.find("… 10003 more\n"), std::string::npos) << text;
  for (const std::string& line : Split(text, '\n')) EXPECT_LE(DisplayWidth(line), 40U) << line;
  const std::string log = FitProgress(message, {}, below);
  EXPECT_EQ(std::ranges::count(log, '\n'), 24) << log;
  EXPECT_TRUE(log.starts_with("a RUNNING  1 of 4 tasks done")) << log;
  EXPECT_NE(log.find("train running"), std::string::npos) << log;
}

TEST(RowsOfTest, ALineThatIsWiderThanTheTerminalWraps) {
  EXPECT_EQ(RowsOf("", 4), 0U);
  EXPECT_EQ(RowsOf("\n", 4), 1U);
  EXPECT_EQ(RowsOf("abcd\n", 4), 1U);
  EXPECT_EQ(RowsOf("abcde\nf", 4), 3U);
  EXPECT_EQ(RowsOf("\x1b[1m▇▆▅▃\x1b[0m\n", 4), 1U);
}

TEST(FailedTasksTextTest, OfManyFailuresTheFirstAreShownAndTheOthersCounted) {
  Json message = Sweep();
  message["runs"] = Json::array();
  for (int i = 0; i < 10'000; ++i) {
    Json& run = message["runs"].emplace_back(RunWith(Str("run", i), "rope", "FAILED"));
    run["tasks"][0]["failed_for_good"] = false;
  }
  const std::string text = FailedTasksText(message);
  EXPECT_EQ(std::ranges::count(text, '\n'), 41);
  EXPECT_TRUE(text.ends_with("and 9980 tasks more failed: `longrun get a` shows them\n")) << text;
}

TEST(RunLimitTest, ATableHasFiftyRunsByItselfAndAProgramGetsAll) {
  EXPECT_EQ(RunLimit().Of("table", 10'000), 50U);
  EXPECT_EQ(RunLimit().Of("table", 7), 7U);
  EXPECT_EQ(RunLimit().Of("csv", 10'000), 10'000U);
  EXPECT_EQ(RunLimit().Of("json", 10'000), 10'000U);
  EXPECT_EQ(RunLimit{.given = 0}.Of("table", 10'000), 10'000U);
  EXPECT_EQ(RunLimit{.given = 2}.Of("json", 10'000), 2U);
}

TEST(RunsToShowTest, WhatIsAtWorkComesBeforeWhatWaitsAndThatBeforeWhatIsDoneInTheirOrder) {
  const Json runs = Sweep().at("runs");
  using Shown = std::vector<std::size_t>;
  EXPECT_EQ(RunsToShow(runs, 4), (Shown{0, 1, 2, 3}));
  EXPECT_EQ(RunsToShow(runs, 3), (Shown{1, 2, 3}));
  EXPECT_EQ(RunsToShow(runs, 2), (Shown{1, 3}));
  EXPECT_EQ(RunsToShow(runs, 1), (Shown{3}));
  EXPECT_EQ(RunsToShow(runs, 0), Shown());
}

TEST(TimeLeftTextTest, SaysWhatIsLeftOutAndNothingWhereNothingIsKnown) {
  Json message = Sweep();
  message["time_left"]["tasks_not_measured"] = 1;
  EXPECT_EQ(TimeLeftText(message),
            "time left: about 1min 30s (1min to 3min 20s) on 2 slots, without 1 task of kinds that "
            "were never measured");
  message["time_left"]["time"]["n"] = 0;
  EXPECT_EQ(TimeLeftText(message), "");
  message.erase("time_left");
  EXPECT_EQ(TimeLeftText(message), "");
}

}  // namespace
}  // namespace longrun
