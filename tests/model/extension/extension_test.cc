// Frequencies beside numbers of an independent fp64 program (numpy, checked against transformers
// 4.46.3 and PoSE's code), for d = 16 and base 10000 unless a case says otherwise.
#include "model/extension/extension.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace longrun {
namespace {

constexpr RopeShape kShape = {.base = 10000.0, .n_rotary = 16};

ExtendedRotation Rotation(const Json& given, std::int64_t n_tokens = 1) {
  const Json params = ResolveExtension(given).value();
  const std::string method = params.at("method");
  return FindExtension(method).value()->rotation(params, kShape, n_tokens).value();
}

void ExpectFrequencies(const std::vector<double>& found, const std::vector<double>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t c = 0; c < found.size(); ++c) EXPECT_NEAR(found[c], expected[c], 5e-9) << c;
}

TEST(ExtensionTest, PositionInterpolationDividesAllFrequencies) {
  ExpectFrequencies(RopeFrequencies(kShape), {1.00000000, 0.31622777, 0.10000000, 0.03162278,
                                              0.01000000, 0.00316228, 0.00100000, 0.00031623});
  const ExtendedRotation pi = Rotation({{"method", "pi"}, {"factor", 4}, {"original_length", 64}});
  ExpectFrequencies(pi.frequency, {0.25000000, 0.07905694, 0.02500000, 0.00790569, 0.00250000,
                                   0.00079057, 0.00025000, 0.00007906});
  EXPECT_EQ(pi.magnitude, 1.0);
}

TEST(ExtensionTest, NtkKeepsTheFastestPairAndInterpolatesTheSlowest) {
  ExpectFrequencies(Rotation({{"method", "ntk"}, {"factor", 4}}).frequency,
                    {1.00000000, 0.25941282, 0.06729501, 0.01745719, 0.00452862, 0.00117478,
                     0.00030475, 0.00007906});
}

TEST(ExtensionTest, DynamicNtkGrowsWithTheText) {
  const Json dynamic = {{"method", "dynamic_ntk"}, {"factor", 2}, {"original_length", 64}};
  ExpectFrequencies(Rotation(dynamic, 200).frequency,
                    {1.00000000, 0.24952847, 0.06226446, 0.01553675, 0.00387686, 0.00096739,
                     0.00024139, 0.00006023});
  EXPECT_EQ(Rotation(dynamic, 64).frequency, RopeFrequencies(kShape));
  EXPECT_EQ(Rotation(dynamic, 3).frequency, RopeFrequencies(kShape));
  // With s = 1 the factor at L = s L0 is the static one's.
  const Json one = {{"method", "dynamic_ntk"}, {"factor", 1}, {"original_length", 64}};
  ExpectFrequencies(Rotation(one, 256).frequency,
                    Rotation({{"method", "ntk"}, {"factor", 4}}).frequency);
}

TEST(ExtensionTest, YarnMixesBetweenTwoChannelsAndSharpensAttention) {
  Json yarn = {{"method", "yarn"}, {"factor", 8}, {"original_length", 256}};
  ExpectFrequencies(Rotation(yarn).frequency, {1.00000000, 0.24705294, 0.05625000, 0.01087033,
                                               0.00125000, 0.00039528, 0.00012500, 0.00003953});
  EXPECT_NEAR(Rotation(yarn).magnitude, 1.207944154, 1e-9);
  // By transformers 4.57.3 in float64.
  yarn["truncate"] = false;
  ExpectFrequencies(Rotation(yarn).frequency, {1.00000000, 0.24359640, 0.04796508, 0.00597614,
                                               0.00125000, 0.00039528, 0.00012500, 0.00003953});
  yarn["truncate"] = true;
  yarn["variant"] = "revised";
  ExpectFrequencies(Rotation(yarn).frequency, {1.00000000, 0.11499191, 0.02222222, 0.00505964,
                                               0.00125000, 0.00039528, 0.00012500, 0.00003953});
  yarn["attention_factor"] = 1.0;
  EXPECT_EQ(Rotation(yarn).magnitude, 1.0);
}

TEST(ExtensionTest, NtkByPartsIsYarnWithoutItsMagnitude) {
  for (const char* variant : {"paper", "revised"}) {
    Json given = {
        {"method", "yarn"}, {"factor", 8}, {"original_length", 256}, {"variant", variant}};
    const ExtendedRotation yarn = Rotation(given);
    given["method"] = "ntk_by_parts";
    const ExtendedRotation by_parts = Rotation(given);
    EXPECT_EQ(by_parts.frequency, yarn.frequency);
    EXPECT_EQ(by_parts.magnitude, 1.0);
  }
}

TEST(ExtensionTest, Llama3InterpolatesLongWavelengthsAlone) {
  ExpectFrequencies(
      Rotation({{"method", "llama3"}, {"factor", 8}, {"original_length", 64}}).frequency,
      {1.00000000, 0.24438460, 0.01304226, 0.00395285, 0.00125000, 0.00039528, 0.00012500,
       0.00003953});
}

