// Single bits flipped in a database, in values and in the bytes of its file: every answer is the
// one of before, or is told to lack something; it never has another number.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "coordinator/store/deep_check.h"
#include "coordinator/store/migrations.h"
#include "coordinator/store/query.h"
#include "coordinator/store/query_catalogue.h"
#include "coordinator/store/reader.h"
#include "coordinator/store/row_identity.h"
#include "coordinator/store/schema.h"
#include "coordinator/store/sqlite.h"
#include "coordinator/store/store.h"
#include "coordinator/store/whole_check.h"
#include "tests/commit_seed.h"
#include "tests/coordinator/sample.h"

namespace longrun::coordinator {
namespace {

constexpr const char* kSweepId = "01BX5ZZKBKACTAV9WEVGEMMVRZ";
constexpr std::int64_t kWallMs = 1'700'000'000'000;
constexpr int kFlipsOfBytes = 100;
constexpr int kFlipsOfDefinitions = 40;

// A state folder whose sample sweep has been carried out, as files to begin from.
class DamageTest : public ::testing::Test {
 protected:
  DamageTest() {
    std::unique_ptr<Store> store = Store::Open(folder.path()).value();
    State state = store->Load().value();
    AfterLoad(state, 1000, 1);
    EXPECT_TRUE(store->Begin().ok());
    EXPECT_TRUE(store->PutDataset({.info = SampleDataset(), .folder = "/data/toy"}).ok());
    EXPECT_TRUE(store
                    ->PutModel({.name = "mine",
                                .digest = Sha256Hex("mine"),
                                .config_json = R"({"model_type":"gpt2"})",
                                .source = "/models/mine",
                                .n_bytes = 8,
                                .imported_wall_ms = kWallMs},
                               std::vector<ArtifactFile>{
                                   {.name = "config.json", .sha256 = Sha256Hex("c"), .n_bytes = 8}})
                    .ok());
    EXPECT_TRUE(store->Commit().ok());
    CarryOut(*store, state);
    EXPECT_TRUE(store->Begin().ok());
    EXPECT_TRUE(
        store->PutAnnotation({.sweep_id = kSweepId, .labels = {{"who", "me"}}, .note = "kept"})
            .ok());
    EXPECT_TRUE(store->Commit().ok());
    EXPECT_TRUE(store->CheckpointWal(true).ok());
    store.reset();
    original = ReadFile(DatabasePath()).value();
  }

  static StepResult Take(Store& store, State& state, const SchedulerEvent& event) {
    StepResult result = Step(state, event, 1000, kWallMs);
    EXPECT_TRUE(store.Begin().ok());
    ApplyCounts counts;
    EXPECT_TRUE(store.Apply(result.writes, kWallMs, counts).ok());
    EXPECT_TRUE(store.Commit().ok());
    return result;
  }

  static void CarryOut(Store& store, State& state) {
    Take(store, state, SampleSubmission(kSweepId));
    CarryOutReady(
        store, state,
        Take(store, state, WorkerArrived{.session = 1, .worker = SampleWorker(1), .attempts = {}}));
  }

  // Every task that is offered, one after the other.
  static int CarryOutReady(Store& store, State& state, StepResult step) {
    for (int n = 0;; ++n) {
      const SendStart* start = nullptr;
      for (const Command& command : step.commands) {
        if (const auto* found = std::get_if<SendStart>(&command)) start = found;
      }
      if (start == nullptr) return n;
      const TaskFile task = start->task;
      Take(store, state,
           AttemptAccepted{.session = 1, .attempt = task.attempt, .epoch = task.epoch});
      std::vector<BatchRecord> journal = SampleJournal(task);
      const auto n_records = static_cast<std::int64_t>(journal.size());
      Take(store, state,
           JournalReceived{.session = 1,
                           .attempt = task.attempt,
                           .epoch = task.epoch,
                           .first_seq = 1,
                           .records = std::move(journal)});
      AttemptFinished end = SampleEnd(task, n_records);
      end.session = 1;
      step = Take(store, state, end);
    }
  }

  std::string DatabasePath() const { return JoinPath(folder.path(), "longrun.db"); }

  void PutBack(const std::string& bytes) {
    for (const char* const more : {"-wal", "-shm", "-mark"}) {
      ASSERT_TRUE(RemoveAll(DatabasePath() + more).ok());
    }
    std::ofstream(DatabasePath(), std::ios::binary | std::ios::trunc) << bytes;
  }

  // The bytes of a row's key and of what stands behind it in the file, and the same with the
  // column's text changed.
  template <typename Change>
  std::pair<std::string, std::string> TextChanged(const std::string& table,
                                                  const std::string& column,
                                                  const std::string& where, Change change) {
    const SummedTable of = [&] {
      auto connection = Connection::Open(DatabasePath(), Connection::Mode::kReadAll).value();
      return connection->row_sums().table(table);
    }();
    auto connection = Connection::Open(DatabasePath(), Connection::Mode::kReadAll).value();
    std::string before, after;
    for (const std::string& name : of.columns) {
      const std::string from = Str(" FROM ", table, " WHERE ", where, " LIMIT 1");
      if (connection->ReadText(Str("SELECT typeof(", name, ")", from)).value() != "text") {
        // A small number; 0 and 1 have no byte of their own.
        const std::int64_t number = connection->ReadInt(Str("SELECT ", name, from)).value();
        if (number > 1) before += static_cast<char>(number);
        if (number > 1) after += static_cast<char>(number);
        continue;
      }
      std::string text = connection->ReadText(Str("SELECT ", name, from)).value();
      before += text;
      if (name == column) change(text);
      after += text;
      if (before.size() > 100) break;
    }
    return {before, after};
  }

  // The original with these bytes, which it has once, changed.
  std::string WithBytes(const std::pair<std::string, std::string>& change) {
    std::string bytes = original;
    const std::size_t at = bytes.find(change.first);
    EXPECT_NE(at, std::string::npos);
    EXPECT_EQ(bytes.find(change.first, at + 1), std::string::npos);
    if (at != std::string::npos) bytes.replace(at, change.second.size(), change.second);
    return bytes;
  }

  // What the deep check says.
  std::vector<std::string> Damaged() {
    const auto deep = CheckDeep(folder.path());
    if (!deep.ok()) return {deep.status().message()};
    std::vector<std::string> objects;
    for (const DamagedObject& one : deep->damaged) objects.push_back(one.object);
    return objects;
  }

  std::vector<std::string> CheckPages() {
    return Connection::Open(DatabasePath(), Connection::Mode::kReadAll)
        .value()
        ->ReadTexts("PRAGMA integrity_check")
        .value();
  }

  // What people are told: each answer as the set of its rows.
  struct Answers {
    std::map<std::string, std::multiset<std::string>> rows;
    std::vector<std::string> told;
  };

  Answers Ask() {
    Answers answers;
    const auto failed = [&](const Status& status) {
      if (!status.ok()) answers.told.push_back(status.message());
      return !status.ok();
    };
    auto store = Store::Open(folder.path());
    if (failed(store.status())) return answers;
    const auto state = (*store)->Load();
    if (failed(state.status())) return answers;
    State loaded = *state;
    AfterLoad(loaded, 1000, 1);
    (void)Step(loaded, WorkerArrived{.session = 1, .worker = SampleWorker(1), .attempts = {}}, 1000,
               kWallMs);
    failed((*store)->LoadDatasets().status());
    failed((*store)->LoadModels().status());
    for (const DamagedRow& row : (*store)->damaged()) answers.told.push_back(DamageText(row));
    auto reader = StoreReader::Open(DatabasePath());
    if (failed(reader.status())) return answers;
    const auto take = [&] {
      for (const DamagedRow& row : (*reader)->TakeDamaged()) {
        answers.told.push_back(DamageText(row));
      }
    };
    if (const auto results = (*reader)->ResultsOfSweep(kSweepId); !failed(results.status())) {
      for (const ResultBody& one : *results) {
        answers.rows["table"].insert(
            Str(one.run_key, one.cell, one.task, one.attempt, one.body_json, one.evaluation_json));
      }
      if (const auto cells = (*reader)->CellsOfSweep(kSweepId); !failed(cells.status())) {
        failed((*reader)->LostOfSweep(kSweepId, *cells, *results).status());
      }
    }
    failed((*reader)->IsWhole(kSweepId).status());
    if (const auto runs = (*reader)->RunsOfSweep(kSweepId); !failed(runs.status())) {
      for (const SweepRunRow& one : *runs) {
        answers.rows["runs of the sweep"].insert(
            Str(one.run_key, one.axes_json, one.dataset, one.run_json, one.execution_json));
      }
    }
    if (const auto rows = (*reader)->ExportRows(kSweepId); !failed(rows.status())) {
      for (const ExportRow& one : *rows) {
        answers.rows["metrics"].insert(
            Str(one.axes_json, one.context_length, one.protocol, one.evaluation_json, one.nll));
      }
    }
    take();
    // Views that show rows as they are; of others a row may lack what a damaged one
    // would have added.
    for (const char* const view : {"results", "sweep_results", "curves", "tasks", "datasets",
                                   "sweep_runs", "transitions", "artifacts"}) {
      const auto answer = RunQuery(DatabasePath(), Str("SELECT * FROM ", view), "", {});
      if (failed(answer.status())) continue;
      const Json rows = ParseJson(answer->rows_json).value();
      for (const Json& row : rows) answers.rows[view].insert(CanonicalJson(row));
      for (const DamagedRow& row : answer->damaged) answers.told.push_back(DamageText(row));
    }
    for (const QueryView& view : QueryViews()) {
      failed(RunQuery(DatabasePath(), Str("SELECT * FROM ", view.name), "[]", {}).status());
    }
    return answers;
  }

