// Which class the coordinator is told when an attempt cannot be started.
#include "worker/agent/refusal.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace longrun::agent {
namespace {

TEST(RefusalTest, WhatRanOutDecides) {
  EXPECT_EQ(RefusalClass(ErrnoStatus(ENOSPC, "cannot write /c/f")), "storage");
  EXPECT_EQ(RefusalClass(ErrnoStatus(EFBIG, "cannot write /c/f")), "limit");
  EXPECT_EQ(RefusalClass(ErrnoStatus(EMFILE, "cannot open /c/f")), "limit");
  EXPECT_EQ(RefusalClass(ErrnoStatus(ENOMEM, "cannot map /c/f")), "out_of_memory");
  EXPECT_EQ(RefusalClass(Status(Code::kResourceExhausted, "the store has no room")), "storage");
}

TEST(RefusalTest, DamageIsDataAndAnAbsentCoordinatorHasNoClass) {
  EXPECT_EQ(RefusalClass(Status(Code::kDataLoss, "SHA-256 of x is y")), "data");
  EXPECT_EQ(RefusalClass(Status(Code::kNotFound, "dataset d is not on this worker")), "data");
  EXPECT_EQ(RefusalClass(Status(Code::kUnavailable, "the coordinator is stopping")), "");
  EXPECT_EQ(RefusalClass(Status(Code::kDeadlineExceeded, "10 s are over")), "");
}

TEST(RefusalTest, ACacheThatCannotBeWrittenIsStorageWhateverTheSystemSaid) {
  for (const int error_number : {EACCES, EROFS, ENOTDIR, EEXIST, EIO, ENAMETOOLONG}) {
    EXPECT_EQ(RefusalClass(CacheNotWritten(ErrnoStatus(error_number, "cannot make folder /c/f"))),
              "storage")
        << error_number;
  }
  EXPECT_EQ(RefusalClass(CacheNotWritten(ErrnoStatus(EFBIG, "cannot write /c/f"))), "limit");
  EXPECT_TRUE(CacheNotWritten(Status()).ok());
}

}  // namespace
}  // namespace longrun::agent
