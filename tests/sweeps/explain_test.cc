// What `longrun explain` knows: everything in the tables, found under the names that people type.
#include "sweeps/explain.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <span>

#include "base/str.h"
#include "model/config.h"
#include "model/evaluation/evaluation.h"
#include "model/position/method.h"
#include "sweeps/claim.h"
#include "sweeps/failure.h"
#include "sweeps/schema.h"
#include "sweeps/sweep.h"
#include "sweeps/unbuilt.h"
#include "sweeps/value.h"
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

TEST(ExplainTest, TheLastWordOfAPathIsEnoughIfNoOtherPathEndsSo) {
  EXPECT_EQ(Known("lr"), Known("train.optimizer.lr"));
  EXPECT_EQ(Known("cable"), Known("position.cable"));
}

TEST(ExplainTest, ANameIsFoundInAnyCase) {
  EXPECT_EQ(Known("Cable"), Known("cable"));
  EXPECT_EQ(Known("position.RoPE"), Known("position.rope"));
  EXPECT_EQ(Known("apiVersion").at("path"), "apiVersion");
}

TEST(ExplainTest, TheExampleOfASizeIsOneOfAModel) {
  const ModelConfig micro = *ModelConfig::Preset("micro");
  EXPECT_EQ(Known("model.n_layer").at("example"),
            Str("spec:\n  model:\n    n_layer: ", micro.n_layer, "\n"));
}

TEST(ExplainTest, ASizeSaysWhatItStandsFor) {
  const std::string meaning = Known("model.size").at("meaning");
  for (const std::string& name : ModelConfig::PresetNames()) {
    const ModelConfig size = *ModelConfig::Preset(name);
    const std::string text = Str(name, " ", size.n_layer, ", ", size.n_head, ", ", size.d_model);
    EXPECT_NE(meaning.find(text), std::string::npos) << text << " is not in " << meaning;
  }
}

TEST(ExplainTest, AMethodGivesItsSourceAndItsParameters) {
  const Json cable = Known("position.cable");
  EXPECT_EQ(cable.at("source"), "arXiv:2503.08067; axiomlab/Cable src/Cable.py");
  EXPECT_EQ(cable.at("members")[0].at("path"), "position.cable.variant");
  const Json variant = Known("position.cable.variant");
  EXPECT_EQ(variant.at("default"), "official");
  EXPECT_EQ(variant.at("value"),
            "one of official, scaled, augmented, bidirectional (experimental)");
}

TEST(ExplainTest, AMethodListsItsParametersWithRangeAndDefault) {
  const std::string gali = ExplainText(Known("extension.gali"));
  for (const char* line :
       {"one of none, gaussian, uniform; default none\n", "a number from 0 to 1000; default 1\n",
        "source   arXiv:2502.02659, section 3\n"}) {
    EXPECT_NE(gali.find(line), std::string::npos) << line << " is not in\n" << gali;
  }
  const std::string yarn = ExplainText(Known("extension.yarn"));
  EXPECT_NE(yarn.find("a number from 1 to 1000000; must be given\n"), std::string::npos) << yarn;
}

TEST(ExplainTest, ExtensionsSayToWhichMethodsTheyApply) {
  const std::string all = ExplainText(Known("extension"));
  for (const char* part : {"extensions apply only to models whose only position method is `rope`. ",
                           "write two sweep files with the same `train` and `evaluate`",
                           "`longrun table SWEEP1 SWEEP2`"}) {
    EXPECT_NE(all.find(part), std::string::npos) << part << " is not in\n" << all;
  }
  EXPECT_EQ(Known("extension.yarn").at("notes"),
            "extensions apply only to models whose only position method is `rope`");
}

