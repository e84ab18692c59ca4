// As what a trainer ends: the class by the cause.
#include "worker/trainer/ending.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <functional>
#include <new>
#include <stdexcept>
#include <system_error>

namespace longrun::trainer {
namespace {

FailureClass ClassOfErrno(int error_number) {
  return EndingOf(ErrnoStatus(error_number, "cannot use /x")).failure_class;
}

TEST(EndingTest, WhatRanOutDecidesTheClass) {
  EXPECT_EQ(ClassOfErrno(ENOSPC), FailureClass::kStorage);
  EXPECT_EQ(ClassOfErrno(EDQUOT), FailureClass::kStorage);
  EXPECT_EQ(ClassOfErrno(EACCES), FailureClass::kStorage);
  EXPECT_EQ(ClassOfErrno(EFBIG), FailureClass::kLimit);
  EXPECT_EQ(ClassOfErrno(EMFILE), FailureClass::kLimit);
  EXPECT_EQ(ClassOfErrno(ENFILE), FailureClass::kLimit);
  EXPECT_EQ(ClassOfErrno(ENOMEM), FailureClass::kOutOfMemory);
}

TEST(EndingTest, WhatIsThrownBecomesItsClass) {
  const auto ending = [](const std::function<void()>& thrower) {
    return RunGuarded([&]() -> Status {
      thrower();
      return Status();
    });
  };
  EXPECT_TRUE(ending([] {}).status.ok());
  EXPECT_EQ(ending([] { throw std::bad_alloc(); }).failure_class, FailureClass::kOutOfMemory);
  EXPECT_EQ(ending([] { throw std::runtime_error("?"); }).failure_class, FailureClass::kCrashed);
  const auto no_thread = [] {
    throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
  };
  EXPECT_EQ(ending(no_thread).failure_class, FailureClass::kLimit);
  EXPECT_NE(ending(no_thread).status.message().find("ulimit -u"), std::string::npos);
}

}  // namespace
}  // namespace longrun::trainer
