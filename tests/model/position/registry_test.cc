#include <gtest/gtest.h>

#include <cmath>

#include "model/position/method.h"

namespace longrun {
namespace {

std::string MessageOf(const Json& given) { return ResolvePosition(given).status().message(); }

TEST(RegistryTest, ListsTheMethodsInOrder) {
  EXPECT_EQ(PositionMethodNames(),
            (std::vector<std::string>{"none", "learned", "sinusoidal", "rope", "alibi", "cable",
                                      "t5", "kerple", "fire", "xpos", "cope", "fox"}));
}

TEST(RegistryTest, EveryMethodSaysWhereItComesFromAndWhatEachParameterMeans) {
  for (const PositionMethod* method : PositionMethods()) {
    EXPECT_FALSE(method->source.empty()) << method->name;
    EXPECT_FALSE(method->beyond.empty()) << method->name;
    for (const PositionParam& param : method->params) {
      EXPECT_FALSE(param.meaning.empty()) << method->name << "." << param.name;
    }
  }
}

TEST(RegistryTest, AnUnknownMethodIsAnsweredWithTheNearestNameAndTheList) {
  const auto found = FindPositionMethod("alibbi");
  EXPECT_EQ(found.status().code(), Code::kNotFound);
  EXPECT_EQ(found.status().message(),
            "unknown position method \"alibbi\"; did you mean \"alibi\"? (methods: none, learned, "
            "sinusoidal, rope, alibi, cable, t5, kerple, fire, xpos, cope, fox)");
  EXPECT_EQ(MessageOf("xyz123"),
            "position.method: unknown position method \"xyz123\" (methods: none, learned, "
            "sinusoidal, rope, alibi, cable, t5, kerple, fire, xpos, cope, fox)");
}

TEST(RegistryTest, ANameAloneMeansItsDefaults) {
  const auto position = ResolvePosition("rope");
  ASSERT_TRUE(position.ok());
  EXPECT_EQ(position->method, "rope");
  EXPECT_EQ(position->params, (Json{{"layout", "half"}, {"base", 10000}, {"partial", 1}}));
}

TEST(RegistryTest, WhatWasResolvedResolvesToItself) {
  for (const std::string& name : PositionMethodNames()) {
    const auto once = ResolvePosition(name);
    ASSERT_TRUE(once.ok());
    Json given = once->params;
    given["method"] = name;
    const auto twice = ResolvePosition(given);
    ASSERT_TRUE(twice.ok()) << twice.status().message();
    EXPECT_EQ(CanonicalJson(twice->params), CanonicalJson(once->params));
  }
}

TEST(RegistryTest, GivenValuesReplaceDefaults) {
  const auto position = ResolvePosition({{"method", "rope"}, {"base", 500000}});
  ASSERT_TRUE(position.ok());
  EXPECT_EQ(position->params.at("base"), 500000);
  EXPECT_EQ(position->params.at("layout"), "half");
}

TEST(RegistryTest, WhatIsNoMethodIsRefused) {
  EXPECT_EQ(MessageOf(3),
            "position: expected the name of a method, or a map with the key \"method\"");
  EXPECT_EQ(MessageOf(nullptr),
            "position: expected the name of a method, or a map with the key \"method\"");
  EXPECT_EQ(MessageOf(Json::array({"rope"})),
            "position: expected the name of a method, or a map with the key \"method\"");
  EXPECT_NE(MessageOf(Json::object()).find("position.method"), std::string::npos);
  EXPECT_NE(MessageOf({{"method", 7}}).find("position.method"), std::string::npos);
  EXPECT_EQ(MessageOf(""),
            "position.method: unknown position method \"\" (methods: none, learned, sinusoidal, "
            "rope, alibi, cable, t5, kerple, fire, xpos, cope, fox)");
}

TEST(RegistryTest, ANumberThatIsNoneIsRefused) {
  EXPECT_EQ(MessageOf({{"method", "rope"}, {"base", std::nan("")}}),
            "position.base: expected a number from 1 to 1000000000000, found null");
}

TEST(RegistryTest, EveryErrorIsReportedAtOnce) {
  EXPECT_EQ(MessageOf({{"method", "rope"}, {"base", 0}, {"layout", "hlaf"}}),
            "position.layout: expected one of half, interleaved, found \"hlaf\"; did you mean "
            "\"half\"?; position.base: expected a number from 1 to 1000000000000, found 0");
}

}  // namespace
}  // namespace longrun
