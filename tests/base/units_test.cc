// Sizes and durations.
#include "base/units.h"

#include <gtest/gtest.h>

#include <limits>

namespace longrun {
namespace {

TEST(ParseCountTest, ReadsDecimalAndBinaryUnits) {
  const struct {
    std::string_view text;
    std::int64_t count;
  } cases[] = {{"200M", 200'000'000},
               {"64Ki", 65'536},
               {"1.5K", 1500},
               {"4096", 4096},
               {"0", 0},
               {"1B", 1'000'000'000},
               {"-3K", -3000},
               {"0.25Ki", 256},
               {"2.500K", 2500},
               {"1.5Gi", 1610612736},
               {"1.000000001G", 1'000'000'001},
               {"9223372036854775807", std::numeric_limits<std::int64_t>::max()}};
  for (const auto& c : cases) {
    const Result<std::int64_t> count = ParseCount(c.text);
    ASSERT_TRUE(count.ok()) << count.status().message();
    EXPECT_EQ(*count, c.count) << c.text;
  }
}

TEST(ParseCountTest, RefusesTheRestAndSaysWhy) {
  for (const std::string_view text : {"", "K", "1.5", "1.0001K", "1.", ".5K", "1 K", "1k", "1e6",
                                      "+1", "--1", "9223372036854775808", "9223372036854776K",
                                      "99999999999G", "0.0000000000000000000000001G"}) {
    const Result<std::int64_t> count = ParseCount(text);
    EXPECT_FALSE(count.ok()) << text;
    EXPECT_EQ(count.status().code(), Code::kInvalidArgument);
  }
  EXPECT_EQ(
      ParseCount("1k").status().message(),
      "\"1k\" is not a count: unknown unit, use one of K, M, G, B, Ki, Mi, Gi (for example 200M, "
      "64Ki, 1.5K or 4096)");
}

TEST(NearestCountTest, IsWhatWasProbablyMeant) {
  EXPECT_EQ(NearestCount("100k"), "100K");
  EXPECT_EQ(NearestCount("1.5m"), "1.5M");
  EXPECT_EQ(NearestCount("8ki"), "8Ki");
  EXPECT_EQ(NearestCount("200KB"), "200K");
  EXPECT_EQ(NearestCount("8KiB"), "8Ki");
  EXPECT_EQ(NearestCount("1e5"), "100000");
  EXPECT_EQ(NearestCount("100_000"), "100000");
  for (const char* const text : {"", "many", "1.00001k", "1e-3", "1e300", "-1e3", "64Q", "nan"}) {
    EXPECT_EQ(NearestCount(text), "") << text;
  }
}

TEST(ParseDurationTest, AsksForTheUnit) {
  EXPECT_EQ(ParseDurationMs("10min").value(), 600'000);
  EXPECT_EQ(ParseDurationMs("30m").value(), 1'800'000);
  EXPECT_EQ(ParseDurationMs("1.5h").value(), 5'400'000);
  EXPECT_EQ(ParseDurationMs("250ms").value(), 250);
  EXPECT_EQ(ParseDurationMs("2d").value(), 172'800'000);
  EXPECT_EQ(ParseDurationMs("0.5s").value(), 500);
  EXPECT_FALSE(ParseDurationMs("10").ok());
  EXPECT_FALSE(ParseDurationMs("10M").ok());
  EXPECT_FALSE(ParseDurationMs("0.5ms").ok());
}

TEST(FormatTest, CountsHaveThreeDigits) {
  EXPECT_EQ(FormatCount(200'000'000), "200M");
  EXPECT_EQ(FormatCount(44'670'976), "44.7M");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(1000), "1K");
  EXPECT_EQ(FormatCount(1234), "1.23K");
  EXPECT_EQ(FormatCount(999'999), "1M");
  EXPECT_EQ(FormatCount(-65'536), "-65.5K");
  EXPECT_EQ(FormatCount(0), "0");
}

TEST(FormatTest, BytesAreBinary) {
  EXPECT_EQ(FormatBytes(1'572'864), "1.5 MiB");
  EXPECT_EQ(FormatBytes(1023), "1023 B");
  EXPECT_EQ(FormatBytes(1024), "1 KiB");
  EXPECT_EQ(FormatBytes(std::int64_t{3} << 40), "3 TiB");
}

TEST(FormatTest, DurationsShowTheirTwoLargestUnits) {
  EXPECT_EQ(FormatDurationMs(83'000), "1min 23s");
  EXPECT_EQ(FormatDurationMs(250), "250ms");
  EXPECT_EQ(FormatDurationMs(1500), "1.5s");
  EXPECT_EQ(FormatDurationMs(59'999), "59s");
  EXPECT_EQ(FormatDurationMs(3'600'000), "1h");
  EXPECT_EQ(FormatDurationMs(90'000'000), "1d 1h");
  EXPECT_EQ(FormatDurationMs(-83'000), "-1min 23s");
}

TEST(WholeNumberCheckTest, SaysWhatWasExpectedAndWhatWasGiven) {
  for (const char* text : {"0", "1", "+5", "0x10", "9223372036854775807"}) {
    EXPECT_EQ(WholeNumberCheck(0)(text), "") << text;
  }
  EXPECT_EQ(WholeNumberCheck(1)("0"), "expected a whole number, 1 or more, not \"0\"");
  for (const std::string text : {"-1", "", "many", "1.5", "1e3", "5 ", "-9223372036854775809"}) {
    EXPECT_EQ(WholeNumberCheck(0)(text),
              "expected a whole number, 0 or more, not \"" + text + "\"");
  }
  EXPECT_EQ(WholeNumberCheck(1)("9223372036854775808"),
            "expected a whole number from 1 to 9223372036854775807, not \"9223372036854775808\"");
}

TEST(NearestBoolTest, KnowsTheWordsOfOldYaml) {
  for (const char* text : {"yes", "True", "ON"}) EXPECT_EQ(NearestBool(text), "true");
  for (const char* text : {"no", "FALSE", "off"}) EXPECT_EQ(NearestBool(text), "false");
  for (const char* text : {"", "y", "1", "maybe"}) EXPECT_EQ(NearestBool(text), "");
}

}  // namespace
}  // namespace longrun
