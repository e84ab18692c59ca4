// What ran out, by an errno and by a message.
#include "base/shortage.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <cerrno>
#include <string>

#include "base/files.h"

namespace longrun {
namespace {

TEST(ShortageTest, EachErrnoIsKnownAgainInItsMessage) {
  for (const int error_number : {ENOSPC, EDQUOT, EFBIG, EMFILE, ENFILE, ENOMEM}) {
    const Status status = ErrnoStatus(error_number, "cannot write /a/b").In("of task 12345678");
    ASSERT_TRUE(ShortageOf(error_number).has_value()) << error_number;
    EXPECT_EQ(ShortageOf(status), ShortageOf(error_number)) << status.message();
  }
}

TEST(ShortageTest, AnotherErrorIsNoShortage) {
  EXPECT_EQ(ShortageOf(ENOENT), std::nullopt);
  EXPECT_EQ(ShortageOf(ErrnoStatus(ENOENT, "cannot open /x")), std::nullopt);
  EXPECT_EQ(ShortageOf(Status(Code::kResourceExhausted, "at most 5 sweeps")), std::nullopt);
  // The words alone are not enough: a file may have them as its name.
  EXPECT_EQ(ShortageOf(Status(Code::kNotFound, "there is no File too large")), std::nullopt);
}

// The limit is this process's, so it is lowered where the test can raise it again.
TEST(ShortageTest, AFileBeyondTheLimitIsNoFullDisk) {
  const TempFolder folder;
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small = {.rlim_cur = 1000, .rlim_max = before.rlim_max};
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const Status status = WriteFileAtomic(JoinPath(folder.path(), "large"), std::string(4000, 'x'));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  signal(SIGXFSZ, handler);
  EXPECT_EQ(ShortageOf(status), Shortage::kFileSize) << status.message();
  EXPECT_NE(status.message().find("the disk is not full"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("ulimit -f"), std::string::npos) << status.message();
}

TEST(ShortageTest, TooManyOpenFilesAreSaidToBeThat) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const Status status = ReadFile("/proc/self/stat").status();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(ShortageOf(status), Shortage::kOpenFiles) << status.message();
  EXPECT_NE(status.message().find("Too many open files"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("ulimit -n"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace longrun
