// What is in the way of a user who is not root: asked in a child that gives root up.
#include "base/access.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <string>

#include "base/files.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr uid_t kNobody = 65534;

class AccessTest : public testing::Test {
 protected:
  AccessTest() : folder_(JoinPath(temp_.path(), "state")) {
    EXPECT_TRUE(MakeFolders(folder_, 0700).ok());
    EXPECT_TRUE(WriteFileAtomic(At("a.db"), "x", 0600).ok());
    EXPECT_TRUE(WriteFileAtomic(At("notes"), "x", 0600).ok());
    if (geteuid() != 0) return;
    for (const std::string& path : {temp_.path(), folder_, At("a.db"), At("notes")}) {
      EXPECT_EQ(chown(path.c_str(), kNobody, kNobody), 0);
    }
  }
  ~AccessTest() override { chmod(folder_.c_str(), 0700); }

  std::string At(const std::string& name) const { return JoinPath(folder_, name); }

  // The message of NamingDenied as somebody who is not root.
  std::string Told(const Status& status) const {
    std::array<int, 2> ends{};
    EXPECT_EQ(pipe(ends.data()), 0);
    const pid_t child = fork();
    if (child == 0) {
      if (geteuid() == 0 && (setgid(kNobody) != 0 || setuid(kNobody) != 0)) _exit(1);
      const std::string text = NamingDenied(status, folder_).message();
      _exit(write(ends[1], text.data(), text.size()) < 0 ? 1 : 0);
    }
    close(ends[1]);
    std::string text(4096, '\0');
    const ssize_t n = read(ends[0], text.data(), text.size());
    close(ends[0]);
    int state = 0;
    EXPECT_EQ(waitpid(child, &state, 0), child);
    EXPECT_EQ(state, 0);
    text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return text;
  }

  TempFolder temp_;
  std::string folder_;
};

const Status kDenied(Code::kPermissionDenied, "attempt to write a readonly database");

TEST_F(AccessTest, AFileIsNamedWithItsModeAndItsCommand) {
  ASSERT_EQ(chmod(At("a.db").c_str(), 0400), 0);
  EXPECT_EQ(Told(kDenied),
            Str(At("a.db"), ": no permission to read and write it (mode 0400): run chmod 600 ",
                At("a.db"), " (attempt to write a readonly database)"));
}

TEST_F(AccessTest, AFolderIsNamedBeforeWhatLiesInIt) {
  ASSERT_EQ(chmod(At("a.db").c_str(), 0000), 0);
  ASSERT_EQ(chmod(folder_.c_str(), 0500), 0);
  EXPECT_EQ(Told(kDenied).find(
                Str(folder_, ": no permission to read and write it (mode 0500): run chmod 700 ",
                    folder_, " (")),
            0u)
      << Told(kDenied);
}

TEST_F(AccessTest, WhatTheErrorNamesGoesBeforeOtherFiles) {
  ASSERT_EQ(chmod(At("a.db").c_str(), 0400), 0);
  ASSERT_EQ(chmod(At("notes").c_str(), 0000), 0);
  const Status named(Code::kPermissionDenied, Str("cannot open ", At("notes")));
  EXPECT_EQ(Told(named).find(Str(At("notes"), " may not be read")), 0u) << Told(named);
}

TEST_F(AccessTest, AnotherErrorAndOneWithNothingInTheWayStayAsTheyAre) {
  EXPECT_EQ(Told(kDenied), kDenied.message());
  ASSERT_EQ(chmod(At("a.db").c_str(), 0000), 0);
  EXPECT_EQ(Told(Status(Code::kDataLoss, "no database")), "no database");
}

TEST_F(AccessTest, AnothersFileSaysWhose) {
  ASSERT_TRUE(RemoveAll(At("a.db")).ok());
  ASSERT_EQ(symlink("/etc/shadow", At("a.db").c_str()), 0);  // root's, wherever this runs
  EXPECT_EQ(Told(kDenied).find(Str(At("a.db"), " belongs to root: run as root, ")), 0u)
      << Told(kDenied);
}

}  // namespace
}  // namespace longrun
