// A log that is missing, cut or another one is reported. What a killed coordinator leaves, in any
// order of its writes, and a restored database are not.
#include "coordinator/store/commit_mark.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "base/files.h"
#include "coordinator/store/deep_check.h"
#include "coordinator/store/sqlite.h"
#include "coordinator/store/store.h"
#include "tests/coordinator/sample.h"

namespace longrun::coordinator {
namespace {

class CommitMarkTest : public ::testing::Test {
 protected:
  CommitMarkTest() : store(Store::Open(folder.path()).value()) {
    EXPECT_TRUE(store->CheckpointWal(true).ok());
  }

  // A commit that changes a page.
  void Commit(const std::string& name) {
    ASSERT_TRUE(store->Begin().ok());
    DatasetRow row = {.info = SampleDataset(), .folder = Str("/data/", name)};
    row.info.name = name;
    ASSERT_TRUE(store->PutDataset(row).ok());
    ASSERT_TRUE(store->Commit().ok());
  }

  // The files as a kill leaves them now, in a folder of their own.
  std::string Killed() {
    const std::string path = JoinPath(copies.path(), Str(n_copies++));
    std::filesystem::copy(folder.path(), path, std::filesystem::copy_options::recursive);
    EXPECT_TRUE(RemoveAll(JoinPath(path, "longrun.db-shm")).ok());
    return path;
  }

  static std::string Log(const std::string& path) { return JoinPath(path, "longrun.db-wal"); }
  static std::string Mark(const std::string& path) { return JoinPath(path, "longrun.db-mark"); }

  static std::string MessageOf(const std::string& path) {
    const auto opened = Store::Open(path);
    if (opened.ok()) return "";
    EXPECT_EQ(opened.status().code(), Code::kDataLoss) << opened.status().message();
    return opened.status().message();
  }

  static std::size_t NDatasets(const std::string& path) {
    const auto opened = Store::Open(path);
    EXPECT_TRUE(opened.ok()) << opened.status().message();
    return opened.ok() ? (*opened)->LoadDatasets().value().size() : 0;
  }

  // Overwrites bytes in place.
  static void Put(const std::string& path, std::int64_t at, const std::string& bytes) {
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(at);
    file << bytes;
    ASSERT_TRUE(file.good());
  }