  // The deep check tells what no answer met.
  void ExpectSameOrTold(const Answers& before, const std::string& where) {
    const Answers after = Ask();
    const bool is_same = after.rows == before.rows;
    if (!is_same) {
      EXPECT_FALSE(after.told.empty()) << where;
    }
    for (const auto& [name, rows] : after.rows) {
      const auto known = before.rows.find(name);
      for (const std::string& row : rows) {
        EXPECT_TRUE(known != before.rows.end() && known->second.contains(row))
            << where << ": " << name << " has another row: " << row;
      }
    }
    for (const std::string& text : after.told) {
      EXPECT_EQ(text.find("json.exception"), std::string::npos) << where << ": " << text;
    }
  }

  TempFolder folder;
  std::string original;
};

// Flips bit `n` of a value, as SQLite would find it; false where the value cannot be written so.
class RawDatabase {
 public:
  explicit RawDatabase(const std::string& path) {
    EXPECT_EQ(sqlite3_open(path.c_str(), &db_), SQLITE_OK);
    Execute("PRAGMA ignore_check_constraints = 1");
  }
  ~RawDatabase() { sqlite3_close(db_); }

  bool Execute(const std::string& sql) {
    return sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK;
  }

  bool Flip(const std::string& table, const std::string& column, std::uint64_t draw) {
    sqlite3_stmt* row = nullptr;
    const std::string sql = Str("SELECT ", column, " FROM ", table, " ORDER BY 1");
    EXPECT_EQ(sqlite3_prepare_v2(db_, sql.c_str(), -1, &row, nullptr), SQLITE_OK) << sql;
    std::vector<std::string> literals;  // the value, and what becomes of it
    while (sqlite3_step(row) == SQLITE_ROW) {
      if (sqlite3_column_type(row, 0) == SQLITE_NULL) continue;
      literals.push_back(Literal(table, row, draw));
    }
    sqlite3_finalize(row);
    if (literals.empty()) return false;
    const std::string& change = literals[draw % literals.size()];
    return Execute(Str("UPDATE ", table, " SET ", column, " = ", change)) &&
           sqlite3_changes(db_) == 1;
  }

 private:
  static std::string Hex(const std::string& bytes) {
    std::string text = "CAST(x'";
    for (const char c : bytes) {
      char digits[3];
      std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned char>(c));
      text += digits;
    }
    return text + "' AS TEXT)";
  }

  // "NEW WHERE rowid-or-key is OLD", of the first row with the value.
  std::string Literal(const std::string& table, sqlite3_stmt* row, std::uint64_t draw) {
    const std::string column = sqlite3_column_name(row, 0);
    const std::uint64_t bit = draw >> 20;
    std::string before, after;
    if (sqlite3_column_type(row, 0) == SQLITE_INTEGER) {
      const std::int64_t value = sqlite3_column_int64(row, 0);
      before = Str(value);
      after = Str(value ^ (std::int64_t{1} << (bit % 40)));
    } else if (sqlite3_column_type(row, 0) == SQLITE_FLOAT) {
      const double value = sqlite3_column_double(row, 0);
      const auto bits = std::bit_cast<std::uint64_t>(value) ^ (std::uint64_t{1} << (bit % 52));
      before = Number(value);
      after = Number(std::bit_cast<double>(bits));
    } else {
      const auto* const text = reinterpret_cast<const char*>(sqlite3_column_text(row, 0));
      std::string bytes(text, static_cast<std::size_t>(sqlite3_column_bytes(row, 0)));
      before = Hex(bytes);
      if (bytes.empty()) {
        after = "'?'";
      } else {
        char& c = bytes[bit % bytes.size()];
        c = static_cast<char>(c ^ (1 << ((bit >> 16) % 8)));
        after = Hex(bytes);
      }
    }
    const std::string key = IsWithoutRowid(table) ? PrimaryKey(table) : "rowid";
    return Str(after, " WHERE (", key, ") = (SELECT ", key, " FROM ", table, " WHERE ", column,
               " = ", before, " LIMIT 1)");
  }
  static std::string Number(double value) {
    char text[64];
    std::snprintf(text, sizeof text, "%.17e", value);
    return text;
  }
  bool IsWithoutRowid(const std::string& table) {
    return !Execute(Str("SELECT rowid FROM ", table, " LIMIT 1"));
  }
  std::string PrimaryKey(const std::string& table) {
    sqlite3_stmt* row = nullptr;
    const std::string sql =
        Str("SELECT group_concat(name, ', ') FROM pragma_table_info('", table, "') WHERE pk > 0");
    EXPECT_EQ(sqlite3_prepare_v2(db_, sql.c_str(), -1, &row, nullptr), SQLITE_OK);
    EXPECT_EQ(sqlite3_step(row), SQLITE_ROW);
    const std::string key = reinterpret_cast<const char*>(sqlite3_column_text(row, 0));
    sqlite3_finalize(row);
    return key;
  }

