// The patterns of runner.h.
#include "tests/cli/runner.h"

#include <gtest/gtest.h>

namespace longrun {
namespace {

bool Matches(std::string_view pattern, std::string_view text) {
  Captures captures;
  return MatchLine(pattern, text, captures);
}

TEST(CliRunnerTest, TextMatchesItself) {
  EXPECT_TRUE(Matches("[12.30]* 64", "[12.30]* 64"));
  EXPECT_FALSE(Matches("12.30", "12.31"));
  EXPECT_FALSE(Matches("12.3", "12.30"));
}

TEST(CliRunnerTest, AClassMatchesWhatItSaysOnly) {
  EXPECT_TRUE(Matches("id [ID].", "id 01JCKX3V5R8M2N4P6Q7S9T0V1W."));
  EXPECT_FALSE(Matches("id [ID].", "id 01JCKX3V5R8M2N4P6Q7S9T0V1."));
  EXPECT_TRUE(Matches("[HEX] a", "0123abcd a"));
  EXPECT_FALSE(Matches("[HEX] a", "0123abc a"));
  EXPECT_TRUE(Matches("a[ws]b", "a   b"));
  EXPECT_FALSE(Matches("a[ws]b", "ab"));
  EXPECT_TRUE(Matches("at [TIME]!", "at 2026-11-20T08:03:46Z!"));
  EXPECT_TRUE(Matches("[NUM] of [NUM]", "-1.5e+03 of 7"));
  EXPECT_TRUE(Matches("pid [*])", "pid 12 (x))"));
}

TEST(CliRunnerTest, AKeptTextMustComeAgain) {
  Captures captures;
  EXPECT_TRUE(MatchLine("run [HEX:run]", "run 0123abcd", captures));
  EXPECT_EQ(captures["run"], "0123abcd");
  EXPECT_TRUE(MatchLine("{run} ok", "0123abcd ok", captures));
  EXPECT_FALSE(MatchLine("{run} ok", "0123abce ok", captures));
}

TEST(CliRunnerTest, ThreeDotsAreAnyNumberOfLines) {
  Captures captures;
  EXPECT_TRUE(MatchLines({"a", "[...]", "d"}, {"a", "b", "c", "d"}, captures));
  EXPECT_TRUE(MatchLines({"a", "[...]", "d"}, {"a", "d"}, captures));
  EXPECT_FALSE(MatchLines({"a", "[...]", "d"}, {"a", "b"}, captures));
  EXPECT_FALSE(MatchLines({"a"}, {"a", "b"}, captures));
}

}  // namespace
}  // namespace longrun
