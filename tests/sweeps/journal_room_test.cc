// The journal on a full disk: what is written again, what waits, and what is given up. The disk is
// the system's, with errors at chosen calls.
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <fstream>
#include <string>

#include "base/files.h"
#include "base/str.h"
#include "sweeps/event.h"

namespace {

// Of the next calls, in this order; 0: it does what it always does. Without one, so do all calls.
std::deque<int> g_sync_errors;
std::deque<int> g_write_errors;

int TakeError(std::deque<int>& errors) {
  if (errors.empty()) return 0;
  const int error_number = errors.front();
  errors.pop_front();
  return error_number;
}

}  // namespace

extern "C" int fdatasync(int fd) {
  errno = TakeError(g_sync_errors);
  return errno != 0 ? -1 : static_cast<int>(syscall(SYS_fdatasync, fd));
}

extern "C" ssize_t pwrite(int fd, const void* bytes, size_t n_bytes, off_t offset) {
  errno = TakeError(g_write_errors);
  return errno != 0 ? -1 : static_cast<ssize_t>(syscall(SYS_pwrite64, fd, bytes, n_bytes, offset));
}

namespace longrun {
namespace {

class JournalRoomTest : public testing::Test {
 protected:
  ~JournalRoomTest() override {
    g_sync_errors.clear();
    g_write_errors.clear();
  }
  Status Append() {
    return writer_.Append(RecordKind::kResult, {{"cell", "c"}, {"metric", "nll"}, {"value", 1.5}});
  }
  // The number of the last record that a reader finds.
  std::int64_t LastRead() const {
    JournalReader reader(path_);
    const auto lines = reader.Next(100, 1 << 20);
    EXPECT_TRUE(lines.ok()) << lines.status().message();
    return reader.last_seq();
  }

  const TempFolder folder_;
  const std::string path_ = JoinPath(folder_.path(), "journal.jsonl");
  JournalWriter writer_ = JournalWriter::Create(path_).value();
};

TEST_F(JournalRoomTest, WithoutAWaitARecordIsGivenUpAtOnce) {
  ASSERT_TRUE(Append().ok());
  g_write_errors = {ENOSPC};
  EXPECT_EQ(Append().code(), Code::kResourceExhausted);
  EXPECT_EQ(LastRead(), 1);
  ASSERT_TRUE(Append().ok());
  EXPECT_EQ(LastRead(), 2);
}

TEST_F(JournalRoomTest, ARecordWaitsAsLongAsTheCallerSays) {
  std::string waits;
  writer_.SetWaitForRoom([&](const Status& full, bool is_first) {
    EXPECT_EQ(full.message(), Str("cannot write the journal ", path_, ": No space left on device"));
    waits += is_first ? "first " : "again ";
    return Status();
  });
  g_write_errors = {ENOSPC, ENOSPC, 0, ENOSPC};
  EXPECT_TRUE(Append().ok());
  EXPECT_EQ(waits, "first again ");
  EXPECT_TRUE(Append().ok());
  EXPECT_EQ(waits, "first again first ");
  EXPECT_EQ(LastRead(), 2);
}

TEST_F(JournalRoomTest, ARecordThatIsGivenUpHasTheErrorOfTheWait) {
  writer_.SetWaitForRoom([](const Status&, bool) { return Status(Code::kCancelled, "stopped"); });
  g_write_errors = {EDQUOT};
  EXPECT_EQ(Append().code(), Code::kCancelled);
  EXPECT_EQ(writer_.last_seq(), 0);
}

TEST_F(JournalRoomTest, OtherErrorsAreNotWaitedFor) {
  writer_.SetWaitForRoom([](const Status&, bool) {
    ADD_FAILURE() << "it waits";
    return Status(Code::kCancelled, "");
  });
  g_write_errors = {EFBIG};
  EXPECT_EQ(Append().message(),
            ErrnoStatus(EFBIG, Str("cannot write the journal ", path_)).message());
}

// As Linux does after a write-back that failed: the pages are lost, and the next sync succeeds.
TEST_F(JournalRoomTest, WhatAFailedSyncHasLostIsWrittenAgain) {
  ASSERT_TRUE(Append().ok());
  const std::size_t n_synced = ReadFile(path_).value().size();
  const auto lose = [&] {
    std::string bytes = ReadFile(path_).value();
    std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(n_synced), bytes.end(), '\0');
    std::fstream(path_, std::ios::in | std::ios::out | std::ios::binary) << bytes;
  };
  g_sync_errors = {ENOSPC};
  EXPECT_EQ(Append().message(),
            Str("cannot sync the journal ", path_, ": No space left on device"));
  lose();
  g_sync_errors = {ENOSPC, EDQUOT};
  writer_.SetWaitForRoom([&](const Status&, bool) {
    lose();
    return Status();
  });
  EXPECT_TRUE(Append().ok());
  EXPECT_EQ(LastRead(), 3);
}

}  // namespace
}  // namespace longrun
