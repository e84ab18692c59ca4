// Time as text.
#include "base/clock.h"

#include <gtest/gtest.h>

namespace longrun {
namespace {

// As `date -u -d @951782400` writes it.
TEST(ClockTest, WritesMomentsInUtc) {
  EXPECT_EQ(FormatWallMs(0), "1970-01-01T00:00:00Z");
  EXPECT_EQ(FormatWallMs(951'782'400'999), "2000-02-29T00:00:00Z");
  EXPECT_EQ(FormatWallMs(-1), "1969-12-31T23:59:59Z");
}

TEST(ClockTest, BootTimeNeverGoesBack) {
  const std::int64_t before = BootMs();
  EXPECT_GE(BootMs(), before);
  EXPECT_GT(before, 0);
}

}  // namespace
}  // namespace longrun
