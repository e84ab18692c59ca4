#include "base/enum_names.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace longrun {
namespace {

enum class Colour { kRed, kDarkBlue };

}  // namespace

template <>
struct EnumNames<Colour> {
  static constexpr std::array<std::string_view, 2> kNames = {"red", "dark_blue"};
};

namespace {

enum class Plain { kOne };
static_assert(NamedEnum<Colour> && !NamedEnum<Plain> && !NamedEnum<int>);

TEST(EnumNamesTest, AValueHasOneWordAndTheWordThisValue) {
  EXPECT_EQ(EnumName(Colour::kDarkBlue), "dark_blue");
  EXPECT_EQ(FindEnum<Colour>("dark_blue"), Colour::kDarkBlue);
  EXPECT_EQ(FindEnum<Colour>("red"), Colour::kRed);
  EXPECT_EQ(FindEnum<Colour>("Red"), std::nullopt);
  EXPECT_EQ(FindEnum<Colour>(""), std::nullopt);
  EXPECT_EQ(EnumChoices<Colour>(), (std::vector<std::string>{"red", "dark_blue"}));
}

TEST(EnumNamesTest, InJsonAValueIsItsWord) {
  EXPECT_EQ(CanonicalJson({{"colour", Colour::kDarkBlue}}), R"({"colour":"dark_blue"})");
  EXPECT_EQ(Json("red").get<Colour>(), Colour::kRed);
}

TEST(EnumNamesDeathTest, AValueWithoutAWordStopsTheProgram) {
  EXPECT_DEATH(EnumName(static_cast<Colour>(2)), "enum_names.h");
  EXPECT_DEATH(Json("green").get<Colour>(), "enum_names.h");
}

}  // namespace
}  // namespace longrun
