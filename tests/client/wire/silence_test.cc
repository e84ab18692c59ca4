#include "client/wire/silence.h"

#include <gtest/gtest.h>

namespace longrun::client {
namespace {

constexpr std::int64_t kStart = 1'000;

TEST(RetryNoticeTest, ALongInterruptionIsToldOnce) {
  RetryNotice notice;
  EXPECT_FALSE(notice.IsDue(kStart));
  EXPECT_FALSE(notice.IsDue(kStart + 1'999));
  EXPECT_TRUE(notice.IsDue(kStart + 2'000));
  EXPECT_FALSE(notice.IsDue(kStart + 9'000));
  notice.Reset();
  EXPECT_FALSE(notice.IsDue(kStart + 9'100));
  EXPECT_TRUE(notice.IsDue(kStart + 11'100));
}

TEST(SilenceTest, ShortSilenceIsNotReported) {
  Silence silence("/state");
  silence.Lost("", kStart);
  EXPECT_EQ(silence.Due(kStart + 1'900), "");
  EXPECT_EQ(silence.Heard(), "");
  EXPECT_EQ(silence.Due(kStart + 9'000), "");
}

// As on a machine that is busy with a large sweep: the stream is open.
TEST(SilenceTest, AFirstAnswerThatTakesLongIsNoSilence) {
  Silence silence("/state");
  EXPECT_EQ(silence.Due(kStart + 9'000), "");
  EXPECT_FALSE(silence.IsTooLong(kStart + 90'000));
  EXPECT_EQ(silence.Heard(), "");
}

TEST(SilenceTest, LongSilenceIsReportedOnceAndSoIsItsEnd) {
  Silence silence("/state");
  silence.Lost("connection reset", kStart);
  EXPECT_EQ(silence.Due(kStart + 2'000),
            "the coordinator of /state does not answer; trying again for 60 s");
  silence.Lost("", kStart + 2'500);
  EXPECT_EQ(silence.Due(kStart + 50'000), "");
  EXPECT_EQ(silence.Heard(), "the coordinator of /state answers again");
  EXPECT_EQ(silence.Heard(), "");
}

TEST(SilenceTest, SilenceLastsFromTheLossOfTheConnection) {
  Silence silence("/state");
  silence.Lost("", kStart);
  EXPECT_FALSE(silence.IsTooLong(kStart + 60'000));
  EXPECT_TRUE(silence.IsTooLong(kStart + 60'001));
  silence.Heard();
  // Nothing changed for an hour, so that the coordinator had nothing to send.
  const std::int64_t lost = kStart + 3'600'000;
  EXPECT_FALSE(silence.IsTooLong(lost));
  silence.Lost("", lost);
  EXPECT_EQ(silence.Due(lost + 1'900), "");
  EXPECT_NE(silence.Due(lost + 2'000), "");
  silence.Lost("", lost + 59'000);  // another attempt failed
  EXPECT_FALSE(silence.IsTooLong(lost + 60'000));
  EXPECT_TRUE(silence.IsTooLong(lost + 60'001));
}

TEST(SilenceTest, GivingUpNamesTheRemedy) {
  Silence silence("/state");
  silence.Lost("", kStart);
  EXPECT_EQ(silence.GivenUpText("longrun watch a"),
            "the coordinator of /state has not answered for 60 s: start it with `longrun up`; "
            "`longrun watch a` continues when it is back");
}

}  // namespace
}  // namespace longrun::client
