#include "base/decimal_text.h"

#include <gtest/gtest.h>

namespace longrun {
namespace {

TEST(DecimalTextTest, ALargeNumberHasAnExponent) {
  EXPECT_EQ(DecimalText(2.5, 3), "2.500");
  EXPECT_EQ(DecimalText(-0.00004, 4), "-0.0000");
  EXPECT_EQ(DecimalText(999'999.0, 3), "999999.000");
  EXPECT_EQ(DecimalText(1e6, 3), "1.00e6");
  EXPECT_EQ(DecimalText(3582991104212992.0, 3), "3.58e15");
  EXPECT_EQ(DecimalText(-1.5e100, 4), "-1.50e100");
}

}  // namespace
}  // namespace longrun
