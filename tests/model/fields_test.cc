// The declarations of the settings (model/fields.h), held against what is made from them.
#include "model/fields.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/str.h"
#include "model/config_errors.h"
#include "model/field_visitors.h"
#include "model/position/method.h"
#include "model/train_config_errors.h"
#include "model/train_fields.h"

namespace longrun {
namespace {

// Puts the n-th number beyond its range.
class Spoiler {
 public:
  explicit Spoiler(int n, std::string path = "") : n_(n), path_(std::move(path)) {}

  template <typename T>
  void operator()(T& member, const ParamSpec& spec, const SettingUse& use = {}) {
    if (use.own_check) return;
    if constexpr (std::same_as<T, std::string>) {
      Spoil(spec, member, "no such choice");
    } else if constexpr (!std::same_as<T, bool> && !NamedEnum<T>) {
      Spoil(spec, member, static_cast<T>(2 * spec.max + 1));
    }
  }
  void operator()(double& first, double&, const ParamSpec& spec, const SettingUse& = {}) {
    Spoil(spec, first, 2 * spec.max + 1, "[0]");
  }
  template <typename Config>
  void Group(Config& config, const ParamSpec& spec, const SettingUse& = {}) {
    const std::string above = std::exchange(path_, Str(path_, spec.name, "."));
    Fields(config, *this);
    path_ = above;
  }

  std::string spoilt;  // its path; "" where there are fewer

 private:
  template <typename T, typename Value>
  void Spoil(const ParamSpec& spec, T& member, const Value& value, std::string_view item = "") {
    if (n_-- != 0) return;
    member = value;
    spoilt = Str(path_, spec.name, item);
  }

  int n_;
  std::string path_;
};

std::vector<std::string> Messages(const KeyErrors& errors) {
  std::vector<std::string> messages;
  for (const KeyError& error : errors.all()) messages.push_back(error.status.message());
  return messages;
}

// Spoils each setting of a right config in turn, and returns how many there were.
template <typename Config, typename Check>
int SpoilEach(const Config& right, const std::string& name, const Check& check) {
  for (int n = 0;; ++n) {
    Config config = right;
    Spoiler spoiler(n);
    Fields(config, spoiler);
    if (spoiler.spoilt.empty()) return n;
    KeyErrors errors;
    check(config, errors, KeyErrors());
    const std::vector<std::string> messages = Messages(errors);
    const std::string begin = Str(name, ".", spoiler.spoilt, ": expected ");
    EXPECT_TRUE(std::ranges::any_of(
        messages, [&](const std::string& message) { return message.starts_with(begin); }))
        << begin << " is not among: " << Join(messages, "\n");
  }
}

// A struct with a setting that was added to it: `added` is its member, its line and nothing else.
struct Toy {
  double lr = 0.5;
  std::int64_t steps = 3;
  double first = 0.1, second = 0.2;
  double added = 0.0;
};

void Fields(Of<Toy> auto& toy, auto& v) {
  v(toy.lr, {.name = "lr", .min = 0, .max = 1});
  v(toy.steps, {.name = "steps", .min = 1, .max = 10});
  v(toy.first, toy.second, {.name = "pair", .min = 0, .max = 1});
  v(toy.added, {.name = "added", .min = 0, .max = 2}, {.in_json = toy.added != 0.0});
}

std::string Written(const Toy& toy) {
  Json json;
  FieldWriter writer(json, /*with_body=*/false);
  Fields(toy, writer);
  return CanonicalJson(json);
}

Toy ReadToy(const Json& json, KeyErrors& errors) {
  Toy toy;
  if (!RefuseUnknownFields<Toy>(json, "toy", /*with_body=*/false, errors)) return toy;
  FieldReader reader(json, "toy", errors);
  Fields(toy, reader);
  return toy;
}

TEST(FieldsTest, ASettingThatIsAddedChangesNoOlderJson) {
  EXPECT_EQ(Written(Toy()), R"({"lr":0.5,"pair":[0.1,0.2],"steps":3})");
  const Toy toy = {.lr = 0.25, .steps = 9, .first = 0, .second = 1, .added = 1.5};
  EXPECT_EQ(Written(toy), R"({"added":1.5,"lr":0.25,"pair":[0,1],"steps":9})");
  for (const Toy& one : {Toy(), toy}) {
    KeyErrors errors;
    const Toy read = ReadToy(ParseJson(Written(one)).value(), errors);
    EXPECT_EQ(Messages(errors), std::vector<std::string>());
    EXPECT_EQ(Written(read), Written(one));
  }
}

TEST(FieldsTest, WhatIsReadIsRefusedWithItsPath) {
  const auto messages = [](const Json& json) {
    KeyErrors errors;
    const Toy toy = ReadToy(json, errors);
    FieldChecker checker("toy", errors);
    Fields(toy, checker);
    return Join(Messages(errors), "\n");
  };
  EXPECT_EQ(messages({{"lr", 0.5}, {"pair", {0, 1}}, {"steps", 3}}), "");
  EXPECT_EQ(messages({{"lr", 0.5}, {"pair", {0, 1}}, {"steps", 3}, {"add", 1}}),
            "toy.add: unknown key; did you mean \"added\"?");
  EXPECT_EQ(messages({{"lr", 0.5}, {"pair", {0, 2}}, {"steps", 0}, {"added", 3}}),
            "toy.steps: expected 1 to 10, found 0\ntoy.pair[1]: expected 0 to 1, found 2\n"
            "toy.added: expected 0 to 2, found 3");
  EXPECT_EQ(messages({{"lr", 0.5}, {"pair", {0, 1}}}), "toy.steps: missing");
}

TEST(FieldsTest, EverySettingOfATrainingIsHeldToItsRange) {
  TrainConfig train;
  train.train_length = 64;
  train.tokens = train.batch_tokens = 1024;
  train.objective = Objective::kMaskedLm;
  train.mask.token = 3;
  KeyErrors errors;
  CheckTrain(train, errors);
  ASSERT_EQ(Messages(errors), std::vector<std::string>());
  EXPECT_EQ(SpoilEach(train, "train", CheckTrain), 18);
}

TEST(FieldsTest, EverySettingOfAModelIsHeldToItsRange) {
  ModelConfig model = ModelConfig::Preset("micro").value();
  ASSERT_TRUE(model.SetArchitecture("llama").ok());
  model.vocab_size = 256;
  model.position = ResolvePosition("rope").value();
  KeyErrors errors;
  CheckModel(model, errors);
  ASSERT_EQ(Messages(errors), std::vector<std::string>());
  EXPECT_EQ(SpoilEach(model, "model", CheckModel), 9);
}

TEST(FieldsTest, ASettingThatAnOlderRunDoesNotKnowStandsInNoJsonOfIts) {
  TrainConfig train;
  EXPECT_FALSE(train.ToJson().contains("mask") || train.ToJson().contains("objective"));
  train.objective = Objective::kMaskedLm;
  EXPECT_TRUE(train.ToJson().contains("mask") && train.ToJson().contains("objective"));
  ModelConfig model;
  model.n_head = model.d_model = 4;
  EXPECT_FALSE(model.ToJson().contains("n_kv_head"));
  model.architecture = "llama";
  EXPECT_EQ(model.ToJson().at("n_kv_head"), 4);
}

}  // namespace
}  // namespace longrun
