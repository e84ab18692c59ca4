// SQLite itself is the judge: a log with a flipped bit is opened, and the rows that are left are
// counted.
#include "coordinator/store/wal_check.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <utility>

#include "base/files.h"
#include "base/process.h"
#include "base/str.h"
#include "coordinator/store/sqlite.h"

namespace longrun {
namespace {

constexpr int kCommits = 12;
constexpr int kFlips = 120;

std::uint64_t Seed() {
  const auto given = GetEnv("LONGRUN_TEST_SEED");
  return given ? std::stoull(*given) : 1;
}

struct Files {
  std::string database, wal;
};

std::unique_ptr<Connection> Open(const std::string& path) {
  auto connection = Connection::Open(path, Connection::Mode::kWrite);
  EXPECT_TRUE(connection.ok()) << connection.status().message();
  EXPECT_TRUE(connection.value()
                  ->Execute("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;"
                            "PRAGMA synchronous = FULL")
                  .ok());
  return std::move(connection).value();
}

void Commit(Connection& connection, int i) {
  // Rows of different sizes, so that a commit has one frame or several.
  ASSERT_TRUE(
      connection
          .Execute(Str("INSERT INTO t VALUES (", i, ", randomblob(", i % 4 == 0 ? 9000 : 90, "))"))
          .ok());
}

// What lies on the disk after a crash that follows `kCommits` commits, each of which adds a row.
// `recycled`: the log had begun anew over older frames.
Files Crashed(bool recycled) {
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "a.db");
  const std::unique_ptr<Connection> connection = Open(path);
  EXPECT_TRUE(connection->Execute("CREATE TABLE t (i INTEGER PRIMARY KEY, x BLOB)").ok());
  if (recycled) {
    for (int i = 1000; i < 1000 + 3 * kCommits; ++i) Commit(*connection, i);
    EXPECT_TRUE(connection->Execute("DELETE FROM t; PRAGMA wal_checkpoint(RESTART)").ok());
  } else {
    EXPECT_TRUE(connection->Execute("PRAGMA wal_checkpoint(TRUNCATE)").ok());
  }
  for (int i = 0; i < kCommits; ++i) Commit(*connection, i);
  return {.database = ReadFile(path).value(), .wal = ReadFile(path + "-wal").value()};
}

// Rows that SQLite finds, or -1 when it refuses the files.
int RowsOf(const Files& files) {
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "a.db");
  EXPECT_TRUE(WriteFileAtomic(path, files.database, 0600).ok());
  EXPECT_TRUE(WriteFileAtomic(path + "-wal", files.wal, 0600).ok());
  auto connection = Connection::Open(path, Connection::Mode::kWrite);
  if (!connection.ok()) return -1;
  const auto n = (*connection)->ReadInt("SELECT count(*) FROM t NOT INDEXED");
  return n.ok() ? static_cast<int>(*n) : -1;
}

class WalCheckTest : public testing::TestWithParam<bool> {};

TEST_P(WalCheckTest, AWholeLogIsWhole) {
  const Files files = Crashed(GetParam());
  ASSERT_EQ(RowsOf(files), kCommits);
  EXPECT_TRUE(CheckWalBytes("wal", files.wal, true).ok());
  EXPECT_TRUE(CheckWalBytes("wal", files.wal, false).ok());
}

// A process that is killed leaves a beginning of what it wrote, over what was there before.
TEST_P(WalCheckTest, AnUnfinishedWriteIsNoDamage) {
  const Files files = Crashed(GetParam());
  for (std::size_t n = 0; n < files.wal.size(); n += 97) {
    EXPECT_TRUE(CheckWalBytes("wal", files.wal.substr(0, n), true).ok()) << n << " bytes";
  }
}

TEST_P(WalCheckTest, AFlippedBitThatLosesCommitsIsTold) {
  const Files files = Crashed(GetParam());
  const std::uint64_t seed = Seed();
  SCOPED_TRACE(Str("LONGRUN_TEST_SEED=", seed));
  std::mt19937_64 random(seed);
  int n_told = 0;
  for (int flip = 0; flip < kFlips; ++flip) {
    Files flipped = files;
    // The header too, which is a small part of the whole.
    const std::size_t at = random() % (flip % 8 == 0 ? 32 : files.wal.size());
    flipped.wal[at] = static_cast<char>(flipped.wal[at] ^ (1 << random() % 8));
    const int n_rows = RowsOf(flipped);
    const bool is_told = !CheckWalBytes("wal", flipped.wal, true).ok();
    SCOPED_TRACE(Str("byte ", at, ", rows ", n_rows));
    if (n_rows == kCommits) {
      EXPECT_FALSE(is_told) << "nothing is lost";
    } else if (n_rows >= 0 && n_rows < kCommits - 1) {
      EXPECT_TRUE(is_told) << "commits are lost in silence";
    }
    n_told += is_told ? 1 : 0;
  }
  EXPECT_GT(n_told, kFlips / 8);
}

TEST(WalMessageTest, ItSaysFromWhereOnAndWhatToDo) {
  Files files = Crashed(false);
  files.wal[32 + 24 + 100] = static_cast<char>(files.wal[32 + 24 + 100] ^ 1);
  const Status status = CheckWalBytes("/s/longrun.db-wal", files.wal, true);
  EXPECT_EQ(status.code(), Code::kDataLoss);
  EXPECT_NE(status.message().find("/s/longrun.db-wal is damaged at byte 32: "), std::string::npos)
      << status.message();
  EXPECT_NE(status.message().find("truncate -s 32 /s/longrun.db-wal"), std::string::npos)
      << status.message();
}

// Of a transaction whose pages a disk kept in another order when it lost power, and which nobody
// was told of.
TEST(WalMessageTest, AfterAnotherStartOneTransactionMayHaveAGap) {
  Files files = Crashed(false);
  const std::size_t frame = 24 + 4096, n_frames = (files.wal.size() - 32) / frame;
  // The last commit of several frames begins somewhere before the last frame; a hole in the frame
  // before it.
  std::string one_commit = files.wal.substr(0, 32 + n_frames * frame);
  one_commit[32 + (n_frames - 2) * frame + 500] ^= 1;
  EXPECT_TRUE(CheckWalBytes("wal", one_commit, false).ok());
  EXPECT_FALSE(CheckWalBytes("wal", one_commit, true).ok());
  std::string many = files.wal;
  many[32 + 500] = static_cast<char>(many[32 + 500] ^ 1);
  EXPECT_FALSE(CheckWalBytes("wal", many, false).ok());
}

TEST(WalMessageTest, NoLogIsAWholeOne) {
  const TempFolder folder;
  EXPECT_TRUE(CheckWal(JoinPath(folder.path(), "a.db")).ok());
}

INSTANTIATE_TEST_SUITE_P(Logs, WalCheckTest, testing::Bool());

}  // namespace
}  // namespace longrun