  sqlite3* db_ = nullptr;
};

TEST_F(DamageTest, AFlippedBitInAnyColumnOfAnyTableIsHarmlessOrTold) {
  const Answers before = Ask();
  EXPECT_TRUE(before.told.empty()) << before.told.front();
  EXPECT_EQ(before.rows.at("table").size(), 4u);
  const std::vector<std::string> before_damaged = Damaged();  // the sample stores no artifacts
  const std::uint64_t seed = testing::CommitSeed();
  SCOPED_TRACE(Str("LONGRUN_TEST_SEED=", seed));
  SeededRandom random(seed);
  auto connection = Connection::Open(DatabasePath(), Connection::Mode::kReadAll);
  ASSERT_TRUE(connection.ok()) << connection.status().message();
  const std::vector<SummedTable> tables = (*connection)->row_sums().tables();
  connection->reset();
  EXPECT_GE(tables.size(), 21u);
  int n_flipped = 0, n_mended = 0;
  for (const SummedTable& table : tables) {
    std::vector<std::string> columns = table.columns;
    columns.emplace_back("sum");
    for (const std::string& column : columns) {
      PutBack(original);
      const bool flipped = RawDatabase(DatabasePath()).Flip(table.name, column, random.Next());
      n_flipped += flipped ? 1 : 0;
      if (!flipped) continue;
      const std::string where = Str(table.name, ".", column);
      // Harmless as it may be for every answer: nothing escapes the deep check.
      EXPECT_NE(Damaged(), before_damaged) << where;
      ExpectSameOrTold(before, where);
      // The checksum tells which bit it was, and the start mends it.
      n_mended += Damaged() == before_damaged ? 1 : 0;
    }
  }
  EXPECT_GT(n_flipped, 100);
  EXPECT_GT(n_mended, n_flipped / 2);
}

// A column of a key, in the rows that `where` picks.
struct Key {
  const char* table;
  const char* column;
  const char* where;
  std::string Name() const { return Str(table, ".", column, " where ", where); }
};

// A service runs: what the start looks for is not looked for again. One bit of each column of a
// key, in the row and not in an index of the table, as it happens in the file.
TEST_F(DamageTest, ARowThatAFlippedKeyHidesFromAServiceIsMissed) {
  constexpr Key kKeys[] = {
      {"result", "attempt", "seq = (SELECT max(seq) FROM result)"},
      {"sweep_run", "sweep", "ordinal = 0"},
      {"sweep_run", "sweep", "ordinal = 1"},
      {"sweep_cell", "sweep", "ordinal = 0"},
      {"sweep_cell", "sweep", "ordinal = 1"},
      {"sweep_task", "sweep", "task = (SELECT min(task) FROM sweep_task)"},
      {"sweep_task", "sweep", "task = (SELECT max(task) FROM sweep_task)"},
      {"cell", "cell", "cell = (SELECT max(cell) FROM cell)"},
  };
  for (const Key& key : kKeys) {
    const std::string where = key.Name();
    PutBack(original);
    const auto change =
        TextChanged(key.table, key.column, key.where, [](std::string& text) { text.back() ^= 1; });
    auto reader = StoreReader::Open(DatabasePath());
    ASSERT_TRUE(reader.ok());
    ASSERT_TRUE((*reader)->NoteLostNumbers("").ok());
    ASSERT_TRUE((*reader)->IsWhole(kSweepId).value());
    EXPECT_TRUE((*reader)->TakeDamaged().empty()) << where;
    const std::string bytes = WithBytes(change);
    std::fstream(DatabasePath(), std::ios::binary | std::ios::in | std::ios::out) << bytes;
    (*reader)->ForgetPages();
    const auto results = (*reader)->ResultsOfSweep(kSweepId);
    ASSERT_TRUE(results.ok()) << where << ": " << results.status().message();
    const auto cells = (*reader)->CellsOfSweep(kSweepId);
    ASSERT_TRUE(cells.ok()) << where << ": " << cells.status().message();
    ASSERT_TRUE((*reader)->LostOfSweep(kSweepId, *cells, *results).ok());
    ASSERT_TRUE((*reader)->NoteLostNumbers(kSweepId).ok());
    ASSERT_TRUE((*reader)->IsWhole(kSweepId).ok());
    EXPECT_FALSE((*reader)->TakeDamaged().empty()) << where << ": " << results->size();
  }
}

// One bit of a key, and the rows do not lie in its order any more.
TEST_F(DamageTest, ARowOutOfOrderIsMendedByItsChecksum) {
  const Answers before = Ask();
  constexpr Key kKeys[] = {
      {"result", "attempt", "seq = (SELECT min(seq) FROM result)"},
      {"sweep_run", "sweep", "ordinal = 0"},
      {"sweep_cell", "cell", "cell = (SELECT min(cell) FROM sweep_cell)"},
      {"sweep_task", "sweep", "task = (SELECT min(task) FROM sweep_task)"},
      {"cell", "cell", "cell = (SELECT min(cell) FROM cell)"},
  };
  for (const Key& key : kKeys) {
    const std::string where = key.Name();
    PutBack(original);
    PutBack(WithBytes(TextChanged(key.table, key.column, key.where,
                                  [](std::string& text) { text.front() ^= 0x40; })));
    const std::vector<std::string> found = CheckPages();
    ASSERT_NE(std::ranges::find(found, Str("row not in PRIMARY KEY order for ", key.table)),
              found.end())
        << where << ": " << Join(found, "\n");

    const Answers after = Ask();

    EXPECT_TRUE(after.rows == before.rows) << where;
    EXPECT_TRUE(after.told.empty()) << where << ": " << after.told.front();
    EXPECT_EQ(CheckPages(), std::vector<std::string>{"ok"}) << where;
  }
}

// A start does not read a database of more than 16 MiB; `longrun doctor --repair` does.
TEST_F(DamageTest, ALargeDatabaseIsRepairedWhenThatIsAskedFor) {
  const Answers before = Ask();
  PutBack(original);
  ASSERT_TRUE(RawDatabase(DatabasePath())
                  .Execute("CREATE TABLE large (bytes); INSERT INTO large VALUES"
                           " (zeroblob(17 << 20)); DROP TABLE large"));
  const std::string large = ReadFile(DatabasePath()).value();
  ASSERT_GT(large.size(), std::size_t{16} << 20);
  const auto flip = [](std::string& text) { text.front() ^= 0x40; };
  const auto [old_row, new_row] =
      TextChanged("result", "attempt", "seq = (SELECT min(seq) FROM result)", flip);
  std::string damaged = large;
  damaged.replace(damaged.find(old_row), old_row.size(), new_row);
  PutBack(damaged);
  EXPECT_TRUE(Store::Open(folder.path()).value()->repairs().empty());
  ASSERT_NE(CheckPages(), std::vector<std::string>{"ok"});

  const auto repairs = RepairDatabase(folder.path());

  ASSERT_TRUE(repairs.ok()) << repairs.status().message();
  EXPECT_EQ(*repairs,
            std::vector<std::string>{"1 of 1 damaged rows of table result, which was rebuilt"});
  EXPECT_EQ(CheckPages(), std::vector<std::string>{"ok"});
  const Answers after = Ask();
  EXPECT_TRUE(after.rows == before.rows);
  EXPECT_TRUE(after.told.empty());
  EXPECT_EQ(RepairDatabase(folder.path()).value(), std::vector<std::string>());
  EXPECT_EQ(RepairDatabase(JoinPath(folder.path(), "none")).status().code(), Code::kNotFound);
}

// A value that is in no index needs no other row to be written.
TEST_F(DamageTest, ARowThatLiesInItsPlaceIsMendedThere) {
  const Answers before = Ask();
  for (const auto& [table, column] :
       {std::pair("result", "line"), std::pair("attempt", "durable_seq"),
        std::pair("worker", "host")}) {
    PutBack(original);
    ASSERT_TRUE(RawDatabase(DatabasePath()).Flip(table, column, 7)) << table;
    const std::vector<std::string> repairs = Store::Open(folder.path()).value()->repairs();
    EXPECT_EQ(repairs, std::vector<std::string>{Str("1 of 1 damaged rows of table ", table)});
    const Answers after = Ask();
    EXPECT_TRUE(after.rows == before.rows) << table;
    EXPECT_TRUE(after.told.empty()) << table << ": " << after.told.front();
  }
}

// More than one bit: nobody knows what the row was. It stays, and is told, now and later.
TEST_F(DamageTest, ARowOutOfOrderThatNothingMendsStaysDamagedAndHidesNoOther) {
  const Answers before = Ask();
  const auto count = [&](const char* table) {
    return Connection::Open(DatabasePath(), Connection::Mode::kReadAll)
        .value()
        ->ReadInt(Str("SELECT count(*) FROM main.", table))
        .value();
  };
  const auto smallest_and_largest = [&](const char* column, const char* table) {
    auto connection = Connection::Open(DatabasePath(), Connection::Mode::kReadAll).value();
    const auto read = [&](const char* which) {
      return connection->ReadText(Str("SELECT ", which, "(", column, ") FROM ", table)).value();
    };
    return std::pair(read("min"), read("max"));
  };
  PutBack(original);
  const auto [first, last] = smallest_and_largest("cell", "cell");
  const std::int64_t n_rows = count("cell");
  const auto change = [&](const std::string& to) {
    PutBack(original);
    return TextChanged("cell", "cell", Str("cell = '", first, "'"),
                       [&](std::string& text) { text = to; });
  };
  std::string other = first;
  other.front() = 'z';
  // A key that no row has, and that of another row.
  for (const std::string& key : {other, last}) {
    PutBack(WithBytes(change(key)));
    ASSERT_NE(CheckPages(), std::vector<std::string>{"ok"});

    ExpectSameOrTold(before, key);
    EXPECT_EQ(CheckPages(), std::vector<std::string>{"ok"}) << key;
    EXPECT_EQ(count("cell"), n_rows) << key;
    ExpectSameOrTold(before, Str(key, ", started again"));
    const auto deep = CheckDeep(folder.path());
    ASSERT_TRUE(deep.ok());
    EXPECT_FALSE(deep->damaged.empty()) << key;
  }
}

// Attempts of one task, beside those of the sample, with epochs 6 and 7.
class UniqueTest : public DamageTest {
 protected:
  void AddAttempts(const std::string& sixth, const std::string& message = "") {
    {
      auto connection = Connection::Open(DatabasePath(), Connection::Mode::kWrite).value();
      ASSERT_TRUE(connection->FindRowSums().ok());
      ASSERT_TRUE(connection->row_sums().Keep().ok());
      std::string names;
      for (const std::string& column : connection->row_sums().table("attempt").columns) {
        if (column == "id" || column == "task" || column == "epoch") continue;
        if (column == "durable_seq" || column == "message") continue;  // it has no records
        names += Str(", ", column);
      }
      for (const auto& [epoch, suffix] : {std::pair(6, sixth), {7, std::string("Z")}}) {
        ASSERT_TRUE(connection
                        ->Execute(Str("INSERT INTO attempt (id, task, epoch, durable_seq, message",
                                      names, ") SELECT substr(id, 1, 25) || '", suffix, "', task, ",
                                      epoch, ", 0, '", message, "'", names,
                                      " FROM attempt WHERE epoch = 1 AND task ="
                                      " (SELECT min(task) FROM attempt)"))
                        .ok());
      }
    }
    ASSERT_TRUE(Store::Open(folder.path()).value()->CheckpointWal(true).ok());
    original = ReadFile(DatabasePath()).value();
  }

  // The row of epoch 6 as its bytes, and the same with epoch 7.
  std::pair<std::string, std::string> ToSeven() {
    auto change = TextChanged("attempt", "", "epoch = 6", [](std::string&) {});
    const std::size_t epoch = change.second.find('\x06');
    EXPECT_NE(epoch, std::string::npos);
    change.second[epoch] = '\x07';
    return change;
  }

