// Backups: what they contain, what is found when they are damaged, and what a restore does.
#include "coordinator/store/backup.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/files.h"
#include "base/process.h"
#include "base/random.h"
#include "base/str.h"
#include "coordinator/store/backup_file.h"
#include "coordinator/store/meta.h"
#include "coordinator/store/restore.h"
#include "coordinator/store/sqlite.h"
#include "pki/files.h"
#include "sweeps/coordinator_lock.h"
#include "tests/commit_seed.h"
#include "tests/coordinator/store/sample_state.h"
#include "tests/deadline.h"

namespace longrun::coordinator {
namespace {

class BackupTest : public ::testing::Test {
 protected:
  void SetUp() override { sample.RunTheSample(); }

  std::string At(const std::string& name) const { return JoinPath(folder.path(), name); }
  std::string backup() const { return At("backup.tar"); }

  CheckedState Take(BackupOptions options = {}) {
    options.state_folder = sample.folder();
    options.path = backup();
    const auto written = WriteBackup(options);
    EXPECT_TRUE(written.ok()) << written.status().message();
    EXPECT_FALSE(PathExists(backup() + ".partial"));
    return written.ok() ? *written : CheckedState();
  }
  Status WriteStatus(BackupOptions options = {}) {
    options.state_folder = sample.folder();
    if (options.path.empty()) options.path = backup();
    return WriteBackup(options).status();
  }
  Result<Restored> Restore(const std::string& to, bool replaces = false) {
    return RestoreBackup({.state_folder = to, .path = backup(), .replaces = replaces});
  }
  // One value of a database.
  static std::string Value(const std::string& state, const std::string& sql) {
    const auto connection =
        Connection::Open(JoinPath(state, "longrun.db"), Connection::Mode::kReadAll);
    EXPECT_TRUE(connection.ok()) << connection.status().message();
    if (!connection.ok()) return "";
    const auto text = (*connection)->ReadText(sql);
    EXPECT_TRUE(text.ok()) << text.status().message();
    return text.ok() ? *text : "";
  }
  static std::string Meta(const std::string& state, std::string_view key) {
    return Value(state,
                 Str("SELECT coalesce((SELECT value FROM meta WHERE key = '", key, "'), '')"));
  }
  // Every row of the tables that numbers rest on.
  static std::string Contents(const std::string& state) {
    std::string all;
    for (const char* const table : {"sweep", "run", "task", "attempt", "record", "result",
                                    "checkpoint", "checkpoint_file", "transition"}) {
      all += Value(state, Str("SELECT '", table,
                              ":' || count(*) || ':' || coalesce(sum(sum), 0)"
                              " FROM ",
                              table)) +
             " ";
    }
    return all;
  }
  static void MakeKeys(const std::string& state) {
    const Status made = InitPki(state, {"gpu.example.org"}, WallMs());
    EXPECT_TRUE(made.ok()) << made.message();
  }
  static std::string FingerprintOf(const std::string& state) {
    return ReadCertificate(ReadFile(PkiPathsOf(state).authority).value())->fingerprint;
  }
  static int ModeOf(const std::string& path) {
    struct stat info {};
    return stat(path.c_str(), &info) == 0 ? static_cast<int>(info.st_mode & ALLPERMS) : -1;
  }
  static std::string Found(const CheckedState& checked) {
    std::string all;
    for (const DamagedObject& one : checked.found.damaged) all += one.object + "\n";
    return all;
  }

