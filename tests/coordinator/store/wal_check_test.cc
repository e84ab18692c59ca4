// SQLite itself is the judge: a log with a flipped bit is opened, and the rows that are left are
// counted.
#include "coordinator/store/wal_check.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/process.h"
#include "base/str.h"
#include "coordinator/store/sqlite.h"

namespace longrun::coordinator {
namespace {

constexpr int kCommits = 12;
constexpr int kFlips = 120;

std::uint64_t Seed() {
  const auto given = GetEnv("LONGRUN_TEST_SEED");
  return given ? std::stoull(*given) : 1;
}

struct Files {
  std::string database, wal;
  std::string wal_before;  // the last commit
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
  for (int i = 0; i < kCommits - 1; ++i) Commit(*connection, i);
  const std::string before = ReadFile(path + "-wal").value();
  Commit(*connection, kCommits - 1);
  return {.database = ReadFile(path).value(),
          .wal = ReadFile(path + "-wal").value(),
          .wal_before = before};
}

// Without a sync: there are thousands.
bool Put(const std::string& path, const std::string& bytes) {
  return static_cast<bool>(std::ofstream(path, std::ios::binary) << bytes << std::flush);
}

WalFlaws FlawsOf(const std::string& wal, bool same_start) {
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "a.db");
  EXPECT_TRUE(Put(path + "-wal", wal));
  const auto flaws = FindWalFlaws(path, same_start);
  EXPECT_TRUE(flaws.ok()) << flaws.status().message();
  return flaws.ok() ? *flaws : WalFlaws();
}

std::size_t RandomByte(std::mt19937_64& random, const Files& files, int flip) {
  // The header too, which is a small part of the whole.
  return random() % (flip % 8 == 0 ? 32 : files.wal.size());
}

void Flip(std::string& bytes, std::size_t at, std::uint64_t bit) {
  bytes[at] = static_cast<char>(bytes[at] ^ (1 << bit));
}

// Rows that SQLite finds, or -1 when it refuses the files.
int RowsOf(const Files& files) {
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "a.db");
  EXPECT_TRUE(Put(path, files.database));
  EXPECT_TRUE(Put(path + "-wal", files.wal));
  auto connection = Connection::Open(path, Connection::Mode::kWrite);
  if (!connection.ok()) return -1;
  const auto n = (*connection)->ReadInt("SELECT count(*) FROM t NOT INDEXED");
  return n.ok() ? static_cast<int>(*n) : -1;
}

class WalCheckTest : public testing::TestWithParam<bool> {};

TEST_P(WalCheckTest, AWholeLogIsWhole) {
  const Files files = Crashed(GetParam());
  ASSERT_EQ(RowsOf(files), kCommits);
  for (const bool same_start : {true, false}) {
    const WalFlaws flaws = FlawsOf(files.wal, same_start);
    EXPECT_TRUE(flaws.lost.ok());
    EXPECT_TRUE(flaws.flipped.empty());
  }
}

// A process that is killed leaves a beginning of what it wrote, over what was there before.
TEST_P(WalCheckTest, AnUnfinishedWriteIsNoDamage) {
  const Files files = Crashed(GetParam());
  const std::size_t n_bytes = files.wal.size();
  const auto first = std::ranges::mismatch(files.wal, files.wal_before).in1 - files.wal.begin();
  for (std::size_t n = 0; n < n_bytes; n += n < static_cast<std::size_t>(first) ? 997 : 13) {
    std::string over = files.wal_before;
    over.replace(0, n, files.wal, 0, n);
    for (const std::string& wal : {files.wal.substr(0, n), over}) {
      const WalFlaws flaws = FlawsOf(wal, true);
      EXPECT_TRUE(flaws.lost.ok()) << n << " bytes";
      EXPECT_TRUE(flaws.flipped.empty()) << n << " bytes";
    }
  }
}

