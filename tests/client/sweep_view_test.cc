// How a sweep stands, as lines.
#include "client/sweep_view.h"

#include <gtest/gtest.h>

namespace longrun {
namespace {

// The example of the ULID specification, of 2016-07-30T22:36:16.385Z; submitted again, the id stays.
TEST(FirstSubmittedTest, IsWhatTheIdSaysWhateverCameAfter) {
  EXPECT_EQ(
      FirstSubmitted({{"sweep_id", "01ARYZ6S41TSV4RRFFQ69G5FAV"}, {"submitted_ms", 1800000000000}}),
      "2016-07-30T22:36:16Z");
}

}  // namespace
}  // namespace longrun