  std::ptrdiff_t DamagedAttempts() {
    return std::ranges::count_if(Damaged(), [](const std::string& object) {
      return object.starts_with("the stored row of attempt ");
    });
  }
};

// A value that must be unique becomes that of another row: no index can be made of the two.
TEST_F(UniqueTest, ARowThatGetsAnothersValueHidesNeitherAndRefusesNothing) {
  AddAttempts("6");
  const Answers before = Ask();
  PutBack(original);
  auto change = ToSeven();

  PutBack(WithBytes(change));
  ASSERT_NE(CheckPages(), std::vector<std::string>{"ok"});
  EXPECT_EQ(RepairDatabase(folder.path()).value(),
            std::vector<std::string>{"1 of 1 damaged rows of table attempt, which was rebuilt"});
  const Answers mended = Ask();
  EXPECT_TRUE(mended.rows == before.rows);
  EXPECT_TRUE(mended.told.empty());

  // With two more bits nobody knows what the row was.
  change.second[2] ^= 3;
  PutBack(WithBytes(change));
  ExpectSameOrTold(before, "attempt");
  EXPECT_EQ(CheckPages(), std::vector<std::string>{"ok"});
  EXPECT_EQ(DamagedAttempts(), 1) << Join(Damaged(), "\n");
}

// A row that an index did not find was written again: both rows hold, and have one key.
TEST_F(UniqueTest, OfTwoRowsThatHoldTheOlderIsToldWhereOnlyOneMayBe) {
  const auto bytes_of = [](std::int64_t sum) {
    std::string bytes;
    for (int shift = sum < (std::int64_t{1} << 31) ? 24 : 40; shift >= 0; shift -= 8) {
      bytes += static_cast<char>(sum >> shift);
    }
    return bytes;
  };
  std::string sum, sum_of_seven;
  const std::string untouched = original;
  // Until both sums have one length. That depends on how many bytes come after the epoch.
  for (std::size_t n = 0; n < 10; ++n) {
    PutBack(untouched);
    AddAttempts("6", std::string(n, 'x'));
    auto connection = Connection::Open(DatabasePath(), Connection::Mode::kReadAll).value();
    const std::string names = Join(connection->row_sums().table("attempt").columns, ", ");
    const std::string from = " FROM attempt WHERE epoch = 6";
    sum = bytes_of(connection->ReadInt(Str("SELECT sum", from)).value());
    std::string changed;
    for (const std::string& column : connection->row_sums().table("attempt").columns) {
      changed += Str(changed.empty() ? "" : ", ", column == "epoch" ? "7 AS epoch" : column);
    }
    sum_of_seven = bytes_of(
        connection->ReadInt(Str("SELECT row_sum(", names, ") FROM (SELECT ", changed, from, ")"))
            .value());
    if (sum.size() == sum_of_seven.size()) break;
  }
  ASSERT_EQ(sum.size(), sum_of_seven.size());
  const Answers before = Ask();
  PutBack(original);
  std::string bytes = WithBytes(ToSeven());
  const std::size_t at = bytes.find(sum);
  ASSERT_NE(at, std::string::npos);
  bytes.replace(at, sum.size(), sum_of_seven);
  PutBack(bytes);

  const auto repairs = RepairDatabase(folder.path());

  ASSERT_TRUE(repairs.ok()) << repairs.status().message();
  EXPECT_EQ(*repairs, std::vector<std::string>{"table attempt, rebuilt"});

  EXPECT_EQ(CheckPages(), std::vector<std::string>{"ok"});
  EXPECT_EQ(DamagedAttempts(), 1) << Join(Damaged(), "\n");
  ExpectSameOrTold(before, "doubles");
}

// The check of all pages says several things in one row. Gaps that a page does not count may be
// rows that it does not count: nothing is rebuilt.
TEST(ComplaintTest, TheWorstLineOfARowCounts) {
  const std::string rowid = "Tree 5 page 9 cell 0: Rowid 12 out of order";
  const std::string gap = "Fragmentation of 90 bytes reported as 1 on page 14";
  EXPECT_EQ(ComplaintOf(Str("*** in database main ***\n", rowid)), Complaint::kOrder);
  const std::string both = Str("*** in database main ***\n", gap, "\n", rowid);
  EXPECT_EQ(ComplaintOf(both), Complaint::kStructure);
  EXPECT_EQ(PlainComplaint(both), gap);
  EXPECT_EQ(PlainComplaint("row 3 missing from index sqlite_autoindex_task_1"),
            "row 3 missing from index 1 of table task");
  EXPECT_EQ(PlainComplaint("row 3 missing from index task_of_run"),
            "row 3 missing from index task_of_run");
}

TEST_F(DamageTest, AFlippedBitAnywhereInTheFileIsHarmlessOrTold) {
  const Answers before = Ask();
  EXPECT_TRUE(before.told.empty()) << before.told.front();
  const std::uint64_t seed = testing::CommitSeed();
  SCOPED_TRACE(Str("LONGRUN_TEST_SEED=", seed));
  SeededRandom random(seed ^ 1);
  for (int i = 0; i < kFlipsOfBytes; ++i) {
    std::string bytes = original;
    const std::size_t at = random.Below(bytes.size());
    const int bit = static_cast<int>(random.Below(8));
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << bit));
    PutBack(bytes);
    ExpectSameOrTold(before, Str("byte ", at, ", bit ", bit));
    if (HasFailure()) return;
  }
}