TEST_P(WalCheckTest, OneFlippedBitIsFlippedBackOrTold) {
  const Files files = Crashed(GetParam());
  const std::uint64_t seed = Seed();
  SCOPED_TRACE(Str("LONGRUN_TEST_SEED=", seed));
  std::mt19937_64 random(seed);
  int n_mended = 0, n_told = 0;
  for (int flip = 0; flip < kFlips; ++flip) {
    Files flipped = files;
    const std::size_t at = RandomByte(random, files, flip);
    const std::uint64_t bit = random() % 8;
    Flip(flipped.wal, at, bit);
    SCOPED_TRACE(Str("byte ", at, ", bit ", bit));
    const bool is_lossy = RowsOf(flipped) != kCommits;
    for (const bool same_start : {true, false}) {
      const WalFlaws flaws = FlawsOf(flipped.wal, same_start);
      EXPECT_EQ(!flaws.lost.ok() || !flaws.flipped.empty(), is_lossy);
      if (flaws.flipped.empty()) continue;
      EXPECT_TRUE(flaws.lost.ok()) << flaws.lost.message();
      const WalByte was = {.offset = static_cast<std::int64_t>(at), .was = files.wal[at]};
      EXPECT_EQ(flaws.flipped, std::vector<WalByte>{was});
      n_mended += 1;
    }
    const std::size_t in_word = 8 * (at % 4) + bit;  // of a processor whose lowest byte comes first
    const std::size_t in_frame = at < 32 ? 0 : (at - 32) % 4120;
    const bool is_content = in_frame >= 24 && in_frame < 4120 - 4;
    if (is_lossy && is_content && in_word < 23) {
      EXPECT_FALSE(FlawsOf(flipped.wal, true).flipped.empty());
    }
    n_told += FlawsOf(flipped.wal, true).lost.ok() ? 0 : 1;
  }
  EXPECT_GT(n_mended, n_told);
  EXPECT_GT(n_told, 0);
}

TEST_P(WalCheckTest, BitsOfSeveralFramesAreFlippedBack) {
  const Files files = Crashed(GetParam());
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "a.db");
  std::string wal = files.wal;
  // The header, a salt, a checksum and a page, each of another frame.
  for (const std::size_t at : {5u, 32u + 4120 + 9, 32u + 2 * 4120 + 19, 32u + 3 * 4120 + 29})
    Flip(wal, at, 3);
  ASSERT_TRUE(Put(path + "-wal", wal));
  std::vector<std::string> repairs;
  ASSERT_TRUE(MendWal(path, repairs).ok());
  EXPECT_EQ(repairs.size(), 4u);
  EXPECT_TRUE(ReadFile(path + "-wal").value() == files.wal);
}

TEST_P(WalCheckTest, TwoFlippedBitsThatLoseCommitsAreTold) {
  const Files files = Crashed(GetParam());
  const std::uint64_t seed = Seed();
  SCOPED_TRACE(Str("LONGRUN_TEST_SEED=", seed));
  std::mt19937_64 random(seed);
  int n_told = 0;
  for (int flip = 0; flip < kFlips; ++flip) {
    Files flipped = files;
    const std::size_t at = RandomByte(random, files, flip);
    const std::uint64_t bit = random() % 8;
    Flip(flipped.wal, at, bit);
    Flip(flipped.wal, at, (bit + 1 + random() % 7) % 8);
    const int n_rows = RowsOf(flipped);
    const WalFlaws flaws = FlawsOf(flipped.wal, true);
    SCOPED_TRACE(Str("byte ", at, ", rows ", n_rows));
    EXPECT_TRUE(flaws.flipped.empty());
    if (n_rows == kCommits) {
      EXPECT_TRUE(flaws.lost.ok()) << "nothing is lost";
    } else if (n_rows >= 0 && n_rows < kCommits - 1) {
      EXPECT_FALSE(flaws.lost.ok()) << "commits are lost in silence";
    }
    n_told += flaws.lost.ok() ? 0 : 1;
  }
  EXPECT_GT(n_told, kFlips / 8);
}

TEST(WalMessageTest, ItSaysFromWhereOnAndWhatToDoAndChangesNothing) {
  const Files files = Crashed(false);
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "longrun.db"), log = path + "-wal";
  std::string wal = files.wal;
  Flip(wal, 32 + 5, 0);  // a frame that could be mended, before one that cannot
  for (const std::uint64_t bit : {0u, 3u}) Flip(wal, 32 + 4120 + 24 + 100, bit);
  ASSERT_TRUE(Put(log, wal));
  std::vector<std::string> repairs;
  const Status status = MendWal(path, repairs);
  EXPECT_EQ(status.code(), Code::kDataLoss);
  for (const std::string& part :
       {log + " is damaged at byte 4152: ", std::string("`truncate -s 4152 longrun.db-wal`")}) {
    EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
  }
  EXPECT_TRUE(repairs.empty());
  EXPECT_TRUE(ReadFile(log).value() == wal);
}

