#include "sweeps/coordinator_address.h"

#include <gtest/gtest.h>

#include <string>

#include "base/files.h"

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

}  // namespace
}  // namespace longrun
