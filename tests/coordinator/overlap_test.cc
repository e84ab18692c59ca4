// What a submission is told about an evaluated text that the models are trained on: made texts,
// whose shares are counted by hand.
#include "coordinator/overlap.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/str.h"
#include "model/data/dataset.h"
#include "sweeps/evaluated_dataset.h"

namespace longrun::coordinator {
namespace {

// n bytes without a repetition of 64 of them, other ones for each first digit.
std::string TextOf(char first, std::size_t n) {
  std::string text;
  for (int i = 0; text.size() < n; ++i) text += Str(std::string(1, first), i, ",");
  text.resize(n);
  return text;
}

class OverlapNotesTest : public ::testing::Test {
 protected:
  // Imports a dataset with these splits; a byte is a token, and an end of text follows.
  void Import(const std::string& name,
              const std::vector<std::pair<std::string, std::string>>& splits) {
    ImportSpec spec;
    for (const auto& [split, text] : splits) {
      const std::string path = JoinPath(folder_.path(), Str(name, "-", split, ".txt"));
      ASSERT_TRUE(WriteFileAtomic(path, text).ok());
      spec.splits.push_back({split, {path}});
    }
    const std::string folder = JoinPath(folder_.path(), name);
    const Status imported = ImportText(spec, folder);
    ASSERT_TRUE(imported.ok()) << imported.message();
    DatasetRow row;
    row.info.name = name;
    row.info.digest = Dataset::Open(folder)->digest();
    row.folder = folder;
    datasets_.push_back(std::move(row));
  }

  std::string DigestOf(const std::string& name) const {
    for (const DatasetRow& row : datasets_) {
      if (row.info.name == name) return row.info.digest;
    }
    return std::string(64, '0');
  }

  PlannedRun TrainedOnAusten() const {
    PlannedRun run;
    run.run.train.tokens = 1;
    run.run.dataset_digest = DigestOf("austen");
    run.dataset_name = "austen";
    return run;
  }

  // Of a training on austen that is evaluated on the first score_tokens of name:test; 0: on all.
  std::vector<std::string> Notes(const std::string& name, int score_tokens) {
    PlannedRun run = TrainedOnAusten();
    Json params = {{"split", "test"}};
    if (score_tokens > 0) params["score_tokens"] = score_tokens;
    run.evaluations.push_back(
        {.evaluation = WithEvaluatedDataset({{"perplexity", params}},
                                            {.name = name, .digest = DigestOf(name)}),
         .cells = {}});
    Sweep sweep;
    sweep.runs = {run, run};  // what several runs share is said once
    return search_.Notes(datasets_, sweep);
  }