  TempFolder folder, copies;
  int n_copies = 0;
  std::unique_ptr<Store> store;
};

TEST_F(CommitMarkTest, AKilledStoreHasEverythingAndSaysNothing) {
  Commit("one");
  EXPECT_EQ(NDatasets(Killed()), 1u);
  Commit("two");
  Commit("three");
  EXPECT_EQ(NDatasets(Killed()), 3u);
  ASSERT_TRUE(store->CheckpointWal(true).ok());
  EXPECT_EQ(NDatasets(Killed()), 3u);
  Commit("four");
  EXPECT_EQ(NDatasets(Killed()), 4u);
}

TEST_F(CommitMarkTest, AMissingLogIsReported) {
  Commit("one");
  Commit("two");
  const std::string path = Killed();
  ASSERT_TRUE(RemoveAll(Log(path)).ok());
  EXPECT_NE(MessageOf(path).find("longrun.db-wal is missing"), std::string::npos);
  // It stays so until somebody decides, and then goes on with what is there.
  EXPECT_NE(MessageOf(path), "");
  ASSERT_TRUE(RemoveAll(Mark(path)).ok());
  EXPECT_EQ(NDatasets(path), 0u);
}

TEST_F(CommitMarkTest, ALogCutAtAFrameIsReported) {
  Commit("one");
  const std::int64_t n_one = FileBytes(Log(folder.path())).value();
  Commit("two");
  const std::string path = Killed();
  std::filesystem::resize_file(Log(path), static_cast<std::uintmax_t>(n_one));
  EXPECT_NE(MessageOf(path).find("longrun.db-wal was cut short: it has "), std::string::npos);
  std::filesystem::resize_file(Log(path), 0);
  EXPECT_NE(MessageOf(path), "");
}

TEST_F(CommitMarkTest, ALogWithoutItsBeginningIsReported) {
  Commit("one");
  for (const int n_bytes : {32, 8}) {
    const std::string path = Killed();
    Put(Log(path), n_bytes == 8 ? 16 : 0, std::string(static_cast<std::size_t>(n_bytes), '\0'));
    EXPECT_NE(MessageOf(path), "") << n_bytes;
  }
}

TEST_F(CommitMarkTest, AnOlderLogIsReported) {
  Commit("one");
  const std::string older = Killed();
  ASSERT_TRUE(store->CheckpointWal(true).ok());
  Commit("two");
  const std::string path = Killed();
  std::filesystem::copy_file(Log(older), Log(path),
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_NE(MessageOf(path).find("is another one"), std::string::npos);
}

// The log is on the disk before the note is, and a note may be lost.
TEST_F(CommitMarkTest, AnOlderNoteIsNoDamage) {
  Commit("one");
  const std::string older = Killed();
  Commit("two");
  const std::string path = Killed();
  std::filesystem::copy_file(Mark(older), Mark(path),
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_EQ(NDatasets(path), 2u);
}

// Another program's checkpoint, after a kill, leaves the note in place and removes the log.
TEST_F(CommitMarkTest, ALogThatAnotherProgramMovedIsNoDamage) {
  Commit("one");
  const std::string path = Killed();
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(JoinPath(path, "longrun.db").c_str(), &db), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(db, "SELECT count(*) FROM dataset", nullptr, nullptr, nullptr), SQLITE_OK);
  ASSERT_EQ(sqlite3_close(db), SQLITE_OK);
  ASSERT_FALSE(PathExists(Log(path)));
  EXPECT_EQ(NDatasets(path), 1u);
}

// It moves the log and makes the file smaller than the page that the note names.
TEST_F(CommitMarkTest, ADatabaseThatAnotherProgramVacuumedIsNoDamage) {
  Commit("one");
  const std::string path = Killed();
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(JoinPath(path, "longrun.db").c_str(), &db), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(db, "VACUUM", nullptr, nullptr, nullptr), SQLITE_OK);
  ASSERT_EQ(sqlite3_close(db), SQLITE_OK);
  EXPECT_EQ(NDatasets(path), 1u);
}

TEST_F(CommitMarkTest, ALogThatIsCutShortUnderTheStoreIsNoticed) {
  Commit("one");
  Commit("two");
  EXPECT_TRUE(store->CheckInPlace().ok());
  const auto whole = static_cast<off_t>(FileBytes(Log(folder.path())).value());
  for (const off_t n_bytes : {whole - 1, off_t{0}}) {
    const std::string kept = JoinPath(folder.path(), "kept");
    std::filesystem::copy_file(Log(folder.path()), kept);
    ASSERT_EQ(truncate(Log(folder.path()).c_str(), n_bytes), 0);
    const Status cut = store->CheckInPlace();
    EXPECT_EQ(cut.code(), Code::kDataLoss);
    EXPECT_NE(cut.message().find(Str("it has ", n_bytes, " of the ", whole, " bytes")),
              std::string::npos)
        << cut.message();
    std::filesystem::copy_file(kept, Log(folder.path()),
                               std::filesystem::copy_options::overwrite_existing);
    EXPECT_TRUE(store->CheckInPlace().ok());
    std::filesystem::remove(kept);
  }
  // What SQLite itself does to the log is no damage.
  ASSERT_TRUE(store->CheckpointWal(true).ok());
  EXPECT_EQ(FileBytes(Log(folder.path())).value(), 0);
  EXPECT_TRUE(store->CheckInPlace().ok());
  Commit("three");
  EXPECT_TRUE(store->CheckInPlace().ok());
}

// Another program's checkpoint beside the running store begins the log again.
TEST_F(CommitMarkTest, ALogThatAnotherProgramMovedUnderTheStoreIsStillGuarded) {
  Commit("one");
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(JoinPath(folder.path(), "longrun.db").c_str(), &db), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)", nullptr, nullptr, nullptr),
            SQLITE_OK);
  EXPECT_TRUE(store->CheckInPlace().ok());
  Commit("two");
  EXPECT_TRUE(store->CheckInPlace().ok());
  const std::string path = Killed();
  EXPECT_EQ(NDatasets(path), 2u);
  const std::string cut = Killed();
  ASSERT_TRUE(RemoveAll(Log(cut)).ok());
  EXPECT_NE(MessageOf(cut), "");
  ASSERT_EQ(sqlite3_close(db), SQLITE_OK);
}

