// The form of a message that `-o json` prints.
#include "client/wire/messages.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>

namespace longrun::client {
namespace {

TEST(ToJsonTest, EveryFieldIsThereAndAnUnsetOptionalOneIsNull) {
  const Json task = ToJson(v1::TaskInfo());
  EXPECT_EQ(task.size(), static_cast<std::size_t>(v1::TaskInfo::descriptor()->field_count()));
  EXPECT_EQ(task.at("state"), "");
  EXPECT_EQ(task.at("attempts"), 0);
  EXPECT_EQ(task.at("attempt_list"), Json::array());
  EXPECT_EQ(task.at("progress").at("loss"), 0.0);  // also of a message that is not set
  EXPECT_TRUE(task.at("duration_ms").is_null());
}

TEST(ToJsonTest, IntegersOf64BitsAreNumbersAndWhatIsNotFiniteIsNull) {
  v1::GetSeriesResponse series;
  series.add_step(std::numeric_limits<std::int64_t>::max());
  series.add_value(std::nan(""));
  EXPECT_EQ(CanonicalJson(ToJson(series)), R"({"step":[9223372036854775807],"value":[null]})");
}

TEST(ToJsonTest, AMapIsAnObject) {
  v1::DatasetInfo dataset;
  (*dataset.mutable_split_tokens())["train"] = 7;
  EXPECT_EQ(ToJson(dataset).at("split_tokens"), Json({{"train", 7}}));
}

TEST(ToJsonTest, AMemberThatHoldsJsonIsThatJsonUnderTheNameWithoutTheEnding) {
  v1::RunInfo run;
  run.set_axes_json(R"({"position":"rope"})");
  const Json json = ToJson(run);
  EXPECT_EQ(json.at("axes"), Json({{"position", "rope"}}));
  EXPECT_TRUE(json.at("execution").is_null());
  EXPECT_FALSE(json.contains("axes_json"));
}

TEST(JsonInTest, TextThatIsNotJsonIsShownAsItIs) {
  EXPECT_TRUE(JsonIn("").is_null());
  EXPECT_EQ(JsonIn("{"), Json("{"));
  EXPECT_EQ(JsonIn("[1]"), Json::array({1}));
}

}  // namespace
}  // namespace longrun::client