// A frequency divided by it would be infinite, and every logit NaN.
TEST(ExtensionTest, AListHasNumbersThatFrequenciesCanBeDividedBy) {
  const Json given = {{"method", "longrope"},
                      {"factor", 4},
                      {"original_length", 64},
                      {"short_factor", {1, 1e-320}},
                      {"long_factor", {1, 1}}};
  EXPECT_NE(ResolveExtension(given).status().message().find("extend.short_factor: expected a list"),
            std::string::npos);
}

TEST(ExtensionTest, LongropeHasAListForEachSideOfTheOriginalLength) {
  Json given = {{"method", "longrope"}, {"factor", 4}, {"original_length", 64}};
  given["short_factor"] = Json::array({1, 1, 1, 1, 1, 1, 1, 1});
  given["long_factor"] = Json::array({1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5});
  ExpectFrequencies(Rotation(given, 65).frequency,
                    {1.00000000, 0.21081851, 0.05000000, 0.01264911, 0.00333333, 0.00090351,
                     0.00025000, 0.00007027});
  EXPECT_EQ(Rotation(given, 64).frequency, RopeFrequencies(kShape));
  EXPECT_NEAR(Rotation(given).magnitude, 1.1547005383792515, 1e-12);  // ln 4 / ln 64 = 1 / 3
}

TEST(ExtensionTest, EveryOneHoldsWhereAHeadTurnsOnePair) {
  for (const Extension* extension : Extensions()) {
    if (extension->rotation == nullptr) continue;
    Json given = {{"method", extension->name}, {"factor", 3}, {"original_length", 16}};
    for (const ParamSpec& spec : extension->params) {
      if (spec.type == ParamSpec::Type::kNumberList) given[std::string(spec.name)] = {1.0};
    }
    const Json params = ResolveExtension(given).value();
    for (const std::int64_t n_tokens : {1, 99}) {
      const auto rotation = extension->rotation(params, {.base = 10000.0, .n_rotary = 2}, n_tokens);
      ASSERT_TRUE(rotation.ok()) << rotation.status("extend").message();
      ASSERT_EQ(rotation->frequency.size(), 1U);
      EXPECT_GT(rotation->frequency[0], 0.0) << extension->name;
      EXPECT_LE(rotation->frequency[0], 1.0) << extension->name;
    }
  }
}

TEST(ExtensionTest, ResolvingWhatWasResolvedChangesNothing) {
  const Json once =
      ResolveExtension({{"method", "yarn"}, {"factor", 8}, {"original_length", 256}}).value();
  EXPECT_EQ(ResolveExtension(once).value(), once);
}

TEST(ExtensionTest, TheOriginalLengthIsAddedOnlyWhereItIsMissingAndNeeded) {
  const Json yarn = {{"method", "yarn"}, {"factor", 8}};
  Json whole = yarn;
  whole["original_length"] = 64;
  EXPECT_EQ(WithOriginalLength(yarn, 64), whole);
  EXPECT_EQ(WithOriginalLength(yarn, 0), yarn);
  EXPECT_EQ(WithOriginalLength(whole, 32), whole);
  // What is not an extension is left to ExtensionErrors().
  for (const Json& other : {Json{{"method", "pi"}, {"factor", 8}}, Json{{"method", "yarm"}},
                            Json{{"method", 3}}, Json::object(), Json(3), Json()}) {
    EXPECT_EQ(WithOriginalLength(other, 64), other);
  }
}

TEST(ExtensionTest, WhatIsWrongIsNamed) {
  const auto message = [](const Json& given) { return ResolveExtension(given).status().message(); };
  const auto has = [](const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  };
  EXPECT_TRUE(has(message("yarn"), "expected a map"));
  EXPECT_TRUE(has(message({{"method", "yarm"}, {"factor", 2}}), "did you mean \"yarn\"?"));
  EXPECT_TRUE(has(message({{"method", "yarn"}, {"factor", 2}}), "extend.original_length"));
  EXPECT_TRUE(has(message({{"method", "pi"}, {"factor", 0.5}}), "extend.factor"));
  for (const char* const name : {"yarn", "ntk_by_parts"}) {
    const Json given = {{"method", name},
                        {"factor", 2},
                        {"original_length", 64},
                        {"beta_fast", 1},
                        {"beta_slow", 32}};
    EXPECT_TRUE(has(message(given), "extend.beta_fast: expected beta_slow 32 or more, found 1"));
  }
  EXPECT_TRUE(has(message({{"method", "pi"}, {"faktor", 2}}), "factor"));
  EXPECT_TRUE(has(message({{"method", "longrope"}, {"factor", 2}, {"original_length", 8}}),
                  "extend.short_factor: must be given: a list of numbers from 1e-06 to 1000000"));
  const Json params = ResolveExtension({{"method", "longrope"},
                                        {"factor", 2},
                                        {"original_length", 8},
                                        {"short_factor", Json::array({1, 2})},
                                        {"long_factor", Json::array({1, 2})}})
                          .value();
  const auto rotation = FindExtension("longrope").value()->rotation(params, kShape, 1);
  EXPECT_TRUE(has(rotation.status("extend").message(), "each of the 8 pairs"));
}

}  // namespace
}  // namespace longrun
