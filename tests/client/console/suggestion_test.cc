#include "client/console/suggestion.h"

#include <gtest/gtest.h>

namespace longrun::client {
namespace {

class SuggestionTest : public ::testing::Test {
 protected:
  ~SuggestionTest() override { SuggestWith("", {}); }
};

TEST_F(SuggestionTest, CommandsStayAsTheyAreWithoutAnOption) {
  EXPECT_EQ(WithSuggestions("`longrun get a` shows it"), "`longrun get a` shows it");
  EXPECT_EQ(SuggestedCommand("get a"), "longrun get a");
}

TEST_F(SuggestionTest, EachCommandInBackticksGetsTheOption) {
  SuggestWith("--state /x", {"explain", "login"});
  EXPECT_EQ(WithSuggestions("`longrun ls` or `longrun get a -o json`: see `--help`"),
            "`longrun --state /x ls` or `longrun --state /x get a -o json`: see `--help`");
  EXPECT_EQ(SuggestedCommand("retry a"), "longrun --state /x retry a");
}

TEST_F(SuggestionTest, CommandsThatDoNotTakeTheOptionStayAsTheyAre) {
  SuggestWith("--state /x", {"explain", "login"});
  for (const char* const text :
       {"`longrun explain train.tokens`", "`longrun login HOST` asks", "`longrun VERB --help`",
        "`longrun --help`", "`longrun-trainer generate`", "longrun get a", "`longrun explain"}) {
    EXPECT_EQ(WithSuggestions(text), text);
  }
  EXPECT_EQ(WithSuggestions("`longrun explains`"), "`longrun --state /x explains`");
}

TEST_F(SuggestionTest, ACommandForAnotherMachineStaysAsItIs) {
  SuggestWith("--context gpu", {});
  for (const char* const text :
       {"run `longrun pilot slurm` on a machine of a cluster", "start `longrun pilot` there again",
        "compare with `longrun admin pki show` on the coordinator's machine"}) {
    EXPECT_EQ(WithSuggestions(text), text);
  }
  EXPECT_EQ(WithSuggestions("`longrun up` on this machine; `longrun pilot list` shows the jobs"),
            "`longrun --context gpu up` on this machine; "
            "`longrun --context gpu pilot list` shows the jobs");
  EXPECT_EQ(WithSuggestions("`longrun admin token create` on the coordinator's machine makes one; "
                            "`longrun ls` lists them"),
            "`longrun admin token create` on the coordinator's machine makes one; "
            "`longrun --context gpu ls` lists them");
}

TEST_F(SuggestionTest, AnOddFolderIsOneWordForAShell) {
  EXPECT_EQ(ShellWord("/a/b-c_d.e"), "/a/b-c_d.e");
  EXPECT_EQ(ShellWord("my state"), "'my state'");
  EXPECT_EQ(ShellWord("it's"), "'it'\\''s'");
  EXPECT_EQ(ShellWord(""), "''");
  EXPECT_EQ(ShellQuoted("a"), "'a'");
}

}  // namespace
}  // namespace longrun::client
