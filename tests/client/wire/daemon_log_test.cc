// Which error a daemon's log ends with.
#include "client/wire/daemon_log.h"

#include <gtest/gtest.h>

#include <string>

#include "base/files.h"
#include "base/str.h"

namespace longrun::client {
namespace {

constexpr std::string_view kTime = "2026-11-20T08:03:46.123Z";

TEST(DaemonLogTest, TheLastErrorIsTheOneThatALineNames) {
  EXPECT_EQ(LastErrorIn(Str("E ", kTime, " first error=\"one\"\n",                   //
                            "E ", kTime, " ended error=\"the \\\"x\\\" is old\"\n",  //
                            "I ", kTime, " worker_stopped id=box-1\n")),
            "the \"x\" is old");
}

TEST(DaemonLogTest, ALineWithoutAnErrorIsTakenAsItIs) {
  EXPECT_EQ(LastErrorIn("error while loading shared libraries: libz.so.1\n"),
            "error while loading shared libraries: libz.so.1");
  EXPECT_EQ(LastErrorIn(""), "");
}

TEST(DaemonLogTest, AHintBelowAnErrorIsNoError) {
  EXPECT_EQ(LastErrorIn("longrun-coordinator: --lease-ms \"abc\": expected a whole number\n"
                        "`longrun-coordinator --help` explains the options\n"),
            "longrun-coordinator: --lease-ms \"abc\": expected a whole number");
}

TEST(DaemonLogTest, ALineThatAFullDiskHasCutIsNotQuoted) {
  const std::string whole = Str("E ", kTime, " commit error=\"the disk is full\"\n");
  EXPECT_EQ(LastErrorIn(Str(whole, "E ", kTime, " ended error=\"the database can")),
            "the disk is full");
  EXPECT_EQ(LastErrorIn(Str(whole, "E ", kTime, " end")), "the disk is full");
  // The daemon goes on with a line of its own when there is room again.
  EXPECT_EQ(LastErrorIn(Str(whole, "E ", kTime, " ended error=\"the database can\nI ", kTime,
                            " serving\n")),
            "the disk is full");
}

// Of each start until it serves. A new database is made by migrations, too, but has nothing to
// bring up to date, and its log names none.
TEST(DaemonLogTest, ACoordinatorMigratesFromItsFirstMigrationUntilItServes) {
  const std::string begins =
      "I 2026-11-20T08:03:46.123Z database_migrates migration=0028_results_by_run meaning=\"takes "
      "minutes where there are millions of rows\"\n";
  const std::string ends = "I 2026-11-20T08:05:46.123Z database_migrated migration=0028_x\n";
  const std::string serves =
      "I 2026-11-20T08:05:47.123Z serving address=unix:/x/coordinator.sock\n";
  EXPECT_FALSE(IsMigratingIn(""));
  EXPECT_FALSE(IsMigratingIn(ends));
  EXPECT_TRUE(IsMigratingIn(begins));
  EXPECT_TRUE(IsMigratingIn(serves + begins + ends));
  EXPECT_FALSE(IsMigratingIn(begins + ends + serves));
  EXPECT_FALSE(IsMigratingIn(begins.substr(0, begins.size() - 1))) << "the line is not whole";
}

TEST(DaemonLogTest, OnlyTheEndOfALongLogIsReadAndOnlyWholeLines) {
  const TempFolder folder;
  const std::string log = JoinPath(folder.path(), "log");
  const std::string before = Str("E ", kTime, " ended error=\"of an earlier start\"\n");
  ASSERT_TRUE(WriteFileAtomic(log, before).ok());
  const auto n_before = static_cast<std::int64_t>(before.size());
  EXPECT_EQ(LastError(log, 0), "of an earlier start");
  EXPECT_EQ(LastError(log, n_before), "");

  ASSERT_TRUE(WriteFileAtomic(log, Str(before, std::string(20'000, 'x'), "\n")).ok());
  EXPECT_EQ(LastError(log, n_before), "") << "its beginning is not there";
}

}  // namespace
}  // namespace longrun::client