// A disk that loses power may keep the last page of a commit and not the first. SQLite leaves the
// commit out and writes the next ones over its beginning; its end still lies behind them when the
// machine runs again.
TEST_F(DamageTest, WhatAPowerFailureLeftInTheLogIsNoDamageAfterAKill) {
  const std::string log = DatabasePath() + "-wal";
  const auto files = [&] {
    return std::pair(ReadFile(DatabasePath()).value(), ReadFile(log).value());
  };
  PutBack(original);
  auto store = Store::Open(folder.path()).value();
  ASSERT_TRUE(store->CheckpointWal(true).ok());
  ASSERT_TRUE(store->Begin().ok());
  ASSERT_TRUE(
      store->PutAnnotation({.sweep_id = kSweepId, .labels = {}, .note = std::string(90'000, 'n')})
          .ok());
  ASSERT_TRUE(store->Commit().ok());
  auto [database, wal] = files();
  store.reset();
  wal.replace(32 + 24 + 512, 512, 512, '\x55');
  PutBack(database);
  std::ofstream(log, std::ios::binary) << wal;
  const timespec before_the_start[2] = {{.tv_sec = 1, .tv_nsec = 0}, {.tv_sec = 1, .tv_nsec = 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, log.c_str(), before_the_start, 0), 0);

  store = Store::Open(folder.path()).value();
  std::tie(database, wal) = files();
  store.reset();
  PutBack(database);
  std::ofstream(log, std::ios::binary) << wal;

  const auto opened = Store::Open(folder.path());
  EXPECT_TRUE(opened.ok()) << opened.status().message();
}

// A start that finds a part of the log lost repairs nothing of it.
TEST_F(DamageTest, TheDeepCheckSaysWhatAStartDoesWithADamagedLog) {
  const std::string log = DatabasePath() + "-wal";
  PutBack(original);
  std::string database, wal;
  {
    const auto store = Store::Open(folder.path()).value();
    for (const char* const note : {"one", "two", "three"}) {
      ASSERT_TRUE(store->Begin().ok());
      ASSERT_TRUE(store->PutAnnotation({.sweep_id = kSweepId, .labels = {}, .note = note}).ok());
      ASSERT_TRUE(store->Commit().ok());
    }
    database = ReadFile(DatabasePath()).value();
    wal = ReadFile(log).value();
  }
  wal[32 + 24 + 100] ^= 1;
  const auto remedy_of_bit = [&] {
    PutBack(database);
    std::ofstream(log, std::ios::binary) << wal;
    const DeepCheck found = CheckDeep(folder.path()).value();
    const auto bit = std::ranges::find_if(found.damaged, [](const DamagedObject& one) {
      return one.object == "the database's log: one bit of byte 156 of longrun.db-wal flipped";
    });
    return bit == found.damaged.end() ? "not found" : bit->remedy;
  };
  EXPECT_EQ(remedy_of_bit(), "start the coordinator, which repairs it");
  wal[32 + 4120 + 24 + 100] ^= 9;
  EXPECT_EQ(
      remedy_of_bit(),
      "repair the other damage of the log first: until then the coordinator refuses to start; "
      "after that, it repairs this");
  EXPECT_EQ(Store::Open(folder.path()).status().code(), Code::kDataLoss);
}

// What it finds is printed as JSON.
TEST_F(DamageTest, TheDeepCheckReportsTextThatIsNotUtf8) {
  for (const char* const change :
       {"UPDATE checkpoint_file SET name = CAST(x'ff' AS TEXT) || name",
        "UPDATE artifact SET name = CAST(x'ff' AS TEXT) || name",
        "UPDATE dataset SET name = CAST(x'ff' AS TEXT) || name, folder = CAST(x'2fff' AS TEXT)"}) {
    PutBack(original);
    ASSERT_TRUE(RawDatabase(DatabasePath()).Execute(change)) << change;
    const auto found = CheckDeep(folder.path());
    ASSERT_TRUE(found.ok()) << found.status().message();
    EXPECT_FALSE(found->damaged.empty()) << change;
    for (const DamagedObject& one : found->damaged) EXPECT_TRUE(IsUtf8(one.object)) << change;
    for (const auto& [name, path] : found->datasets) {
      EXPECT_TRUE(IsUtf8(name) && IsUtf8(path)) << change;
    }
  }
}

// The key of a missed row is read without its checksum.
TEST_F(DamageTest, AKeyThatIsNotUtf8IsNamedByItsBytes) {
  ASSERT_TRUE(
      RawDatabase(DatabasePath())
          .Execute("UPDATE sweep_run SET run_key = CAST(x'b2' AS TEXT) || substr(run_key, 2)"
                   " WHERE ordinal = 0"));
  const auto reader = StoreReader::Open(DatabasePath()).value();

  EXPECT_FALSE(reader->IsWhole(kSweepId).value());

  bool is_named = false;
  for (const DamagedRow& row : reader->TakeDamaged()) {
    const std::string text = DamageText(row);
    EXPECT_TRUE(IsUtf8(text)) << ToUtf8(text);
    is_named = is_named || text.starts_with("the stored configuration of run \\xb2");
  }
  EXPECT_TRUE(is_named);
}

TEST(DescribeLostTest, NoNameHasOtherThanPrintableText) {
  for (const DamagedRow& row :
       {DescribeLostResult("3f\xb2", "\xff", "nll\x1b", 64, "\xc3", /*is_lost=*/true),
        DescribeLostObject("run", "3f\xb2"), DescribeLostObject("task", "\xff\n"),
        DescribeLostMember("cell", "the record of the task that has cell \xff\n")}) {
    for (const char c : DamageText(row) + row.key) {
      EXPECT_TRUE(c >= ' ' && c <= '~') << DamageText(row);
    }
  }
}

// A row as columns with their text.
struct RowOfTexts : RowValues {
  RowOfTexts(std::initializer_list<std::pair<const std::string, std::string>> texts)
      : columns(texts) {}
  std::string Text(std::string_view column) const override {
    const auto found = columns.find(column);
    return found == columns.end() ? "" : found->second;
  }
  std::optional<std::int64_t> Int(std::string_view) const override { return {}; }
  std::optional<double> Real(std::string_view) const override { return {}; }
  bool IsNull(std::string_view) const override { return false; }
  std::map<std::string, std::string, std::less<>> columns;
};

TEST(DescribeDamageTest, ARowIsNamedByWhatUsersKnow) {
  const std::string attempt = "01BX5ZZKBKACTAV9WEVGEMMVRZ";
  const std::string task = "1a2b3c4d5e6f70819293";
  const std::string digest = "9f8e7d6c5b4a3928170f";
  const auto name = [](const std::string& table, RowOfTexts row) {
    return DescribeDamage(table, {"key"}, row).object;
  };
  EXPECT_EQ(name("checkpoint",
                 RowOfTexts{{"ordinal", "3"}, {"step", "40"}, {"task", task}, {"sha256", digest}}),
            "the stored row of the checkpoint at step 40 of task 1a2b3c4d (9f8e7d6c)");
  EXPECT_EQ(name("checkpoint_file", RowOfTexts{{"checkpoint", digest}, {"name", "model.bin"}}),
            "the stored row of file \"model.bin\" of checkpoint 9f8e7d6c");
  EXPECT_EQ(name("artifact", RowOfTexts{{"task", task}, {"name", "attention.json"}}),
            "the stored row of file \"attention.json\" of task 1a2b3c4d");
  EXPECT_EQ(name("attempt", RowOfTexts{{"id", attempt}, {"n", "2"}, {"task", task}}),
            Str("the stored row of attempt 2 of task 1a2b3c4d (", attempt, ")"));
  EXPECT_EQ(name("sweep_label", RowOfTexts{{"sweep", attempt}, {"key", "who"}}),
            Str("label \"who\" of sweep ", attempt));
  EXPECT_EQ(name("record", RowOfTexts{{"attempt", attempt}, {"seq", "7"}, {"kind", "final"}}),
            Str("journal record 7 (\"final\") of attempt ", attempt));
  EXPECT_EQ(name("series", RowOfTexts{{"attempt", attempt}, {"step", "40"}}),
            Str("a point of a curve, at step 40 of attempt ", attempt));
  EXPECT_EQ(name("metric_name", RowOfTexts{{"id", "3"}, {"name", "loss"}}),
            "the name of the metric \"loss\"");
  EXPECT_EQ(name("transition", RowOfTexts{{"subject", "task"},
                                          {"id", task},
                                          {"from_state", "READY"},
                                          {"to_state", "RESERVED"}}),
            "the change of task 1a2b3c4d from \"READY\" to \"RESERVED\"");
  EXPECT_EQ(name("sweep_run", RowOfTexts{{"key", "x"}}), "the row of table sweep_run with key x");
}

TEST(DescribeDamageTest, ANameSaysNothingAboutWhatDependsOnTheRow) {
  for (const std::string table : {"result", "run", "task", "sweep", "sweep_run", "sweep_cell",
                                  "sweep_task", "cell", "dataset", "model", "worker"}) {
    EXPECT_TRUE(NumbersRestOn(table)) << table;
  }
  const auto remedy = [](const std::string& table) {
    return DescribeDamage(table, {"key"}, RowOfTexts{}).remedy;
  };
  for (const std::string table : {"attempt", "checkpoint", "checkpoint_file", "artifact"}) {
    EXPECT_FALSE(NumbersRestOn(table)) << table;
    EXPECT_NE(remedy(table).find("`longrun gc` removes nothing"), std::string::npos) << table;
  }
  for (const std::string table : {"record", "series", "metric_name", "transition", "unheard_of"}) {
    EXPECT_FALSE(NumbersRestOn(table)) << table;
    EXPECT_EQ(remedy(table), "go on without it: no result depends on it") << table;
  }
}

TEST(DescribeDamageTest, ManyRowsOnWhichNoNumberDependsAreOneAndASingleOneIsNamed) {
  const DamagedRow result = DescribeDamage("result", {"key"}, RowOfTexts{{"key", "a"}});
  const DamagedRow checkpoint = DescribeDamage("checkpoint", {"key"}, RowOfTexts{{"key", "b"}});
  const DamagedRow change = DescribeDamage("transition", {"key"}, RowOfTexts{{"key", "c"}});
  EXPECT_EQ(InBrief({checkpoint, result}), (std::vector<DamagedRow>{result, checkpoint}));
  const std::vector<DamagedRow> history = InBrief({change, change});
  ASSERT_EQ(history.size(), 1u);
  EXPECT_EQ(history.front().object, "part of the database's history (2 rows of table transition)");
  EXPECT_EQ(history.front().remedy.find("gc"), std::string::npos);
  const std::vector<DamagedRow> both = InBrief({checkpoint, change});
  ASSERT_EQ(both.size(), 1u);
  EXPECT_EQ(both.front().object,
            "part of the database's history (2 rows of tables checkpoint, transition)");
  EXPECT_NE(both.front().remedy.find("`longrun gc` removes nothing"), std::string::npos);
}

TEST_F(DamageTest, WhatAUserAddedToTheDatabaseIsLeftAlone) {
  const Answers before = Ask();
  {
    RawDatabase database(DatabasePath());
    ASSERT_TRUE(
        database.Execute("CREATE TABLE \"my 'own' \"\"notes\" (note TEXT PRIMARY KEY, sum TEXT);"
                         "INSERT INTO \"my 'own' \"\"notes\" VALUES ('kept', '7');"
                         "create view mine as select sum from \"my 'own' \"\"notes\""));
  }
  const Answers after = Ask();
  EXPECT_EQ(after.rows, before.rows);
  EXPECT_TRUE(after.told.empty()) << after.told.front();
  auto connection = Connection::Open(DatabasePath(), Connection::Mode::kReadAll).value();
  EXPECT_EQ(connection->ReadText("SELECT sum FROM main.mine").value(), "7");
}

// One that refuses a row would end the coordinator each time that it writes such a row.
TEST_F(DamageTest, ATriggerThatAUserAddedDoesNotRun) {
  const Answers before = Ask();
  ASSERT_TRUE(RawDatabase(DatabasePath())
                  .Execute("CREATE TRIGGER mine BEFORE UPDATE ON meta"
                           " BEGIN SELECT RAISE(ABORT, 'no more starts'); END;"
                           "CREATE TRIGGER too AFTER INSERT ON result BEGIN DELETE FROM result;"
                           " END"));
  const Answers after = Ask();
  EXPECT_TRUE(after.told.empty()) << after.told.front();
  EXPECT_EQ(after.rows, before.rows);
}

// It would refuse rows: a result would be dropped, or the coordinator ended.
TEST_F(DamageTest, AUniqueIndexOnATableOfOursIsNamedWithItsRemedy) {
  ASSERT_TRUE(RawDatabase(DatabasePath())
                  .Execute("CREATE TABLE theirs (a); CREATE UNIQUE INDEX of_theirs ON theirs (a);"
                           "CREATE INDEX of_result ON result (metric)"));
  EXPECT_TRUE(Store::Open(folder.path()).ok());
  ASSERT_TRUE(RawDatabase(DatabasePath()).Execute("create unique index mine on sweep (file_name)"));
  const Status status = Store::Open(folder.path()).status();
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_NE(status.message().find("unique index mine to table sweep"), std::string::npos);
  EXPECT_NE(status.message().find("DROP INDEX mine"), std::string::npos) << status.message();
  ASSERT_TRUE(RawDatabase(DatabasePath()).Execute("DROP INDEX mine"));
  EXPECT_TRUE(Store::Open(folder.path()).ok());
}

// No checksum of a row is that of its columns and another one.
TEST_F(DamageTest, AColumnOnATableOfOursIsNamedWithItsRemedy) {
  const Answers before = Ask();
  const std::vector<std::string> known = Damaged();
  PutBack(original);
  ASSERT_TRUE(RawDatabase(DatabasePath())
                  .Execute("CREATE TABLE theirs (a); ALTER TABLE theirs ADD COLUMN b;"
                           "ALTER TABLE result ADD COLUMN note TEXT;"
                           "ALTER TABLE result ADD COLUMN \"two \"\"words\" TEXT AS (note);"
                           "ALTER TABLE meta ADD COLUMN mine TEXT NOT NULL DEFAULT 'a'"));
  const auto remedy = [](const char* table, const char* column) {
    return Str("`sqlite3 longrun.db 'ALTER TABLE ", table, " DROP COLUMN \"", column, "\"'`");
  };
  for (const Status& status :
       {Store::Open(folder.path()).status(), RepairDatabase(folder.path()).status(),
        RunQuery(DatabasePath(), "SELECT run_key FROM runs", "", {}).status()}) {
    EXPECT_EQ(status.code(), Code::kFailedPrecondition);
    EXPECT_NE(status.message().find("the column mine to table meta"), std::string::npos)
        << status.message();
    EXPECT_NE(status.message().find(remedy("meta", "mine")), std::string::npos) << status.message();
  }
  std::map<std::string, std::string> told;
  const DeepCheck deep = CheckDeep(folder.path()).value();
  for (const DamagedObject& one : deep.damaged) {
    if (std::ranges::find(known, one.object) == known.end()) told[one.object] = one.remedy;
  }
  const auto object = [](const char* table, const char* column) {
    return Str("column ", column, ", which somebody added to the database's table ", table);
  };
  EXPECT_EQ(told.size(), 3u) << Join(Damaged(), "\n");
  EXPECT_NE(told[object("meta", "mine")].find(remedy("meta", "mine")), std::string::npos);
  EXPECT_NE(told[object("result", "note")].find(remedy("result", "note")), std::string::npos);
  EXPECT_NE(told[object("result", "two \"words")].find(remedy("result", "two \"\"words")),
            std::string::npos);
  // The remedy leaves nothing over.
  ASSERT_TRUE(RawDatabase(DatabasePath())
                  .Execute("ALTER TABLE result DROP COLUMN \"two \"\"words\";"
                           "ALTER TABLE result DROP COLUMN \"note\";"
                           "ALTER TABLE meta DROP COLUMN \"mine\""));
  const Answers after = Ask();
  EXPECT_TRUE(after.told.empty()) << after.told.front();
  EXPECT_EQ(after.rows, before.rows);
  EXPECT_EQ(Damaged(), known);
}

TEST_F(DamageTest, ADamagedIndexOfAUsersTableRefusesNothing) {
  {
    RawDatabase database(DatabasePath());
    // In the other order, the rows are not where they are looked for.
    ASSERT_TRUE(database.Execute(
        "CREATE TABLE mine (note TEXT); INSERT INTO mine VALUES ('a'), ('B');"
        "CREATE INDEX of_mine ON mine (note); PRAGMA writable_schema = ON;"
        "UPDATE sqlite_schema SET sql = 'CREATE INDEX of_mine ON mine (note COLLATE"
        " NOCASE)' WHERE name = 'of_mine'"));
  }
  EXPECT_NE(CheckPages(), std::vector<std::string>{"ok"});
  const auto store = Store::Open(folder.path());
  EXPECT_TRUE(store.ok()) << store.status().message();
}

// Every bit of the text that defines an object, and of its name and kind beside it,
// would be too many.
TEST_F(DamageTest, AFlippedBitInADefinitionIsFlippedBack) {
  const Answers before = Ask();
  const auto definitions = [&] {
    const auto connection = Connection::Open(DatabasePath(), Connection::Mode::kReadAll).value();
    return connection->ReadTexts(
        "SELECT type || '|' || name || '|' || tbl_name || '|' || ifnull(sql, '')"
        " FROM main.sqlite_schema ORDER BY 1");
  };
  const std::vector<std::string> right = definitions().value();
  const std::vector<std::string> known = Damaged();  // the sample has no artifacts
  ASSERT_GT(right.size(), 40u);
  const std::uint64_t seed = testing::CommitSeed();
  SCOPED_TRACE(Str("LONGRUN_TEST_SEED=", seed));
  SeededRandom random(seed ^ 4);
  int n_refused_by_sqlite = 0;
  for (int i = 0; i < kFlipsOfDefinitions; ++i) {
    const std::vector<std::string> parts = Split(right[random.Below(right.size())], '|');
    const std::string row = parts[0] + parts[1] + parts[2];
    const std::size_t begin = original.find(row);
    ASSERT_NE(begin, std::string::npos) << row;
    // The text of an index that SQLite made itself is empty.
    const std::size_t sql_begin = parts[3].empty() ? begin : original.find(parts[3]);
    ASSERT_NE(sql_begin, std::string::npos) << parts[3];
    const std::size_t n_own_name = parts[0].size() + parts[1].size();
    const std::size_t n_named = n_own_name + parts[2].size();
    const bool is_named = parts[3].empty() || random.Below(4) == 0;
    const std::size_t at =
        is_named ? begin + random.Below(n_named) : sql_begin + random.Below(parts[3].size());
    const int bit = static_cast<int>(random.Below(8));
    std::string bytes = original;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << bit));
    PutBack(bytes);
    const std::string where = Str(parts[0], " ", parts[1], ", byte ", at, ", bit ", bit);
    const bool is_refused = !Connection::Open(DatabasePath(), Connection::Mode::kReadAll).ok();
    n_refused_by_sqlite += is_refused ? 1 : 0;
    if (!is_refused) {
      const Result<std::vector<std::string>> flipped = definitions();
      // SQLite leaves a copy of a text where its object was before a migration replaced others.
      if (flipped.ok() && *flipped == right) continue;
    }
    // SQLite compares the names of its own indexes without case, and does not read their kind; of
    // the table's name that is stored with each object it takes the one in the definition.
    const bool is_of_table = is_named && at >= begin + n_own_name;
    const bool is_harmless = (parts[3].empty() || is_of_table) && !is_refused;
    EXPECT_EQ(Damaged() == known, is_harmless) << where;

    const Answers after = Ask();

    EXPECT_EQ(after.rows, before.rows) << where;
    EXPECT_TRUE(after.told.empty()) << where << ": " << after.told.front();
    EXPECT_TRUE(is_harmless || definitions().value() == right) << where;
    EXPECT_EQ(Damaged(), known) << where;
    if (HasFailure()) return;
  }
  EXPECT_GT(n_refused_by_sqlite, 0);
}

// The coordinator repairs it only when it starts.
TEST_F(DamageTest, AQueryBesideARunningServiceRefusesADamagedView) {
  const std::string sql = "SELECT run_key FROM runs";
  ASSERT_TRUE(RawDatabase(DatabasePath()).Execute("CREATE VIEW mine AS SELECT 1"));
  EXPECT_TRUE(RunQuery(DatabasePath(), sql, "", {}).ok());
  ASSERT_TRUE(RawDatabase(DatabasePath())
                  .Execute("PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql ="
                           " replace(sql, 'batch_tokens', 'catch_tokens') WHERE name = 'runs'"));
  const Status status = RunQuery(DatabasePath(), sql, "", {}).status();
  EXPECT_EQ(status.code(), Code::kDataLoss);
  EXPECT_EQ(status.message(),
            "the database's definition of view runs is damaged: start the coordinator again, which "
            "repairs it");
}

TEST_F(DamageTest, ATableThatIsDefinedOtherwiseIsRefused) {
  ASSERT_TRUE(RawDatabase(DatabasePath()).Execute("ALTER TABLE task RENAME COLUMN kind TO sort"));
  const Status status = Store::Open(folder.path()).status();
  EXPECT_EQ(status.code(), Code::kDataLoss);
  EXPECT_NE(status.message().find("task"), std::string::npos) << status.message();
}

TEST_F(DamageTest, WhatIsNotFoundMayBeWhatIsDamaged) {
  const auto ask = [&](const std::string& change) {
    PutBack(original);
    EXPECT_TRUE(RawDatabase(DatabasePath()).Execute(change));
    const auto reader = StoreReader::Open(DatabasePath()).value();
    return reader->FindSweep("sampel").status().message();
  };
  EXPECT_EQ(ask("SELECT 1"), "there is no sweep \"sampel\"; did you mean \"sample\"?");
  EXPECT_EQ(ask("UPDATE sweep SET name = 'other'"),
            "there is no sweep \"sampel\" among those that can be read");
}

TEST_F(DamageTest, LogsThatDamagedRowsHideMayBeThere) {
  const auto id = [&](const std::string& sql) {
    return Connection::Open(DatabasePath(), Connection::Mode::kReadAll)
        ->get()
        ->ReadText(sql)
        .value();
  };
  PutBack(original);
  const std::string attempt = id("SELECT max(id) FROM attempt");
  const std::string task = id(Str("SELECT task FROM attempt WHERE id = '", attempt, "'"));
  const std::string run = id(Str("SELECT run_key FROM task WHERE id = '", task, "'"));
  const auto find = [&](const std::string& change, const std::string& reference) {
    PutBack(original);
    EXPECT_TRUE(RawDatabase(DatabasePath()).Execute(change));
    const auto reader = StoreReader::Open(DatabasePath()).value();
    // Damage that a start found elsewhere is not of this answer.
    reader->SetKnown({DescribeLostObject("task", "ffffffff")});
    const auto found = reader->FindLogs(reference);
    std::vector<std::string> damaged;
    for (const DamagedRow& row : reader->TakeDamaged()) damaged.push_back(row.object);
    return std::pair(found.ok() ? Join(*found, " ") : found.status().message(), damaged);
  };
  for (const std::string& reference : {attempt, task}) {
    const auto [logs, damaged] = find("SELECT 1", reference);
    EXPECT_EQ(logs, attempt);
    EXPECT_TRUE(damaged.empty()) << damaged.front();
  }
  EXPECT_NE(find("SELECT 1", run).first.find(attempt), std::string::npos);
  const auto [logs, damaged] = find("UPDATE attempt SET n = n + 1", attempt);
  EXPECT_EQ(logs,
            Str("there is no run, task or attempt \"", attempt, "\" among those that can be read"));
  EXPECT_EQ(std::ranges::count_if(
                damaged, [&](const std::string& one) { return one.find(attempt) != one.npos; }),
            1);
  // A task of the run is left out, and that is told.
  const auto [others, left_out] =
      find(Str("UPDATE task SET sum = sum + 1 WHERE id = '", task, "'"), run);
  EXPECT_EQ(others.find(attempt), std::string::npos);
  EXPECT_EQ(left_out.size(), 1u);
}

// ---- what is removed ----------------------------------------------------------------------------

// What `gc` would take for needed by nobody.
struct Unneeded {
  std::vector<std::string> tasks;
  std::vector<std::string> checkpoints;  // those that rows name, which it decides about
  std::map<std::string, std::string> attempts;
  bool operator==(const Unneeded&) const = default;
};

Result<Unneeded> ReadUnneeded(StoreReader& reader) {
  RETURN_IF_ERROR(reader.CheckBeforeRemoval());
  Unneeded found;
  ASSIGN_OR_RETURN(found.tasks, reader.OrphanTasks());
  ASSIGN_OR_RETURN(const std::vector<StoredCheckpoint> checkpoints, reader.Checkpoints());
  for (const StoredCheckpoint& one : checkpoints) {
    found.checkpoints.push_back(Str(one.task, one.step, one.sha256));
  }
  ASSIGN_OR_RETURN(found.attempts, reader.TasksByAttempt());
  return found;
}

TEST_F(DamageTest, WhatMayBeRemovedIsDecidedOfWholeTablesOnly) {
  const auto read = [&]() -> Result<Unneeded> {
    ASSIGN_OR_RETURN(const auto reader, StoreReader::Open(DatabasePath()));
    return ReadUnneeded(*reader);
  };
  const auto before = read();
  ASSERT_TRUE(before.ok()) << before.status().message();
  EXPECT_TRUE(before->tasks.empty());
  EXPECT_FALSE(before->checkpoints.empty());
  const std::uint64_t seed = testing::CommitSeed();
  SCOPED_TRACE(Str("LONGRUN_TEST_SEED=", seed));
  SeededRandom random(seed ^ 2);
  for (int i = 0; i < 5 * kFlipsOfBytes; ++i) {
    std::string bytes = original;
    const std::size_t at = random.Below(bytes.size());
    const int bit = static_cast<int>(random.Below(8));
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << bit));
    PutBack(bytes);
    const auto after = read();
    if (after.ok()) {
      EXPECT_TRUE(*after == *before) << "byte " << at << ", bit " << bit;
    }
  }
}

