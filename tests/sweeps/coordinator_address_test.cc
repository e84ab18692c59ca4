#include "sweeps/coordinator_address.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <ctime>
#include <string>

#include "base/files.h"
#include "sweeps/coordinator_lock.h"

namespace longrun {
namespace {

class CoordinatorAddressTest : public testing::Test {
 protected:
  const TempFolder folder_;
  const std::string path_ = CoordinatorAddressPath(folder_.path());
};

TEST_F(CoordinatorAddressTest, WhatIsWrittenIsReadAgainAlsoWithAFlippedBit) {
  EXPECT_EQ(ReadCoordinatorAddress(folder_.path()).status().code(), Code::kNotFound);
  ASSERT_TRUE(WriteCoordinatorAddress(folder_.path(), "unix:/s/coordinator.sock").ok());
  EXPECT_EQ(ReadCoordinatorAddress(folder_.path()).value(), "unix:/s/coordinator.sock");
  std::string text = ReadFile(path_).value();
  text[7] ^= 0x10;
  ASSERT_TRUE(WriteFileAtomic(path_, text).ok());
  EXPECT_EQ(ReadCoordinatorAddress(folder_.path()).value(), "unix:/s/coordinator.sock");
}

TEST_F(CoordinatorAddressTest, AnAddressWithoutAChecksumIsOfAnEarlierRelease) {
  ASSERT_TRUE(WriteFileAtomic(path_, "unix:/s/coordinator.sock\n").ok());
  EXPECT_EQ(ReadCoordinatorAddress(folder_.path()).value(), "unix:/s/coordinator.sock");
}

TEST_F(CoordinatorAddressTest, MoreDamageIsToldWithWhatToDo) {
  ASSERT_TRUE(WriteFileAtomic(path_, "unix:/s/k crc32c=00000000\n").ok());
  const Status status = ReadCoordinatorAddress(folder_.path()).status();
  EXPECT_EQ(status.code(), Code::kDataLoss);
  EXPECT_NE(status.message().find(path_ + " is damaged: start the coordinator again"),
            std::string::npos)
      << status.message();
  EXPECT_NE(
      status.message().find("`fuser -v " + folder_.path() + "/coordinator.lock` shows its pid"),
      std::string::npos)
      << status.message();
}

TEST_F(CoordinatorAddressTest, AnAddressOfAnEarlierCoordinatorIsNotThatOfTheHolder) {
  EXPECT_FALSE(HasWrittenAddress(folder_.path()));
  ASSERT_TRUE(WriteCoordinatorAddress(folder_.path(), "unix:/s/coordinator.sock").ok());
  const auto set_age = [](const std::string& path, std::time_t s) {
    const timespec times[] = {{.tv_sec = s, .tv_nsec = 5}, {.tv_sec = s, .tv_nsec = 5}};
    return utimensat(AT_FDCWD, path.c_str(), times, 0) == 0;
  };
  EXPECT_FALSE(HasWrittenAddress(folder_.path()));  // nobody has ever held the folder
  const auto lock = CoordinatorLock::Acquire(folder_.path(), {.pid = 1});
  ASSERT_TRUE(lock.ok());
  ASSERT_TRUE(set_age(CoordinatorLockPath(folder_.path()), 1'000));
  ASSERT_TRUE(set_age(path_, 999));
  EXPECT_FALSE(HasWrittenAddress(folder_.path()));
  ASSERT_TRUE(set_age(path_, 1'000));
  EXPECT_TRUE(HasWrittenAddress(folder_.path()));
}

// RFC 3986, sections 2.1 to 2.3.
TEST(GrpcTargetTest, APathIsEscapedAsInAUriAndAPlaceOnTheNetworkStays) {
  EXPECT_EQ(GrpcTarget("unix:/s-1/a_b.c~/K9"), "unix:%2Fs-1%2Fa_b.c~%2FK9");
  EXPECT_EQ(GrpcTarget("unix:/a#b?c%41 d+e"), "unix:%2Fa%23b%3Fc%2541%20d%2Be");
  EXPECT_EQ(GrpcTarget("unix://\xc3\xa9"), "unix:%2F%2F%C3%A9");
  EXPECT_EQ(GrpcTarget("[::1]:7443"), "[::1]:7443");
}

TEST(CheckSocketPathTest, ACommaIsRefusedWithThePathAndTheRemedy) {
  EXPECT_TRUE(CheckSocketPath("/a #?%;s").ok());
  const Status status = CheckSocketPath("/a,b/s");
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "the path of the socket, /a,b/s, has a comma, and nobody could connect to it, since "
            "gRPC reads a comma as the end of an address: choose a path without commas");
}

}  // namespace
}  // namespace longrun
