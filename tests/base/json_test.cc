// JSON: what is refused, and the canonical bytes.
#include "base/json.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

namespace longrun {
namespace {

std::string ErrorOf(std::string_view text, const JsonLimits& limits = {}) {
  const Result<Json> json = ParseJson(text, limits);
  EXPECT_FALSE(json.ok()) << text;
  return json.status().message();
}

bool Says(const std::string& message, std::string_view part) {
  return message.find(part) != std::string::npos;
}

TEST(ParseJsonTest, ReadsEveryKindOfValue) {
  const Result<Json> json =
      ParseJson(R"({"a":[1,-2,3.5,"x",null,true,{"b":[]}],"big":18446744073709551615})");
  ASSERT_TRUE(json.ok()) << json.status().message();
  EXPECT_EQ(CanonicalJson(*json),
            R"({"a":[1,-2,3.5,"x",null,true,{"b":[]}],"big":18446744073709551615})");
  EXPECT_EQ(CanonicalJson(ParseJson(" 7 ").value()), "7");
}

// A space in front makes a text that only the careful reader takes.
TEST(ParseJsonTest, TheFastReaderGivesWhatTheCarefulOneGives) {
  for (const std::string text : {"0",
                                 "-0",
                                 "-7",
                                 "7",
                                 "007",
                                 "18446744073709551615",
                                 "18446744073709551616",
                                 "-9223372036854775808",
                                 "-9223372036854775809",
                                 "1.5",
                                 "-0.0",
                                 "6e-05",
                                 "1E+2",
                                 "1e",
                                 "1.",
                                 ".5",
                                 "+1",
                                 "5e-324",
                                 "1e-400",
                                 "1e400",
                                 "0.1",
                                 "123456789012345678901234567890",
                                 "true",
                                 "tru",
                                 "null",
                                 "\"\"",
                                 "\"a b\"",
                                 "\"a\\n\"",
                                 "\"\xc3\xa4\"",
                                 "\"\x01\"",
                                 "\"\x7f\"",
                                 "\"a",
                                 "[]",
                                 "[1,2,[3,{}]]",
                                 "[1,]",
                                 "[1 ,2]",
                                 "{}",
                                 R"({"b":1,"a":[null,false]})",
                                 R"({"a":1,"a":2})",
                                 R"({"a":{"b":{"c":[1,2.5,"x"]}}})",
                                 R"({"a":})",
                                 R"({"a" :1})",
                                 "{}{}",
                                 "[[[[1]]]]",
                                 R"({"a":[[[1]]]})"}) {
    const JsonLimits limits = {.depth_max = 3};
    const Result<Json> fast = ParseJson(text, limits);
    const Result<Json> careful = ParseJson(" " + text, limits);
    ASSERT_EQ(fast.ok(), careful.ok()) << text;
    if (!fast.ok()) continue;
    EXPECT_EQ(fast->type(), careful->type()) << text;
    EXPECT_EQ(fast->dump(), careful->dump()) << text;
  }
}

TEST(ParseJsonTest, RefusesWhatAReaderCouldTakeInTwoWays) {
  EXPECT_TRUE(Says(ErrorOf(R"({"a":1,"b":{"c":1,"c":2}})"), R"("c" occurs twice)"));
  ErrorOf("{} {}");
  ErrorOf("");
  ErrorOf("{\"a\":1,}");
  ErrorOf("[1,2");
  ErrorOf("NaN");
  ErrorOf("\"\xff\"");
  ErrorOf("\"\\ud800\"");  // half of a pair
  ErrorOf("// comment\n1");
}

TEST(ParseJsonTest, RefusesNumbersThatOverflow) {
  EXPECT_TRUE(Says(ErrorOf("[1e999]"), "1e999"));
  EXPECT_TRUE(ParseJson("[1e308,1e-999]").ok());
}

TEST(ParseJsonTest, KeepsItsLimits) {
  const JsonLimits limits = {.bytes_max = 20, .depth_max = 3};
  EXPECT_TRUE(ParseJson("[[[1]]]", limits).ok());
  EXPECT_TRUE(Says(ErrorOf("[[[[1]]]]", limits), "deeper than 3"));
  EXPECT_TRUE(Says(ErrorOf("{\"a\":{\"a\":[[]]}}", limits), "deeper than 3"));
  EXPECT_EQ(ParseJson(std::string(21, ' '), limits).status().code(), Code::kResourceExhausted);
  ErrorOf(std::string(1'000'000, '['));  // no recursion, no crash
}

TEST(CanonicalJsonTest, SortsKeysAndLeavesNoSpace) {
  EXPECT_EQ(CanonicalJson(ParseJson(R"({ "b" : 1 , "a" : [ ] })").value()), R"({"a":[],"b":1})");
}

// Shortest text that reads back as the same double; the ends of its range, ties and powers of ten.
TEST(CanonicalJsonTest, WritesTheShortestNumberThatReadsBack) {
  const struct {
    double number;
    std::string_view text;
  } cases[] = {{0.1, "0.1"},
               {3e-4, "3e-04"},
               {1e-5, "1e-05"},
               {5e-324, "5e-324"},
               {1.7976931348623157e308, "1.7976931348623157e+308"},
               {9007199254740993.5, "9007199254740994"},
               {1e22, "1e+22"}};
  for (const auto& c : cases) {
    EXPECT_EQ(CanonicalJson(Json(c.number)), c.text);
    EXPECT_EQ(ParseJson(c.text).value().get<double>(), c.number);
  }
}

TEST(CanonicalJsonTest, IntegralDoublesAreIntegers) {
  EXPECT_EQ(CanonicalJson(Json(2.0)), "2");
  EXPECT_EQ(CanonicalJson(Json(-0.0)), "0");
  EXPECT_EQ(CanonicalJson(Json(1e15)), "1000000000000000");
  EXPECT_EQ(CanonicalJson(Json(-9007199254740992.0)), "-9007199254740992");
}

TEST(CanonicalJsonTest, IsAFixedPointOfReadingAndWriting) {
  std::uint64_t bits = 0x3ff0000000000001;
  for (int i = 0; i < 2000; ++i) {
    bits = bits * 6364136223846793005u + 1442695040888963407u;
    double number = 0;
    static_assert(sizeof number == sizeof bits);
    std::memcpy(&number, &bits, sizeof bits);
    if (!std::isfinite(number)) continue;
    const std::string once = CanonicalJson(Json(number));
    const Json read = ParseJson(once).value();
    EXPECT_EQ(read.get<double>(), number) << once;
    EXPECT_EQ(CanonicalJson(read), once);
  }
}

TEST(CanonicalJsonTest, EscapesWhatMustBeEscapedAndNothingElse) {
  EXPECT_EQ(CanonicalJson(Json("\"\\/\b\f\n\r\t\x01\x1f\x7f\xc3\xa4")),
            "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\xc3\xa4\"");
}

TEST(GetTest, ErrorsNameThePathTheExpectationAndTheValue) {
  const Json json = ParseJson(R"({"lr":"fast","n":2.0,"x":2.5,"s":"a","b":true,
      "huge":18446744073709551615,"o":{"k":1}})")
                        .value();
  EXPECT_EQ(GetDouble(json, "lr", "train").status().message(),
            "train.lr: expected a number, found \"fast\"");
  EXPECT_EQ(GetInt(json, "absent").status().message(), "absent: missing");
  EXPECT_EQ(GetInt(json, "absent").status().code(), Code::kNotFound);
  EXPECT_EQ(GetInt(json, "n").value(), 2);
  EXPECT_EQ(GetDouble(json, "n").value(), 2.0);
  EXPECT_EQ(GetInt(json, "x").status().message(), "x: expected an integer, found 2.5");
  EXPECT_EQ(GetInt(json, "huge").status().code(), Code::kInvalidArgument);
  EXPECT_EQ(GetString(json, "s").value(), "a");
  EXPECT_FALSE(GetString(json, "n").ok());
  EXPECT_TRUE(GetBool(json, "b").value());
  EXPECT_FALSE(GetBool(json, "n").ok());
  EXPECT_EQ(GetMember(json, "o").value(), (Json{{"k", 1}}));
  EXPECT_EQ(GetInt(Json(3), "k", "train").status().message(), "train: expected an object, found 3");
}

}  // namespace
}  // namespace longrun
