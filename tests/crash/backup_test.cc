// Backups of a real service at work, and restores under its live workers: everything that came
// after the backup comes back from the workers' journals, nothing is counted twice, and no work is
// done again. The trainer is the fake one; a gate holds it at work.
#include "coordinator/store/backup.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "base/process.h"
#include "base/str.h"
#include "coordinator/store/restore.h"
#include "tests/crash/service.h"
#include "tests/deadline.h"
#include "tests/wait_until.h"

namespace longrun {
namespace {

constexpr std::int64_t kEndMs = DeadlineMs(60'000);

class BackupServiceTest : public testing::Test {
 protected:
  void SetUp() override {
    WriteTrainer(service);
    Behave(R"({"default": {"gate": "gate"}})");
    service.ImportWords();
    service.WriteSweep("words", {.steps = 20, .positions = {"cable", "rope"}});
    service.WriteSweep("later", {.steps = 10, .positions = {"alibi"}});
    service.Start();
  }

  static void WriteTrainer(const Service& of) {
    ASSERT_TRUE(
        WriteFileAtomic(of.At("trainer"),
                        Str("#!/bin/sh\nexec ", LONGRUN_BIN_DIR, "/longrun-fake-trainer \"$@\"\n"),
                        0755)
            .ok());
  }
  void Behave(const std::string& behaviour) {
    const std::string cache = JoinPath(service.state(), "worker/cache");
    ASSERT_TRUE(MakeFolders(cache, 0700).ok());
    ASSERT_TRUE(WriteFileAtomic(JoinPath(cache, "behaviour.json"), behaviour).ok());
  }
  std::string gate() const { return JoinPath(service.state(), "worker/cache/gate"); }
  void HoldTrainers() { ASSERT_TRUE(WriteFileAtomic(gate(), "").ok()); }
  void LetTrainersGo() { ASSERT_TRUE(RemoveAll(gate()).ok()); }

  std::string backup() const { return service.At("backup.tar"); }
  void Submit(const std::string& name) {
    ASSERT_EQ(service.Client({"submit", service.At(name + ".yaml")}), 0) << service.Logs();
  }
  void AwaitState(const std::string& name, const std::string& state) {
    ASSERT_TRUE(WaitUntil(kEndMs, [&] { return service.SweepState(name) == state; }))
        << name << " is " << service.SweepState(name) << service.Logs();
  }
  void Await(const std::string& sql, const std::string& value) {
    ASSERT_TRUE(WaitUntil(kEndMs, [&] { return Query(service, sql) == value; }))
        << Query(service, sql) << service.Logs();
  }
  Json Admin(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "admin");
    arguments.insert(arguments.end(), {"-o", "json"});
    std::string text;
    EXPECT_EQ(service.Client(std::move(arguments), &text), 0) << service.Logs();
    const Result<Json> json = ParseJson(text);
    EXPECT_TRUE(json.ok()) << text;
    return json.ok() ? *json : Json::object();
  }
  void RestartCoordinator() {
    service.SpawnCoordinator();
    ASSERT_TRUE(WaitUntil(kEndMs, [&] { return service.CoordinatorIsReady(); })) << service.Logs();
  }
  // Every attempt that a trainer was ever started for, by its folder.
  std::set<std::string> Attempts() const {
    const std::vector<std::string> folders = service.AttemptFolders();
    return {folders.begin(), folders.end()};
  }
  // All that was measured, with the attempts that count: equal only if nothing was done again.
  static std::string Measured(const Service& of) {
    return Query(of,
                 "SELECT (SELECT group_concat(said, '; ') FROM (SELECT task.id || ' ' || state ||"
                 "  ' ' || result_attempt AS said FROM task ORDER BY task.id))"
                 " || (SELECT count(*) || ' results ' FROM result)"
                 " || (SELECT count(*) || ' records ' FROM record)"
                 " || (SELECT count(*) || ' points' FROM series)");
  }
  std::string Failures() {
    return Query(service, "SELECT sum(failures) || ' ' || sum(losses) FROM task");
  }

  TempFolder folder;
  Service service{folder.path()};
};

// Invariants I-5, I-6.
TEST_F(BackupServiceTest, EverythingSinceAnOldBackupComesBackAndNothingIsDoneAgain) {
  HoldTrainers();
  Submit("words");
  Await("SELECT count(*) FROM attempt WHERE state = 'RUNNING'", "2");
  const Json written = Admin({"backup", backup()});
  EXPECT_EQ(written.at("facts").at("attempts_live"), 2);
  EXPECT_EQ(written.at("healthy"), true);
  LetTrainersGo();
  AwaitState("words", "SUCCEEDED");
  Submit("later");  // the backup does not know it
  AwaitState("later", "SUCCEEDED");
  const std::string measured = Measured(service);
  const std::string words = service.Table("words");
  const std::string later = service.Table("later");
  const std::set<std::string> attempts = Attempts();
  ASSERT_EQ(attempts.size(), 6u);

  service.KillCoordinator();  // and the worker stays
  const Json restored = Admin({"restore", backup(), "--replace"});
  EXPECT_EQ(restored.at("restore_count"), 1);
  EXPECT_EQ(restored.at("sweeps_since"), Json::array({"later"}));
  EXPECT_EQ(restored.at("attempts_since"), 4);
  EXPECT_EQ(restored.at("attempts_live"), 2);
  EXPECT_EQ(restored.at("datasets_missing"), Json::array());
  RestartCoordinator();
  AwaitState("words", "SUCCEEDED");
  EXPECT_EQ(service.Table("words"), words);
  EXPECT_EQ(Attempts(), attempts) << "work was done again" << service.Logs();

  // Its journals are kept by the worker, and are attached when it is submitted again.
  EXPECT_EQ(service.SweepState("later"), "");
  Submit("later");
  AwaitState("later", "SUCCEEDED");
  EXPECT_EQ(service.Table("later"), later);
  EXPECT_EQ(Attempts(), attempts) << "work was done again" << service.Logs();
  EXPECT_EQ(Measured(service), measured);
  EXPECT_EQ(Failures(), "0 0");
  // However late the journals came.
  EXPECT_EQ(Query(service,
                  "SELECT count(*) || ' of ' || sum(duration_ms >= ran_ms) FROM"
                  " (SELECT duration_ms, (SELECT max(t_ms) FROM record WHERE record.attempt = a.id)"
                  "   - (SELECT t_ms FROM record WHERE record.attempt = a.id AND kind = 'started')"
                  "   AS ran_ms FROM attempt a)"),
            "6 of 6");
  EXPECT_EQ(Admin({"check"}).at("healthy"), true);
  // Once the workers had the length of a lease to report, the restore is over.
  Await("SELECT count(*) FROM meta WHERE key = 'restored_wall_ms'", "0");

  // And the next work has epochs beyond all that were given out before.
  service.WriteSweep("next", {.steps = 15, .positions = {"rope"}});
  Submit("next");
  AwaitState("next", "SUCCEEDED");
  EXPECT_EQ(Query(service, "SELECT count(*) FROM attempt WHERE epoch > (1 << 32)"), "2");
  const auto [worker, coordinator] = service.Stop();
  EXPECT_EQ(worker, 0);
  EXPECT_EQ(coordinator, 0);
}

// On another machine: the artifacts that came after the backup are gone, and their worker has
// removed its own copies. What cannot come back is done again, and that is nobody's failure.
TEST_F(BackupServiceTest, WithoutTheNewerArtifactsTheTrainingIsRepeatedAndTheTableIsTheSame) {
  HoldTrainers();
  Submit("words");
  Await("SELECT count(*) FROM attempt WHERE state = 'RUNNING'", "2");
  Admin({"backup", backup()});
  LetTrainersGo();
  AwaitState("words", "SUCCEEDED");
  const std::string words = service.Table("words");
  // Its checkpoints are removed once it knows that they are stored.
  for (const std::string& attempt : Attempts()) {
    ASSERT_TRUE(WaitUntil(kEndMs, [&] { return !PathExists(JoinPath(attempt, "checkpoints")); }))
        << service.Logs();
  }

  service.KillCoordinator();
  for (const char* const lost : {"longrun.db", "longrun.db-wal", "longrun.db-shm",
                                 "longrun.db-mark", "database.id", "artifacts", "files"}) {
    ASSERT_TRUE(RemoveAll(JoinPath(service.state(), lost)).ok());
  }
  const Json restored = Admin({"restore", backup()});
  EXPECT_EQ(restored.at("moved_to"), "");
  RestartCoordinator();
  AwaitState("words", "SUCCEEDED");
  EXPECT_EQ(service.Table("words"), words);
  EXPECT_EQ(Failures(), "0 0");
  EXPECT_EQ(Query(service,
                  "SELECT count(*) FROM (SELECT 1 FROM result JOIN task ON"
                  " task.result_attempt = result.attempt GROUP BY cell, metric,"
                  " context_length, variant HAVING count(*) > 1)"),
            "0");
}

// A trainer at work on a task that the restored database does not know is stopped, and continues
// from its checkpoint once its sweep is submitted again.
TEST_F(BackupServiceTest, ARunningTaskThatTheBackupDoesNotKnowContinuesOnceItIsSubmittedAgain) {
  Submit("words");
  AwaitState("words", "SUCCEEDED");
  Admin({"backup", backup()});
  HoldTrainers();
  Submit("later");
  Await("SELECT count(*) FROM attempt WHERE state = 'RUNNING'", "1");

  service.KillCoordinator();
  EXPECT_EQ(Admin({"restore", backup(), "--replace"}).at("sweeps_since"), Json::array({"later"}));
  RestartCoordinator();
  ASSERT_TRUE(WaitUntil(kEndMs, [&] {
    return service.Logs().find("submit their sweeps again") != std::string::npos;
  })) << service.Logs();
  const std::set<std::string> before = Attempts();
  LetTrainersGo();
  Submit("later");
  AwaitState("later", "SUCCEEDED");
  // The first attempt is the one from before the restore.
  EXPECT_EQ(Query(service,
                  "SELECT count(*) FROM attempt JOIN task ON task.id = attempt.task"
                  " JOIN sweep_run USING (run_key) JOIN sweep ON sweep.id = sweep"
                  " WHERE attempt.epoch < (1 << 32) AND task.kind = 'train'"
                  " AND sweep.name = 'later'"),
            "1")
      << service.Logs();
  EXPECT_EQ(Failures(), "0 0");
  // The worker was told of the adoption in its open session, and understood it.
  EXPECT_EQ(service.Logs().find("chose version"), std::string::npos) << service.Logs();
}

// Submissions and journals go on while backups are taken. Each is whole, none is older than the one
// before, and the service that is restored from one of them finishes the work with the same table.
TEST_F(BackupServiceTest, BackupsUnderLoadAreWholeAndFinishTheWork) {
  constexpr int kSweeps = 6;
  std::vector<std::string> names;
  for (int i = 0; i < kSweeps; ++i) {
    names.push_back(Str("load", i));
    service.WriteSweep(names.back(), {.steps = 10 + i, .positions = {"cable", "alibi"}});
  }
  std::vector<std::string> backups;
  std::int64_t n_results = 0;
  for (const std::string& name : names) {
    const int submitting = service.SpawnClient({"submit", service.At(name + ".yaml")});
    backups.push_back(service.At(name + ".tar"));
    const auto taken =
        coordinator::WriteBackup({.state_folder = service.state(), .path = backups.back()});
    ASSERT_TRUE(taken.ok()) << taken.status().message();
    ASSERT_TRUE(taken->found.damaged.empty()) << taken->found.damaged.front().object;
    EXPECT_GE(taken->facts.at("results").get<std::int64_t>(), n_results);
    n_results = taken->facts.at("results").get<std::int64_t>();
    const auto ended = WaitFor(submitting, kEndMs);
    ASSERT_TRUE(ended.ok() && *ended);
    EXPECT_EQ((*ended)->code, 0) << service.Logs();
  }
  for (const std::string& name : names) AwaitState(name, "SUCCEEDED");

  // The fourth, in another folder, with a worker that has never seen any of it.
  const std::string& taken = backups[3];
  Service other(JoinPath(folder.path(), "other"));
  WriteTrainer(other);
  ASSERT_TRUE(RemoveAll(other.state()).ok());
  const auto restored = coordinator::RestoreBackup({.state_folder = other.state(), .path = taken});
  ASSERT_TRUE(restored.ok()) << restored.status().message();
  EXPECT_EQ(restored->datasets_missing.size(), 1u);
  const auto checked = coordinator::CheckState(other.state());
  ASSERT_TRUE(checked.ok() && checked->found.damaged.empty());
  std::filesystem::copy(JoinPath(service.state(), "datasets"), JoinPath(other.state(), "datasets"),
                        std::filesystem::copy_options::recursive);
  other.Start();
  std::size_t n_known = 0;
  for (const std::string& name : names) {
    if (other.SweepState(name).empty()) continue;
    n_known += 1;
    ASSERT_TRUE(WaitUntil(kEndMs, [&] { return other.SweepState(name) == "SUCCEEDED"; }))
        << other.Logs();
    EXPECT_EQ(other.Table(name), service.Table(name));
  }
  EXPECT_GE(n_known, 3u);
}

}  // namespace
}  // namespace longrun
