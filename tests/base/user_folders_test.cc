// Where the environment puts a user's files; the rule for relative paths is that of the XDG base
// directory specification, version 0.8: "If an implementation encounters a relative path in any of
// these variables it should consider the path invalid and ignore it."
#include "base/user_folders.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <optional>

#include "base/process.h"

namespace longrun {
namespace {

class UserFoldersTest : public testing::Test {
 protected:
  UserFoldersTest() {
    for (const char* const name :
         {"HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"}) {
      before_[name] = GetEnv(name);
      unsetenv(name);
    }
  }
  ~UserFoldersTest() override {
    for (const auto& [name, value] : before_) {
      value ? setenv(name, value->c_str(), 1) : unsetenv(name);
    }
  }

 private:
  std::map<const char*, std::optional<std::string>> before_;
};

TEST_F(UserFoldersTest, ARelativePathIsIgnoredAndToldOf) {
  setenv("HOME", "/home/ada", 1);
  setenv("XDG_DATA_HOME", "data", 1);
  setenv("XDG_RUNTIME_DIR", "./run", 1);
  EXPECT_EQ(DataHome().value(), "/home/ada/.local/share");
  EXPECT_EQ(RuntimeFolder().value(), "");
  EXPECT_EQ(IgnoredFolderVariables(),
            (std::vector<std::string>{"XDG_DATA_HOME=data", "XDG_RUNTIME_DIR=./run"}));
  setenv("XDG_DATA_HOME", "/data", 1);
  setenv("XDG_RUNTIME_DIR", "/run/user/1", 1);
  EXPECT_EQ(DataHome().value(), "/data");
  EXPECT_EQ(RuntimeFolder().value(), "/run/user/1");
  EXPECT_TRUE(IgnoredFolderVariables().empty());
}

TEST_F(UserFoldersTest, ARelativeHomeIsRefused) {
  setenv("HOME", "ada", 1);
  const Status refused = DataHome().status();
  EXPECT_EQ(refused.code(), Code::kInvalidArgument);
  EXPECT_EQ(refused.message(),
            "the environment variable HOME (\"ada\") is not an absolute path, so it would mean "
            "another folder in each directory: make it absolute, or name the state folder by "
            "--state or LONGRUN_HOME");
  setenv("XDG_DATA_HOME", "/data", 1);
  EXPECT_EQ(DataHome().value(), "/data") << "HOME is not needed";
}

TEST_F(UserFoldersTest, EachFolderHasItsVariableAndItsPlaceInTheHome) {
  setenv("HOME", "/home/ada", 1);
  EXPECT_EQ(ConfigHome().value(), "/home/ada/.config");
  EXPECT_EQ(CacheHome().value(), "/home/ada/.cache");
  setenv("XDG_CONFIG_HOME", "/config", 1);
  setenv("XDG_CACHE_HOME", "/cache", 1);
  EXPECT_EQ(ConfigHome().value(), "/config");
  EXPECT_EQ(CacheHome().value(), "/cache");
}

TEST_F(UserFoldersTest, NothingIsSaidByAnEmptyEnvironment) {
  EXPECT_EQ(DataHome().value(), "");
  setenv("XDG_DATA_HOME", "", 1);
  EXPECT_EQ(DataHome().value(), "");
  EXPECT_TRUE(IgnoredFolderVariables().empty());
}

TEST_F(UserFoldersTest, AFolderThatIsNotUtf8IsRefusedWhereItWouldBeUsed) {
  setenv("HOME", "/home/jos\xe9", 1);
  EXPECT_EQ(DataHome().status().code(), Code::kInvalidArgument);
  EXPECT_EQ(
      DataHome().status().message(),
      "the environment variable HOME (\"/home/jos\\xe9\") is not UTF-8, which names and paths "
      "must be: name the state folder by --state or LONGRUN_HOME");
  setenv("XDG_DATA_HOME", "/data", 1);
  EXPECT_EQ(DataHome().value(), "/data");
  setenv("XDG_RUNTIME_DIR", "/run/\xff", 1);
  EXPECT_EQ(RuntimeFolder().status().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace longrun
