#include "client/wire/lasting_notice.h"

#include <gtest/gtest.h>

namespace longrun::client {
namespace {

using Lines = std::vector<std::string>;

TEST(LastingNoticeTest, IsSaidOnceThenOnceAMinuteThenThatItIsOver) {
  LastingNotice notice;
  int n_said = 0;
  for (std::int64_t now_ms = 1; now_ms < 150'000; now_ms += 250) {
    n_said += notice.While("disk", "the disk is full", now_ms).empty() ? 0 : 1;
  }

  EXPECT_EQ(n_said, 3);  // at the beginning, after a minute and after two
  EXPECT_EQ(notice.Over("there is room"), "there is room");
  EXPECT_EQ(notice.Over("there is room"), "");
}

TEST(LastingNoticeTest, AnotherMatterIsSaidAtOnce) {
  LastingNotice notice;
  EXPECT_EQ(notice.While("disk", "full: 3 bytes left", 1), "full: 3 bytes left");
  EXPECT_EQ(notice.While("disk", "full: 2 bytes left", 2), "");

  EXPECT_EQ(notice.While("lock", "held by another", 3), "held by another");
}

TEST(LastingNoticeTest, WhatNeverWasTheMatterIsNotOver) {
  LastingNotice notice;
  EXPECT_EQ(notice.Over("there is room"), "");
}

TEST(LastingNoticesTest, EachHasItsOwnTime) {
  LastingNotices notices;
  const LastingNotices::Notice disk = {.about = "disk", .text = "full", .over = "room again"};
  const LastingNotices::Notice worker = {
      .about = "worker a", .text = "a is gone", .over = "a is back"};

  notices.Set({disk});
  EXPECT_EQ(notices.Due(1), Lines{"full"});
  notices.Set({disk, worker});
  EXPECT_EQ(notices.Due(30'000), Lines{"a is gone"});
  EXPECT_EQ(notices.Due(60'001), Lines{"full"});  // though nobody has told of it again
  notices.Set({worker});
  EXPECT_EQ(notices.Due(60'002), Lines{"room again"});
  notices.Set({});
  EXPECT_EQ(notices.Due(60'003), Lines{"a is back"});
  EXPECT_EQ(notices.Due(600'000), Lines{});
}

}  // namespace
}  // namespace longrun::client
