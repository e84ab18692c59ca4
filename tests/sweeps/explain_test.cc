// What `longrun explain` knows: everything in the tables, found under the names that people type.
#include "sweeps/explain.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/str.h"
#include "model/evaluation/evaluation.h"
#include "model/position/method.h"
#include "sweeps/failure.h"
#include "sweeps/schema.h"
#include "sweeps/yaml_tree.h"

namespace longrun {
namespace {

Json Known(std::string_view path) {
  Result<Json> explained = Explain(path);
  EXPECT_TRUE(explained.ok()) << path << ": " << explained.status().message();
  return explained.ok() ? *explained : Json::object();
}

TEST(ExplainTest, AKeyIsFoundWithAndWithoutSpec) {
  const Json lr = Known("train.optimizer.lr");
  EXPECT_EQ(lr.at("path"), "spec.train.optimizer.lr");
  EXPECT_EQ(lr.at("type"), "number");
  EXPECT_EQ(lr.at("value"), "a number from 1e-12 to 10");
  EXPECT_EQ(lr.at("default"), 0.0006);  // the recipe of model/config.h
  EXPECT_EQ(lr.at("axis"), true);
  EXPECT_EQ(lr.at("example"), "spec:\n  train:\n    optimizer:\n      lr: 6e-04\n");
  EXPECT_EQ(Known("spec.train.optimizer.lr"), lr);
  EXPECT_EQ(Known("seed").at("path"), "spec.matrix.seed");
}

TEST(ExplainTest, AMethodGivesItsSourceAndItsParameters) {
  const Json cable = Known("position.cable");
  EXPECT_EQ(cable.at("source"), "arXiv:2503.08067; axiomlab/Cable src/Cable.py");
  EXPECT_EQ(cable.at("members")[0].at("path"), "position.cable.variant");
  const Json variant = Known("position.cable.variant");
  EXPECT_EQ(variant.at("default"), "official");
  EXPECT_EQ(variant.at("value"), "one of official, scaled, augmented, bidirectional");
}

TEST(ExplainTest, AFailureClassSaysWhatFollowsAndWhatToDo) {
  const Json lost = Known("failure.lost");
  EXPECT_EQ(lost.at("advice"), FailureOf(FailureClass::kLost).advice);
  EXPECT_EQ(lost.at("retryable"), true);
  EXPECT_EQ(Known("failure.numerical").at("meaning"), "final: not tried again");
  EXPECT_EQ(Known("failure").at("members").size(), FailureTable().size());
}

TEST(ExplainTest, EverythingInTheTablesIsKnownUnderItsPath) {
  const std::vector<std::string> paths = ExplainPaths();
  for (const std::string& path : paths) {
    const Json explained = Known(path);
    ASSERT_TRUE(explained.is_object()) << path;
    EXPECT_FALSE(explained.value("meaning", "").empty()) << path;
    EXPECT_TRUE(ExplainText(explained).ends_with("\n")) << path;
  }
  const auto has = [&](const std::string& path) {
    return std::ranges::find(paths, path) != paths.end();
  };
  for (const PositionMethod* method : PositionMethods()) {
    EXPECT_TRUE(has(Str("position.", method->name)));
  }
  for (const Evaluation* evaluation : Evaluations()) {
    EXPECT_TRUE(has(Str("evaluate.", evaluation->name)));
  }
}

// A person copies the example into a file: each must be YAML of the right place and type.
TEST(ExplainTest, EachExampleOfAScalarKeyIsAValueThatTheKeyTakes) {
  std::size_t n_checked = 0;
  for (const KeyRow& row : SweepKeys()) {
    const std::string example = Known(row.path).value("example", "");
    if (example.empty()) continue;
    std::vector<Problem> problems;
    const std::optional<YamlNode> tree = ParseYaml(example, 0, problems);
    ASSERT_TRUE(tree && problems.empty()) << example;
    const YamlNode* node = &*tree;
    for (const std::string& part : Split(row.path, '.')) {
      const YamlNode::Entry* entry = node->Find(part);
      ASSERT_NE(entry, nullptr) << example;
      node = &entry->value;
    }
    if (row.path.starts_with("spec.matrix.")) node = &node->items.at(0);
    using Type = KeyRow::Type;
    if (row.type == Type::kLabels || row.type == Type::kPosition || row.type == Type::kPoints ||
        row.type == Type::kEvaluations) {
      continue;  // not scalars
    }
    const Result<Json> value = TypeValue(row, *node);
    EXPECT_TRUE(value.ok()) << row.path << ": " << value.status().message();
    n_checked += 1;
  }
  EXPECT_GT(n_checked, 30u);
}

TEST(ExplainTest, ATypoIsAnsweredWithTheNearestName) {
  const auto message = [](std::string_view path) {
    return std::string(Explain(path).status().message());
  };
  EXPECT_EQ(message("train.optimizer.lrr"),
            "nothing is known of \"train.optimizer.lrr\"; did you mean train.optimizer.lr?");
  EXPECT_EQ(message("cable"), "nothing is known of \"cable\"; did you mean position.cable?");
  EXPECT_EQ(message("failure.lots"),
            "there is no failure class \"lots\"; did you mean \"lost\"?");
  EXPECT_EQ(message("position.cabel").substr(0, 63),
            "unknown position method \"cabel\"; did you mean \"cable\"? (methods");
  EXPECT_EQ(message("position.cable.varant"),
            "position.cable has no parameter \"varant\"; did you mean \"variant\"?");
  EXPECT_EQ(message("zzzzzzzz"),
            "nothing is known of \"zzzzzzzz\"; try spec, position, evaluate or failure");
  EXPECT_EQ(Explain("zzzzzzzz").status().code(), Code::kNotFound);
}

}  // namespace
}  // namespace longrun
