// What is taken as canonical is what the careful reader and the writer make of it.
#include "base/plain_json.h"

#include <gtest/gtest.h>

#include <string>

namespace longrun {
namespace {

TEST(PlainMembersTest, GivesTheCanonicalTextOfEachMember) {
  const std::string text =
      R"({"body":{"a":[1,-2,0.5,1e-07],"b":{}},"kind":"result","n":18446744073709551615,"x":null})";
  const Json json = ParseJson(text).value();
  ASSERT_EQ(CanonicalJson(json), text);
  const auto members = PlainMembers(text);
  ASSERT_TRUE(members.has_value());
  ASSERT_EQ(members->size(), json.size());
  for (const auto& [name, value] : *members) {
    EXPECT_EQ(value, CanonicalJson(json.at(std::string(name)))) << name;
  }
}

TEST(PlainMembersTest, TakesNothingThatWouldBeWrittenOtherwise) {
  for (const char* const text : {"",
                                 "[]",
                                 "1",
                                 "{",
                                 "{}x",
                                 R"({"a":1,"a":2})",
                                 R"({"b":1,"a":2})",
                                 R"({"a": 1})",
                                 R"({"a":1,})",
                                 R"({"a":01})",
                                 R"({"a":-0})",
                                 R"({"a":2.0})",
                                 R"({"a":1e2})",
                                 R"({"a":0.10})",
                                 R"({"a":1E-07})",
                                 R"({"a":+1})",
                                 R"({"a":.5})",
                                 R"({"a":1.})",
                                 R"({"a":1e999})",
                                 R"({"a":18446744073709551616})",
                                 R"({"a":"\n"})",
                                 "{\"a\":\"\xc3\xa4\"}",
                                 R"({"a":tru})",
                                 R"({"a":[1 ]})",
                                 R"({"a":[1,]})",
                                 R"({a:1})",
                                 "{\"a\":\"\x7f\"}"}) {
    EXPECT_FALSE(PlainMembers(text).has_value()) << text;
  }
  EXPECT_TRUE(PlainMembers("{}").has_value());
  EXPECT_FALSE(PlainMembers(R"({"a":{"a":{}}})", {.depth_max = 2}).has_value());
  EXPECT_FALSE(PlainMembers(R"({"a":1})", {.bytes_max = 6}).has_value());
}

}  // namespace
}  // namespace longrun
