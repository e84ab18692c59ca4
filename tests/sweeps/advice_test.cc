// Where a message says "write X", X is accepted: for every key, axis and parameter, and words that
// people put in their places.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/hash.h"
#include "base/str.h"
#include "model/evaluation/evaluation.h"
#include "model/position/method.h"
#include "sweeps/schema.h"
#include "sweeps/sweep.h"

namespace longrun {
namespace {

const std::vector<std::string> kWords = {
    "linear", "cosine",  "cosin",    "constant", "adamw", "adam",   "sgd",    "none",    "micro",
    "gpt2",   "gpt3",    "my sweep", "name",     "one",   "1",      "0",      "-1",      "1 2",
    "1, 2",   "1.5",     "\"5\"",    "\"0.1\"",  "100k",  "0k",     "1e3",    "1e18",    "64x",
    "yes",    "off",     "\"true\"", "rope",     "roppe", "austen", "austin", "gpu",     "test",
    "random", "shuffle", "5min",     "5 min",    "fp16",  "[1, 2]", "[rope]", "\"64k\"", "all"};

DatasetCatalogue Austen() {
  const auto find = [](const std::string& name) -> std::optional<DatasetInfo> {
    if (name != "austen") return std::nullopt;
    return DatasetInfo{.name = name,
                       .digest = Sha256Hex(name),
                       .tokenizer_fingerprint = Sha256Hex("bytes"),
                       .vocab_size = 256,
                       .split_tokens = {{"train", 4'000'000}, {"validation", 20'000}}};
  };
  return {.find = find, .names = {"austen"}};
}

// A sweep file in which one value is of the test's choosing.
struct Case {
  std::string path;    // as messages say it
  std::string before;  // of the file
  std::string after;
  std::vector<std::pair<std::string, std::string>> overrides = {};  // the value is theirs, if any
};

std::vector<std::string> ErrorsAt(const Case& place, const std::string& value) {
  auto overrides = place.overrides;
  for (auto& [path, text] : overrides) text = value;
  const std::string yaml =
      place.overrides.empty() ? place.before + value + place.after : place.before + place.after;
  const Result<Sweep> sweep = ParseSweep(yaml, "sweep.yaml", overrides, Austen());
  std::vector<std::string> errors;
  if (sweep.ok()) return errors;
  for (const std::string& line : Split(sweep.status().message(), '\n')) {
    const std::size_t at = line.find(Str(": ", place.path));
    if (at == std::string::npos) continue;
    const char behind = line.c_str()[at + 2 + place.path.size()];
    if (behind == ':' || behind == '[' || behind == '.') errors.push_back(line);
  }
  return errors;
}

// What the message says to write; "" where it says nothing of the kind.
std::string Advised(const std::string& message, const std::string& value) {
  if (message.ends_with("the quotes make it text: remove them")) {
    return value.substr(1, value.size() - 2);
  }
  constexpr std::string_view kWrite = "write ";
  const std::size_t begin = message.rfind(kWrite);
  if (begin == std::string::npos || message.ends_with("...\"")) return "";
  return message.substr(begin + kWrite.size());
}

// "an integer from 1 to 10" of a message that expects one.
std::string Expectation(const std::string& message) {
  const std::size_t begin = message.find(": expected ");
  return begin == std::string::npos ? "" : message.substr(begin, message.find(", found") - begin);
}

// What stands there has the right form now, but may not go with the other values: a width that the
// heads do not divide.
bool IsOfItsOwn(const std::string& error, const std::string& before, const Case& place) {
  const bool is_below = error.find(Str(": ", place.path, ":")) == std::string::npos;
  return is_below || Expectation(error) == Expectation(before);
}

std::string File(const std::string& matrix, const std::string& evaluate) {
  return Str(
      "apiVersion: longrun/v1\nkind: Sweep\nmetadata: {name: small}\nspec:\n"
      "  model: {size: micro}\n  matrix: {",
      matrix, "}\n  train: {tokens: 614400, batch_tokens: 1024}\n  evaluate: [", evaluate, "]\n");
}

constexpr std::string_view kMark = "@";

Case CaseOf(std::string path, const std::string& file) {
  const std::size_t at = file.find(kMark);
  return {.path = std::move(path), .before = file.substr(0, at), .after = file.substr(at + 1)};
}

std::vector<Case> AllPlaces() {
  const std::string matrix = "position: [rope], train_length: [64], dataset: [austen]";
  const std::string evaluate = "{perplexity: {context_lengths: [64]}}";
  std::vector<Case> cases;
  for (const KeyRow& row : SweepKeys()) {
    const std::string path(row.path);
    if (row.kind == KeyRow::Kind::kUnbuilt || path.starts_with("spec.matrix")) continue;
    const bool in_spec = path.starts_with("spec.");
    if (!in_spec && !path.starts_with("metadata.")) continue;
    Case place = {.path = path, .before = File(matrix, evaluate), .after = ""};
    place.overrides = {{path, ""}};
    cases.push_back(std::move(place));
  }
  for (const std::string& axis : AxisNames()) {
    std::string axes = Str(axis, ": ", kMark);
    for (const char* other : {"position: [rope]", "train_length: [64]", "dataset: [austen]"}) {
      if (!std::string_view(other).starts_with(Str(axis, ":"))) axes += Str(", ", other);
    }
    cases.push_back(CaseOf(Str("spec.matrix.", axis), File(axes, evaluate)));
  }
  for (const std::string& name : EvaluationNames()) {
    for (const ParamSpec& param : (*FindEvaluation(name))->params) {
      const std::string lengths = param.name == "context_lengths" ? "" : "context_lengths: [64], ";
      cases.push_back(
          CaseOf(Str("spec.evaluate[0].", name, ".", param.name),
                 File(matrix, Str("{", name, ": {", lengths, param.name, ": ", kMark, "}}"))));
    }
  }
  for (const std::string& name : PositionMethodNames()) {
    for (const ParamSpec& param : (*FindPositionMethod(name))->params) {
      cases.push_back(CaseOf(Str("spec.matrix.position[0].", param.name),
                             File(Str("position: [{method: ", name, ", ", param.name, ": ", kMark,
                                      "}], train_length: [64], dataset: [austen]"),
                                  evaluate)));
    }
  }
  return cases;
}

TEST(AdviceTest, WhatIsAdvisedIsAccepted) {
  int n_advised = 0;
  for (const Case& place : AllPlaces()) {
    for (const std::string& word : kWords) {
      for (const std::string& error : ErrorsAt(place, word)) {
        const std::string advised = Advised(error, word);
        if (advised.empty()) continue;
        ++n_advised;
        for (const std::string& again : ErrorsAt(place, advised)) {
          if (!IsOfItsOwn(again, error, place)) continue;
          ADD_FAILURE() << error << "\nand then\n" << again;
        }
      }
    }
  }
  // Maps, lists, counts, numbers and booleans, in hundreds of places.
  EXPECT_GE(n_advised, 350);
}

TEST(AdviceTest, AWordInThePlaceOfAMapIsToldWhatThereIs) {
  const auto error = [](const std::string& path, const std::string& word) {
    Case place = {.path = path,
                  .before = File("position: [rope], train_length: [64], dataset: [austen]", ""),
                  .after = ""};
    place.overrides = {{path, ""}};
    const std::vector<std::string> errors = ErrorsAt(place, word);
    return errors.empty() ? "" : errors[0].substr(errors[0].find("expected"));
  };
  EXPECT_EQ(error("spec.train.schedule", "cosine"),
            "expected a map, found \"cosine\"; write `{name: cosine}`");
  EXPECT_EQ(error("spec.train.schedule", "cosin"),
            "expected a map, found \"cosin\"; write `{name: cosine}`");
  EXPECT_EQ(
      error("spec.train.schedule", "inverse"),
      "expected a map, found \"inverse\"; the map's keys are \"name\", \"warmup_tokens\", and "
      "\"name\" is one of cosine, constant, linear");
  EXPECT_EQ(error("spec.model", "micro"), "expected a map, found \"micro\"; write `{size: micro}`");
}

}  // namespace
}  // namespace longrun
