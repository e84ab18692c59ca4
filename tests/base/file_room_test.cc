// Files that the system refuses to open.
#include "base/file_room.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <string>

#include "base/shortage.h"

namespace longrun {
namespace {

// The soft limit of this process on open files, put back at the end.
class OpenFilesLimit {
 public:
  explicit OpenFilesLimit(rlim_t n_files) {
    getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit lower = {.rlim_cur = n_files, .rlim_max = before_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &lower), 0);
  }
  ~OpenFilesLimit() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST(FileRoomTest, ThereIsRoomWhereTheLimitIsFar) {
  EXPECT_TRUE(CheckFileRoom(16, "the client").ok());
}

TEST(FileRoomTest, ALimitIsAnErrorWithWhoNeedsMoreAndWhatToRaise) {
  const OpenFilesLimit limit(40);
  const Status room = CheckFileRoom(64, "the coordinator");
  EXPECT_EQ(room.code(), Code::kResourceExhausted);
  EXPECT_TRUE(IsProcessLimit(room)) << room.message();
  EXPECT_TRUE(room.message().starts_with("the coordinator needs up to 64 more open files"))
      << room.message();
  EXPECT_NE(room.message().find("ulimit -n"), std::string::npos) << room.message();
}

TEST(FileRoomTest, LooksAndKeepsNothingOpen) {
  const OpenFilesLimit limit(64);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(CheckFileRoom(30, "the client").ok());
}

}  // namespace
}  // namespace longrun
