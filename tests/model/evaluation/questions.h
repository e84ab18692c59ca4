// Multiple choice asked of any model: a dataset of bytes, and the questions kept as a
// submission keeps them.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>

#include "base/files.h"
#include "model/data/dataset.h"
#include "model/evaluation/input_file.h"
#include "model/evaluation/multiple_choice.h"

namespace longrun {

class QuestionsTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string text = JoinPath(folder_.path(), "a.txt");
    ASSERT_TRUE(WriteFileAtomic(text, "some text").ok());
    ASSERT_TRUE(ImportText({.splits = {{"train", {text}}}}, Data()).ok());
    dataset_.emplace(Dataset::Open(Data()).value());
  }

  const Dataset& dataset() const { return *dataset_; }

  // `jsonl`: the bytes of the file.
  Result<EvaluationOutput> Ask(LanguageModel& model, const std::string& jsonl,
                               std::int64_t context_length, Json params = Json::object(),
                               std::int64_t windows_per_call = 2) {
    const std::string path = JoinPath(folder_.path(), "q.jsonl");
    EXPECT_TRUE(WriteFileAtomic(path, jsonl).ok());
    const InputFile file = ReadInputFile(path).value();
    EXPECT_TRUE(KeepInputFile(file, folder_.path()).ok());
    params["file"] = file.id;
    return MultipleChoiceEvaluation().run(model,
                                          {.dataset = &*dataset_,
                                           .params = std::move(params),
                                           .context_length = context_length,
                                           .windows_per_call = windows_per_call,
                                           .dataset_folder = Data(),
                                           .files_dir = folder_.path()},
                                          {});
  }

  std::string Data() const { return JoinPath(folder_.path(), "data"); }

  TempFolder folder_;

 private:
  std::optional<Dataset> dataset_;
};

}  // namespace longrun
