// A state folder of which something may not be used: the message names the file and its chmod, and
// the exit code is that of a denied permission. Root is denied nothing,
// so root gives itself up first.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/process.h"
#include "base/str.h"
#include "tests/deadline.h"

namespace longrun {
namespace {

constexpr std::int64_t kEndMs = DeadlineMs(60'000);
constexpr const char* kNobody = "65534";
constexpr int kExitDenied = 5;  // docs/cli.md

struct Ended {
  int code = -1;
  std::string out, err;
};

class DeniedTest : public testing::Test {
 protected:
  // Programs of this folder's own: the tree's may lie where only root comes.
  DeniedTest() : state_(JoinPath(temp_.path(), "state")) {
    EXPECT_EQ(chmod(temp_.path().c_str(), 0755), 0);
    for (const char* const name : {"longrun", "longrun-coordinator"}) {
      std::filesystem::copy_file(JoinPath(LONGRUN_BIN_DIR, name), JoinPath(temp_.path(), name));
    }
    EXPECT_TRUE(MakeFolders(state_, 0700).ok());
    Give(state_);
    const Ended first = Longrun({"data", "rm", "nothing"});  // makes the database
    EXPECT_EQ(first.code, 3) << first.err;
  }
  ~DeniedTest() override { chmod(state_.c_str(), 0700); }

  static void Give(const std::string& path) {
    if (geteuid() != 0) return;
    ASSERT_EQ(chown(path.c_str(), 65534, 65534), 0);
  }
  std::string At(const std::string& name) const { return JoinPath(state_, name); }

  Ended Longrun(const std::vector<std::string>& arguments) {
    std::vector<std::string> argv;
    if (geteuid() == 0) {
      argv = {"/usr/bin/setpriv", "--reuid", kNobody, "--regid", kNobody, "--clear-groups"};
    }
    argv.push_back(JoinPath(temp_.path(), "longrun"));
    argv.insert(argv.end(), {"--state", state_});
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    const std::string out = JoinPath(temp_.path(), "out"), err = JoinPath(temp_.path(), "err");
    EXPECT_TRUE(RemoveAll(out).ok() && RemoveAll(err).ok());
    const Result<int> pid = Spawn({.argv = argv,
                                   .env = {"PATH=/usr/bin:/bin", "HOME=" + temp_.path()},
                                   .stdout_path = out,
                                   .stderr_path = err,
                                   .die_with_parent = true});
    EXPECT_TRUE(pid.ok()) << pid.status().message();
    if (!pid) return {};
    const auto ended = WaitFor(*pid, kEndMs);
    EXPECT_TRUE(ended.ok() && ended->has_value());
    if (!ended || !*ended) {
      kill(*pid, SIGKILL);
      return {};
    }
    return {.code = (*ended)->code, .out = ReadFile(out).value(), .err = ReadFile(err).value()};
  }

  void ExpectNamed(const Ended& ended, const std::string& path, const std::string& remedy) {
    EXPECT_EQ(ended.code, kExitDenied) << path << ": " << ended.err;
    EXPECT_NE(ended.err.find(path), std::string::npos) << ended.err;
    EXPECT_NE(ended.err.find(remedy), std::string::npos) << ended.err;
  }

  TempFolder temp_;
  std::string state_;
};

TEST_F(DeniedTest, EachFileThatAStartNeedsIsNamedWithItsCommand) {
  for (const char* const name :
       {"longrun.db", "database.id", "coordinator.lock", "coordinator.log"}) {
    ASSERT_EQ(chmod(At(name).c_str(), 0000), 0) << name;
    ExpectNamed(Longrun({"ls"}), At(name), "chmod 600 " + At(name));
    ASSERT_EQ(chmod(At(name).c_str(), 0600), 0) << name;
    EXPECT_EQ(Longrun({"ls"}).code, 0) << name << ": the remedy did not help";
  }
}

TEST_F(DeniedTest, ADatabaseThatMayOnlyBeReadIsNamedToo) {
  ASSERT_EQ(chmod(At("longrun.db").c_str(), 0400), 0);
  ExpectNamed(Longrun({"ls"}), At("longrun.db"), "chmod 600 " + At("longrun.db"));
}

TEST_F(DeniedTest, SoAreFoldersOfTheStateAndTheStateItself) {
  ASSERT_EQ(chmod(At("artifacts").c_str(), 0000), 0);
  ExpectNamed(Longrun({"ls"}), At("artifacts"), "chmod 700 " + At("artifacts"));
  ASSERT_EQ(chmod(At("artifacts").c_str(), 0700), 0);
  ASSERT_EQ(chmod(state_.c_str(), 0000), 0);
  ExpectNamed(Longrun({"ls"}), state_, "chmod 700 " + state_);
}

TEST_F(DeniedTest, AFileGivenToACommandIsNotCalledWrong) {
  const std::string file = JoinPath(temp_.path(), "a.yaml");
  ASSERT_TRUE(WriteFileAtomic(file, "kind: Sweep\n").ok());
  Give(file);
  ASSERT_EQ(chmod(file.c_str(), 0000), 0);
  for (const char* const verb : {"validate", "plan", "submit"}) {
    ExpectNamed(Longrun({verb, file}), file, "Permission denied");
  }
}

}  // namespace
}  // namespace longrun
