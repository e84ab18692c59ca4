#include "worker/trainer/training_view.h"

#include <gtest/gtest.h>

#include <string>

namespace longrun::trainer {
namespace {

SeriesRecord StepBody(double loss) {
  return {.values = {{"loss", loss}, {"lr", 1e-3}, {"tokens_per_s", 1000.0}}};
}

std::string Show(TrainingView& view, std::int64_t step, std::int64_t now_ms) {
  return view.Show(StepBody(2.5), step, now_ms);
}

TEST(TrainingViewTest, AFileGetsALineForEachTenthOfTheTraining) {
  TrainingView view(
      {.n_steps = 40, .batch_tokens = 100, .checkpoint_every_ms = 600'000, .output = "out"});
  EXPECT_EQ(view.Begin(),
            "training: 40 steps of 100 tokens; checkpoints in out/checkpoints, every 10min and "
            "after the last step\n");
  int n_lines = 0;
  for (std::int64_t step = 1; step <= 40; ++step) n_lines += Show(view, step, step).empty() ? 0 : 1;
  EXPECT_EQ(n_lines, 11);  // and one for the first step
}

TEST(TrainingViewTest, ALineHasStepLossRateAndTheTimeLeft) {
  TrainingView view({.n_steps = 40, .batch_tokens = 100, .output = "out"});
  // 36 steps of 100 tokens at 1000 a second.
  EXPECT_EQ(Show(view, 4, 1), "step 4 of 40   loss 2.5000   1K tokens/s   3.6s left\n");
  EXPECT_EQ(view.Show(SeriesRecord{.values = {{"val_loss", 3.0}}}, 4, 2), "");
  EXPECT_EQ(Show(view, 40, 3), "step 40 of 40   loss 2.5000 (validation 3.0000)   1K tokens/s\n");
  EXPECT_EQ(view.End(), "");
}

TEST(TrainingViewTest, TheTimeLeftIsThatOfTokensWithoutPadding) {
  TrainingView view({.n_steps = 40, .batch_tokens = 100, .batch_documents = 4, .output = "out"});
  EXPECT_TRUE(view.Begin().starts_with("training: 40 steps of 4 documents; checkpoints in "));
  const SeriesRecord step = {
      .values = {{"loss", 2.5}, {"padding", 0.25}, {"tokens_per_s", 1000.0}}};
  // 36 steps of 75 tokens at 1000 a second.
  EXPECT_EQ(view.Show(step, 4, 1), "step 4 of 40   loss 2.5000   1K tokens/s   2.7s left\n");
}

TEST(TrainingViewTest, ALongTrainingHasALineAMinuteInAFile) {
  TrainingView view({.n_steps = 1'000'000, .batch_tokens = 100, .output = "out"});
  EXPECT_NE(Show(view, 1, 5), "");
  EXPECT_EQ(Show(view, 2, 60'004), "");
  EXPECT_NE(Show(view, 3, 60'005), "");
  EXPECT_NE(Show(view, 100'000, 60'006), "");
}

TEST(TrainingViewTest, ATerminalDrawsOneLineAgainAtMostTwiceASecond) {
  TrainingView view({.n_steps = 40, .batch_tokens = 100, .output = "out", .on_terminal = true});
  EXPECT_EQ(Show(view, 1, 1000), "\r\x1b[Kstep 1 of 40   loss 2.5000   1K tokens/s   3.9s left");
  EXPECT_EQ(Show(view, 2, 1499), "");
  EXPECT_NE(Show(view, 3, 1500), "");
  EXPECT_NE(Show(view, 40, 1501), "");
  EXPECT_EQ(view.End(), "\n");
  EXPECT_EQ(view.End(), "");
}

TEST(TrainingViewTest, TheNewestCheckpointIsKnownAndAResumedTrainingSaysWhereItBegins) {
  TrainingView view({.n_steps = 40, .batch_tokens = 100, .first_step = 10, .output = "out"});
  EXPECT_EQ(view.Begin(),
            "training: steps 11 to 40 of 100 tokens; checkpoints in out/checkpoints, after each "
            "step\n");
  EXPECT_EQ(view.checkpoint(), "");
  EXPECT_EQ(view.Show(CheckpointRecord{.path = "checkpoints/step-000000011"}, 11, 1), "");
  EXPECT_EQ(view.checkpoint(), "out/checkpoints/step-000000011");
}

}  // namespace
}  // namespace longrun::trainer