TEST_F(DamageTest, ADamagedRowThatTellsWhatIsNeededIsNamedAndNothingIsRemoved) {
  for (const char* const table :
       {"sweep", "sweep_run", "sweep_cell", "sweep_task", "sweep_label", "run", "task", "cell",
        "attempt", "checkpoint", "checkpoint_file", "model"}) {
    PutBack(original);
    ASSERT_TRUE(RawDatabase(DatabasePath()).Execute(Str("UPDATE ", table, " SET sum = sum + 1")));
    const auto reader = StoreReader::Open(DatabasePath());
    ASSERT_TRUE(reader.ok());

    const Status status = (*reader)->CheckBeforeRemoval();

    EXPECT_EQ(status.code(), Code::kFailedPrecondition) << table;
    EXPECT_NE(status.message().find("does not match its stored checksum"), std::string::npos)
        << table;
    EXPECT_NE(status.message().find("restore a backup"), std::string::npos) << table;
  }
}

TEST_F(DamageTest, ARowThatIsGoneIsMissedByThoseThatReferToIt) {
  for (const char* const table : {"sweep", "run", "task", "attempt"}) {
    PutBack(original);
    ASSERT_TRUE(RawDatabase(DatabasePath()).Execute(Str("DELETE FROM ", table)));
    const auto reader = StoreReader::Open(DatabasePath());
    ASSERT_TRUE(reader.ok());

    const Status status = (*reader)->CheckBeforeRemoval();

    EXPECT_EQ(status.code(), Code::kFailedPrecondition) << table;
    EXPECT_NE(status.message().find(Str("refers to a row of table ", table, " that is missing")),
              std::string::npos)
        << status.message();
  }
}

