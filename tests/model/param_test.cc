#include "model/param.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/utf8.h"

namespace longrun {
namespace {

const std::vector<ParamSpec> kSpecs = {
    {.name = "buckets",
     .type = ParamSpec::Type::kCount,
     .default_value = 32,
     .min = 2,
     .max = 1024,
     .meaning = "how many"},
    {.name = "scale",
     .type = ParamSpec::Type::kNumber,
     .default_value = 1.5,
     .min = 0,
     .max = 2,
     .meaning = "how large"},
    {.name = "kind",
     .type = ParamSpec::Type::kChoice,
     .default_value = "plain",
     .choices = {"plain", "scaled"},
     .choices_unbuilt = {"learned"},
     .meaning = "which"},
    {.name = "lengths",
     .type = ParamSpec::Type::kCountList,
     .default_value = nullptr,
     .min = 1,
     .max = 4096,
     .meaning = "how long"},
    {.name = "layers",
     .type = ParamSpec::Type::kCountList,
     .default_value = "all",
     .min = 0,
     .max = 9,
     .choices = {"all"},
     .meaning = "which ones"},
};

// The one error of `given`, as "key: message".
std::string Error(Json given) {
  if (given.is_object() && !given.contains("lengths")) given["lengths"] = {1};
  const std::vector<ParamError> errors = CheckParams(kSpecs, given);
  if (errors.size() != 1) return std::to_string(errors.size()) + " errors";
  return errors[0].key + ": " + errors[0].message;
}

TEST(ParamTest, DefaultsAreWrittenInAndNumbersHaveOneSpelling) {
  const Json resolved =
      ResolveParams(kSpecs, {{"lengths", {64.0, 128}}, {"buckets", 8.0}}, "position").value();
  EXPECT_EQ(CanonicalJson(resolved),
            R"({"buckets":8,"kind":"plain","layers":"all","lengths":[64,128],"scale":1.5})");
  EXPECT_TRUE(resolved["buckets"].is_number_integer());
}

TEST(ParamTest, AnOptionalParameterIsAbsentUnlessItIsGiven) {
  const std::vector<ParamSpec> specs = {
      {.name = "limit", .type = ParamSpec::Type::kCount, .is_optional = true, .min = 1, .max = 9}};
  EXPECT_EQ(ResolveParams(specs, Json::object(), "p").value(), Json::object());
  EXPECT_EQ(ResolveParams(specs, {{"limit", 3}}, "p").value(), (Json{{"limit", 3}}));
  EXPECT_EQ(ResolveParams(specs, {{"limit", 10}}, "p").status().message(),
            "p.limit: expected an integer from 1 to 9, found 10");
}

TEST(ParamTest, AnOptionalParameterThatIsGivenWithItsDefaultIsAbsent) {
  const std::vector<ParamSpec> specs = {{.name = "kind",
                                         .type = ParamSpec::Type::kChoice,
                                         .default_value = "plain",
                                         .is_optional = true,
                                         .choices = {"plain", "other"}}};
  EXPECT_EQ(ResolveParams(specs, Json::object(), "p").value(), Json::object());
  EXPECT_EQ(ResolveParams(specs, {{"kind", "plain"}}, "p").value(), Json::object());
  EXPECT_EQ(ResolveParams(specs, {{"kind", "other"}}, "p").value(), (Json{{"kind", "other"}}));
}

TEST(ParamTest, AWordMayStandForAList) {
  const auto layers = [](Json given) {
    return CanonicalJson(ResolveParams(kSpecs, {{"lengths", {1}}, {"layers", std::move(given)}}, "")
                             .value()["layers"]);
  };
  EXPECT_EQ(layers("all"), "\"all\"");
  EXPECT_EQ(layers({3.0, 0}), "[3,0]");
  EXPECT_EQ(Error({{"layers", "some"}}),
            "layers: expected all, or a list of integers from 0 to 9, found \"some\"");
  EXPECT_EQ(Error({{"layers", Json::array()}}),
            "layers: expected all, or a list of integers from 0 to 9, found []");
  EXPECT_EQ(Error({{"layers", {10}}}), "layers[0]: expected an integer from 0 to 9, found 10");
  EXPECT_EQ(Error({{"lengths", "all"}}),
            "lengths: expected a list of integers from 1 to 4096, found \"all\"");
}

// Messages cross the wire, which carries only UTF-8.
TEST(ParamTest, ALongValueIsNotCutInsideACharacter) {
  for (int n = 50; n < 62; ++n) {
    const std::string error =
        Error({{"kind", Json::array({std::string(n, 'x') + "\u00e9\u20ac\u00e9"})}});
    EXPECT_TRUE(CheckUtf8(error, "the error", "").ok()) << error;
  }
}

TEST(ParamTest, EachErrorNamesTheKeyTheExpectationAndWhatWasFound) {
  EXPECT_EQ(Error({{"buckets", 1}}), "buckets: expected an integer from 2 to 1024, found 1");
  EXPECT_EQ(Error({{"buckets", 2.5}}), "buckets: expected an integer from 2 to 1024, found 2.5");
  EXPECT_EQ(
      Error({{"buckets", "8"}}),
      "buckets: expected an integer from 2 to 1024, found \"8\"; the quotes make it text: write 8");
  EXPECT_EQ(
      Error({{"buckets", "010"}}),
      "buckets: expected an integer from 2 to 1024, found \"010\"; some programs read a number "
      "with a leading zero as octal: write 10");
  EXPECT_EQ(Error({{"buckets", ~std::uint64_t{0}}}),
            "buckets: expected an integer from 2 to 1024, found 18446744073709551615");
  EXPECT_EQ(Error({{"scale", 3}}), "scale: expected a number from 0 to 2, found 3");
  EXPECT_EQ(Error({{"scale", true}}), "scale: expected a number from 0 to 2, found true");
  EXPECT_EQ(Error({{"kind", "scalde"}}),
            "kind: expected one of plain, scaled, found \"scalde\"; did you mean \"scaled\"?");
  EXPECT_EQ(Error({{"kind", 1}}), "kind: expected one of plain, scaled, found 1");
  EXPECT_EQ(Error({{"kind", "learned"}}),
            "kind: \"learned\" is not built yet; expected one of plain, scaled");
  EXPECT_EQ(Error({{"lengths", 64}}),
            "lengths: expected a list of integers from 1 to 4096, found 64; write [64]");
  EXPECT_EQ(Error({{"lengths", Json::array()}}),
            "lengths: expected a list of integers from 1 to 4096, found []");
  EXPECT_EQ(Error({{"lengths", {64, 0}}}),
            "lengths[1]: expected an integer from 1 to 4096, found 0");
  EXPECT_EQ(Error({{"lengths", {64, 64.0}}}), "lengths[1]: 64 is in the list twice");
  EXPECT_EQ(Error({{"bucket", 8}}), "bucket: unknown key; did you mean \"buckets\"?");
  EXPECT_EQ(Error({{"colour", 8}}),
            "colour: unknown key; the keys are buckets, scale, kind, lengths, layers");
  EXPECT_EQ(Error(Json::array()), ": expected a mapping of parameters, found []");
}

TEST(ParamTest, AMisspeltKeyIsTheOnlyErrorAboutWhatItWasMeantFor) {
  const std::vector<ParamSpec> specs = {
      {.name = "protocol",
       .type = ParamSpec::Type::kChoice,
       .default_value = "plain",
       .choices = {"plain", "sliding"}},
      {.name = "stride",
       .type = ParamSpec::Type::kInt,
       .default_value = nullptr,
       .min = 1,
       .max = 9,
       .only_with = ParamSpec::Condition{.name = "protocol", .values = {"sliding"}}},
      {.name = "lengths",
       .type = ParamSpec::Type::kCountList,
       .default_value = nullptr,
       .min = 1,
       .max = 9}};
  const auto errors = [&](const Json& given) { return ShowErrors("", CheckParams(specs, given)); };
  EXPECT_EQ(errors({{"length", {1}}}), "length: unknown key; did you mean \"lengths\"?");
  EXPECT_EQ(errors({{"protocl", "sliding"}, {"stride", 4}, {"lengths", {1}}}),
            "protocl: unknown key; did you mean \"protocol\"?");
  EXPECT_EQ(errors({{"protocl", "x"}, {"protocol", "sliding"}, {"lengths", {1}}}),
            "protocl: unknown key; did you mean \"protocol\"?; "
            "stride: must be given: an integer from 1 to 9, ");
}

TEST(ParamTest, EachTypeTakesItsValuesAndSaysWhatItExpects) {
  using Type = ParamSpec::Type;
  const std::vector<ParamSpec> specs = {
      {.name = "layers", .type = Type::kInt, .default_value = 1, .min = 1, .max = 9},
      {.name = "file", .type = Type::kText, .default_value = "", .max = 4},
      {.name = "dataset", .type = Type::kName, .default_value = "a"},
      {.name = "wait", .type = Type::kDuration, .default_value = 1000, .min = 1000, .max = 5000},
      {.name = "betas", .type = Type::kNumberPair, .default_value = {0, 0}, .min = 0, .max = 1}};
  const Json right = {{"layers", 9.0},
                      {"file", "a/b"},
                      {"dataset", "wiki-103"},
                      {"wait", 2000.0},
                      {"betas", {0.9, 1}}};
  EXPECT_EQ(CanonicalJson(ResolveParams(specs, right, "").value()),
            R"({"betas":[0.9,1],"dataset":"wiki-103","file":"a/b","layers":9,"wait":2000})");
  const std::vector<std::pair<Json, std::string>> wrong = {
      {{{"layers", 10}}, "layers: expected an integer from 1 to 9, found 10"},
      {{{"file", "a/b/c"}}, R"(file: expected text of at most 4 bytes, found "a/b/c")"},
      {{{"dataset", "../x"}},
       "dataset: expected a name of 1 to 128 letters, digits, '.', '_' or '-' that does not start "
       R"(with '.', found "../x")"},
      {{{"wait", 500}}, "wait: expected milliseconds from 1000 to 5000, found 500"},
      {{{"betas", {0.9}}}, "betas: expected a list of two numbers from 0 to 1, found [0.9]"}};
  for (const auto& [given, message] : wrong) {
    EXPECT_EQ(ResolveParams(specs, given, "").status().message(), message);
  }
}

TEST(ParamTest, AllErrorsComeInOneAnswer) {
  const auto resolved = ResolveParams(kSpecs, {{"bucket", 8}, {"scale", -1}}, "evaluate[0]");
  ASSERT_FALSE(resolved.ok());
  EXPECT_EQ(resolved.status().code(), Code::kInvalidArgument);
  EXPECT_EQ(resolved.status().message(),
            "evaluate[0].bucket: unknown key; did you mean \"buckets\"?; "
            "evaluate[0].scale: expected a number from 0 to 2, found -1; "
            "evaluate[0].lengths: must be given: a list of integers from 1 to 4096, how long");
}

// ---- parameters that belong to a value of another ----------------------------------------------

const std::vector<ParamSpec> kConditional = {
    {.name = "kind",
     .type = ParamSpec::Type::kChoice,
     .default_value = "plain",
     .choices = {"plain", "scaled", "turned"},
     .meaning = "which"},
    {.name = "factor",
     .type = ParamSpec::Type::kCount,
     .default_value = nullptr,
     .min = 1,
     .max = 9,
     .meaning = "by how much",
     .only_with = ParamSpec::Condition{.name = "kind", .values = {"scaled", "turned"}}},
    {.name = "both",
     .type = ParamSpec::Type::kBool,
     .default_value = false,
     .meaning = "in two directions",
     .only_with = ParamSpec::Condition{.name = "kind", .values = {"turned"}}},
    {.name = "sides",
     .type = ParamSpec::Type::kChoiceList,
     .default_value = {"left"},
     .choices = {"left", "right"},
     .meaning = "where"},
};

std::string Resolved(const Json& given) {
  const auto resolved = ResolveParams(kConditional, given, "");
  return resolved.ok() ? CanonicalJson(*resolved) : resolved.status().message();
}

TEST(ParamTest, AParameterOfAnotherValueIsLeftOutOrRefused) {
  EXPECT_EQ(Resolved(Json::object()), R"({"kind":"plain","sides":["left"]})");
  EXPECT_EQ(Resolved({{"kind", "scaled"}, {"factor", 2}}),
            R"({"factor":2,"kind":"scaled","sides":["left"]})");
  EXPECT_EQ(Resolved({{"kind", "turned"}, {"factor", 2}, {"both", true}}),
            R"({"both":true,"factor":2,"kind":"turned","sides":["left"]})");
  EXPECT_EQ(Resolved({{"kind", "turned"}}),
            "factor: must be given: an integer from 1 to 9, by how much");
  EXPECT_EQ(
      Resolved({{"factor", 2}}),
      "factor: belongs to kind scaled or turned, but kind is plain: remove it, or choose that "
      "kind");
  // One mistake, one message.
  EXPECT_EQ(Resolved({{"kind", "turnd"}, {"both", true}}),
            "kind: expected one of plain, scaled, turned, found \"turnd\"; did you mean "
            "\"turned\"?");
}

TEST(ParamTest, TruthAndListsOfChoicesAreChecked) {
  EXPECT_EQ(Resolved({{"kind", "turned"}, {"factor", 2}, {"both", "yes"}}),
            "both: expected true or false, found \"yes\"; write true");
  EXPECT_EQ(Resolved({{"sides", {"right", "left"}}}),
            R"({"kind":"plain","sides":["right","left"]})");
  EXPECT_EQ(Resolved({{"sides", Json::array()}}),
            "sides: expected a list of left, right, found []");
  EXPECT_EQ(Resolved({{"sides", {"left", "rigth"}}}),
            "sides[1]: expected one of left, right, found \"rigth\"; did you mean \"right\"?");
  EXPECT_EQ(Resolved({{"sides", {"left", "left"}}}), "sides[1]: left is in the list twice");
}

}  // namespace
}  // namespace longrun
