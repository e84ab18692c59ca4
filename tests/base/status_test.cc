// Errors as values.
#include "base/status.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>

namespace longrun {
namespace {

TEST(StatusTest, ErrnoBecomesTheCodeThatFits) {
  const struct {
    int error_number;
    Code code;
  } cases[] = {{ENOSPC, Code::kResourceExhausted}, {EDQUOT, Code::kResourceExhausted},
               {EMFILE, Code::kResourceExhausted}, {ENOMEM, Code::kResourceExhausted},
               {ENOENT, Code::kNotFound},          {EACCES, Code::kPermissionDenied},
               {EPERM, Code::kPermissionDenied},   {EEXIST, Code::kAlreadyExists}};
  for (const auto& c : cases) {
    EXPECT_EQ(ErrnoStatus(c.error_number, "x").code(), c.code) << "errno " << c.error_number;
  }
}

TEST(StatusTest, ErrnoMessageNamesTheThingAndTheReason) {
  EXPECT_EQ(ErrnoStatus(ENOENT, "cannot open /x/y").message(),
            "cannot open /x/y: No such file or directory");
}

TEST(StatusTest, ContextGoesInFront) {
  const Status status =
      Status(Code::kDataLoss, "bad checksum").In("record 7").In("reading shard 3");
  EXPECT_EQ(status.message(), "reading shard 3: record 7: bad checksum");
  EXPECT_EQ(status.code(), Code::kDataLoss);
  EXPECT_EQ(Status().In("reading").message(), "");
}

TEST(StatusTest, WhatAnInputHoldsCannotCommandTheTerminal) {
  EXPECT_EQ(Status(Code::kInvalidArgument, "key \"\x1b[2J\"").message(), "key \"\\x1b[2J\"");
  EXPECT_EQ(Status(Code::kInvalidArgument, "x").In("a\x7f\tb").message(), "a\\x7f\\tb: x");
  // U+009B is the one-character form of ESC [; a lone byte is no character; what is one stays.
  EXPECT_EQ(Status(Code::kInvalidArgument, "\xc2\x9b \xff caf\xc3\xa9\nb").message(),
            "\\x9b \xef\xbf\xbd caf\xc3\xa9\nb");
}

TEST(StatusTest, NamesAreThoseOfGrpc) {
  EXPECT_EQ(CodeName(Code::kOk), "OK");
  EXPECT_EQ(CodeName(Code::kInvalidArgument), "INVALID_ARGUMENT");
  EXPECT_EQ(CodeName(Code::kDataLoss), "DATA_LOSS");
  EXPECT_EQ(static_cast<int>(Code::kDataLoss), 15);
}

Result<int> Half(int number) {
  if (number % 2 != 0) return Status(Code::kInvalidArgument, "odd");
  return number / 2;
}

Result<int> Quarter(int number) {
  ASSIGN_OR_RETURN(const int half, Half(number));
  ASSIGN_OR_RETURN(const int quarter, Half(half));
  return quarter;
}

Status CheckEven(int number) {
  RETURN_IF_ERROR(Half(number).status());
  return {};
}

TEST(ResultTest, ErrorsArePassedUp) {
  EXPECT_EQ(*Quarter(8), 2);
  EXPECT_TRUE(Quarter(8).status().ok());
  EXPECT_EQ(Quarter(6).status().message(), "odd");
  EXPECT_EQ(CheckEven(3).code(), Code::kInvalidArgument);
  EXPECT_TRUE(CheckEven(4).ok());
}

TEST(ResultTest, HoldsWhatCanOnlyBeMoved) {
  Result<std::unique_ptr<int>> result(std::make_unique<int>(5));
  ASSERT_TRUE(result.ok());
  const std::unique_ptr<int> value = std::move(result).value();
  EXPECT_EQ(*value, 5);
}

}  // namespace
}  // namespace longrun