// As after a page that was not written, or another page in its place: each row that is left is
// valid.
TEST_F(DamageTest, RowsThatAreGoneAreReportedByWhatOtherRowsSayOfThem) {
  struct Case {
    const char* remove;
    const char* told;
  };
  for (const Case& gone : {
           Case{"DELETE FROM sweep_run WHERE ordinal = 0", "run number 1 of sweep "},
           Case{"DELETE FROM sweep_task", "among those of sweep "},
           Case{"DELETE FROM attempt WHERE id = (SELECT max(id) FROM attempt)",
                "1 of the 1 attempts of "},
           Case{"DELETE FROM record WHERE seq = 1", " journal records of attempt 1 of task "},
           Case{"DELETE FROM sweep", "a row of table sweep that table "},
       }) {
    PutBack(original);
    EXPECT_TRUE(Store::Open(folder.path()).value()->damaged().empty());
    ASSERT_TRUE(RawDatabase(DatabasePath()).Execute(gone.remove)) << gone.remove;

    const auto store = Store::Open(folder.path());

    ASSERT_TRUE(store.ok()) << gone.remove << ": " << store.status().message();
    const std::vector<DamagedRow> damaged = (*store)->damaged();
    EXPECT_TRUE(std::ranges::any_of(damaged, [&](const DamagedRow& row) {
      return DamageText(row).find(gone.told) != std::string::npos;
    })) << gone.remove;
    const Result<DeepCheck> deep = CheckDeep(folder.path());
    ASSERT_TRUE(deep.ok());
    EXPECT_TRUE(std::ranges::any_of(deep->damaged, [&](const DamagedObject& object) {
      return object.object.find(gone.told) != std::string::npos;
    })) << gone.remove;
  }
}

// Users may add tables of their own, with references of their own.
TEST_F(DamageTest, TheReferencesOfAForeignTableAreNotOurs) {
  {
    RawDatabase raw(DatabasePath());
    ASSERT_TRUE(raw.Execute("CREATE TABLE mine (a TEXT, b TEXT REFERENCES mine (a))"));
    ASSERT_TRUE(raw.Execute("CREATE TABLE theirs (a TEXT PRIMARY KEY, b REFERENCES theirs (a))"));
    ASSERT_TRUE(raw.Execute("INSERT INTO mine VALUES ('x', 'y')"));
    ASSERT_TRUE(raw.Execute("INSERT INTO theirs VALUES ('x', 'y')"));
  }
  const auto store = Store::Open(folder.path());
  ASSERT_TRUE(store.ok()) << store.status().message();
  EXPECT_TRUE((*store)->damaged().empty());
}

