#include "model/data/unigram.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "base/files.h"

namespace longrun {
namespace {

Dataset Import(const TempFolder& folder, const std::string& split, const std::string& text) {
  const std::string file = JoinPath(folder.path(), "text.txt"),
                    data = JoinPath(folder.path(), "data");
  EXPECT_TRUE(WriteFileAtomic(file, text).ok());
  EXPECT_TRUE(ImportText({.splits = {{split, {file}}}}, data).ok());
  return Dataset::Open(data).value();
}

// "aab" and the end of text: 4 tokens over 257 real ids (256 bytes and the end of text).
TEST(UnigramModelTest, GivesEachTokenItsSmoothedShareWhateverStandsBefore) {
  const TempFolder folder;
  const auto model = UnigramModel::Fit(Import(folder, "train", "aab")).value();
  const std::vector<std::int32_t> tokens = {'x', 'a', 'b', 'x', 256, 257, 'a'};
  const std::vector<Window> windows = {{.context_begin = 0, .score_begin = 1, .score_end = 6},
                                       {.context_begin = 5, .score_begin = 6, .score_end = 7}};

  const auto nll = model->Nll(tokens, windows).value();

  ASSERT_EQ(nll.size(), 2u);
  ASSERT_EQ(nll[0].size(), 5u);
  EXPECT_NEAR(nll[0][0], std::log(261.0 / 3.0), 1e-6);  // a: (2 + 1) / (4 + 257)
  EXPECT_NEAR(nll[0][1], std::log(261.0 / 2.0), 1e-6);
  EXPECT_NEAR(nll[0][2], std::log(261.0), 1e-6);
  EXPECT_NEAR(nll[0][3], std::log(261.0 / 2.0), 1e-6);  // the end of text, once
  EXPECT_TRUE(std::isinf(nll[0][4]));                   // padding is no token of any text
  EXPECT_EQ(nll[1], std::vector<float>{nll[0][0]});
}

TEST(UnigramModelTest, ProbabilitiesOfRealTokensSumToOne) {
  const TempFolder folder;
  const auto model = UnigramModel::Fit(Import(folder, "train", "some text or other")).value();
  std::vector<std::int32_t> tokens = {0};
  for (std::int32_t id = 0; id <= 256; ++id) tokens.push_back(id);
  const std::vector<Window> all = {{.context_begin = 0, .score_begin = 1, .score_end = 258}};
  double sum = 0.0;
  const auto nll = model->Nll(tokens, all).value();
  for (const float nats : nll[0]) sum += std::exp(-static_cast<double>(nats));
  EXPECT_NEAR(sum, 1.0, 1e-6);
}

TEST(UnigramModelTest, NeedsATrainSplit) {
  const TempFolder folder;
  const auto model = UnigramModel::Fit(Import(folder, "test", "aab"));
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.status().code(), Code::kNotFound);
  EXPECT_NE(model.status().message().find("has no split \"train\""), std::string::npos);
}

}  // namespace
}  // namespace longrun