  TempFolder folder;
  SampleState sample{JoinPath(folder.path(), "state")};
};

TEST_F(BackupTest, ItHasTheDatabaseTheArtifactsAndTheFiles) {
  const CheckedState written = Take();

  EXPECT_EQ(Found(written), "");
  EXPECT_EQ(written.facts.at("sweeps"), 1);
  EXPECT_EQ(written.facts.at("tasks"), 4);
  EXPECT_EQ(written.facts.at("tasks_succeeded"), 4);
  EXPECT_EQ(written.facts.at("artifacts"), 1);
  EXPECT_EQ(written.facts.at("artifact_bytes"), 8);
  EXPECT_EQ(written.facts.at("files"), 1);
  struct stat info {};
  ASSERT_EQ(stat(backup().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & ALLPERMS, mode_t{0600});

  const auto checked = CheckBackup(backup());
  ASSERT_TRUE(checked.ok()) << checked.status().message();
  EXPECT_EQ(Found(*checked), "");
  EXPECT_EQ(checked->facts, written.facts);
  EXPECT_GT(checked->found.n_rows, 20);
}

TEST_F(BackupTest, TarUnpacksIt) {
  Take();
  const std::string unpacked = At("unpacked");
  ASSERT_TRUE(MakeFolders(unpacked).ok());
  const auto pid = Spawn({.argv = {"/bin/tar", "-xf", backup(), "-C", unpacked},
                          .env = {"PATH=/usr/bin:/bin"},
                          .stderr_path = At("said")});
  ASSERT_TRUE(pid.ok());
  const auto ended = WaitFor(*pid, DeadlineMs(30'000));
  ASSERT_TRUE(ended.ok() && *ended);
  EXPECT_EQ((*ended)->code, 0) << ReadFile(At("said")).value();
  EXPECT_EQ(ReadFile(At("said")).value(), "");
  EXPECT_EQ(Contents(unpacked), Contents(sample.folder()));
  EXPECT_EQ(ReadFile(JoinPath(unpacked, "files/" + Sha256Hex("questions"))).value(), "questions");
  EXPECT_EQ(ReadFile(JoinPath(unpacked, "database.id")).value(),
            ReadFile(JoinPath(sample.folder(), "database.id")).value());
}

// The open coordinator's connection has commits in its log that are not in the database file.
TEST_F(BackupTest, BesideACoordinatorItHasWhatWasCommittedAndNothingElse) {
  sample.Open();
  SweepSubmitted second = SampleSubmission("01BX5ZZKBKACTAV9WEVGEMMVS0");
  second.sweep.name = "second";
  sample.Do(second);
  ASSERT_TRUE(sample.store().Begin().ok());  // a transaction that is not committed
  ApplyCounts counts;
  const std::vector<Write> drop = {DropSweep{.sweep_id = kSampleSweepId}};
  ASSERT_TRUE(sample.store().Apply(drop, 1, counts).ok());

  EXPECT_EQ(Take().facts.at("sweeps"), 2);
  sample.store().Rollback();
  sample.Close();
  ASSERT_TRUE(Restore(At("other")).ok());
  EXPECT_EQ(Contents(At("other")), Contents(sample.folder()));
}

TEST_F(BackupTest, AnExistingFileIsReplacedOnlyIfAsked) {
  ASSERT_TRUE(WriteFileAtomic(backup(), "precious").ok());
  EXPECT_EQ(WriteStatus().code(), Code::kAlreadyExists);
  EXPECT_EQ(ReadFile(backup()).value(), "precious");

  Take({.replaces = true});
  EXPECT_TRUE(CheckBackup(backup()).ok());
}

TEST_F(BackupTest, APlaceThatCannotBeItsOwnIsRefusedWithTheReason) {
  EXPECT_EQ(WriteStatus({.path = At("none/backup.tar")}).code(), Code::kNotFound);
  EXPECT_EQ(WriteStatus({.path = folder.path()}).code(), Code::kInvalidArgument);
  EXPECT_EQ(WriteStatus({.path = JoinPath(sample.folder(), "backup.tar")}).code(),
            Code::kInvalidArgument);
  EXPECT_EQ(WriteBackup({.state_folder = At("none"), .path = backup()}).status().code(),
            Code::kNotFound);
  EXPECT_FALSE(WriteStatus({.path = "/proc/backup.tar"}).ok());  // nobody can write there
  // Another backup to the same file is under way.
  ASSERT_TRUE(MakeFolder(backup() + ".partial").ok());
  const auto lock = FileLock::Acquire(backup() + ".partial/lock", "a test");
  ASSERT_TRUE(lock.ok());
  EXPECT_EQ(WriteStatus().code(), Code::kUnavailable);
}

TEST_F(BackupTest, RemainsOfAKilledBackupAreReplaced) {
  ASSERT_TRUE(MakeFolder(backup() + ".partial").ok());
  ASSERT_TRUE(WriteFileAtomic(backup() + ".partial/unfinished", "half").ok());
  ASSERT_TRUE(WriteFileAtomic(backup() + ".partial/longrun.db-wal", "of another").ok());
  EXPECT_EQ(Found(Take()), "");
}

TEST_F(BackupTest, ADamagedOrMissingArtifactGivesNoBackupAndIsNamed) {
  ASSERT_TRUE(WriteFileAtomic(sample.ArtifactPath(), "manifesT").ok());
  Status status = WriteStatus();
  EXPECT_EQ(status.code(), Code::kDataLoss);
  EXPECT_NE(status.message().find(sample.ArtifactPath()), std::string::npos) << status.message();
  EXPECT_FALSE(PathExists(backup()) || PathExists(backup() + ".partial"));

  ASSERT_TRUE(RemoveAll(sample.ArtifactPath()).ok());
  status = WriteStatus();
  EXPECT_EQ(status.code(), Code::kDataLoss);
  EXPECT_NE(status.message().find(Sha256Hex("manifest")), std::string::npos) << status.message();
  EXPECT_FALSE(PathExists(backup()) || PathExists(backup() + ".partial"));

  EXPECT_EQ(Take({.with_artifacts = false}).facts.at("with_artifacts"), false);
}

TEST_F(BackupTest, ADamagedRowGivesNoBackupAndIsNamed) {
  {
    const auto connection =
        Connection::Open(JoinPath(sample.folder(), "longrun.db"), Connection::Mode::kWrite);
    ASSERT_TRUE(connection.ok());
    ASSERT_TRUE(
        (*connection)->Execute("UPDATE result SET value = 9.75 WHERE context_length = 64").ok());
  }
  const auto written = WriteBackup({.state_folder = sample.folder(), .path = backup()});
  ASSERT_TRUE(written.ok()) << written.status().message();
  EXPECT_NE(Found(*written).find("the result nll at 64"), std::string::npos) << Found(*written);
  EXPECT_FALSE(PathExists(backup()) || PathExists(backup() + ".partial"));
}

// A coordinator removes what a newer checkpoint has replaced. Nothing younger than its
// `keep_unreferenced_ms` goes, and a backup makes what it copies young.
TEST_F(BackupTest, TheArtifactsThatItCopiesBecomeYoung) {
  const timespec old[] = {{.tv_sec = 1000, .tv_nsec = 0}, {.tv_sec = 1000, .tv_nsec = 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, sample.ArtifactPath().c_str(), old, 0), 0);
  Take();
  struct stat info {};
  ASSERT_EQ(stat(sample.ArtifactPath().c_str(), &info), 0);
  EXPECT_GT(info.st_mtim.tv_sec, 1'700'000'000);
}

// Each byte of the file, with one of its bits flipped.
TEST_F(BackupTest, EachFlippedBitIsFound) {
  Take();
  const std::string bytes = ReadFile(backup()).value();
  const auto file = BackupFile::Open(backup());
  ASSERT_TRUE(file.ok());
  const std::int64_t database_bytes = file->members().front().n_bytes;
  SeededRandom random(longrun::testing::CommitSeed());
  const std::string damaged = At("damaged.tar");
  ASSERT_TRUE(WriteFileAtomic(damaged, bytes).ok());
  auto open = OpenFile::Open(damaged, OpenFile::Mode::kReadWrite);
  ASSERT_TRUE(open.ok());
  std::int64_t n_flipped = 0;
  // The database takes most of the file, so only some of its bytes.
  for (std::int64_t at = 0; at < std::ssize(bytes);) {
    const std::string was = bytes.substr(static_cast<std::size_t>(at), 1);
    const char flipped = static_cast<char>(was[0] ^ (1 << random.Below(8)));
    ASSERT_TRUE(open->WriteAt(at, std::string(1, flipped)).ok());
    std::vector<std::string> parts;
    const auto opened = BackupFile::Open(damaged);
    if (opened.ok()) {
      ASSERT_TRUE(opened
                      ->Read([](const BackupMember&) { return ""; },
                             [&](const BackupMember*, std::string what) {
                               parts.push_back(std::move(what));
                             })
                      .ok());
      EXPECT_FALSE(parts.empty()) << "byte " << at << ", seed " << longrun::testing::CommitSeed();
    } else {
      EXPECT_NE(opened.status().message().find(damaged), std::string::npos);
    }
    ASSERT_TRUE(open->WriteAt(at, was).ok());
    n_flipped += 1;
    const bool in_database = at > 600 && at < database_bytes;
    at += in_database ? 1 + static_cast<std::int64_t>(random.Below(2000)) : 1;
  }
  EXPECT_GT(n_flipped, 5000);
  EXPECT_TRUE(CheckBackup(damaged).ok());
}

TEST_F(BackupTest, DamageIsReportedByName) {
  Take();
  const std::string bytes = ReadFile(backup()).value();
  const auto expect = [&](std::size_t at, const std::string& name) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    ASSERT_TRUE(WriteFileAtomic(backup(), damaged).ok());
    const auto checked = CheckBackup(backup());
    const std::string found = checked.ok() ? Found(*checked) : checked.status().message();
    EXPECT_NE(found.find(name), std::string::npos) << found;
    // Nothing is restored from it.
    const auto restored = Restore(At("refused"));
    EXPECT_EQ(restored.status().code(), Code::kDataLoss) << restored.status().message();
    EXPECT_FALSE(PathExists(At("refused/longrun.db")) || PathExists(At("refused/restoring")));
  };
  const std::size_t artifact = bytes.find("manifest", bytes.find(Str("artifacts/")) + 512);
  // With what its rows call it.
  expect(artifact, Str(Sha256Hex("manifest"), " in ", backup(), " (manifest.json of run "));
  expect(bytes.rfind("questions"), "files/" + Sha256Hex("questions"));
  expect(600, "longrun.db in ");
  expect(bytes.find("database.id"), "the header of database.id");
  expect(bytes.rfind("manifest_sha256"), "backup.end");
  expect(bytes.rfind("created_wall_ms"), "backup.json");
  expect(bytes.size() - 1, "the zeros at the end");
}

// A row of its database does not hold, as in a database that was edited by hand.
TEST_F(BackupTest, ADamagedRowInABackupIsNamedWithItsRunAndARemedyForAFile) {
  Take();
  std::string bytes = ReadFile(backup()).value();
  const std::string text = R"("context_length":64)";
  std::size_t n = 0;
  for (std::size_t at = bytes.find(text); at != std::string::npos; at = bytes.find(text, at + 1)) {
    bytes[at + text.size() - 1] = '9';  // more than one bit, which could be mended
    n += 1;
  }
  ASSERT_GT(n, 0U);
  ASSERT_TRUE(WriteFileAtomic(backup(), bytes).ok());
  const auto checked = CheckBackup(backup());
  ASSERT_TRUE(checked.ok()) << checked.status().message();
  ASSERT_GT(checked->found.damaged.size(), 1U) << Found(*checked);
  for (const DamagedObject& one : checked->found.damaged) {
    EXPECT_EQ(one.remedy,
              "restore from another backup; `tar -xf` still unpacks the undamaged files of this "
              "one")
        << one.object;
  }
  EXPECT_NE(Found(*checked).find(" of run "), std::string::npos) << Found(*checked);
  const auto restored = Restore(At("refused"));
  EXPECT_NE(restored.status().message().find(" of run "), std::string::npos)
      << restored.status().message();
}

// A file of every shorter length is refused as a whole.
TEST_F(BackupTest, AFileThatWasCutShortIsNoBackup) {
  Take();
  const std::string bytes = ReadFile(backup()).value();
  SeededRandom random(longrun::testing::CommitSeed());
  for (int i = 0; i < 300; ++i) {
    const std::size_t n_bytes = random.Below(bytes.size());
    ASSERT_TRUE(WriteFileAtomic(backup(), bytes.substr(0, n_bytes)).ok());
    const Status status = CheckBackup(backup()).status();
    EXPECT_FALSE(status.ok()) << n_bytes << ", seed " << longrun::testing::CommitSeed();
  }
  ASSERT_TRUE(WriteFileAtomic(backup(), "a letter").ok());
  EXPECT_EQ(CheckBackup(backup()).status().code(), Code::kInvalidArgument);
}

// Like a file that is cut while it is read: sysfs says that each of its files has 4096 bytes.
TEST_F(BackupTest, AFileWithFewerBytesThanItsSizeIsNoBackup) {
  const std::string path = "/sys/devices/system/cpu/online";
  const Result<std::int64_t> n_bytes = FileBytes(path);
  if (!n_bytes.ok() || *n_bytes != 4096) GTEST_SKIP() << "no sysfs here";
  const Status status = CheckBackup(path).status();
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_TRUE(status.message().starts_with(path + " is not a backup of longrun"))
      << status.message();
}

TEST_F(BackupTest, APipeIsRefusedBeforeItIsOpened) {
  ASSERT_EQ(mkfifo(backup().c_str(), 0600), 0);
  const Status status = CheckBackup(backup()).status();
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_EQ(status.message(), backup() + " is not a regular file: expected the file of a backup");
}

TEST_F(BackupTest, ANameThatLeadsOutOfTheStateFolderIsRefused) {
  for (const char* const name : {"../longrun.db", "/etc/passwd", "artifacts/../../x", "files/x"}) {
    auto writer = BackupWriter::Create(backup(), 1'700'000'000'000);
    ASSERT_TRUE(writer.ok());
    for (const std::string member : {"longrun.db", "database.id", name}) {
      ASSERT_TRUE(writer->AddText(member, "content").ok());
    }
    ASSERT_TRUE(writer->Finish(Json::object()).ok());
    const Status status = Restore(At("other")).status();
    EXPECT_EQ(status.code(), Code::kDataLoss) << status.message();
    EXPECT_NE(status.message().find(name), std::string::npos) << status.message();
  }
}

TEST_F(BackupTest, ARestoredFolderIsTheSameAndCountsTheRestore) {
  Take();
  const auto restored = Restore(At("other"));
  ASSERT_TRUE(restored.ok()) << restored.status().message();

  EXPECT_EQ(restored->restore_count, 1);
  EXPECT_EQ(restored->n_files_new, 2);
  EXPECT_EQ(restored->moved_to, "");
  EXPECT_EQ(restored->workers, std::vector<std::string>{"worker-1"});
  EXPECT_EQ(Contents(At("other")), Contents(sample.folder()));
  EXPECT_EQ(Meta(At("other"), "restore_count"), "1");
  // Larger than that of any start since the backup, without knowing them.
  EXPECT_GT(std::stoll(Meta(At("other"), "boot_epoch")), 1'700'000'000);
  EXPECT_EQ(ReadFile(At("other/database.id")).value(),
            ReadFile(JoinPath(sample.folder(), "database.id")).value());
  EXPECT_FALSE(PathExists(At("other/restoring")));
  const auto checked = CheckState(At("other"));
  ASSERT_TRUE(checked.ok());
  EXPECT_EQ(Found(*checked), "");
}

TEST_F(BackupTest, TheFirstStartAfterARestoreWaitsForTheWorkers) {
  Take();
  ASSERT_TRUE(Restore(At("other")).ok());
  for (const bool is_first : {true, false}) {
    auto store = Store::Open(At("other"));
    ASSERT_TRUE(store.ok()) << store.status().message();
    const std::optional<std::int64_t> restored_wall_ms = (*store)->RestoredWallMs().value();
    ASSERT_EQ(restored_wall_ms.has_value(), is_first);
    if (is_first) {
      EXPECT_GT(*restored_wall_ms, 1'700'000'000'000);
    }
    ASSERT_TRUE((*store)->Begin().ok());
    ASSERT_TRUE((*store)->ForgetRestored().ok());
    ASSERT_TRUE((*store)->Commit().ok());
    EXPECT_EQ((*store)->Load().value().restore_count, 1u);
  }
  const auto never = Store::Open(sample.folder());
  ASSERT_TRUE(never.ok());
  EXPECT_FALSE((*never)->RestoredWallMs().value().has_value());
}

TEST_F(BackupTest, WorkersThatRenewedSinceAreAcceptedAndThoseThatJoinedSinceAreListed) {
  constexpr std::int64_t kDayMs = 86'400'000;
  const std::int64_t now_ms = WallMs();
  const auto put = [&](const WorkerCertificateRow& row) {
    sample.Open();
    ASSERT_TRUE(sample.store().Begin().ok());
    ASSERT_TRUE(sample.store().PutWorkerCertificate(row).ok());
    ASSERT_TRUE(sample.store().Commit().ok());
    sample.Close();
  };
  const auto days_left = [&](const std::string& worker) {
    return Value(sample.folder(), Str("SELECT (expires_ms - ", now_ms, ") / ", kDayMs,
                                      " FROM worker_certificate WHERE worker = '", worker, "'"));
  };
  // The backup is ten days old, and a certificate is valid for seven.
  const std::int64_t issued_ms = now_ms - 10 * kDayMs, expires_ms = now_ms - 3 * kDayMs;
  put({.worker = "gpu-1", .serial = "a1", .issued_ms = issued_ms, .expires_ms = expires_ms});
  put({.worker = "gpu-2",
       .serial = "a2",
       .issued_ms = issued_ms,
       .expires_ms = expires_ms,
       .revoked_ms = issued_ms + 1});
  Take();
  put({.worker = "gpu-1", .serial = "b1", .issued_ms = now_ms, .expires_ms = now_ms + 7 * kDayMs});
  put({.worker = "gpu-3", .serial = "b3", .issued_ms = now_ms, .expires_ms = now_ms + 7 * kDayMs});

  const auto restored = Restore(sample.folder(), /*replaces=*/true);
  ASSERT_TRUE(restored.ok()) << restored.status().message();
  EXPECT_EQ(restored->access.workers_to_join, std::vector<std::string>{"gpu-3"});
  EXPECT_EQ(days_left("gpu-1"), "7");
  EXPECT_EQ(days_left("gpu-2"), "-3");  // was revoked
  const auto checked = CheckState(sample.folder());
  ASSERT_TRUE(checked.ok());
  EXPECT_TRUE(checked->found.damaged.empty()) << Found(*checked);
}

TEST_F(BackupTest, ADatabaseIsReplacedOnlyIfAskedAndIsKept) {
  Take();
  sample.Open();
  SweepSubmitted second = SampleSubmission("01BX5ZZKBKACTAV9WEVGEMMVS0");
  second.sweep.name = "second";
  sample.Do(second);
  sample.Close();
  const std::string before = Contents(sample.folder());

  const auto refused = Restore(sample.folder());
  EXPECT_EQ(refused.status().code(), Code::kAlreadyExists) << refused.status().message();
  EXPECT_EQ(Contents(sample.folder()), before);

  const auto restored = Restore(sample.folder(), /*replaces=*/true);
  ASSERT_TRUE(restored.ok()) << restored.status().message();
  EXPECT_EQ(restored->sweeps_since, std::vector<std::string>{"second"});
  EXPECT_EQ(restored->n_files_new, 0);  // artifacts and files stayed
  EXPECT_EQ(Contents(restored->moved_to), before);
  EXPECT_NE(Contents(sample.folder()), before);

  // Again from the same backup: the count goes on from the replaced database.
  const auto again = Restore(sample.folder(), /*replaces=*/true);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->restore_count, 2);
  EXPECT_NE(again->moved_to, restored->moved_to);
}

// ---- access that ended since --------------------------------------------------------------------

class AccessAfterRestoreTest : public BackupTest {
 protected:
  void Put(const TokenRow& token) {
    Write([&](Store& store) { return store.PutToken(token); });
  }
  void Put(const WorkerCertificateRow& certificate) {
    Write([&](Store& store) { return store.PutWorkerCertificate(certificate); });
  }
  template <typename Change>
  void Write(Change change) {
    sample.Open();
    ASSERT_TRUE(sample.store().Begin().ok());
    ASSERT_TRUE(change(sample.store()).ok());
    ASSERT_TRUE(sample.store().Commit().ok());
    sample.Close();
  }
  TokenRow Token(const std::string& id, const std::string& role = "viewer") const {
    return {.id = id,
            .hash = "hash of " + id,
            .role = role,
            .note = "of " + id,
            .created_ms = now_ms - 10,
            .expires_ms = now_ms + 86'400'000};
  }
  WorkerCertificateRow Certificate(const std::string& worker, const std::string& key,
                                   std::int64_t issued_ms) const {
    return {.worker = worker,
            .serial = "5e",
            .issued_ms = issued_ms,
            .expires_ms = now_ms + 86'400'000,
            .key = key};
  }
  // The rows that are valid, of the state folder's database.
  std::string Valid() const {
    return Value(sample.folder(),
                 "SELECT coalesce(group_concat(id, ' '), '') FROM"
                 " (SELECT id FROM access_token WHERE ended_ms IS NULL UNION ALL"
                 " SELECT worker FROM worker_certificate WHERE revoked_ms IS NULL ORDER BY 1)");
  }
  static std::vector<std::string> Ids(const std::vector<TokenRow>& tokens) {
    std::vector<std::string> ids;
    for (const TokenRow& one : tokens) ids.push_back(one.id);
    return ids;
  }
  static std::vector<std::string> Ids(const std::vector<WorkerCertificateRow>& certificates) {
    std::vector<std::string> ids;
    for (const WorkerCertificateRow& one : certificates) ids.push_back(one.worker);
    return ids;
  }
  using Names = std::vector<std::string>;

  const std::int64_t now_ms = WallMs();
};

TEST_F(AccessAfterRestoreTest, WhatWasRevokedOrUsedSinceStaysEnded) {
  for (const char* const id : {"a-kept", "a-revoked"}) Put(Token(id));
  for (const char* const id : {"j-kept", "j-used", "j-revoked"}) Put(Token(id, "worker"));
  for (const char* const id : {"w-kept", "w-revoked"}) Put(Certificate(id, "k1", now_ms - 10));
  Take();
  const auto end = [&](TokenRow token, const std::string& by) {
    token.ended_ms = now_ms;
    token.ended_by = by;
    Put(token);
  };
  end(Token("a-revoked"), "local");
  end(Token("j-used", "worker"), "worker gpu-9");
  end(Token("j-revoked", "worker"), "token a-kept");
  WorkerCertificateRow revoked = Certificate("w-revoked", "k1", now_ms - 10);
  revoked.revoked_ms = now_ms;
  Put(revoked);

  const auto restored = Restore(sample.folder(), /*replaces=*/true);
  ASSERT_TRUE(restored.ok()) << restored.status().message();
  EXPECT_EQ(Ids(restored->access.tokens_ended), (Names{"a-revoked", "j-revoked", "j-used"}));
  EXPECT_EQ(Ids(restored->access.workers_revoked), Names{"w-revoked"});
  EXPECT_EQ(Ids(restored->access.workers_replaced), Names());
  EXPECT_EQ(Ids(restored->access.tokens_unknown), Names());
  EXPECT_EQ(restored->access.workers_unknown, Names());
  EXPECT_EQ(restored->access.workers_to_join, Names());
  EXPECT_EQ(restored->members, Names{"w-kept"});
  EXPECT_EQ(Valid(), "a-kept j-kept w-kept");
  EXPECT_EQ(Value(sample.folder(), "SELECT ended_by FROM access_token WHERE id = 'j-used'"),
            "worker gpu-9");
  const auto checked = CheckState(sample.folder());
  ASSERT_TRUE(checked.ok());
  EXPECT_TRUE(checked->found.damaged.empty()) << Found(*checked);
}

// Their earlier keys, which the backup accepts, were given up: perhaps because they were stolen.
TEST_F(AccessAfterRestoreTest, WorkersThatJoinedAgainWithAnotherKeyMustJoinAgain) {
  Put(Certificate("w-again", "k1", now_ms - 10));
  WorkerCertificateRow revoked = Certificate("w-revoked-before", "k1", now_ms - 10);
  revoked.revoked_ms = now_ms - 5;
  Put(revoked);
  Put(Certificate("w-renewed", "k1", now_ms - 10));
  Put(Certificate("w-without-key", "", now_ms - 10));  // of an earlier release
  Take();
  Put(Certificate("w-again", "k2", now_ms));
  Put(Certificate("w-revoked-before", "k2", now_ms));
  Put(Certificate("w-renewed", "k1", now_ms));
  Put(Certificate("w-without-key", "k1", now_ms));

  const auto restored = Restore(sample.folder(), /*replaces=*/true);
  ASSERT_TRUE(restored.ok()) << restored.status().message();
  EXPECT_EQ(restored->access.workers_to_join, (Names{"w-again", "w-revoked-before"}));
  EXPECT_EQ(Ids(restored->access.workers_replaced), Names{"w-again"});
  EXPECT_EQ(Valid(), "w-renewed w-without-key");
}

TEST_F(AccessAfterRestoreTest, AWorkerThatMustJoinAgainIsNotAmongTheAcceptedOnes) {
  Put(Certificate("worker-1", "k1", now_ms - 10));
  Take();
  Put(Certificate("worker-1", "k2", now_ms));

  const auto restored = Restore(sample.folder(), /*replaces=*/true);
  ASSERT_TRUE(restored.ok()) << restored.status().message();
  EXPECT_EQ(restored->workers, Names());
}

TEST_F(AccessAfterRestoreTest, AReplacedDatabaseThatIsOlderThanTheBackupRevokesNothingNewer) {
  WorkerCertificateRow revoked = Certificate("w-1", "k1", now_ms - 10);
  revoked.revoked_ms = now_ms - 5;
  Put(revoked);
  Put(Certificate("w-2", "k1", now_ms - 10));
  ASSERT_TRUE(WriteBackup({.state_folder = sample.folder(), .path = At("older.tar")}).ok());
  Put(Certificate("w-1", "k2", now_ms));
  Put(Certificate("w-2", "k2", now_ms));
  Take();
  ASSERT_TRUE(RestoreBackup({.state_folder = At("other"), .path = At("older.tar")}).ok());

  const auto restored = Restore(At("other"), /*replaces=*/true);
  ASSERT_TRUE(restored.ok()) << restored.status().message();
  EXPECT_EQ(restored->members, (Names{"w-1", "w-2"}));
}

TEST_F(AccessAfterRestoreTest, AccessThatMayHaveBeenRevokedIsListed) {
  Put(Token("a-1"));
  Put(Token("a-damaged"));
  TokenRow expired = Token("a-expired");
  expired.expires_ms = now_ms - 1;
  Put(expired);
  Put(Certificate("w-1", "k1", now_ms - 10));
  Take();

  // No database says what happened since.
  const auto elsewhere = Restore(At("other"));
  ASSERT_TRUE(elsewhere.ok()) << elsewhere.status().message();
  EXPECT_EQ(Ids(elsewhere->access.tokens_unknown), (Names{"a-1", "a-damaged"}));
  EXPECT_EQ(elsewhere->access.workers_unknown, Names{"w-1"});

  // The row of one token is damaged: any other program's change counts as damage.
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(JoinPath(sample.folder(), "longrun.db").c_str(), &db), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(db, "UPDATE access_token SET note = 'x' WHERE id = 'a-damaged'", nullptr,
                         nullptr, nullptr),
            SQLITE_OK);
  sqlite3_close(db);
  const auto restored = Restore(sample.folder(), /*replaces=*/true);
  ASSERT_TRUE(restored.ok()) << restored.status().message();
  EXPECT_EQ(Ids(restored->access.tokens_unknown), Names{"a-damaged"});
  EXPECT_EQ(restored->access.workers_unknown, Names());
}

// ---- keys ---------------------------------------------------------------------------------------

TEST_F(BackupTest, KeysAreLeftOutUnlessTheyAreAskedFor) {
  EXPECT_EQ(Take().facts.at("keys"), "none");
  MakeKeys(sample.folder());
  EXPECT_EQ(Take({.replaces = true}).facts.at("keys"), "left out");
  EXPECT_EQ(ReadFile(backup()).value().find("PRIVATE KEY"), std::string::npos);

  const CheckedState written = Take({.with_keys = true, .replaces = true});
  EXPECT_EQ(written.facts.at("keys"), "included");
  EXPECT_EQ(written.facts.at("authority"), FingerprintOf(sample.folder()));
  EXPECT_FALSE(written.facts.contains("keys_exposed"));
  EXPECT_EQ(ModeOf(backup()), 0600);
}

TEST_F(BackupTest, KeysAreNotWrittenWhereOthersCanReadThem) {
  EXPECT_EQ(WriteStatus({.with_keys = true}).code(), Code::kFailedPrecondition) << "there are none";
  MakeKeys(sample.folder());
  Take();
  ASSERT_EQ(chmod(backup().c_str(), 0640), 0);
  const Status refused = WriteStatus({.with_keys = true, .replaces = true});
  EXPECT_EQ(refused.code(), Code::kFailedPrecondition);
  EXPECT_NE(refused.message().find(Str("`chmod 600 ", backup(), "`")), std::string::npos)
      << refused.message();
  EXPECT_EQ(ReadFile(backup()).value().find("PRIVATE KEY"), std::string::npos);
  EXPECT_TRUE(WriteStatus({.replaces = true}).ok()) << "without keys, the mode does not matter";
}

TEST_F(BackupTest, ACheckSaysThatOthersCanReadTheKeys) {
  MakeKeys(sample.folder());
  Take({.with_keys = true});
  ASSERT_EQ(chmod(backup().c_str(), 0644), 0);
  const auto checked = CheckBackup(backup());
  ASSERT_TRUE(checked.ok()) << checked.status().message();
  EXPECT_EQ(checked->facts.at("keys_exposed"), true);
}

TEST_F(BackupTest, RestoredKeysAreThoseOfTheSameAuthorityAndPrivate) {
  MakeKeys(sample.folder());
  ASSERT_TRUE(RenewCoordinator(sample.folder(), {}, WallMs()).ok());  // another folder is in use
  Take({.with_keys = true});
  const auto restored = Restore(At("other"));
  ASSERT_TRUE(restored.ok()) << restored.status().message();
  EXPECT_EQ(restored->keys, "restored");
  EXPECT_EQ(restored->names, std::vector<std::string>{"gpu.example.org"});
  EXPECT_TRUE(CheckPki(At("other"), WallMs()).ok());
  const PkiPaths from = PkiPathsOf(sample.folder()), to = PkiPathsOf(At("other"));
  for (const auto part :
       {&PkiPaths::authority_key, &PkiPaths::authority, &PkiPaths::key, &PkiPaths::chain}) {
    EXPECT_EQ(ReadFile(to.*part).value(), ReadFile(from.*part).value()) << to.*part;
    EXPECT_EQ(ModeOf(to.*part), 0600) << to.*part;
  }
  EXPECT_EQ(ModeOf(to.folder), 0700);
  EXPECT_EQ(ModeOf(FolderOf(to.key)), 0700);
  ASSERT_TRUE(RenewCoordinator(At("other"), {"new.example.org"}, WallMs()).ok());
  EXPECT_FALSE(PathExists(JoinPath(At("other"), "restoring")));
}

TEST_F(BackupTest, ARestoreWithoutKeysSaysWhetherTheFolderHasThem) {
  MakeKeys(sample.folder());
  Take();
  EXPECT_EQ(Restore(sample.folder(), /*replaces=*/true)->keys, "kept");
  EXPECT_EQ(Restore(At("other"))->keys, "missing");
}

TEST_F(BackupTest, KeysOfTheSameAuthorityStayAndThoseOfAnotherAreReplacedOnlyIfAsked) {
  MakeKeys(sample.folder());
  Take({.with_keys = true});
  ASSERT_TRUE(RenewCoordinator(sample.folder(), {"newer.example.org"}, WallMs()).ok());
  const std::string newer = ReadFile(PkiPathsOf(sample.folder()).chain).value();
  EXPECT_EQ(Restore(sample.folder(), /*replaces=*/true)->keys, "kept");
  EXPECT_EQ(ReadFile(PkiPathsOf(sample.folder()).chain).value(), newer);

  ASSERT_TRUE(MakeFolders(At("other")).ok());
  MakeKeys(At("other"));
  const std::string foreign = FingerprintOf(At("other"));
  const auto refused = Restore(At("other"));
  EXPECT_EQ(refused.status().code(), Code::kAlreadyExists) << refused.status().message();
  EXPECT_EQ(FingerprintOf(At("other")), foreign);
  EXPECT_FALSE(PathExists(JoinPath(At("other"), "longrun.db")));
  const auto restored = Restore(At("other"), /*replaces=*/true);
  ASSERT_TRUE(restored.ok()) << restored.status().message();
  EXPECT_EQ(FingerprintOf(At("other")), FingerprintOf(sample.folder()));
  EXPECT_EQ(FingerprintOf(restored->moved_to), foreign);
}

TEST_F(BackupTest, ADamagedDatabaseIsReplacedToo) {
  Take();
  const std::string database = JoinPath(sample.folder(), "longrun.db");
  ASSERT_TRUE(WriteFileAtomic(database, std::string(8192, 'x')).ok());
  ASSERT_TRUE(WriteFileAtomic(sample.ArtifactPath(), "manifesT").ok());
  const auto restored = Restore(sample.folder(), /*replaces=*/true);
  ASSERT_TRUE(restored.ok()) << restored.status().message();
  EXPECT_FALSE(restored->replaced_is_read);
  EXPECT_EQ(restored->n_files_new, 1);  // the damaged artifact
  const auto checked = CheckState(sample.folder());
  ASSERT_TRUE(checked.ok()) << checked.status().message();
  EXPECT_EQ(Found(*checked), "");
}

TEST_F(BackupTest, ARunningCoordinatorIsLeftAlone) {
  Take();
  sample.Open();
  const auto refused = Restore(sample.folder(), /*replaces=*/true);
  EXPECT_EQ(refused.status().code(), Code::kUnavailable) << refused.status().message();
  EXPECT_NE(refused.status().message().find(Str("pid ", getpid())), std::string::npos);
  sample.Close();
}

TEST_F(BackupTest, ABackupOfANewerReleaseIsRefused) {
  Take();
  const auto file = BackupFile::Open(backup());
  ASSERT_TRUE(file.ok());
  Json facts = file->facts();
  facts["schema_version"] = Store::SchemaVersion() + 1;
  facts["version"] = "9.9.9 abcdef";
  const std::string newer = At("newer.tar");
  auto writer = BackupWriter::Create(newer, 1'700'000'000'000);
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(writer->AddFile("longrun.db", JoinPath(sample.folder(), "longrun.db")).ok());
  ASSERT_TRUE(writer->AddText("database.id", "x").ok());
  ASSERT_TRUE(writer->Finish(facts).ok());
  for (const Status& status :
       {CheckBackup(newer).status(),
        RestoreBackup({.state_folder = At("other"), .path = newer}).status()}) {
    EXPECT_EQ(status.code(), Code::kFailedPrecondition) << status.message();
    EXPECT_NE(status.message().find("9.9.9"), std::string::npos) << status.message();
  }
  EXPECT_FALSE(PathExists(At("other/longrun.db")));
}

// The size field has room for 8 GiB in octal digits; beyond, GNU tar writes it in binary.
TEST(BackupFileTest, AFileOfManyGigabytesHasAHeaderThatTarReads) {
  const auto size = [](std::int64_t n_bytes) {
    return BackupHeader("longrun.db", n_bytes, 1'700'000'000'000).substr(124, 12);
  };
  EXPECT_EQ(size(8), std::string("00000000010\0", 12));
  EXPECT_EQ(size((std::int64_t{8} << 30) - 1), std::string("77777777777\0", 12));
  EXPECT_EQ(size((std::int64_t{8} << 30) + 5), std::string("\x80\0\0\0\0\0\0\2\0\0\0\5", 12));
}

}  // namespace
}  // namespace longrun::coordinator