// Of a transaction whose pages a disk kept in another order when it lost power, and which nobody
// was told of.
TEST(WalMessageTest, AfterAnotherStartOneTransactionMayHaveAGap) {
  const Files files = Crashed(false);
  const std::size_t frame = 24 + 4096, n_frames = (files.wal.size() - 32) / frame;
  // The last commit of several frames begins somewhere before the last frame; a hole in the frame
  // before it.
  std::string one_commit = files.wal.substr(0, 32 + n_frames * frame);
  one_commit.replace(32 + (n_frames - 2) * frame + 500, 512, 512, '\0');
  EXPECT_TRUE(FlawsOf(one_commit, false).lost.ok());
  EXPECT_FALSE(FlawsOf(one_commit, true).lost.ok());
  std::string many = files.wal;
  many.replace(32 + 500, 512, 512, '\x55');
  EXPECT_FALSE(FlawsOf(many, false).lost.ok());
}

// All bits of the two words that weigh the same: the last one of the page,
// and the checksum's second.
TEST(WalMessageTest, ABitThatTwoWordsExplainIsTold) {
  const Files files = Crashed(false);
  for (const std::size_t word : {32u + 20, 32u + 4120 - 4}) {
    for (std::size_t bit = 0; bit < 32; ++bit) {
      std::string wal = files.wal;
      Flip(wal, word + bit / 8, bit % 8);
      const WalFlaws flaws = FlawsOf(wal, true);
      EXPECT_NE(flaws.lost.ok(), flaws.flipped.empty()) << word << " " << bit;
      for (const WalByte& byte : flaws.flipped) {
        EXPECT_EQ(byte.was, files.wal[static_cast<std::size_t>(byte.offset)]) << word << " " << bit;
      }
    }
  }
}

// The files after `kCommits` commits, all of which a checkpoint has written to the database,
// or all but the newest.
Files Checkpointed(bool has_newest) {
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "a.db");
  const std::unique_ptr<Connection> connection = Open(path);
  EXPECT_TRUE(connection->Execute("CREATE TABLE t (i INTEGER PRIMARY KEY, x BLOB)").ok());
  EXPECT_TRUE(connection->Execute("PRAGMA wal_checkpoint(TRUNCATE)").ok());
  for (int i = 0; i < kCommits - 1; ++i) Commit(*connection, i);
  const auto checkpoint = [&] { return connection->Execute("PRAGMA wal_checkpoint(PASSIVE)"); };
  EXPECT_TRUE(has_newest || checkpoint().ok());
  const std::string before = ReadFile(path + "-wal").value();
  // A small row, in a page that an earlier frame has too.
  Commit(*connection, kCommits - 1);
  const std::string wal = ReadFile(path + "-wal").value();
  EXPECT_TRUE(!has_newest || checkpoint().ok());
  return {.database = ReadFile(path).value(), .wal = wal, .wal_before = before};
}

// Mends the log beside the database. The rows that SQLite finds then, or -1 if it cannot be mended.
int RowsWhenMended(const Files& files, std::vector<std::string>& repairs) {
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "a.db");
  EXPECT_TRUE(Put(path, files.database) && Put(path + "-wal", files.wal));
  if (!MendWal(path, repairs).ok()) return -1;
  return RowsOf({.database = ReadFile(path).value(),
                 .wal = ReadFile(path + "-wal").value(),
                 .wal_before = ""});
}

// The highest bit of the last word of each page, which no checksum tells from others.
constexpr std::size_t kUnclearByte = 32 + 4120 - 1;

TEST(CheckpointedLogTest, NothingOfALogThatTheDatabaseHasIsNeeded) {
  const Files whole = Checkpointed(/*has_newest=*/true);
  ASSERT_EQ(RowsOf(whole), kCommits);
  int n_emptied = 0, n_from_database = 0;
  for (std::size_t at = kUnclearByte; at < whole.wal.size(); at += 4120) {
    Files files = whole;
    Flip(files.wal, at, 7);
    ASSERT_FALSE(FlawsOf(files.wal, true).lost.ok()) << "byte " << at;  // without the database
    std::vector<std::string> repairs;
    EXPECT_EQ(RowsWhenMended(files, repairs), kCommits) << "byte " << at;
    ASSERT_EQ(repairs.size(), 1u) << "byte " << at;
    n_emptied += repairs.front().find(", emptied: ") != std::string::npos ? 1 : 0;
    n_from_database += repairs.front().ends_with(", from the database") ? 1 : 0;
  }
  EXPECT_GT(n_emptied, 0);
  EXPECT_GT(n_from_database, 0);
}