// What no publication stands behind says so wherever it is listed: here,
// in the reference, in the schema.
TEST(ExplainTest, WhatIsExperimentalIsMarkedInEveryListing) {
  EXPECT_EQ(Known("position.cable.variant").at("meaning"),
            "scale of <q, k>; official: 1; scaled: 1/sqrt(head_dim); augmented: 1/sqrt(d_model); "
            "bidirectional: 1/sqrt(head_dim), for encoders (bidirectional is experimental)");
  const Json methods = Known("position").at("members");
  const auto cable =
      std::ranges::find(methods, "position.cable", [](const Json& one) { return one.at("path"); });
  EXPECT_NE(
      cable->at("meaning").get<std::string>().find(" (variant bidirectional is experimental)"),
      std::string::npos);
  EXPECT_NE(SweepReference().find("augmented, bidirectional (experimental) |"), std::string::npos);
  EXPECT_NE(SweepJsonSchema().dump().find("(bidirectional is experimental)"), std::string::npos);
  EXPECT_TRUE(IsExperimental({{"method", "cable"}, {"variant", "bidirectional"}}));
  EXPECT_FALSE(IsExperimental({{"method", "cable"}, {"variant", "official"}}));
  EXPECT_FALSE(IsExperimental("cable"));
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
  for (const ClaimKind& kind : ClaimKinds()) {
    const std::string path = Str("claims.", kind.name);
    EXPECT_TRUE(has(path));
    EXPECT_EQ(Known(path).at("meaning"), kind.meaning);
    for (const ParamSpec& param : kind.params) {
      EXPECT_EQ(Known(Str(path, ".", param.name)).at("meaning"), param.meaning);
    }
  }
}

TEST(ExplainTest, WhatIsPlannedIsExplainedByItsNameAndItsPath) {
  ASSERT_GT(UnbuiltTable().size(), 10u);
  for (const Unbuilt& one : UnbuiltTable()) {
    for (const std::string& name : {one.name, one.path.empty() ? one.name : one.path}) {
      const Json explained = Known(name);
      ASSERT_TRUE(explained.is_object()) << name;
      EXPECT_EQ(explained.at("value"), kNotBuiltYet) << name;
      EXPECT_EQ(explained.at("meaning"), one.meaning) << name;
    }
    const bool is_in_reference =
        SweepReference().find(Str("| ", one.what, " | `", one.name, "` |")) != std::string::npos;
    EXPECT_TRUE(is_in_reference) << one.name;
  }
  EXPECT_EQ(Known("sandwich").at("path"), "position.sandwich");
  EXPECT_EQ(Known("spec.matrix.position.sandwich").at("kind"), "planned");
  EXPECT_FALSE(IsUnbuiltVerb("pilot"));
  EXPECT_FALSE(IsUnbuiltVerb("sandwich"));
  // What is built is not in the table.
  for (const PositionMethod* const method : PositionMethods()) {
    EXPECT_EQ(FindUnbuilt(method->name), nullptr) << method->name;
  }
}

TEST(ExplainTest, APositionScheduleIsKnownUnderItsKey) {
  for (const char* path : {"positions.pose", "train.positions.pose", "spec.train.positions.pose"}) {
    EXPECT_EQ(Known(path).at("source"), "arXiv:2309.10400, section 3") << path;
    EXPECT_EQ(Known(path).at("members").size(), 4u) << path;
  }
  EXPECT_EQ(Known("train.positions.pose.chunks").at("default"), 2);
  EXPECT_EQ(Known("positions"), Known("spec.train.positions"));
  EXPECT_EQ(Explain("positions.pse").status().message(),
            "there is no position schedule \"pse\"; did you mean \"pose\"?");
  EXPECT_EQ(Known("pose"), Known("positions.pose"));
}

TEST(ExplainTest, AParameterSaysWhichProtocolsItBelongsTo) {
  const std::string listed = ExplainText(Known("evaluate.perplexity"));
  EXPECT_NE(listed.find("evaluate.perplexity.stride "), std::string::npos);
  EXPECT_NE(listed.find("  (protocol sliding_bos"), std::string::npos) << listed;
  EXPECT_TRUE(Known("evaluate.perplexity.stride")
                  .at("meaning")
                  .get<std::string>()
                  .starts_with("(protocol sliding_bos"));
  EXPECT_FALSE(
      Known("evaluate.perplexity.split").at("meaning").get<std::string>().starts_with("("));
}