// Its name stands in the table and in an index: one flipped bit in either hides it from a lookup.
// A damaged index of the table to which others refer hides its rows.
TEST_F(DamageTest, ARowThatADamagedIndexHidesIsNotSaidToBeMissing) {
  const std::string task = [&] {
    auto connection = Connection::Open(DatabasePath(), Connection::Mode::kReadAll).value();
    return connection->ReadText("SELECT id FROM task WHERE kind = 'train' LIMIT 1").value();
  }();
  int n_places = 0, n_indexes = 0;
  for (std::size_t at = original.find(task); at != std::string::npos;
       at = original.find(task, at + 1)) {
    std::string bytes = original;
    bytes[at + 9] = static_cast<char>(bytes[at + 9] ^ 1);
    PutBack(bytes);
    const auto reader = StoreReader::Open(DatabasePath()).value();
    const std::string message = reader->CheckBeforeRemoval().message();
    EXPECT_EQ(message.find("that is missing"), std::string::npos)
        << "byte " << at << ": " << message;
    n_indexes += message.find("index of the database's table task") != std::string::npos ? 1 : 0;
    n_places += 1;
  }
  EXPECT_GT(n_places, 5);
  EXPECT_GT(n_indexes, 0);
}

TEST_F(DamageTest, BytesAreNeededAsLongAsOneOfTheTwoPlacesNamesThem) {
  const std::string sha256 = Sha256Hex("manifest");
  int n_places = 0;
  for (std::size_t at = original.find(sha256); at != std::string::npos;
       at = original.find(sha256, at + 1)) {
    std::string bytes = original;
    bytes[at + sha256.size() - 1] ^= 1;
    PutBack(bytes);
    const auto reader = StoreReader::Open(DatabasePath());
    ASSERT_TRUE(reader.ok());

    const auto needed = (*reader)->IsReferenced(sha256);

    ASSERT_TRUE(needed.ok()) << needed.status().message();
    EXPECT_TRUE(*needed) << "byte " << at;
    ++n_places;
  }
  EXPECT_GT(n_places, 2);
  PutBack(original);
  EXPECT_FALSE(StoreReader::Open(DatabasePath()).value()->IsReferenced(Sha256Hex("?")).value());
}

TEST_F(DamageTest, AModelIsInUseByARunThatCannotBeRead) {
  ASSERT_TRUE(
      RawDatabase(DatabasePath())
          .Execute("UPDATE run SET run = replace(run, '{\"dataset\":{', '{\"dataset\":<')"));
  auto store = Store::Open(folder.path()).value();
  ASSERT_TRUE(store->Begin().ok());
  ApplyCounts counts;

  const auto bytes_go = store->DropModel("mine", counts);

  ASSERT_TRUE(bytes_go.ok()) << bytes_go.status().message();
  EXPECT_FALSE(bytes_go->done);
  EXPECT_TRUE(counts.dropped.empty());
  EXPECT_TRUE(store->Commit().ok());
}

// ---- rows that are gone without a trace ---------------------------------------------------------

TEST_F(DamageTest, ARunOrATaskThatIsNotThereIsToldAndTheRestIsLoaded) {
  for (const char* const lost : {"run", "task", "task WHERE kind = 'train'",
                                 "task WHERE kind = 'evaluate'", "attempt", "worker"}) {
    PutBack(original);
    ASSERT_TRUE(RawDatabase(DatabasePath()).Execute(Str("DELETE FROM ", lost)));
    auto store = Store::Open(folder.path());
    ASSERT_TRUE(store.ok()) << lost << ": " << store.status().message();

    auto state = (*store)->Load();

    ASSERT_TRUE(state.ok()) << lost << ": " << state.status().message();
    AfterLoad(*state, 1000, 1);
    (void)Step(*state, WorkerArrived{.session = 1, .worker = SampleWorker(1), .attempts = {}}, 1000,
               kWallMs);
    const bool is_missed = std::string(lost) != "worker";
    EXPECT_EQ((*store)->damaged().empty(), !is_missed) << lost;
  }
}

// ---- what the database says of itself -----------------------------------------------------------

std::map<std::string, std::string> MetaOf(const std::string& path) {
  std::map<std::string, std::string> meta;
  const auto connection = Connection::Open(path, Connection::Mode::kRead).value();
  EXPECT_TRUE(ForEach(*connection, "SELECT key, value FROM meta", [&](const Statement& row) {
                meta[row.Text(0)] = row.Text(1);
              }).ok());
  return meta;
}

// With `meta` as the bytes of its rows in the file: every bit of every key, value and checksum.
TEST_F(DamageTest, AnySingleBitOfWhatTheDatabaseSaysOfItselfIsMended) {
  std::map<std::string, std::string> before = MetaOf(DatabasePath());
  ASSERT_EQ(before.size(), 7u);
  const std::uint64_t seed = testing::CommitSeed();
  SCOPED_TRACE(Str("LONGRUN_TEST_SEED=", seed));
  SeededRandom random(seed ^ 3);
  int n_flipped = 0;
  for (const auto& [key, value] : before) {
    const std::size_t at = original.find(key + value);
    ASSERT_NE(at, std::string::npos) << key;
    for (int i = 0; i < 12; ++i) {
      std::string bytes = original;
      // The first of its checksum's four bytes is behind the value, whichever form the row has.
      const std::size_t n = key.size() + value.size() + (i % 4 == 0 ? 1 : 0);
      const std::size_t offset = i % 4 == 0 ? n - 1 : random.Below(n);
      const int bit = static_cast<int>(random.Below(8));
      bytes[at + offset] = static_cast<char>(bytes[at + offset] ^ (1 << bit));
      PutBack(bytes);
      const std::string where = Str(key, ", byte ", offset, ", bit ", bit);
      {
        const auto store = Store::Open(folder.path());
        ASSERT_TRUE(store.ok()) << where << ": " << store.status().message();
      }
      std::map<std::string, std::string> after = MetaOf(DatabasePath());
      EXPECT_EQ(after["boot_epoch"], Str(std::stoll(before["boot_epoch"]) + 1)) << where;
      after["boot_epoch"] = before["boot_epoch"];
      EXPECT_EQ(after, before) << where;
      ++n_flipped;
    }
  }
  EXPECT_EQ(n_flipped, 7 * 12);
}

TEST_F(DamageTest, WhatElseIsKnownIsWrittenAnewAndTheRestIsRefused) {
  const std::map<std::string, std::string> before = MetaOf(DatabasePath());
  const auto open_with = [&](const std::string& key) {
    PutBack(original);
    EXPECT_TRUE(RawDatabase(DatabasePath())
                    .Execute(Str("UPDATE meta SET value = '777' WHERE key = '", key, "'")));
    return Store::Open(folder.path()).status();
  };
  for (const char* const key : {"created_by", "created_wall_ms", "definitions_sha256",
                                "coordinator_id", "schema_version"}) {
    const Status status = open_with(key);
    EXPECT_TRUE(status.ok()) << key << ": " << status.message();
    const std::string expected = std::string(key) == "created_by" ? "unknown" : before.at(key);
    EXPECT_EQ(MetaOf(DatabasePath()).at(key), expected) << key;
  }
  for (const char* const key : {"restore_count", "boot_epoch"}) {
    const Status status = open_with(key);
    EXPECT_EQ(status.code(), Code::kDataLoss) << key;
    EXPECT_NE(
        status.message().find("its own record (table meta) does not match its stored checksum"),
        std::string::npos)
        << status.message();
  }
}

// The header of a SQLite file: user_version at byte 60, application_id at byte 68, both big-endian.
TEST_F(DamageTest, AFlippedBitInTheHeaderIsDamageAndNeverAMigration) {
  for (const bool is_of_before : {false, true}) {  // before table meta had the version
    PutBack(original);
    if (is_of_before) {
      PutBack("");
      ASSERT_TRUE(RemoveAll(JoinPath(folder.path(), "database.id")).ok());
      const auto connection = Connection::Open(DatabasePath(), Connection::Mode::kWrite).value();
      for (const Migration& migration : Migrations().first(10)) {
        ASSERT_TRUE(connection->Execute(std::string(migration.sql)).ok()) << migration.name;
      }
      ASSERT_TRUE(connection->Execute(HeaderOf(10)).ok());
    }
    const std::string whole = ReadFile(DatabasePath()).value();
    const std::vector<std::string> known = Damaged();  // the sample has no artifacts
    for (std::size_t bit = 0; bit < 64; ++bit) {
      std::string bytes = whole;
      const std::size_t at = bit < 32 ? 60 + bit / 8 : 68 + (bit - 32) / 8;
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << (bit % 8)));
      PutBack(bytes);

      const Status status = Store::Open(folder.path()).status();

      const std::string where = Str("byte ", at, ", bit ", bit % 8, ": ", status.message());
      EXPECT_EQ(status.code(), Code::kDataLoss) << where;
      EXPECT_NE(status.message().find("header"), std::string::npos) << where;
      EXPECT_NE(status.message().find("put back a copy"), std::string::npos) << where;
      EXPECT_TRUE(ReadFile(DatabasePath()).value() == bytes) << where;
      EXPECT_NE(Damaged(), known) << where;
    }
    PutBack(whole);
    EXPECT_TRUE(Store::Open(folder.path()).ok());
  }
}

// No JSON is made of such text, which would end the program.
TEST(RowIdentityTest, ARowWhoseKeyIsNoTextDoesNotAgree) {
  EXPECT_FALSE(
      RowAgrees("task", RowOfTexts{{"kind", "train"}, {"id", "\xff"}, {"run_key", "\xff"}}));
}

}  // namespace
}  // namespace longrun::coordinator
