// Waiting for room on a full disk: when a write is tried again, and how it ends if it is not.
#include "worker/trainer/full_disk.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>

namespace longrun::trainer {
namespace {

constexpr std::int64_t kNeeded = 1000;

// A disk and a clock, on which time passes only while somebody waits.
class FullDiskTest : public testing::Test {
 protected:
  // One write of kNeeded bytes, which fails as long as the disk lacks room for them.
  Status Write() {
    return OnceThereIsRoom(
        "/disk", kNeeded,
        [this] {
          ++n_tries_;
          return has_room_ ? Status() : full_;
        },
        source_);
  }

  const Status full_ = ErrnoStatus(ENOSPC, "cannot write /disk/file");
  std::int64_t now_ms_ = 0;
  std::int64_t free_from_ms_ = kRoomPatienceMs * 10;
  std::int64_t stop_at_ms_ = kRoomPatienceMs * 10;
  bool has_room_ = false;  // what the write finds, once the disk says that it is free
  int n_tries_ = 0;
  const RoomSource source_ = {.now_ms = [this] { return now_ms_; },
                              .free_bytes = [this](const std::string&) -> Result<std::int64_t> {
                                has_room_ = now_ms_ >= free_from_ms_;
                                return has_room_ ? kNeeded : kNeeded - 1;
                              },
                              .stop_requested = [this] { return now_ms_ >= stop_at_ms_; },
                              .pause = [this](std::int64_t ms) { now_ms_ += ms; }};
};

TEST_F(FullDiskTest, AWriteIsTriedAgainOnceThereIsRoom) {
  free_from_ms_ = 42'000;
  EXPECT_TRUE(Write().ok());
  EXPECT_GE(now_ms_, free_from_ms_);
  EXPECT_LT(now_ms_, free_from_ms_ + 1000);
  EXPECT_EQ(n_tries_, 2);
}

TEST_F(FullDiskTest, OtherErrorsAreNotWaitedFor) {
  const Status other = ErrnoStatus(EIO, "cannot write /disk/file");
  const Status written = OnceThereIsRoom(
      "/disk", kNeeded, [&] { return other; }, source_);
  EXPECT_EQ(written.message(), other.message());
  EXPECT_EQ(now_ms_, 0);
}

TEST_F(FullDiskTest, AfterItsPatienceTheWriteFailsWithItsOwnError) {
  const Status written = Write();
  EXPECT_EQ(written.code(), Code::kResourceExhausted);
  EXPECT_EQ(written.message(), full_.message());
  EXPECT_EQ(now_ms_, kRoomPatienceMs);
  EXPECT_EQ(n_tries_, 1);
}

// As on a machine that slept.
TEST_F(FullDiskTest, RoomThatIsThereAtTheEndOfThePatienceIsUsed) {
  free_from_ms_ = kRoomPatienceMs;
  EXPECT_TRUE(Write().ok());
  EXPECT_EQ(n_tries_, 2);
}

TEST_F(FullDiskTest, AStopWithoutRoomIsNotAFailure) {
  stop_at_ms_ = 5000;
  const Status written = Write();
  EXPECT_EQ(written.code(), Code::kCancelled);
  EXPECT_EQ(written.message(),
            "stopped as asked while the disk was full: cannot write /disk/file: No space left on "
            "device");
  EXPECT_EQ(now_ms_, stop_at_ms_);
}

TEST_F(FullDiskTest, AtAStopTheWriteIsTriedOnceMoreIfThereIsRoom) {
  stop_at_ms_ = free_from_ms_ = 300;  // before the next look at the disk
  EXPECT_TRUE(Write().ok());
  EXPECT_EQ(n_tries_, 2);
}

// A quota: the disk has room, and yet the write fails.
TEST_F(FullDiskTest, AWriteThatFailsInSpiteOfRoomIsTriedEachSecondAndEnds) {
  const auto write = [this] {
    ++n_tries_;
    return ErrnoStatus(EDQUOT, "cannot write /disk/file");
  };
  free_from_ms_ = 0;
  EXPECT_EQ(OnceThereIsRoom("/disk", kNeeded, write, source_).code(), Code::kResourceExhausted);
  EXPECT_EQ(n_tries_, kRoomPatienceMs / 1000 + 1);

  now_ms_ = n_tries_ = 0;
  stop_at_ms_ = 2500;
  EXPECT_EQ(OnceThereIsRoom("/disk", kNeeded, write, source_).code(), Code::kCancelled);
  EXPECT_EQ(now_ms_, stop_at_ms_);
  EXPECT_EQ(n_tries_, 4);
}

}  // namespace
}  // namespace longrun::trainer
