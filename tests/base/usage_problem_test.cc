#include "base/usage_problem.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/exit_code.h"

namespace longrun {
namespace {

// A program with a verb, as the daemons and the trainer have them.
class UsageProblemTest : public testing::Test {
 protected:
  UsageProblemTest() {
    app.require_subcommand(1);
    CLI::App* const train = app.add_subcommand("train", "trains");
    train->add_option("--steps", steps, "how many steps")
        ->envname("LONGRUN_TEST_STEPS")
        ->check(CLI::Range(1, 9));
    train->add_option("--seed", seed, "of everything");
    train->add_option("--rate", rate, "of learning");
    train->add_option("--order", order, "of the data")
        ->check(CLI::IsMember(std::vector<std::string>{"random", "stream"}));
    train->add_option("--task", task, "the task's file")->required();
    app.add_subcommand("evaluate", "evaluates");
  }
  ~UsageProblemTest() override { unsetenv("LONGRUN_TEST_STEPS"); }

  // What a command line gets as an answer.
  std::string Said(std::vector<std::string> arguments) {
    std::vector<std::string_view> views(arguments.begin(), arguments.end());
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // as CLI11 takes them
    testing::internal::CaptureStderr();
    int code = 0;
    try {
      app.parse(std::move(reversed));
    } catch (const CLI::ParseError& error) {
      code = ReportUsage(app, error, views);
    }
    const std::string said = testing::internal::GetCapturedStderr();
    EXPECT_EQ(code, kExitBadUsage) << said;
    return said;
  }

  int steps = 1, seed = 1;
  double rate = 0;
  std::string order, task;
  CLI::App app{"computes", "program"};
};

TEST_F(UsageProblemTest, NamesTheWordAndWhatIsExpected) {
  const std::string end = "\n`program train --help` explains the options\n";
  EXPECT_EQ(Said({"train", "--task", "t", "--seed", "one"}),
            "program: --seed \"one\": expected a whole number" + end);
  EXPECT_EQ(Said({"train", "--task", "t", "--rate", "fast"}),
            "program: --rate \"fast\": expected a number" + end);
  EXPECT_EQ(Said({"train", "--task", "t", "--steps", "0"}),
            "program: --steps \"0\": expected a whole number from 1 to 9" + end);
  EXPECT_EQ(Said({"train", "--task", "t", "--order", "randon"}),
            "program: --order \"randon\": expected one of random, stream; did you mean "
            "\"random\"?" +
                end);
  EXPECT_EQ(Said({"train", "--task"}), "program: --task needs a value: the task's file" + end);
  EXPECT_EQ(Said({"train"}), "program: --task is required: the task's file" + end);
  EXPECT_EQ(Said({"train", "--task", "a", "--task", "b"}),
            "program: --task is given 2 times: give it once" + end);
}

// A missing option may be there, but misspelt.
TEST_F(UsageProblemTest, FindsTheWordThatWasMeant) {
  EXPECT_EQ(Said({"train", "--tusk", "t"}),
            "program: there is no option \"--tusk\"; did you mean \"--task\"?\n`program train "
            "--help` explains the options\n");
  EXPECT_EQ(Said({"train", "--task", "t", "more"}),
            "program: \"more\" was not expected: train takes no further argument\n`program train "
            "--help` explains the options\n");
  EXPECT_EQ(
      Said({}),
      "program: a verb is missing: expected one of train, evaluate\n`program --help` explains "
      "the options\n");
  EXPECT_EQ(
      Said({"trian"}),
      "program: there is no verb \"trian\": expected one of train, evaluate\n`program --help` "
      "explains the options\n");
}

TEST_F(UsageProblemTest, NamesTheVariableThatHoldsTheValue) {
  setenv("LONGRUN_TEST_STEPS", "12", 1);
  EXPECT_EQ(
      Said({"train", "--task", "t"}),
      "program: the environment variable LONGRUN_TEST_STEPS: --steps \"12\": expected a whole "
      "number from 1 to 9\n`program train --help` explains the options\n");
  // The command line comes first.
  EXPECT_EQ(Said({"train", "--task", "t", "--steps", "11"}),
            "program: --steps \"11\": expected a whole number from 1 to 9\n`program train --help` "
            "explains the options\n");
}

TEST_F(UsageProblemTest, WhoAsksForHelpHasMadeNoMistake) {
  testing::internal::CaptureStdout();
  int code = -1;
  try {
    app.parse(std::vector<std::string>{"--help"});
  } catch (const CLI::ParseError& error) {
    code = ReportUsage(app, error, {"--help"});
  }
  EXPECT_NE(testing::internal::GetCapturedStdout().find("trains"), std::string::npos);
  EXPECT_EQ(code, 0);
}

}  // namespace
}  // namespace longrun
