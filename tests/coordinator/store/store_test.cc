#include "coordinator/store/store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <fstream>

#include "base/check.h"
#include "base/open_file.h"
#include "coordinator/store/meta.h"
#include "coordinator/store/migrations.h"
#include "coordinator/store/reader.h"
#include "coordinator/store/sqlite.h"
#include "tests/coordinator/sample.h"

namespace longrun::coordinator {
namespace {

constexpr const char* kSweepId = "01BX5ZZKBKACTAV9WEVGEMMVRZ";

// Everything durable of a state, as text.
std::string Durable(const State& state) {
  Json out;
  const auto reference = [](const std::optional<CheckpointRef>& checkpoint) {
    return checkpoint ? checkpoint->ToJson() : Json();
  };
  for (const auto& [id, task] : state.tasks) {
    Json checkpoints = Json::array(), cells = Json::array();
    for (const auto& checkpoint : task.checkpoints) checkpoints.push_back(checkpoint.ToJson());
    // What has succeeded owes nothing: its cells need not be loaded.
    for (const auto& cell : task.expected_cells) {
      if (task.state != TaskState::kSucceeded) cells.push_back(cell.ToJson());
    }
    out["tasks"][id] = {task.run_key,
                        EnumName(task.kind),
                        EnumName(task.state),
                        task.cancel_wanted,
                        EnumName(task.stop_mode),
                        task.reason,
                        task.priority,
                        task.ready_seq,
                        task.retry_round,
                        task.epoch,
                        task.attempts,
                        task.attempt,
                        task.result_attempt,
                        task.failures,
                        task.losses,
                        task.retry.failures_max,
                        task.retry.losses_max,
                        task.needs,
                        EnumName(task.device_kind),
                        task.avoid_worker,
                        task.evaluation,
                        cells,
                        task.checkpoint_every_ms,
                        task.checkpoint_keep,
                        checkpoints,
                        reference(task.best_checkpoint),
                        reference(task.final_checkpoint),
                        task.activation_checkpointing};
  }
  for (const auto& [id, attempt] : state.attempts) {
    Json& shown = out["attempts"][id];
    shown = {attempt.task,
             attempt.n,
             attempt.epoch,
             EnumName(attempt.state),
             attempt.worker,
             attempt.device_index,
             reference(attempt.resume),
             attempt.durable_seq,
             attempt.failure_class,
             attempt.message,
             attempt.started_wall_ms,
             attempt.ended_wall_ms,
             attempt.started_boot_ms,
             attempt.started_boot,
             attempt.offered_boot_ms,
             attempt.offered_boot,
             attempt.duration_ms,
             EnumName(attempt.duration_clock),
             attempt.execution ? attempt.execution->ToJson() : Json(),
             attempt.end_stored,
             attempt.outlived};
    if (!IsLive(attempt.state)) continue;
    Json results = Json::array();
    for (const auto& [cell, n] : attempt.rows.counts) results.push_back({cell.ToJson(), n});
    shown.push_back({attempt.tally.Final().ToJson(), results, reference(attempt.final_checkpoint),
                     attempt.final_seen, attempt.failed_class, attempt.failed_message,
                     attempt.recorded_wall_ms, attempt.recorded_run_ms});
  }
  for (const auto& [key, run] : state.runs) {
    out["runs"][key] = {run.run.ToJson(), run.dataset_name, run.dataset_path,
                        run.execution ? run.execution->ToJson() : Json()};
  }
  for (const auto& [id, worker] : state.workers) {
    out["workers"][id] = {worker.incarnation,     worker.host,         worker.version,
                          worker.dataset_digests, worker.slots.size(), worker.draining,
                          worker.protocol,        worker.labels,       worker.folder_id};
    if (worker.allocation) {
      const Deadline end = worker.allocation->work_end.value_or(Deadline());
      out["workers"][id].push_back({worker.allocation->job, end.boot_ms, end.boot, end.wall_ms});
    }
    if (!worker.drain) continue;
    const Deadline deadline = worker.drain->deadline.value_or(Deadline());
    out["workers"][id].push_back(
        {worker.drain->deadline.has_value(), deadline.boot_ms, deadline.boot, deadline.wall_ms});
  }
  for (const auto& [cell, task] : state.cell_task) {
    if (state.tasks.at(task).state != TaskState::kSucceeded) out["cells"][cell] = task;
  }
  out["sweeps"] = state.sweep_tasks;
  out["sweep_runs"] = state.sweep_runs;
  out["cancelled"] = state.cancelled_sweeps;
  out["paused"] = state.paused_sweeps;
  out["next_ready_seq"] = state.next_ready_seq;
  return CanonicalJson(out);
}

// A scheduler whose writes go into a real store; after every step the store gives the same state.
class StoreTest : public testing::Test {
 protected:
  StoreTest() : store(OpenStore()) { Load(); }

  // What the store holds becomes the state, as at a start.
  void Load() {
    auto loaded = store->Load();
    ASSERT_TRUE(loaded.ok()) << loaded.status().message();
    state = std::move(loaded).value();
    AfterLoad(state, now, 1);
  }

  std::unique_ptr<Store> OpenStore() {
    auto opened = Store::Open(folder.path());
    EXPECT_TRUE(opened.ok()) << opened.status().message();
    return std::move(opened).value();
  }

  Status Apply(std::span<const Write> writes) {
    RETURN_IF_ERROR(store->Begin());
    counts = {};
    if (Status status = store->Apply(writes, 1'700'000'000'000 + now, counts); !status.ok()) {
      store->Rollback();
      return status;
    }
    return store->Commit();
  }

  StepResult Do(const SchedulerEvent& event) {
    now += 10;
    StepResult result = Step(state, event, now, 1'700'000'000'000 + now);
    commands.insert(commands.end(), result.commands.begin(), result.commands.end());
    const Status status = Apply(result.writes);
    EXPECT_TRUE(status.ok()) << status.message();
    auto loaded = store->Load();
    EXPECT_TRUE(loaded.ok()) << loaded.status().message();
    EXPECT_TRUE(store->damaged().empty());
    if (loaded.ok()) {
      EXPECT_EQ(Durable(*loaded), Durable(state));
    }
    return result;
  }

  // Carries out every task that was placed, and those that become ready by that.
  void CarryOut() {
    while (!commands.empty()) {
      const Command command = std::move(commands.back());
      commands.pop_back();
      const auto* start = std::get_if<SendStart>(&command);
      if (start == nullptr) continue;
      started.push_back(start->task);
      Do(AttemptAccepted{.session = 1, .attempt = start->task.attempt, .epoch = start->task.epoch});
      const std::vector<BatchRecord> journal = SampleJournal(start->task);
      // In two parts, so that the store is read back in the middle of an attempt.
      Deliver(start->task, journal, 1, 3);
      Deliver(start->task, journal, 4, std::ssize(journal));
      AttemptFinished end = SampleEnd(start->task, std::ssize(journal));
      end.session = 1;
      Do(end);
      Do(TimePassed{});
    }
  }

  // The first task of a new sweep, which a worker of one slot has accepted.
  TaskFile AcceptFirst() {
    Do(SampleSubmission(kSweepId));
    Do(WorkerArrived{.session = 1, .worker = SampleWorker(1), .attempts = {}});
    const auto start = std::ranges::find_if(
        commands, [](const Command& c) { return std::holds_alternative<SendStart>(c); });
    LR_CHECK(start != commands.end());
    TaskFile file = std::get<SendStart>(*start).task;
    Do(AttemptAccepted{.session = 1, .attempt = file.attempt, .epoch = file.epoch});
    return file;
  }
  // Its records from `first` to `last`, counted from 1.
  void Deliver(const TaskFile& file, const std::vector<BatchRecord>& journal, std::int64_t first,
               std::int64_t last) {
    Do(JournalReceived{.session = 1,
                       .attempt = file.attempt,
                       .epoch = file.epoch,
                       .first_seq = first,
                       .records = {journal.begin() + first - 1, journal.begin() + last}});
  }