  TempFolder folder_{"longrun-overlap"};
  std::vector<DatasetRow> datasets_;
  OverlapSearch search_;
};

TEST_F(OverlapNotesTest, SaysTheShareOfTheEvaluatedTokens) {
  const std::string trained_on = TextOf('a', 5000);
  Import("austen", {{"train", trained_on}});
  Import("other", {{"test", TextOf('b', 3000)}});
  Import("same", {{"test", trained_on}});
  Import("planted", {{"test", TextOf('c', 500) + trained_on.substr(1234, 80) + TextOf('d', 1420)}});
  EXPECT_EQ(Notes("other", 0), std::vector<std::string>());
  // The end of text is shared, too.
  EXPECT_EQ(Notes("same", 0),
            std::vector<std::string>{"100 % of the 5,001 tokens of same:test occur in the training "
                                     "split of austen, in stretches of 64 tokens or more"});
  // 80 of 1000, 80 of 2001 tokens.
  EXPECT_EQ(
      Notes("planted", 1000),
      std::vector<std::string>{"8 % of the first 1,000 tokens of planted:test occur in the "
                               "training split of austen, in stretches of 64 tokens or more"});
  EXPECT_EQ(
      Notes("planted", 0),
      std::vector<std::string>{"4 % of the 2,001 tokens of planted:test occur in the "
                               "training split of austen, in stretches of 64 tokens or more"});
  EXPECT_EQ(Notes("planted", 550), std::vector<std::string>());  // 50 tokens are no stretch
}

TEST_F(OverlapNotesTest, ADatasetThatCannotBeReadIsNotSilentlyLeftOut) {
  Import("austen", {{"train", TextOf('a', 500)}});
  const std::vector<std::string> notes = Notes("gone", 0);
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_EQ(notes[0],
            "it is not known whether gone:test occurs in the training split of austen: dataset "
            "\"gone\" is not registered");
}

// The weights of a run may come from another training, whose text counts as well, and is compared
// with the text of the run's own dataset, too.
TEST_F(OverlapNotesTest, TheTextOfAnEarlierTrainingIsSearched) {
  const std::string earlier = TextOf('a', 5000);
  Import("novels", {{"train", earlier}});
  Import("austen", {{"train", TextOf('b', 500)}, {"test", earlier.substr(0, 1000)}});
  PlannedRun run = TrainedOnAusten();
  run.evaluations.push_back({.evaluation = {{"perplexity", {{"split", "test"}}}}, .cells = {}});
  run.evaluations.push_back({.evaluation = {{"throughput", Json::object()}}, .cells = {}});
  Sweep sweep;
  sweep.runs = {run};
  EXPECT_EQ(search_.Notes(datasets_, sweep), std::vector<std::string>());
  sweep.runs[0].trained_before = {DigestOf("novels"), DigestOf("austen")};
  const std::vector<std::string> notes = search_.Notes(datasets_, sweep);
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_EQ(notes[0],
            "99 % of the 1,001 tokens of austen:test occur in the training split of novels, in "
            "stretches of 64 tokens or more");
}

// What has been compared is not read again.
TEST_F(OverlapNotesTest, APairIsComparedOnce) {
  const std::string trained_on = TextOf('a', 5000);
  Import("austen", {{"train", trained_on}});
  Import("same", {{"test", trained_on}});
  const std::vector<std::string> notes = Notes("same", 0);
  ASSERT_EQ(notes.size(), 1u);
  ASSERT_TRUE(RemoveAll(JoinPath(folder_.path(), "austen")).ok());
  EXPECT_EQ(Notes("same", 0), notes);
}

// A call compares only some pairs; the next call compares more, until all are known.
TEST_F(OverlapNotesTest, WhatOneCallDoesNotCompareTheNextOneDoes) {
  const std::string trained_on = TextOf('a', 5000);
  Import("austen", {{"train", trained_on}});
  Import("first", {{"test", trained_on}});
  Import("second", {{"test", trained_on.substr(0, 2000)}});
  Sweep sweep;
  sweep.runs = {TrainedOnAusten()};
  for (const char* const name : {"first", "second"}) {
    sweep.runs[0].evaluations.push_back(
        {.evaluation = WithEvaluatedDataset({{"perplexity", {{"split", "test"}}}},
                                            {.name = name, .digest = DigestOf(name)}),
         .cells = {}});
  }
  OverlapSearch search(1);
  const std::vector<std::string> notes = search.Notes(datasets_, sweep);
  ASSERT_EQ(notes.size(), 2u);
  EXPECT_TRUE(notes[0].starts_with("100 % of the 5,001 tokens of first:test")) << notes[0];
  EXPECT_EQ(notes[1],
            "it is not known whether second:test occurs in the training split of austen: `longrun "
            "plan` compares only some texts at a time; call it again");
  const std::vector<std::string> more = search.Notes(datasets_, sweep);
  ASSERT_EQ(more.size(), 2u);
  EXPECT_EQ(more[0], notes[0]);
  EXPECT_TRUE(more[1].find(" % of the 2,001 tokens of second:test") != std::string::npos)
      << more[1];
}

}  // namespace
}  // namespace longrun::coordinator