TEST_F(CommitMarkTest, AMovedLogIsNoDamageWhicheverNoteIsLeft) {
  Commit("one");
  const std::string before = Killed();
  ASSERT_TRUE(store->CheckpointWal(true).ok());
  const std::string path = Killed();
  std::filesystem::copy_file(Mark(before), Mark(path),
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_EQ(NDatasets(path), 1u);
}

TEST_F(CommitMarkTest, ADamagedNoteClaimsNothing) {
  Commit("one");
  const std::string path = Killed();
  const std::string note = ReadFile(Mark(path)).value();
  for (std::size_t at = 0; at < note.size(); at += 7) {
    const std::string copy = JoinPath(copies.path(), Str("note", at));
    std::filesystem::copy(path, copy, std::filesystem::copy_options::recursive);
    Put(Mark(copy), static_cast<std::int64_t>(at), std::string(1, static_cast<char>(note[at] ^ 1)));
    EXPECT_EQ(NDatasets(copy), 1u) << at;
  }
}

TEST_F(CommitMarkTest, AStartWarnsOfADamagedNoteAndWritesItAgain) {
  Commit("one");
  const std::string path = Killed();
  Put(Mark(path), 5, "?");
  EXPECT_TRUE(CommitMark::IsDamaged(JoinPath(path, "longrun.db")).value());
  const auto deep = CheckDeep(path);
  ASSERT_TRUE(deep.ok()) << deep.status().message();
  ASSERT_EQ(deep->damaged.size(), 1u);
  EXPECT_NE(deep->damaged[0].object.find("longrun.db-mark"), std::string::npos);

  testing::internal::CaptureStderr();
  EXPECT_EQ(NDatasets(path), 1u);
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find(Str("commit_mark_damaged file=", Mark(path))), std::string::npos) << log;
  EXPECT_NE(log.find("could not notice whether the log is missing"), std::string::npos) << log;
  EXPECT_NE(log.find("restore a backup"), std::string::npos) << log;

  testing::internal::CaptureStderr();
  EXPECT_EQ(NDatasets(path), 1u);
  EXPECT_EQ(testing::internal::GetCapturedStderr().find("commit_mark_damaged"), std::string::npos);
}

// Zeros: after a loss of power, the size of the file may be on the disk, and its bytes may not.
TEST_F(CommitMarkTest, ABlankNoteIsNotDamaged) {
  const std::string path = Killed();
  for (const std::string& bytes : {std::string(), std::string(256, ' '), std::string(256, '\0')}) {
    ASSERT_TRUE(WriteFileAtomic(Mark(path), bytes, 0600).ok());
    EXPECT_FALSE(CommitMark::IsDamaged(JoinPath(path, "longrun.db")).value()) << bytes.size();
  }
  ASSERT_TRUE(RemoveAll(Mark(path)).ok());
  EXPECT_FALSE(CommitMark::IsDamaged(JoinPath(path, "longrun.db")).value());
  Commit("one");
  EXPECT_FALSE(CommitMark::IsDamaged(JoinPath(Killed(), "longrun.db")).value());
}

}  // namespace
}  // namespace longrun::coordinator