  // As another build would have written it: with checksums.
  void ChangeBehindItsBack(const char* sql) {
    auto connection =
        Connection::Open(JoinPath(folder.path(), "longrun.db"), Connection::Mode::kWrite);
    ASSERT_TRUE(connection.ok());
    ASSERT_TRUE((*connection)->FindRowSums().ok());
    ASSERT_TRUE((*connection)->row_sums().Keep().ok());
    ASSERT_TRUE((*connection)->Execute(sql).ok());
  }

  void RunTheSample() {
    Do(SampleSubmission(kSweepId));
    Do(WorkerArrived{.session = 1, .worker = SampleWorker(), .attempts = {}});
    CarryOut();
  }

  TempFolder folder;
  Instant now = 1000;
  std::unique_ptr<Store> store;
  State state;
  ApplyCounts counts;
  std::vector<Command> commands;  // not looked at yet
  std::vector<TaskFile> started;
};

TEST(StoreFolderTest, AFolderThatWasMadeReadOnlyStaysSo) {
  const TempFolder folder;
  const std::string state = JoinPath(folder.path(), "state");
  ASSERT_TRUE(Store::Open(state).ok());
  for (const mode_t mode : {0500U, 0555U, 0100U}) {
    ASSERT_EQ(chmod(state.c_str(), mode), 0);
    const Status status = Store::Open(state).status();
    EXPECT_EQ(status.code(), Code::kPermissionDenied) << mode;
    EXPECT_NE(status.message().find(Str("`chmod 700 ", state, "`")), std::string::npos);
    struct stat info {};
    ASSERT_EQ(stat(state.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & ALLPERMS, mode);
  }
  // What others may do in it is taken from them.
  ASSERT_EQ(chmod(state.c_str(), 0755), 0);
  EXPECT_TRUE(Store::Open(state).ok());
  struct stat info {};
  ASSERT_EQ(stat(state.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & ALLPERMS, mode_t{0700});
}

TEST_F(StoreTest, AfterEveryStepOfASweepTheStoreGivesTheStateBack) {
  RunTheSample();

  ASSERT_EQ(started.size(), 4u);  // two training tasks, two evaluations
  EXPECT_EQ(SweepStateName(state, kSweepId), "SUCCEEDED");
}

// A database as the release before the first migration of this name left it, with the rows that
// `fill` inserts. Returns its schema version.
int WriteOlderDatabase(const std::string& folder, std::string_view migration_name,
                       const std::string& fill) {
  constexpr int kRowSumsVersion = 10;
  const TempFolder other;
  EXPECT_TRUE(Store::Open(other.path()).ok());
  const std::int64_t application_id =
      Connection::Open(JoinPath(other.path(), "longrun.db"), Connection::Mode::kWrite)
          .value()
          ->ReadInt("PRAGMA application_id")
          .value();
  const auto connection =
      Connection::Open(JoinPath(folder, "longrun.db"), Connection::Mode::kWrite).value();
  int version = 0;
  for (const Migration& migration : Migrations()) {
    if (migration.name.ends_with(migration_name)) break;
    EXPECT_TRUE(connection->Execute(std::string(migration.sql)).ok()) << migration.name;
    version += 1;
  }
  EXPECT_LT(version, Store::SchemaVersion());
  if (version >= kRowSumsVersion) {
    EXPECT_TRUE(connection->FindRowSums().ok());
    EXPECT_TRUE(connection->row_sums().Keep().ok());
  }
  const Status filled = connection->Execute(Str("PRAGMA application_id = ", application_id,
                                                "; PRAGMA user_version = ", version, ";", fill));
  EXPECT_TRUE(filled.ok()) << filled.message();
  if (version >= kRowSumsVersion) {
    EXPECT_TRUE(PutSchemaVersion(*connection, version).ok());
  }
  return version;
}

// Three attempts as an earlier release left them: one that took 4 s, one during which the wall
// clock was set back by a day, one that lives.
TEST(StoreMigrationTest, AnEndedAttemptHasTheDifferenceOfTheWallClockAndNeverBelowZero) {
  const TempFolder folder;
  WriteOlderDatabase(
      folder.path(), "_durations",
      "INSERT INTO task (id, run_key, kind, state, cancel_wanted, reason, priority, ready_seq,"
      " retry_round, epoch, attempts, attempt, result_attempt, failures, losses, failures_max,"
      " losses_max, needs, device_kind, avoid_worker, expected_cells, checkpoint_every_ms,"
      " checkpoint_keep, checkpoints) VALUES ('t', 'r', 'train', 'RUNNING', 0, '', 0, 0, 0, 3, 3,"
      " 'c', '', 0, 0, 0, 0, '', 'cpu', '', '[]', 0, 0, '[]');"
      "INSERT INTO attempt (id, task, n, epoch, state, worker, device_index, durable_seq,"
      " failure_class, message, started_wall_ms, ended_wall_ms, end_stored) VALUES"
      " ('a', 't', 1, 1, 'LOST', 'w', 0, 0, '', '', 90000000, 90004000, 1),"
      " ('b', 't', 2, 2, 'LOST', 'w', 0, 0, '', '', 90000000, 3604000, 1),"
      " ('c', 't', 3, 3, 'RUNNING', 'w', 0, 0, '', '', 90000000, 0, 0)");

  const auto store = Store::Open(folder.path());

  ASSERT_TRUE(store.ok()) << store.status().message();
  const auto connection =
      Connection::Open(JoinPath(folder.path(), "longrun.db"), Connection::Mode::kRead).value();
  EXPECT_EQ(connection
                ->ReadText("SELECT json_group_array(json_array(id, duration_ms, duration_clock))"
                           " FROM (SELECT * FROM attempt ORDER BY id)")
                .value(),
            R"([["a",4000,"wall"],["b",0,"wall"],["c",null,""]])");
}

// A database of the release before this migration: one worker's row is damaged in more than one
// bit, so that nothing can mend it.
TEST(StoreMigrationTest, ADamagedRowOfATableThatGetsColumnsStaysDamagedAndTheOthersAreSound) {
  const TempFolder folder;
  const int version = WriteOlderDatabase(
      folder.path(), "_hosts",
      "INSERT INTO worker (id, incarnation, host, version, slots, dataset_digests) VALUES"
      " ('sound', 'A', 'host-1', '0.1.0', '[]', '[]'),"
      " ('torn', 'A', 'host-2', '0.1.0', '[]', '[]');"
      "INSERT INTO sweep (id, name, digest, submitted_seq, submitted_wall_ms, cancelled,"
      " yaml, file_name, overrides, labels, axes) VALUES"
      " ('s', 'one', '', 1, 1, 1, '', '', '[]', '{}', '[]')");
  ASSERT_EQ(version, 14);
  {
    const auto other =
        Connection::Open(JoinPath(folder.path(), "longrun.db"), Connection::Mode::kWrite).value();
    ASSERT_TRUE(other->Execute("UPDATE worker SET host = 'elsewhere' WHERE id = 'torn'").ok());
  }

  const auto store = Store::Open(folder.path());

  ASSERT_TRUE(store.ok()) << store.status().message();
  const State state = (*store)->Load().value();
  EXPECT_EQ(state.workers.size(), 1u);
  ASSERT_TRUE(state.workers.contains("sound"));
  EXPECT_EQ(state.workers.at("sound").protocol, 1);
  EXPECT_TRUE(state.workers.at("sound").labels.empty());
  EXPECT_FALSE(state.workers.at("sound").drain.has_value());
  EXPECT_TRUE(state.cancelled_sweeps.contains("s"));
  EXPECT_FALSE(state.paused_sweeps.contains("s"));
  ASSERT_EQ((*store)->damaged().size(), 1u);
  EXPECT_EQ((*store)->damaged()[0].object, "the stored row of worker torn on host \"elsewhere\"");
}

TEST(StoreMigrationTest, TheBytesThatCountForAnOwnerAreTheSizeOfADatasetOfAnEarlierRelease) {
  const TempFolder folder;
  WriteOlderDatabase(
      folder.path(), "_dataset_bytes",
      "INSERT INTO dataset (name, digest, folder, tokenizer, vocab_size, split_tokens, owner,"
      " owner_bytes) VALUES ('here', 'd', '/data/here', 't', 256, '{}', 'ada', 0),"
      " ('sent', 'e', '/data/sent', 't', 256, '{}', 'token 1', 60)");

  const auto opened = Store::Open(folder.path());

  ASSERT_TRUE(opened.ok()) << opened.status().message();
  Store& store = **opened;
  std::vector<DatasetRow> datasets = store.LoadDatasets().value();
  ASSERT_EQ(datasets.size(), 2u);
  EXPECT_EQ(datasets[0].n_bytes, 0);
  EXPECT_EQ(datasets[1].n_bytes, 60);
  EXPECT_TRUE(store.damaged().empty());
  // Noted when it is registered again.
  datasets[0].n_bytes = 50;
  ASSERT_TRUE(store.Begin().ok());
  ASSERT_TRUE(store.PutDataset(datasets[0], kNoOwnedLimit).ok());
  ASSERT_TRUE(store.Commit().ok());
  EXPECT_EQ(store.LoadDatasets().value()[0].n_bytes, 50);
}

TEST(StoreMigrationTest, ADatasetAndAModelOfAnEarlierReleaseHaveNoOwnerAndCountForNobody) {
  const TempFolder folder;
  WriteOlderDatabase(
      folder.path(), "_disk_owners",
      "INSERT INTO dataset (name, digest, folder, tokenizer, vocab_size, split_tokens) VALUES"
      " ('words', 'd', 'datasets/words', 't', 256, '{\"train\":7}');"
      "INSERT INTO model (name, digest, config, source, bytes, imported_wall_ms) VALUES"
      " ('mine', 'm', '{}', '/models/mine', 1000, 1)");

  const auto opened = Store::Open(folder.path());

  ASSERT_TRUE(opened.ok()) << opened.status().message();
  Store& store = **opened;
  EXPECT_TRUE(store.repairs().empty());
  const std::vector<DatasetRow> datasets = store.LoadDatasets().value();
  ASSERT_EQ(datasets.size(), 1u);
  EXPECT_EQ(datasets[0].folder, JoinPath(folder.path(), "datasets/words"));
  EXPECT_EQ(datasets[0].info.split_tokens.at("train"), 7);
  EXPECT_EQ(datasets[0].owner, "");
  EXPECT_EQ(datasets[0].owner_bytes, 0);
  const std::vector<ModelRow> models = store.LoadModels().value();
  ASSERT_EQ(models.size(), 1u);
  EXPECT_EQ(models[0].n_bytes, 1000);
  EXPECT_EQ(models[0].owner, "");
  EXPECT_TRUE(store.damaged().empty());

  ASSERT_TRUE(store.Begin().ok());
  const ModelRow hers{.name = "hers",
                      .digest = "h",
                      .config_json = "{}",
                      .source = "",
                      .n_bytes = 10,
                      .imported_wall_ms = 1,
                      .owner = "ada"};
  EXPECT_TRUE(store.PutModel(hers, {}, 10).value().refused.ok());
  ASSERT_TRUE(store.Commit().ok());
}

TEST_F(StoreTest, ADrainAPauseAndLabelsAreKept) {
  Do(SampleSubmission(kSweepId));
  Worker worker = SampleWorker();
  worker.labels = {{"rack", "b7"}, {"note", "x=y"}};
  worker.folder_id = "01BX5ZZKBKACTAV9WEVGEMMVS0";
  worker.protocol = 2;
  Do(WorkerArrived{.session = 1, .worker = worker, .attempts = {}});

  Do(WorkerDrained{.worker = worker.id, .deadline_ms = 90'000});
  Do(SweepPaused{.sweep_id = kSweepId});
  EXPECT_EQ(SweepStateName(state, kSweepId), "PAUSED");
  Do(WorkerDrained{.worker = worker.id});
  Do(WorkerUndrained{.worker = worker.id});
  Do(SweepResumed{.sweep_id = kSweepId});
  EXPECT_EQ(state.workers.at(worker.id).labels, worker.labels);
  EXPECT_EQ(state.workers.at(worker.id).folder_id, worker.folder_id);
}

TEST_F(StoreTest, SlotsAreReadBackWhole) {
  Worker worker = SampleWorker();
  worker.slots[0].bf16 = "amx";
  worker.slots[0].head = "width";
  worker.slots[1].kind = DeviceKind::kGpu;
  worker.slots[1].attention = "fused/128";
  worker.slots[1].operators = "longrun";
  Do(WorkerArrived{.session = 1, .worker = worker, .attempts = {}});

  EXPECT_TRUE(store->Load()->workers.at(worker.id).slots == worker.slots);
}

TEST_F(StoreTest, ASweepStaysTheOneOfItsFirstOwner) {
  SweepSubmitted event = SampleSubmission(kSweepId);
  event.owner = "ada";
  Do(event);
  event.owner = "ben";
  Do(event);
  const auto reader = StoreReader::Open(store->database_path()).value();
  EXPECT_EQ(reader->FindSweep(kSweepId)->owner, "ada");
}

TEST_F(StoreTest, AWorkerThatIsRemovedIsGone) {
  Do(WorkerArrived{.session = 1, .worker = SampleWorker(), .attempts = {}});
  Do(WorkerGone{.session = 1});

  Do(WorkerRemoved{.worker = SampleWorker().id});

  EXPECT_TRUE(store->Load()->workers.empty());
}

TEST_F(StoreTest, ACancelledSweepStaysCancelledAndASecondSubmissionTakesItUpAgain) {
  Do(SampleSubmission(kSweepId));
  Do(SweepCancelled{.sweep_id = kSweepId});
  EXPECT_EQ(SweepStateName(state, kSweepId), "CANCELLED");

  Do(SampleSubmission(kSweepId));

  EXPECT_EQ(SweepStateName(state, kSweepId), "PENDING");
}

TEST_F(StoreTest, TheModeOfACancellationIsKept) {
  Do(SampleSubmission(kSweepId));
  Do(SweepCancelled{.sweep_id = kSweepId, .mode = StopMode::kNow});

  const State loaded = store->Load().value();

  for (const auto& [id, task] : loaded.tasks) EXPECT_EQ(task.stop_mode, StopMode::kNow) << id;
}

TEST_F(StoreTest, ActivationCheckpointingIsKept) {
  SweepSubmitted event = SampleSubmission(kSweepId);
  event.sweep.activation_checkpointing = true;
  Do(event);

  const State loaded = store->Load().value();
  ASSERT_FALSE(loaded.tasks.empty());
  for (const auto& [id, task] : loaded.tasks) EXPECT_TRUE(task.activation_checkpointing);
}

// What a start reads must not grow with the results; who has a number is asked of the database.
TEST_F(StoreTest, AfterARestartResultsAreNotInTheStateAndAreKnownAllTheSame) {
  RunTheSample();
  state = store->Load().value();
  AfterLoad(state, now, 2);
  EXPECT_TRUE(state.cell_task.empty());
  for (const auto& [id, task] : state.tasks) EXPECT_TRUE(task.expected_cells.empty());
  const auto reader = StoreReader::Open(store->database_path()).value();
  SweepSubmitted again = SampleSubmission("01BX5ZZKBKACTAV9WEVGEMMVS0");
  again.sweep.name = "again";
  again.known_cells = reader->CellOwners(again.sweep).value();

  const StepResult result = Step(state, again, now, 0);
  ASSERT_TRUE(Apply(result.writes).ok());

  EXPECT_EQ(result.submit.cells_new, 0);
  EXPECT_EQ(result.submit.cells_reused, 4);
  EXPECT_EQ(reader->ResultsOfSweep(again.sweep_id)->size(), 4u);
}

// One of a task's two cells: the other alone would make another task, which would measure again.
TEST_F(StoreTest, ACellWhoseOwnRowIsLostIsFoundByItsTaskAndGetsItAgain) {
  RunTheSample();
  state = store->Load().value();
  AfterLoad(state, now, 2);
  const auto other = Connection::Open(store->database_path(), Connection::Mode::kWrite).value();
  ASSERT_TRUE(other->Execute("DELETE FROM cell WHERE cell = (SELECT min(cell) FROM cell)").ok());
  const auto reader = StoreReader::Open(store->database_path()).value();
  SweepSubmitted again = SampleSubmission("01BX5ZZKBKACTAV9WEVGEMMVS0");
  again.sweep.name = "again";
  again.known_cells = reader->CellOwners(again.sweep, &again.unrecorded_cells).value();
  EXPECT_EQ(again.unrecorded_cells.size(), 1u);

  const StepResult result = Step(state, again, now, 0);
  ASSERT_TRUE(Apply(result.writes).ok());

  EXPECT_EQ(result.submit.cells_new, 0);
  EXPECT_EQ(result.submit.cells_reused, 4);
  EXPECT_EQ(reader->ResultsOfSweep(again.sweep_id)->size(), 4u);
}

// A succeeded task that is written again, from a state that has not loaded its cells, keeps them.
TEST_F(StoreTest, TheCellsOfATaskOutliveItsNextUpdate) {
  RunTheSample();
  state = store->Load().value();
  std::vector<Write> writes;
  for (const auto& [id, task] : state.tasks) writes.emplace_back(PutTask{task});

  ASSERT_TRUE(Apply(writes).ok());

  const auto reader = Connection::Open(store->database_path(), Connection::Mode::kRead).value();
  const char* const without =
      "SELECT count(*) FROM task WHERE kind = 'evaluate' AND"
      " json_array_length(expected_cells) <> 2";
  EXPECT_EQ(reader->ReadInt(without).value(), 0);
}

TEST_F(StoreTest, TextsThatWereMadeBeforehandAreThoseThatTheStoreMakes) {
  const auto stored = [&](bool beforehand) {
    const TempFolder other;
    const auto fresh = Store::Open(other.path()).value();
    State empty = fresh->Load().value();
    SweepSubmitted event = SampleSubmission(kSweepId);
    if (beforehand) event.texts = TextsOf(event.sweep);
    const StepResult result = Step(empty, event, now, 0);
    EXPECT_TRUE(fresh->Begin().ok());
    EXPECT_TRUE(fresh->Apply(result.writes, 0, counts).ok());
    EXPECT_TRUE(fresh->Commit().ok());
    const auto reader = Connection::Open(fresh->database_path(), Connection::Mode::kRead).value();
    std::string all;
    for (const char* sql : {"SELECT digest FROM sweep", "SELECT group_concat(run, ';') FROM run",
                            "SELECT group_concat(run_key || axes, ';') FROM sweep_run"}) {
      all += reader->ReadText(sql).value() + "\n";
    }
    return all;
  };

  EXPECT_EQ(stored(true), stored(false));
}

// Nor would a trigger, which is not ours, let a member be taken out.
TEST_F(StoreTest, ASweepThatIsSubmittedAgainUnchangedDoesNotWriteItsMembersAgain) {
  RunTheSample();
  ChangeBehindItsBack(
      "CREATE TRIGGER stays BEFORE DELETE ON sweep_cell BEGIN SELECT RAISE(ABORT, 'written'); END");

  Do(SampleSubmission(kSweepId));

  ChangeBehindItsBack("DROP TRIGGER stays");
}

TEST_F(StoreTest, AMemberThatIsMissedOrOtherwiseIsWrittenAgain) {
  RunTheSample();
  const auto members = [&] {
    const auto reader = Connection::Open(store->database_path(), Connection::Mode::kRead).value();
    std::string all;
    for (const char* sql : {"SELECT group_concat(ordinal || run_key || axes) FROM sweep_run",
                            "SELECT group_concat(ordinal || cell) FROM sweep_cell",
                            "SELECT group_concat(task) FROM sweep_task"}) {
      all += reader->ReadText(sql).value() + "\n";
    }
    return all;
  };
  const std::string before = members();
  for (const char* change :
       {"DELETE FROM sweep_run WHERE ordinal = 1",
        "DELETE FROM sweep_task WHERE task = (SELECT min(task) FROM sweep_task)",
        "DELETE FROM sweep_cell WHERE cell = (SELECT min(cell) FROM sweep_cell)",
        "UPDATE sweep_run SET axes = '{}' WHERE ordinal = 0"}) {
    ChangeBehindItsBack(change);
    ASSERT_NE(members(), before) << change;
    Do(SampleSubmission(kSweepId));
    EXPECT_EQ(members(), before) << change;
  }
  // Of a row that does not hold nobody knows what it was.
  {
    const auto raw = Connection::Open(store->database_path(), Connection::Mode::kWrite).value();
    ASSERT_TRUE(raw->Execute("UPDATE sweep_run SET sum = sum + 1 WHERE ordinal = 0").ok());
  }
  ASSERT_NE(members(), before);
  now += 10;
  const StepResult again = Step(state, SampleSubmission(kSweepId), now, 0);
  ASSERT_TRUE(Apply(again.writes).ok());
  EXPECT_EQ(members(), before);
}

TEST_F(StoreTest, TheTableOfASweepHasEachNumberOnce) {
  RunTheSample();
  auto reader = StoreReader::Open(store->database_path());
  ASSERT_TRUE(reader.ok());

  const auto results = (*reader)->ResultsOfSweep(kSweepId);

  ASSERT_TRUE(results.ok()) << results.status().message();
  EXPECT_EQ(results->size(), 4u);  // two positions, two lengths
}

TEST_F(StoreTest, RowsOfACellThatDifferOnlyInDepthAreAllRead) {
  SweepSubmitted submission = SampleSubmission(kSweepId);
  for (PlannedRun& run : submission.sweep.runs) {
    for (PlannedEvaluation& evaluation : run.evaluations) {
      const std::vector<ExpectedCell> plain = evaluation.cells;
      for (ExpectedCell cell : plain) {
        for (const double depth : {0.25, 1.0}) {
          cell.depth = depth;
          evaluation.cells.push_back(cell);
        }
      }
    }
  }
  Do(submission);
  Do(WorkerArrived{.session = 1, .worker = SampleWorker(2), .attempts = {}});
  CarryOut();
  const auto reader = StoreReader::Open(store->database_path());

  const auto results = (*reader)->ResultsOfSweep(kSweepId);
  const auto cells = (*reader)->CellsOfSweep(kSweepId);
  const auto lost = (*reader)->LostOfSweep(kSweepId, *cells, *results);

  EXPECT_EQ(cells->size(), 4u);
  ASSERT_EQ(results->size(), 12u);
  std::map<std::optional<double>, int> n_of_depth;
  for (const ResultBody& row : *results) n_of_depth[row.asked.depth] += 1;
  EXPECT_EQ(n_of_depth,
            (std::map<std::optional<double>, int>{{std::nullopt, 4}, {0.25, 4}, {1.0, 4}}));
  ASSERT_TRUE(lost.ok()) << lost.status().message();
  EXPECT_TRUE(lost->empty());
  EXPECT_EQ((*reader)->ResultsOfRun(submission.sweep.runs[0].run_key)->size(), 6u);
}

TEST_F(StoreTest, TheLengthOfPromptsIsKnownAfterARestart) {
  SweepSubmitted submission = SampleSubmission(kSweepId);
  for (PlannedRun& run : submission.sweep.runs) {
    for (ExpectedCell& cell : run.evaluations[0].cells) cell.prompt_tokens = 500;
  }
  Do(submission);
  state = store->Load().value();
  AfterLoad(state, now, 2);
  std::size_t n = 0;
  for (const auto& [id, task] : state.tasks) {
    for (const ExpectedCell& cell : task.expected_cells) {
      EXPECT_EQ(cell.prompt_tokens, 500);
      n += 1;
    }
  }
  EXPECT_EQ(n, 4u);
}

TEST_F(StoreTest, EveryAttemptIsReadWithItsTask) {
  RunTheSample();
  std::map<std::string, std::string> wanted;
  for (const TaskFile& file : started) wanted[file.attempt] = file.task;
  ASSERT_EQ(wanted.size(), 4u);  // a training and an evaluation of each of two positions
  const auto reader = StoreReader::Open(store->database_path()).value();
  EXPECT_EQ(reader->TasksByAttempt().value(), wanted);
}

// What `longrun workers` says after a restart, before a worker has come back.
TEST_F(StoreTest, AWorkerWasHeardAtTheNewestTimeOfAllItsAttempts) {
  RunTheSample();
  const auto heard = [&]() -> std::int64_t {
    const auto newest =
        StoreReader::Open(store->database_path()).value()->LastStoredOfWorkers().value();
    const auto found = newest.find("worker-1");
    return found == newest.end() ? 0 : found->second;
  };
  std::int64_t ended_ms = 0;
  for (const auto& [id, attempt] : state.attempts) {
    ended_ms = std::max(ended_ms, attempt.ended_wall_ms);
  }
  ASSERT_GT(ended_ms, 0);
  EXPECT_EQ(heard(), ended_ms);

  // A newer one that was offered, and one that was lost while nothing came from the worker.
  Attempt offered = state.attempts.begin()->second;
  offered.id = "7ZZZZZZZZZZZZZZZZZZZZZZZZZ";
  offered.epoch += 1;
  offered.state = AttemptState::kOffered;
  offered.started_wall_ms = offered.ended_wall_ms = 0;
  Attempt lost = offered;
  lost.id = "7ZZZZZZZZZZZZZZZZZZZZZZZZY";
  lost.epoch += 1;
  lost.state = AttemptState::kLost;
  lost.started_wall_ms = ended_ms - 5;
  lost.ended_wall_ms = ended_ms + 90'000;
  ASSERT_TRUE(Apply(std::vector<Write>{PutAttempt{offered}, PutAttempt{lost}}).ok());
  EXPECT_EQ(heard(), ended_ms);

  // A record of the lost one.
  JournalRecord record;
  record.seq = 1;
  record.kind = RecordKind::kSeries;
  record.t_ms = ended_ms + 10;
  record.step = 1;
  record.body = SeriesRecord{.values = {{"loss", 1.0}}};
  ASSERT_TRUE(Apply(std::vector<Write>{PutRecord{.attempt = lost.id,
                                                 .task = lost.task,
                                                 .run_key = "",
                                                 .record = record,
                                                 .line = "{}"}})
                  .ok());
  EXPECT_EQ(heard(), ended_ms + 10);

  // Its certificate.
  ASSERT_TRUE(store->Begin().ok());
  ASSERT_TRUE(
      store->PutWorkerCertificate({.worker = "worker-1", .serial = "1", .issued_ms = ended_ms + 20})
          .ok());
  ASSERT_TRUE(store->Commit().ok());
  EXPECT_EQ(heard(), ended_ms + 20);
}

TEST_F(StoreTest, TheCurveOfATrainingIsReadInOrder) {
  RunTheSample();
  auto reader = StoreReader::Open(store->database_path());
  ASSERT_TRUE(reader.ok());
  const auto train = std::ranges::find(started, TaskKind::kTrain, &TaskFile::kind);
  ASSERT_NE(train, started.end());

  const auto curve = (*reader)->Curve(train->task, "loss");
  const auto tail = (*reader)->Curve(train->task, "loss", 2);

  ASSERT_TRUE(curve.ok() && tail.ok());
  ASSERT_EQ(curve->size(), 4u);
  EXPECT_EQ(curve->back().step, 4);
  EXPECT_EQ(curve->back().value, 0.0);
  ASSERT_EQ(tail->size(), 2u);
  EXPECT_EQ(tail->back().step, 4);
}

TEST_F(StoreTest, AMetricThatWasRolledBackGetsItsNumberAnew) {
  RunTheSample();
  const TaskFile& training = started.front();
  const auto point = [&](std::int64_t seq, const char* metric, double value) {
    JournalRecord record;
    record.seq = seq;
    record.kind = RecordKind::kSeries;
    record.step = 100;
    record.body = SeriesRecord{.values = {{metric, value}}};
    return PutRecord{.attempt = training.attempt,
                     .task = training.task,
                     .run_key = training.run_key,
                     .record = record,
                     .line = "{}"};
  };
  ASSERT_TRUE(store->Begin().ok());
  const std::vector<Write> lost = {point(101, "first", 1), point(102, "second", 2)};
  ASSERT_TRUE(store->Apply(lost, 0, counts).ok());
  store->Rollback();

  ASSERT_TRUE(Apply(std::vector<Write>{point(101, "second", 2), point(102, "first", 1)}).ok());

  const auto reader = StoreReader::Open(store->database_path()).value();
  for (const auto& [metric, value] : {std::pair("first", 1.0), std::pair("second", 2.0)}) {
    const auto curve = reader->Curve(training.task, metric, 0);
    ASSERT_TRUE(curve.ok());
    ASSERT_EQ(curve->size(), 1u) << metric;
    EXPECT_EQ(curve->front().value, value) << metric;
  }
}

// Invariant I-6.
TEST_F(StoreTest, ARecordStoredTwiceIsThereOnceAndCounted) {
  RunTheSample();
  const TaskFile& task = started.back();
  const std::vector<BatchRecord> journal = SampleJournal(task);
  std::vector<Write> again;
  for (const BatchRecord& one : journal) {
    again.push_back(PutRecord{.attempt = task.attempt,
                              .task = task.task,
                              .run_key = task.run_key,
                              .record = one.record,
                              .line = one.line});
  }

  ASSERT_TRUE(Apply(again).ok());

  EXPECT_EQ(counts.result_rows, 0);
  EXPECT_EQ(counts.series_rows, 0);
  auto reader = StoreReader::Open(store->database_path());
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ((*reader)->ResultsOfSweep(kSweepId)->size(), 4u);
}

TEST_F(StoreTest, AResultOfNoRowsFormIsKeptAsItCameAndIsNoResult) {
  RunTheSample();
  const TaskFile& task = started.back();
  BatchRecord odd = SampleJournal(task).front();
  odd.record.seq = 100;
  odd.record.kind = RecordKind::kResult;
  odd.record.body = ParseRecordBody(RecordKind::kResult, std::nullopt,
                                    {{"cell", 7}, {"metric", "nll"}, {"n", "many"}});

  ASSERT_TRUE(Apply(std::vector<Write>{PutRecord{.attempt = task.attempt,
                                                 .task = task.task,
                                                 .run_key = task.run_key,
                                                 .record = odd.record,
                                                 .line = odd.line}})
                  .ok());

  EXPECT_EQ(counts.malformed, 1);
  EXPECT_EQ(counts.record_rows, 1);
}

TEST_F(StoreTest, BytesThatTwoTasksShareAreDroppedWithTheLast) {
  RunTheSample();  // both tasks have the same manifest
  std::vector<std::string> trainings;
  for (const TaskFile& task : started) {
    if (task.kind == TaskKind::kTrain) trainings.push_back(task.task);
  }
  ASSERT_EQ(trainings.size(), 2u);
  const std::string sha256 = Sha256Hex("manifest");

  ASSERT_TRUE(
      Apply(std::vector<Write>{DropCheckpoint{.task = trainings[0], .sha256 = sha256}}).ok());
  EXPECT_TRUE(counts.dropped.empty());
  ASSERT_TRUE(
      Apply(std::vector<Write>{DropCheckpoint{.task = trainings[1], .sha256 = sha256}}).ok());
  EXPECT_EQ(counts.dropped, std::vector<std::string>{sha256});
  EXPECT_FALSE(StoreReader::Open(store->database_path()).value()->IsReferenced(sha256).value());
}

// An imported model that is measured as it is: the run of the second sweep has no task of its own.
TEST_F(StoreTest, ARunWithoutATaskStaysAsLongAsASweepListsIt) {
  SweepSubmitted measured = SampleSubmission("01BX5ZZKBKACTAV9WEVGEMMV01");
  measured.sweep.runs.resize(1);
  longrun::Run& run = measured.sweep.runs[0].run;
  run.train = {};
  run.train.train_length = 64;
  run.train.tokens = 0;
  run.init = RunInit{.sha256 = Sha256Hex("weights")};
  measured.sweep.runs[0].run_key = run.Key();
  SweepSubmitted listed = measured;
  listed.sweep_id = "01BX5ZZKBKACTAV9WEVGEMMV02";
  listed.sweep.runs[0].evaluations.clear();
  Do(measured);
  Do(listed);
  ASSERT_FALSE(state.tasks.empty());
  Do(SweepCancelled{.sweep_id = measured.sweep_id});
  Do(SweepRemoved{.sweep_id = measured.sweep_id});
  GarbageWanted garbage{.dry_run = false, .candidates = {}, .orphans = {}};
  for (const auto& [id, task] : state.tasks) garbage.orphans.push_back(id);
  ASSERT_TRUE(Apply(Step(state, garbage, now, 0).writes).ok());
  ASSERT_NO_FATAL_FAILURE(Load());
  EXPECT_TRUE(state.tasks.empty());
  EXPECT_EQ(state.runs.size(), 1u);
  // Whatever the state says, the database keeps what it needs.
  ASSERT_TRUE(Apply(std::vector<Write>{DropRuns{.run_keys = {listed.sweep.runs[0].run_key}}}).ok());
  EXPECT_EQ(store->Load()->runs.size(), 1u);

  Do(SweepRemoved{.sweep_id = listed.sweep_id});
  EXPECT_TRUE(state.runs.empty());
}

// Its bytes would count for nobody, but take room until the run is gone.
TEST_F(StoreTest, AModelThatARunStartsFromIsNotRemovedIfItsBytesMustGo) {
  ASSERT_TRUE(store->Begin().ok());
  const ModelRow model{.name = "mine",
                       .digest = Sha256Hex("weights"),
                       .config_json = "{}",
                       .source = "",
                       .n_bytes = 8,
                       .imported_wall_ms = 1,
                       .owner = "ada"};
  ASSERT_TRUE(store->PutModel(model, {}).value().done);
  ASSERT_TRUE(store->Commit().ok());
  SweepSubmitted event = SampleSubmission(kSweepId);
  for (PlannedRun& planned : event.sweep.runs) {
    planned.run.init = RunInit{.sha256 = model.digest};
    planned.run_key = planned.run.Key();
  }
  Do(event);

  ASSERT_TRUE(store->Begin().ok());
  const NameChange refused = store->DropModel("mine", counts, ModelBytes::kMustGo).value();
  EXPECT_EQ(refused.refused.code(), Code::kFailedPrecondition);
  EXPECT_NE(refused.refused.message().find("`longrun gc`"), std::string::npos);
  ASSERT_TRUE(store->Commit().ok());
  ASSERT_EQ(store->LoadModels()->size(), 1u);

  ASSERT_TRUE(store->Begin().ok());
  EXPECT_TRUE(store->DropModel("mine", counts).value().refused.ok());
  ASSERT_TRUE(store->Commit().ok());
  EXPECT_TRUE(store->LoadModels()->empty());
}

// What a refused owner offers must not remove a row of somebody else.
TEST_F(StoreTest, ADamagedNameStaysUnlessAnotherRowTakesItsPlace) {
  const auto dataset_of = [](const std::string& owner) {
    DatasetRow row{.info = SampleDataset(), .folder = "/data/toy"};
    row.owner = owner;
    row.owner_bytes = 8;
    return row;
  };
  const auto model_of = [](const std::string& owner) {
    return ModelRow{.name = "mine",
                    .digest = Sha256Hex("weights"),
                    .config_json = "{}",
                    .source = "",
                    .n_bytes = 8,
                    .imported_wall_ms = 1,
                    .owner = owner};
  };
  const auto put = [&](const std::string& owner, std::int64_t bytes_max) {
    EXPECT_TRUE(store->Begin().ok());
    const NameChange of_dataset = store->PutDataset(dataset_of(owner), bytes_max).value();
    const NameChange of_model = store->PutModel(model_of(owner), {}, bytes_max).value();
    EXPECT_TRUE(store->Commit().ok());
    return std::vector<Code>{of_dataset.refused.code(), of_model.refused.code()};
  };
  const auto damage = [&] {
    // Without checksums of its own, this connection leaves those of the rows as they are.
    const auto other = Connection::Open(store->database_path(), Connection::Mode::kWrite).value();
    ASSERT_TRUE(other
                    ->Execute("UPDATE dataset SET tokenizer = 'torn';"
                              "UPDATE model SET source = 'torn'")
                    .ok());
  };
  const auto owners = [&] {
    const auto other = Connection::Open(store->database_path(), Connection::Mode::kReadAll).value();
    return other->ReadTexts("SELECT owner FROM dataset UNION ALL SELECT owner FROM model").value();
  };
  const std::vector<Code> full(2, Code::kResourceExhausted), done(2, Code::kOk);
  ASSERT_EQ(put("ada", 16), done);
  ASSERT_NO_FATAL_FAILURE(damage());
  ASSERT_TRUE(store->LoadDatasets()->empty());
  ASSERT_TRUE(store->LoadModels()->empty());

  EXPECT_EQ(put("ben", 7), full);
  EXPECT_EQ(owners(), (std::vector<std::string>{"ada", "ada"}));

  // The rows that are replaced do not count.
  EXPECT_EQ(put("ada", 16), done);
  EXPECT_EQ(store->LoadDatasets()->size(), 1u);
  EXPECT_EQ(store->LoadModels()->size(), 1u);
  ASSERT_NO_FATAL_FAILURE(damage());
  EXPECT_EQ(put("ben", 16), done);
  EXPECT_EQ(owners(), (std::vector<std::string>{"ben", "ben"}));
}

// Each is named after its place in a line of four, of which the store was told in another order.
TEST_F(StoreTest, OfTasksWithoutASweepThatOneComesFirstWhichTheOthersAreNeededBy) {
  std::vector<Write> writes;
  for (const std::int64_t n : {2, 0, 3, 1}) {
    const auto key_of = [](std::int64_t i) { return Sha256Hex(Str("run ", i)); };
    RunRecord run{.run_key = key_of(n),
                  .run = SampleSubmission(kSweepId).sweep.runs[0].run,
                  .dataset_name = "toy",
                  .dataset_path = "/data/toy",
                  .execution = {}};
    if (n > 0) run.run.parent = key_of(n - 1);
    writes.emplace_back(PutRun{.run = run});
    for (const TaskKind kind : {TaskKind::kTrain, TaskKind::kEvaluate}) {
      Task task;
      task.id = Str(kind == TaskKind::kTrain ? "train " : "evaluate ", n);
      task.run_key = run.run_key;
      task.kind = kind;
      task.state = TaskState::kCancelled;
      task.reason = "removed";
      writes.emplace_back(PutTask{.task = task});
    }
  }
  ASSERT_TRUE(Apply(writes).ok());
  const auto reader = StoreReader::Open(store->database_path()).value();
  EXPECT_EQ(reader->OrphanTasks().value(),
            (std::vector<std::string>{"evaluate 0", "evaluate 1", "evaluate 2", "evaluate 3",
                                      "train 3", "train 2", "train 1", "train 0"}));
}

TEST_F(StoreTest, ALabelOfASweepThatWasRemovedIsNotStored) {
  ASSERT_TRUE(store->Begin().ok());
  ASSERT_TRUE(
      store->PutAnnotation({.sweep_id = kSweepId, .labels = {{"a", "b"}}, .note = "c"}).ok());
  EXPECT_TRUE(store->Commit().ok());
}

// An earlier release accepted tasks with millions of cells.
TEST_F(StoreTest, TheLengthsOfATaskAreFoundInAListOfAnySize) {
  Do(SampleSubmission(kSweepId));
  std::string id;
  for (const auto& [key, task] : state.tasks) {
    if (task.kind == TaskKind::kEvaluate) id = key;
  }
  store.reset();
  ChangeBehindItsBack(
      "UPDATE task SET expected_cells = replace(hex(zeroblob(35000000)), '0', ' ')"
      " || expected_cells WHERE kind = 'evaluate'");

  const auto reader = StoreReader::Open(JoinPath(folder.path(), "longrun.db")).value();
  const Result<std::vector<std::int64_t>> lengths = reader->LengthsOfTask(id);

  ASSERT_TRUE(lengths.ok()) << lengths.status().message();
  EXPECT_EQ(*lengths, (std::vector<std::int64_t>{64, 128}));
}

// Another build wrote it: only what rests on it stands still, and it is not written over.
TEST_F(StoreTest, WhatThisBuildDoesNotKnowIsLoadedAndNeverPlacedNorWrittenOver) {
  Do(SampleSubmission(kSweepId));
  store.reset();
  ChangeBehindItsBack(
      "UPDATE run SET run = replace(run, '\"method\":\"rope\"', '\"method\":\"root\"');"
      "UPDATE task SET evaluation = replace(evaluation, '{\"perplexity\"', '{\"surprise\"')"
      " WHERE run_key IN (SELECT run_key FROM run WHERE position = 'alibi')");
  store = OpenStore();
  ASSERT_NO_FATAL_FAILURE(Load());

  std::map<std::string, int> why;
  for (const auto& [id, task] : state.tasks) why[WhyUnknown(state, task)] += 1;
  EXPECT_EQ(why["this build does not know position method \"root\""], 2);
  EXPECT_EQ(why["this build does not know evaluation \"surprise\""], 1);
  EXPECT_EQ(why[""], 1);  // the training of alibi goes on
  Do(WorkerArrived{.session = 1, .worker = SampleWorker(), .attempts = {}});
  CarryOut();
  ASSERT_EQ(started.size(), 1u);
  EXPECT_EQ(started[0].run.model.position.method, "alibi");
  Do(SweepCancelled{.sweep_id = kSweepId});
  EXPECT_EQ(SweepStateName(state, kSweepId), "CANCELLED");

  store.reset();
  ChangeBehindItsBack(
      "UPDATE run SET run = replace(run, '\"method\":\"root\"', '\"method\":\"rope\"');"
      "UPDATE task SET evaluation = replace(evaluation, '{\"surprise\"', '{\"perplexity\"')");
  store = OpenStore();
  ASSERT_NO_FATAL_FAILURE(Load());
  commands.clear();
  Do(WorkerArrived{.session = 1, .worker = SampleWorker(), .attempts = {}});
  Do(SampleSubmission(kSweepId));
  CarryOut();
  EXPECT_EQ(SweepStateName(state, kSweepId), "SUCCEEDED");
}

TEST_F(StoreTest, ATaskInAStateThatThisBuildDoesNotKnowStandsStillAlone) {
  Do(SampleSubmission(kSweepId));
  store.reset();
  ChangeBehindItsBack(
      "PRAGMA ignore_check_constraints = 1;"
      "UPDATE task SET state = 'PAUSED' WHERE kind = 'train'"
      " AND run_key IN (SELECT run_key FROM run WHERE position = 'rope')");
  store = OpenStore();
  ASSERT_NO_FATAL_FAILURE(Load());

  std::map<std::string, int> why;
  for (const auto& [id, task] : state.tasks) why[WhyUnknown(state, task)] += 1;
  EXPECT_EQ(why["this build cannot read the stored form of it (the database holds an unknown state "
                "\"PAUSED\")"],
            1);
  const StepResult step =
      Step(state, WorkerArrived{.session = 1, .worker = SampleWorker(), .attempts = {}}, now,
           1'700'000'000'000);
  std::vector<std::string> positions;
  for (const Command& command : step.commands) {
    if (const auto* const start = std::get_if<SendStart>(&command)) {
      positions.push_back(start->task.run.model.position.method);
    }
  }
  EXPECT_EQ(positions, std::vector<std::string>{"alibi"});
}

// What is damaged of an attempt costs that attempt; the next one goes on.
TEST_F(StoreTest, ALiveAttemptOfWhichARecordCannotBeReadIsFollowedByAnother) {
  const TaskFile file = AcceptFirst();
  Deliver(file, SampleJournal(file), 1, 2);
  store.reset();
  ChangeBehindItsBack("UPDATE record SET line = 'torn' WHERE seq = 2");
  store = OpenStore();
  ASSERT_NO_FATAL_FAILURE(Load());
  Do(TimePassed{});

  const Attempt& attempt = state.attempts.at(file.attempt);
  EXPECT_EQ(attempt.state, AttemptState::kLost);
  EXPECT_NE(attempt.message.find("the stored record 2 of attempt 1 cannot be read"),
            std::string::npos)
      << attempt.message;
  const Task& task = state.tasks.at(file.task);
  EXPECT_EQ(task.state, TaskState::kReady);
  EXPECT_NE(task.reason.find("cannot be read"), std::string::npos) << task.reason;
  Do(WorkerArrived{.session = 1, .worker = SampleWorker(1), .attempts = {}});
  EXPECT_EQ(task.attempts, 2);
}

// Its worker comes back after the coordinator was restarted.
TEST_F(StoreTest, OfAnAttemptThatWasLostTheTimeOfItsTrainersStartIsLoaded) {
  const TaskFile file = AcceptFirst();
  std::vector<BatchRecord> journal = SampleJournal(file);
  ASSERT_EQ(journal[1].record.kind, RecordKind::kStarted);
  journal[3].record.t_ms = journal[1].record.t_ms + 2'000;
  Deliver(file, journal, 1, 3);
  const Instant heard_at = now;
  while (now - heard_at <= state.limits.lease_ms) {
    now += state.limits.suspend_ms - 10;  // a longer time is not counted: the machine slept
    Do(TimePassed{});
  }
  ASSERT_EQ(state.attempts.at(file.attempt).state, AttemptState::kLost);
  ASSERT_LT(state.attempts.at(file.attempt).duration_ms, 1'000);
  ASSERT_NO_FATAL_FAILURE(Load());
  Do(WorkerArrived{.session = 1, .worker = SampleWorker(1), .attempts = {}});
  Deliver(file, journal, 4, 4);

  EXPECT_EQ(state.attempts.at(file.attempt).duration_ms, 2'000);
}

TEST_F(StoreTest, ADatasetComesBack) {
  ASSERT_TRUE(store->Begin().ok());
  ASSERT_TRUE(store->PutDataset({.info = SampleDataset(), .folder = "/data/toy"}).ok());
  ASSERT_TRUE(store->Commit().ok());

  const auto datasets = store->LoadDatasets();

  ASSERT_TRUE(datasets.ok());
  ASSERT_EQ(datasets->size(), 1u);
  EXPECT_EQ(datasets->front().folder, "/data/toy");
  EXPECT_EQ(datasets->front().info.split_tokens.at("train"), 100'000);
}

TEST_F(StoreTest, ATransactionThatWasRolledBackLeavesNothing) {
  const std::string before = Durable(state);
  ASSERT_TRUE(store->Begin().ok());
  const StepResult result = Step(state, SampleSubmission(kSweepId), now, 0);
  ASSERT_TRUE(store->Apply(result.writes, 0, counts).ok());

  store->Rollback();

  EXPECT_EQ(Durable(store->Load().value()), before);
}

TEST_F(StoreTest, AReaderThatHoldsTheWalBackIsCountedAndTheWalShrinksWhenItHasGone) {
  const auto grow = [&] {  // by a mebibyte
    ASSERT_TRUE(store->Begin().ok());
    const DatasetRow row{.info = SampleDataset(), .folder = std::string(1 << 20, 'x')};
    ASSERT_TRUE(store->PutDataset(row).ok());
    ASSERT_TRUE(store->Commit().ok());
  };
  grow();
  auto reader = Connection::Open(store->database_path(), Connection::Mode::kRead).value();
  ASSERT_TRUE(reader->Execute("BEGIN").ok());
  ASSERT_TRUE(reader->ReadInt("SELECT count(*) FROM dataset").ok());
  for (int i = 0; i < 20; ++i) grow();
  ASSERT_GT(store->Sizes().wal_bytes, 20 << 20);

  ASSERT_TRUE(store->CheckpointWal(false).ok());
  EXPECT_EQ(store->Sizes().n_busy, 1);
  ASSERT_TRUE(store->CheckpointWal(true).ok());
  EXPECT_EQ(store->Sizes().n_busy, 2);
  EXPECT_GT(store->Sizes().wal_bytes, 20 << 20);
  ASSERT_TRUE(reader->Execute("COMMIT").ok());

  // Under load: the next commit begins the WAL anew, and gives back all but 16 MiB.
  ASSERT_TRUE(store->CheckpointWal(false).ok());
  grow();
  EXPECT_EQ(store->Sizes().n_busy, 2);
  EXPECT_LE(store->Sizes().wal_bytes, 16 << 20);
  // Idle: it is emptied.
  ASSERT_TRUE(store->CheckpointWal(true).ok());
  EXPECT_EQ(store->Sizes().n_busy, 2);
  EXPECT_EQ(store->Sizes().wal_bytes, 0);
}

TEST_F(StoreTest, ASweepIsFoundByNameByIdAndByItsBeginning) {
  Do(SampleSubmission(kSweepId));
  auto reader = StoreReader::Open(store->database_path());
  ASSERT_TRUE(reader.ok());
  std::string small = kSweepId;
  std::ranges::transform(small, small.begin(),
                         [](char c) { return static_cast<char>(std::tolower(c)); });
  const std::vector<std::string> references = {"sample", kSweepId, "01BX5ZZK", small, "01bx5zzk"};
  for (const std::string& reference : references) {
    const auto found = (*reader)->FindSweep(reference);
    ASSERT_TRUE(found.ok()) << reference;
    EXPECT_EQ(found->id, kSweepId);
  }

  const auto missed = (*reader)->FindSweep("sampel");

  EXPECT_EQ(missed.status().code(), Code::kNotFound);
  EXPECT_EQ(missed.status().message(), "there is no sweep \"sampel\"; did you mean \"sample\"?");
}

TEST_F(StoreTest, AnIdIsNotAnotherSweepsName) {
  Do(SampleSubmission(kSweepId));
  const std::string newer = "01BX5ZZKBKACTAV9WEVGEMMVS0";
  SweepSubmitted other = SampleSubmission(newer);
  other.sweep.name = kSweepId;
  Do(other);
  auto reader = StoreReader::Open(store->database_path());
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ((*reader)->FindSweep(kSweepId)->id, kSweepId);
  EXPECT_EQ((*reader)->FindSweep(newer)->name, kSweepId);
}

TEST_F(StoreTest, ARunIsFoundInCapitalsToo) {
  Do(SampleSubmission(kSweepId));
  auto reader = StoreReader::Open(store->database_path());
  ASSERT_TRUE(reader.ok());
  const std::string key = state.runs.begin()->first;
  std::string capitals = key;
  std::ranges::transform(capitals, capitals.begin(),
                         [](char c) { return static_cast<char>(std::toupper(c)); });
  for (const std::string& reference : {key, capitals, capitals.substr(0, 12)}) {
    const auto found = (*reader)->FindRun(reference);
    ASSERT_TRUE(found.ok()) << reference << ": " << found.status().message();
    EXPECT_EQ(found->run_key, key);
  }
}

TEST_F(StoreTest, ANameThatDoesNotExistIsQuotedOnOneLineAndInShort) {
  Do(SampleSubmission(kSweepId));
  auto reader = StoreReader::Open(store->database_path());
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ((*reader)->FindSweep("a\nb").status().message(),
            "there is no sweep \"a\\x0ab\"; existing sweeps: sample");
  const std::string message((*reader)->FindSweep(std::string(100'000, 'f')).status().message());
  EXPECT_LT(message.size(), 200u);
  EXPECT_NE(message.find("ffff\u2026\""), std::string::npos) << message;
}

TEST_F(StoreTest, EachStartCountsAndKeepsTheIdentity) {
  const std::string id = store->coordinator_id();
  EXPECT_EQ(store->boot_epoch(), 1);
  store.reset();

  store = OpenStore();

  EXPECT_EQ(store->boot_epoch(), 2);
  EXPECT_EQ(store->coordinator_id(), id);
}

TEST_F(StoreTest, ASecondCoordinatorIsRefusedWithThePidOfTheFirst) {
  const auto second = Store::Open(folder.path());

  EXPECT_EQ(second.status().code(), Code::kUnavailable);
  EXPECT_NE(second.status().message().find(Str("(pid ", getpid(), ")")), std::string::npos)
      << second.status().message();
}

// Somebody might end the process of a wrong pid.
TEST_F(StoreTest, ASecondCoordinatorIsToldNoPidThatADamagedLockFileNames) {
  const std::string path = JoinPath(folder.path(), "coordinator.lock");
  OpenFile file = OpenFile::Open(path, OpenFile::Mode::kReadWrite).value();  // it stays locked
  const std::string whole = file.ReadAt(0, 64).value();
  const std::string pid = Str("(pid ", getpid(), ")");
  for (const int flipped : {0x01, 0x03}) {  // one bit, which the checksum mends, and two
    ASSERT_TRUE(file.WriteAt(0, std::string(1, static_cast<char>(whole[0] ^ flipped))).ok());

    const std::string message = Store::Open(folder.path()).status().message();

    EXPECT_EQ(message.find(pid) != std::string::npos, flipped == 0x01) << message;
    EXPECT_EQ(message.find("(`fuser -v " + path + "` shows its pid)") != std::string::npos,
              flipped == 0x03)
        << message;
  }
}

// One that was killed stays named until the next holder of the lock has written its own name.
TEST_F(StoreTest, ASecondCoordinatorIsToldNoPidOfOneThatWasKilled) {
  const pid_t killed = fork();
  if (killed == 0) _exit(0);
  ASSERT_EQ(waitpid(killed, nullptr, 0), killed);
  const std::string path = CoordinatorLockPath(folder.path());
  OpenFile file = OpenFile::Open(path, OpenFile::Mode::kReadWrite).value();  // it stays locked
  ASSERT_EQ(truncate(path.c_str(), 0), 0);
  ASSERT_TRUE(file.WriteAt(0, CoordinatorLockText({.pid = killed})).ok());

  const Status status = Store::Open(folder.path()).status();

  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_EQ(status.message().find("(pid "), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("`fuser -v "), std::string::npos) << status.message();
}

TEST_F(StoreTest, ANewerDatabaseIsRefusedWithBothVersions) {
  ASSERT_TRUE(store->CheckpointWal(true).ok());
  const std::string path = store->database_path();
  store.reset();
  {
    auto newer = Connection::Open(path, Connection::Mode::kWrite).value();
    ASSERT_TRUE(newer->FindRowSums().ok());
    ASSERT_TRUE(PutSchemaVersion(*newer, 99).ok());
    ASSERT_TRUE(newer->Execute("PRAGMA user_version = 99").ok());
  }

  const auto opened = Store::Open(folder.path());

  EXPECT_EQ(opened.status().code(), Code::kFailedPrecondition);
  const std::string message = opened.status().message();
  EXPECT_NE(message.find("schema version 99"), std::string::npos) << message;
  EXPECT_NE(message.find(Str("up to ", Store::SchemaVersion())), std::string::npos) << message;
}

TEST_F(StoreTest, ATruncatedDatabaseIsDamagedAndSaysSo) {
  RunTheSample();
  ASSERT_TRUE(store->CheckpointWal(true).ok());
  const std::string path = store->database_path();
  store.reset();
  ASSERT_EQ(truncate(path.c_str(), 3 * 4096 + 100), 0);

  const auto opened = Store::Open(folder.path());

  EXPECT_EQ(opened.status().code(), Code::kDataLoss) << opened.status().message();
  EXPECT_NE(opened.status().message().find("is damaged"), std::string::npos);
}

TEST_F(StoreTest, ATimeOfARestoreThatIsNoNumberIsDamage) {
  EXPECT_FALSE(store->RestoredWallMs().value().has_value());
  ChangeBehindItsBack("INSERT INTO meta (key, value) VALUES ('restored_wall_ms', '17')");
  EXPECT_EQ(store->RestoredWallMs().value(), 17);
  ChangeBehindItsBack("UPDATE meta SET value = 'soon' WHERE key = 'restored_wall_ms'");
  const Status status = store->RestoredWallMs().status();
  EXPECT_EQ(status.code(), Code::kDataLoss) << status.message();
  EXPECT_NE(status.message().find("\"soon\""), std::string::npos) << status.message();
}

TEST_F(StoreTest, ADatabaseThatIsGoneIsNotTakenForANewOne) {
  ASSERT_TRUE(store->CheckpointWal(true).ok());
  const std::string path = store->database_path();
  store.reset();
  ASSERT_EQ(truncate(path.c_str(), 0), 0);

  EXPECT_EQ(Store::Open(folder.path()).status().code(), Code::kDataLoss);
}

TEST_F(StoreTest, AFileThatIsNoDatabaseIsRefused) {
  const TempFolder other;
  ASSERT_TRUE(WriteFileAtomic(JoinPath(other.path(), "longrun.db"), std::string(8192, 'x')).ok());

  EXPECT_EQ(Store::Open(other.path()).status().code(), Code::kDataLoss);
}

}  // namespace
}  // namespace longrun::coordinator