TEST(CheckpointedLogTest, APageThatTheDatabaseHasIsWrittenAgainWhateverBecameOfIt) {
  const Files whole = Checkpointed(/*has_newest=*/true);
  const std::size_t last = 32 + ((whole.wal.size() - 32) / 4120 - 1) * 4120;
  Files files = whole;
  files.wal.replace(last + 24 + 8, 512, 512, '\x55');
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "a.db");
  ASSERT_TRUE(Put(path, files.database) && Put(path + "-wal", files.wal));
  std::vector<std::string> repairs;
  ASSERT_TRUE(MendWal(path, repairs).ok());
  EXPECT_EQ(repairs.size(), 1u);
  EXPECT_TRUE(ReadFile(path + "-wal").value() == whole.wal);
}

TEST(CheckpointedLogTest, ALogIsNotEmptiedIfTheDatabaseLacksItsNewestCommit) {
  const Files whole = Checkpointed(/*has_newest=*/false);
  ASSERT_EQ(RowsOf(whole), kCommits);
  int n_refused = 0;
  for (std::size_t at = kUnclearByte; at < whole.wal.size(); at += 4120) {
    Files files = whole;
    Flip(files.wal, at, 7);
    std::vector<std::string> repairs;
    const int n_rows = RowsWhenMended(files, repairs);
    EXPECT_TRUE(n_rows == -1 || n_rows == kCommits) << "byte " << at << ": " << n_rows;
    n_refused += n_rows == -1 ? 1 : 0;
  }
  EXPECT_GT(n_refused, 0);
}

// A frame before the damaged one has a flipped bit as well, in its page number or in its salt.
TEST(CheckpointedLogTest, ALogWithAnEarlierFlippedBitLosesNoCommit) {
  for (const bool has_newest : {true, false}) {
    const Files whole = Checkpointed(has_newest);
    for (const std::size_t flipped : {32u + 3, 32u + 8, 32u + 4120 + 3, 32u + 4120 + 8}) {
      for (std::size_t at = kUnclearByte + 2 * 4120; at < whole.wal.size(); at += 4120) {
        Files files = whole;
        Flip(files.wal, flipped, 5);
        Flip(files.wal, at, 7);
        std::vector<std::string> repairs;
        const int n_rows = RowsWhenMended(files, repairs);
        EXPECT_TRUE(n_rows == -1 || n_rows == kCommits)
            << has_newest << " bytes " << flipped << ", " << at << ": " << n_rows;
      }
    }
  }
}

// The page that its frame had is perhaps one that the database lacks.
TEST(CheckpointedLogTest, ALogWithADamagedPageNumberIsNotEmptied) {
  Files files = Checkpointed(/*has_newest=*/true);
  files.wal[32 + 3] = static_cast<char>(files.wal[32 + 3] ^ 3);
  std::vector<std::string> repairs;
  EXPECT_EQ(RowsWhenMended(files, repairs), -1);
  EXPECT_TRUE(repairs.empty());
}

// A reader keeps an index of the log as it was when it was opened.
TEST(WalMessageTest, ALogThatAnotherProcessReadsIsNotMended) {
  const Files files = Crashed(false);
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "a.db");
  std::string wal = files.wal;
  Flip(wal, 32 + 4120 + 29, 3);
  ASSERT_TRUE(Put(path, files.database) && Put(path + "-wal", wal));
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t reader = fork();
  if (reader == 0) {
    const auto connection = Connection::Open(path, Connection::Mode::kWrite);
    const bool is_read = connection.ok() && (*connection)->ReadInt("SELECT count(*) FROM t").ok();
    if (is_read && write(ready[1], "r", 1) == 1) pause();
    _exit(1);
  }
  close(ready[1]);
  char said = 0;
  ASSERT_EQ(read(ready[0], &said, 1), 1);
  std::vector<std::string> repairs;

  const Status status = MendWal(path, repairs);

  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_TRUE(repairs.empty());
  EXPECT_TRUE(ReadFile(path + "-wal").value() == wal);
  kill(reader, SIGKILL);
  ASSERT_EQ(waitpid(reader, nullptr, 0), reader);
  close(ready[0]);
  EXPECT_TRUE(MendWal(path, repairs).ok());
  EXPECT_TRUE(ReadFile(path + "-wal").value() == files.wal);
}

TEST(WalMessageTest, NoLogIsAWholeOne) {
  const TempFolder folder;
  std::vector<std::string> repairs;
  EXPECT_TRUE(MendWal(JoinPath(folder.path(), "a.db"), repairs).ok());
  EXPECT_TRUE(repairs.empty());
}

INSTANTIATE_TEST_SUITE_P(Logs, WalCheckTest, testing::Bool());

}  // namespace
}  // namespace longrun::coordinator