// Every name that the parser takes: the rows of the table, the parameters of methods and
// evaluations, and what an evaluation takes beside them.
TEST(ExplainTest, EveryKeyOfALanguageTableIsExplainedAndStandsInTheJsonSchema) {
  const Json schema = SweepJsonSchema();
  const auto below = [](const Json& node, std::string_view path) {
    const Json* at = &node;
    for (const std::string& part : Split(path, '.')) {
      const auto forms = at->find("anyOf");  // spec.train: none, or a map
      if (forms != at->end() && !at->contains("properties")) at = &forms->back();
      const auto properties = at->find("properties");
      if (properties == at->end() || !properties->contains(part)) return Json();
      at = &properties->at(part);
    }
    return *at;
  };
  for (const KeyRow& row : SweepKeys()) {
    EXPECT_EQ(Known(row.path).at("meaning"), row.spec.meaning) << row.path;
    const bool is_refused = row.kind == KeyRow::Kind::kUnbuilt;
    EXPECT_EQ(below(schema, row.path).is_null(), is_refused) << row.path;
    if (row.axis && !row.path.starts_with("spec.matrix.")) {
      const std::string axis(row.path.substr(std::string_view("spec.").size()));
      EXPECT_TRUE(schema.at("properties")
                      .at("spec")
                      .at("properties")
                      .at("matrix")
                      .at("properties")
                      .contains(axis))
          << axis;
    }
  }
  const auto expect_params = [&](const std::string& owner, std::span<const ParamSpec> specs,
                                 const Json& form) {
    for (const ParamSpec& spec : specs) {
      const std::string meaning = Known(Str(owner, ".", spec.name)).at("meaning");
      EXPECT_NE(meaning.find(spec.meaning), std::string::npos) << meaning;
      EXPECT_EQ(below(form, spec.name).value("description", ""), meaning) << owner;
    }
  };
  const Json forms = below(schema, "spec.matrix.position").at("items").at("anyOf");
  std::size_t n_method = 0;
  for (const PositionMethod* const method : PositionMethods()) {
    expect_params(Str("position.", method->name), method->params, forms.at(++n_method));
  }
  const Json evaluations = below(schema, "spec.evaluate").at("items").at("anyOf");
  for (std::size_t e = 0; e < Evaluations().size(); ++e) {
    const Evaluation& evaluation = *Evaluations()[e];
    const std::string owner = Str("evaluate.", evaluation.name);
    const Json form = below(evaluations.at(e), evaluation.name);
    expect_params(owner, evaluation.params, form);
    for (const std::string key : {"allow_train_overlap", "dataset"}) {
      EXPECT_EQ(form.at("properties").contains(key), HasSplitParam(evaluation));
      EXPECT_EQ(Explain(Str(owner, ".", key)).ok(), HasSplitParam(evaluation));
    }
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
    if (row.kind == KeyRow::Kind::kLabels || row.kind == KeyRow::Kind::kPosition ||
        row.kind == KeyRow::Kind::kPoints || row.kind == KeyRow::Kind::kEvaluations ||
        row.kind == KeyRow::Kind::kExtensions || row.kind == KeyRow::Kind::kClaims ||
        row.kind == KeyRow::Kind::kSchedule || row.kind == KeyRow::Kind::kExtension ||
        row.kind == KeyRow::Kind::kInit || row.kind == KeyRow::Kind::kStages) {
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
            "unknown name \"train.optimizer.lrr\"; did you mean train.optimizer.lr?");
  EXPECT_EQ(message("variant").substr(0, 59),
            "unknown name \"variant\"; did you mean position.alibi.variant");
  EXPECT_EQ(message("pll"),
            "\"pll\" is not a key; it is a value of evaluate.pseudo_perplexity.protocol: `longrun "
            "explain evaluate.pseudo_perplexity.protocol` explains it");
  EXPECT_EQ(message("train.lr"), "unknown name \"train.lr\"; did you mean train.optimizer.lr?");
  EXPECT_EQ(message("learning_rate"),
            "unknown name \"learning_rate\"; did you mean train.optimizer.lr?");
  EXPECT_EQ(
      message("train.batch_size"),
      "unknown name \"train.batch_size\"; did you mean train.batch_tokens? It is the number of "
      "sequences times their length");
  EXPECT_EQ(message("NoPE"), "unknown name \"NoPE\"; did you mean position.none?");
  EXPECT_EQ(message("position.rotary"),
            "unknown position method \"rotary\"; did you mean position.rope?");
  EXPECT_EQ(message("failure.lots"), "there is no failure class \"lots\"; did you mean \"lost\"?");
  EXPECT_EQ(message("position.cabel").substr(0, 63),
            "unknown position method \"cabel\"; did you mean \"cable\"? (methods");
  EXPECT_EQ(message("position.cable.varant"),
            "position.cable has no parameter \"varant\"; did you mean \"variant\"?");
  EXPECT_EQ(
      message("zzzzzzzz"),
      "unknown name \"zzzzzzzz\"; try spec, position, evaluate, extension, failure or published");
  EXPECT_EQ(Explain("zzzzzzzz").status().code(), Code::kNotFound);
}

}  // namespace
}  // namespace longrun
