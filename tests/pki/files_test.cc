#include "pki/files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/files.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr std::int64_t kNowMs = 1'764'000'000'000;
constexpr std::int64_t kDayMs = 86'400'000;

int ModeOf(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? static_cast<int>(info.st_mode & 0777) : -1;
}

TEST(PkiFilesTest, InitMakesPrivateFilesWithWhichACoordinatorCanListen) {
  const TempFolder state;
  ASSERT_TRUE(InitPki(state.path(), {"localhost"}, kNowMs).ok());
  EXPECT_TRUE(CheckPki(state.path(), kNowMs).ok());
  const PkiPaths paths = PkiPathsOf(state.path());
  for (const std::string& path : {paths.authority, paths.authority_key, paths.key, paths.chain}) {
    EXPECT_EQ(ModeOf(path), 0600) << path;
  }
  EXPECT_EQ(ModeOf(paths.folder), 0700);
  const std::string chain = ReadFile(paths.chain).value();
  ASSERT_EQ(SplitCertificates(chain).size(), 2u);
  EXPECT_EQ(SplitCertificates(chain)[1], ReadFile(paths.authority).value());
}

TEST(PkiFilesTest, SecondInitReplacesNothing) {
  const TempFolder state;
  ASSERT_TRUE(InitPki(state.path(), {"localhost"}, kNowMs).ok());
  const std::string before = ReadFile(PkiPathsOf(state.path()).authority).value();
  EXPECT_EQ(InitPki(state.path(), {"localhost"}, kNowMs).code(), Code::kAlreadyExists);
  EXPECT_EQ(ReadFile(PkiPathsOf(state.path()).authority).value(), before);
}

TEST(PkiFilesTest, RenewKeepsAuthorityAndNames) {
  const TempFolder state;
  ASSERT_TRUE(InitPki(state.path(), {"gpu.example.org", "10.0.0.7"}, kNowMs).ok());
  const PkiPaths paths = PkiPathsOf(state.path());
  const std::string before = ReadFile(paths.chain).value();
  ASSERT_TRUE(RenewCoordinator(state.path(), {}, kNowMs + kDayMs).ok());
  const std::string after = ReadFile(paths.chain).value();
  EXPECT_NE(after, before);
  EXPECT_EQ(ReadCertificate(after)->names, ReadCertificate(before)->names);
  EXPECT_EQ(SplitCertificates(after)[1], SplitCertificates(before)[1]);
  EXPECT_TRUE(CheckPki(state.path(), kNowMs + kDayMs).ok());
}

TEST(PkiFilesTest, WhatIsMissingExpiredOrForeignIsNamedWithTheRemedy) {
  const TempFolder state;
  const auto message = [&](std::int64_t now_ms) {
    const Status status = CheckPki(state.path(), now_ms);
    EXPECT_EQ(status.code(), Code::kFailedPrecondition);
    EXPECT_NE(status.message().find("longrun admin pki"), std::string::npos) << status.message();
    return status.message();
  };
  message(kNowMs);
  ASSERT_TRUE(InitPki(state.path(), {"localhost"}, kNowMs).ok());
  EXPECT_NE(message(kNowMs + 400 * kDayMs).find("this machine's clock says"), std::string::npos);
  EXPECT_NE(message(kNowMs - 2 * kDayMs).find("this machine's clock says"), std::string::npos);
  const PkiPaths paths = PkiPathsOf(state.path());
  ASSERT_TRUE(WriteFileAtomic(paths.key, NewPrivateKey().value(), 0600).ok());
  EXPECT_NE(message(kNowMs).find("not that of the certificate"), std::string::npos);
}

// `pki init` and `pki renew` cannot help: one finds the authority, the other needs its key.
TEST(PkiFilesTest, ALostAuthorityIsNamedWithARemedyThatHelps) {
  const auto expect = [](const std::string& path, const Status& status) {
    EXPECT_EQ(status.code(), Code::kFailedPrecondition);
    const std::string& text = status.message();
    EXPECT_TRUE(text.find(path) != std::string::npos) << text;
    EXPECT_TRUE(text.find("take it from a backup") != std::string::npos) << text;
    EXPECT_TRUE(text.find("renew") == std::string::npos) << text;
  };
  for (const bool is_key : {true, false}) {
    const TempFolder state;
    ASSERT_TRUE(InitPki(state.path(), {"localhost"}, kNowMs).ok());
    const PkiPaths paths = PkiPathsOf(state.path());
    const std::string& lost = is_key ? paths.authority_key : paths.authority;
    for (const std::string& text : {std::string("xx"), std::string(), NewPrivateKey().value()}) {
      ASSERT_TRUE(WriteFileAtomic(lost, text, 0600).ok());
      expect(lost, CheckPki(state.path(), kNowMs));
      expect(lost, RenewCoordinator(state.path(), {}, kNowMs));
    }
    // What the remedy says.
    ASSERT_TRUE(RemoveAll(paths.folder).ok());
    EXPECT_TRUE(InitPki(state.path(), {"localhost"}, kNowMs).ok());
    EXPECT_TRUE(CheckPki(state.path(), kNowMs).ok());
    if (!is_key) continue;
    ASSERT_TRUE(RemoveAll(lost).ok());
    expect(lost, CheckPki(state.path(), kNowMs));
  }
}

TEST(PkiFilesTest, InitKeepsAnAuthorityWhoseCertificateIsGone) {
  const TempFolder state;
  ASSERT_TRUE(InitPki(state.path(), {"localhost"}, kNowMs).ok());
  const PkiPaths paths = PkiPathsOf(state.path());
  const std::string key = ReadFile(paths.authority_key).value();
  const std::string certificate = ReadFile(paths.authority).value();
  ASSERT_TRUE(RemoveAll(paths.authority).ok());
  EXPECT_NE(CheckPki(state.path(), kNowMs).message().find("`longrun admin pki init`"),
            std::string::npos);

  ASSERT_TRUE(InitPki(state.path(), {"gpu"}, kNowMs).ok());
  EXPECT_EQ(ReadFile(paths.authority).value(), certificate);
  EXPECT_EQ(ReadFile(paths.authority_key).value(), key);
  EXPECT_EQ(ReadCertificate(ReadFile(paths.chain).value())->names,
            (std::vector<std::string>{"gpu"}));
  EXPECT_TRUE(CheckPki(state.path(), kNowMs).ok());
}

}  // namespace
}  // namespace longrun
