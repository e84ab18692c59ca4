// The declarations of the settings (model/fields.h), held against what is made from them.
#include "model/fields.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error_list.h"
#include "base/str.h"
#include "model/config_errors.h"
#include "model/position/method.h"

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
    } else if constexpr (!std::same_as<T, bool>) {
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

std::vector<std::string> Messages(const ErrorList& errors) {
  std::vector<std::string> messages;
  for (const Status& status : errors.all()) messages.push_back(status.message());
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
    ErrorList errors;
    check(config, errors);
    const std::vector<std::string> messages = Messages(errors);
    const std::string begin = Str(name, ".", spoiler.spoilt, ": expected ");
    EXPECT_TRUE(std::ranges::any_of(
        messages, [&](const std::string& message) { return message.starts_with(begin); }))
        << begin << " is not among: " << Join(messages, "\n");
  }
}

TEST(FieldsTest, EverySettingOfATrainingIsHeldToItsRange) {
  TrainConfig train;
  train.train_length = 64;
  train.tokens = train.batch_tokens = 1024;
  train.objective = "masked_lm";
  train.mask.token = 3;
  ErrorList errors;
  CheckTrain(train, errors);
  ASSERT_EQ(Messages(errors), std::vector<std::string>());
  EXPECT_EQ(SpoilEach(train, "train", CheckTrain), 21);
}

TEST(FieldsTest, EverySettingOfAModelIsHeldToItsRange) {
  ModelConfig model = ModelConfig::Preset("micro").value();
  ASSERT_TRUE(model.SetArchitecture("llama").ok());
  model.vocab_size = 256;
  model.position = ResolvePosition("rope").value();
  ErrorList errors;
  CheckModel(model, errors);
  ASSERT_EQ(Messages(errors), std::vector<std::string>());
  EXPECT_EQ(SpoilEach(model, "model", CheckModel), 10);
}

TEST(FieldsTest, ASettingThatAnOlderRunDoesNotKnowStandsInNoJsonOfIts) {
  TrainConfig train;
  EXPECT_FALSE(train.ToJson().contains("mask") || train.ToJson().contains("objective"));
  train.objective = "masked_lm";
  EXPECT_TRUE(train.ToJson().contains("mask") && train.ToJson().contains("objective"));
  ModelConfig model;
  model.n_head = model.d_model = 4;
  EXPECT_FALSE(model.ToJson().contains("n_kv_head"));
  model.architecture = "llama";
  EXPECT_EQ(model.ToJson().at("n_kv_head"), 4);
}

}  // namespace
}  // namespace longrun
