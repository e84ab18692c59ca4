// A user's SQL against a real store: what it may read, what it may not, and what stops it.
#include "coordinator/store/query.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <map>
#include <set>
#include <thread>

#include "base/clock.h"
#include "base/files.h"
#include "base/str.h"
#include "coordinator/store/query_catalogue.h"
#include "coordinator/store/query_process.h"
#include "coordinator/store/sqlite.h"
#include "coordinator/store/store.h"
#include "tests/children.h"
#include "tests/coordinator/sample.h"
#include "tests/deadline.h"

namespace longrun::coordinator {
namespace {

constexpr const char* kSweepId = "01BX5ZZKBKACTAV9WEVGEMMVRZ";
constexpr const char* kProgram = LONGRUN_BIN_DIR "/longrun-coordinator";
constexpr const char* kEndless =
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c";
constexpr const char* kHungry =
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c ORDER BY x "
    "DESC";

void ExpectNoChildLeft() {
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

// A store with a sweep of two runs, each trained and evaluated by one worker.
class QueryTest : public testing::Test {
 protected:
  QueryTest() : store(Store::Open(folder.path()).value()) {
    state = store->Load().value();
    AfterLoad(state, 1000, 1);
    EXPECT_TRUE(store->Begin().ok());
    EXPECT_TRUE(store->PutDataset({.info = SampleDataset(), .folder = "/data/toy"}).ok());
    EXPECT_TRUE(store->Commit().ok());
  }

  StepResult Take(const SchedulerEvent& event) {
    StepResult result = Step(state, event, 1000, 1'700'000'000'000);
    EXPECT_TRUE(store->Begin().ok());
    ApplyCounts counts;
    EXPECT_TRUE(store->Apply(result.writes, 1'700'000'000'000, counts).ok());
    EXPECT_TRUE(store->Commit().ok());
    return result;
  }

  // The whole sample sweep, from submission to its last result.
  void CarryOutSweep() {
    Take(SampleSubmission(kSweepId));
    StepResult step = Take(WorkerArrived{.session = 1, .worker = SampleWorker(1), .attempts = {}});
    for (int i = 0; i < 4; ++i) {
      const SendStart* start = nullptr;
      for (const Command& command : step.commands) {
        if (const auto* found = std::get_if<SendStart>(&command)) start = found;
      }
      ASSERT_NE(start, nullptr) << "task " << i;
      const TaskFile task = start->task;
      Take(AttemptAccepted{.session = 1, .attempt = task.attempt, .epoch = task.epoch});
      std::vector<BatchRecord> journal = SampleJournal(task);
      const auto n = static_cast<std::int64_t>(journal.size());
      Take(JournalReceived{.session = 1,
                           .attempt = task.attempt,
                           .epoch = task.epoch,
                           .first_seq = 1,
                           .records = std::move(journal)});
      AttemptFinished end = SampleEnd(task, n);
      end.session = 1;
      step = Take(end);
    }
  }

  Result<QueryAnswer> Ask(const std::string& sql, QueryLimits limits = {}) {
    return RunQuery(store->database_path(), sql, claims_json, limits);
  }
  // In a process of its own, as the coordinator asks.
  Result<QueryAnswer> AskChild(const std::string& sql, QueryLimits limits = {},
                               std::function<bool()> is_cancelled = {}) {
    return AskQuery(kProgram, store->database_path(), sql, claims_json, limits,
                    std::move(is_cancelled));
  }
  Json Rows(const std::string& sql) {
    const auto answer = Ask(sql);
    EXPECT_TRUE(answer.ok()) << sql << "\n" << answer.status().message();
    return answer.ok() ? ParseJson(answer->rows_json).value() : Json();
  }
  void ExpectRefused(const std::string& sql, Code code, const std::string& says) {
    const Status status = Ask(sql).status();
    EXPECT_EQ(status.code(), code) << sql << "\n" << status.message();
    EXPECT_NE(status.message().find(says), std::string::npos) << sql << "\n" << status.message();
  }

  TempFolder folder;
  std::unique_ptr<Store> store;
  State state;
  // As a client sends them: two comparisons, the second of a claim that could not be judged.
  std::string claims_json =
      R"([["sample","01A",1,0,"below","a below b","nll",0.95,"refuted","a - b","refuted",)"
      R"("difference",0.5,0.25,0.75,null,0.0,3,16,null,null],)"
      R"(["sample","01A",1,1,"below","a below c","nll",0.95,"undecided",null,null,null,null,)"
      R"(null,null,null,null,null,null,"\"c\" is not a value","3 seeds"]])";
};

// ---- the views ----------------------------------------------------------------------------------

// Of the database file itself, past everything that is tested here.
std::map<std::string, std::vector<std::string>> ViewsOf(const std::string& path) {
  sqlite3* db = nullptr;
  EXPECT_EQ(sqlite3_open_v2(path.c_str(), &db, SQLITE_OPEN_READONLY, nullptr), SQLITE_OK);
  std::map<std::string, std::vector<std::string>> views;
  sqlite3_stmt* row = nullptr;
  EXPECT_EQ(sqlite3_prepare_v2(db,
                               "SELECT s.name, c.name FROM sqlite_schema s,"
                               " pragma_table_info(s.name) c WHERE s.type = 'view' ORDER BY 1, cid",
                               -1, &row, nullptr),
            SQLITE_OK);
  while (sqlite3_step(row) == SQLITE_ROW) {
    views[reinterpret_cast<const char*>(sqlite3_column_text(row, 0))].emplace_back(
        reinterpret_cast<const char*>(sqlite3_column_text(row, 1)));
  }
  sqlite3_finalize(row);
  sqlite3_close(db);
  return views;
}

TEST_F(QueryTest, TheDatabaseHasTheViewsThatAreDescribedColumnByColumn) {
  std::map<std::string, std::vector<std::string>> described;
  for (const QueryView& view : QueryViews()) {
    EXPECT_FALSE(view.meaning.empty()) << view.name;
    for (const QueryColumn& column : view.columns) {
      if (!view.is_given) described[std::string(view.name)].emplace_back(column.name);
      EXPECT_FALSE(column.meaning.empty()) << view.name << "." << column.name;
    }
  }

  EXPECT_EQ(ViewsOf(store->database_path()), described);
}

TEST_F(QueryTest, ThePageDescribesTheViews) {
  const std::string path = JoinPath(LONGRUN_SOURCE_DIR, "docs/query.md");
  const std::string page = ReadFile(path).value();
  const std::size_t begin = page.find("## Views\n");
  ASSERT_NE(begin, std::string::npos);
  if (std::getenv("LONGRUN_UPDATE") != nullptr) {
    ASSERT_TRUE(WriteFileAtomic(path, page.substr(0, begin) + QueryPage()).ok());
    return;
  }

  EXPECT_EQ(page.substr(begin), QueryPage()) << "LONGRUN_UPDATE=1 rewrites it";
}

// Each value of each view is of the type that the page says.
TEST_F(QueryTest, EachViewHasRowsOfTheTypesThatAreDescribed) {
  CarryOutSweep();
  ASSERT_TRUE(store->Begin().ok());
  ASSERT_TRUE(store
                  ->PutModel({.name = "pythia",
                              .digest = std::string(64, 'a'),
                              .config_json = R"({"model_type":"gpt_neox"})",
                              .source = "/models/pythia",
                              .n_bytes = 12,
                              .imported_wall_ms = 1},
                             {})
                  .ok());
  ASSERT_TRUE(store->Commit().ok());
  const std::map<std::string, std::set<std::string>> kinds = {{"text", {"text"}},
                                                              {"json", {"text"}},
                                                              {"integer", {"integer"}},
                                                              {"real", {"real", "integer"}}};
  for (const QueryView& view : QueryViews()) {
    const std::string name(view.name);
    EXPECT_GT(Rows("SELECT count(*) FROM " + name)[0][0], 0) << name;
    for (const QueryColumn& column : view.columns) {
      const std::string field = Str('"', column.name, '"');
      const std::string what =
          column.type == "json" ? Str("typeof(json(", field, "))") : Str("typeof(", field, ")");
      const Json types =
          Rows(Str("SELECT DISTINCT ", what, " FROM ", name, " WHERE ", field, " IS NOT NULL"));
      for (const Json& type : types) {
        EXPECT_TRUE(kinds.at(std::string(column.type)).contains(type[0])) << name << "." << field;
      }
    }
  }
}

TEST_F(QueryTest, FoldersAreEmptyForACallerOnAnotherMachine) {
  ASSERT_TRUE(store->Begin().ok());
  ASSERT_TRUE(store
                  ->PutModel({.name = "pythia",
                              .digest = std::string(64, 'a'),
                              .config_json = "{}",
                              .source = "/models/pythia",
                              .n_bytes = 12,
                              .imported_wall_ms = 1},
                             {})
                  .ok());
  ASSERT_TRUE(store->Commit().ok());
  const std::string folders =
      "SELECT dataset, folder FROM datasets UNION ALL SELECT model, source FROM models";
  const std::string found =
      "SELECT (SELECT count(*) FROM datasets WHERE folder LIKE '/data%'),"
      " (SELECT count(*) FROM models WHERE source LIKE '/models%')";
  const QueryLimits remote = {.hides_folders = true};

  EXPECT_EQ(Rows(folders), Json::parse(R"([["toy","/data/toy"],["pythia","/models/pythia"]])"));
  EXPECT_EQ(Rows(found), Json::parse("[[1,1]]"));
  for (const auto& answer : {Ask(folders, remote), AskChild(folders, remote)}) {
    ASSERT_TRUE(answer.ok()) << answer.status().message();
    EXPECT_EQ(answer->rows_json, R"([["toy",""],["pythia",""]])");
    EXPECT_TRUE(answer->damaged.empty());
  }
  EXPECT_EQ(Ask(found, remote)->rows_json, "[[0,0]]");
}

TEST_F(QueryTest, ClaimsComeWithTheQuestion) {
  CarryOutSweep();
  EXPECT_EQ(Rows("SELECT claim, verdict, effect, limit_low, reason FROM claims ORDER BY claim"),
            Json::parse(R"([[0,"refuted",0.5,null,null],
                            [1,"undecided",null,null,"\"c\" is not a value"]])"));
  // Beside the views of the database, and in a process of its own.
  const std::string joined =
      "SELECT count(*) FROM claims c JOIN sweeps s ON s.sweep = c.sweep WHERE c.verdict = "
      "'refuted'";
  EXPECT_EQ(Rows(joined), Json::parse("[[1]]"));
  EXPECT_EQ(AskChild(joined)->rows_json, "[[1]]");

  EXPECT_EQ(Rows("SELECT count(*) FROM CLAIMS"), Json::parse("[[2]]"));

  claims_json = "";  // as a client that knows nothing of claims
  ExpectRefused("SELECT * FROM claims", Code::kInvalidArgument,
                "the rows of claims come from the client: use `longrun query`, which sends them "
                "with the query");
  EXPECT_EQ(Rows("SELECT count(*) FROM sweeps"), Json::parse("[[1]]"));
  for (const char* const wrong : {"{", "{}", "[1]", "[[1]]", R"(["x"])"}) {
    claims_json = wrong;
    ExpectRefused("SELECT * FROM claims", Code::kInvalidArgument, "rows of claims: ");
  }
}

// A task's row lists all cells that it owes. Read for each of its results, it would take a time
// that grows with the square of their number.
TEST_F(QueryTest, TheResultsOfASweepAreFoundFromItsRuns) {
  CarryOutSweep();
  const std::unique_ptr<Connection> connection =
      Connection::Open(store->database_path(), Connection::Mode::kRead).value();
  Statement row = connection
                      ->Prepare(
                          "EXPLAIN QUERY PLAN SELECT count(*), sum(nll_sum)"
                          " FROM sweep_results")
                      .value();
  std::vector<std::string> plan;
  while (row.Step().value()) plan.push_back(row.Text(3));
  const auto at = [&](std::string_view what) {
    const auto found =
        std::ranges::find_if(plan, [&](const std::string& line) { return line.starts_with(what); });
    EXPECT_NE(found, plan.end()) << what << " is not in:\n" << Join(plan, "\n");
    return found - plan.begin();
  };
  EXPECT_LT(at("SEARCH main.sweep_run "),
            at("SEARCH main.task USING INDEX task_by_run (run_key=?)"));
  EXPECT_LT(at("SEARCH main.task "), at("SEARCH main.result USING PRIMARY KEY (attempt=?)"));
  EXPECT_LT(at("SEARCH main.result "),
            at("SEARCH main.sweep_cell USING PRIMARY KEY (sweep=? AND ordinal=? AND cell=?)"));
}

TEST_F(QueryTest, AnswersComeFromTheRowsThatCount) {
  CarryOutSweep();

  // Of the sample: two positions, two lengths, nll_sum 2500 over 1000 tokens and bytes.
  EXPECT_EQ(Rows("SELECT position, context_length, n FROM sweep_results WHERE sweep = 'sample'"
                 " AND newest ORDER BY ordinal, context_length"),
            Json::parse(R"([["alibi",64,1000],["alibi",128,1000],["rope",64,1000],
                            ["rope",128,1000]])"));
  const Json row = Rows("SELECT perplexity, perplexity_se, bits_per_byte FROM results LIMIT 1")[0];
  EXPECT_NEAR(row[0].get<double>(), 12.182493960703473, 1e-12);        // exp(2.5)
  EXPECT_NEAR(row[1].get<double>(), 0.12182493960703473, 1e-12);       // exp(2.5) / 100
  EXPECT_NEAR(row[2].get<double>(), 2.5 / 0.6931471805599453, 1e-12);  // nats to bits
  EXPECT_EQ(Rows("SELECT step, value FROM curves WHERE metric = 'loss' AND run_key = (SELECT"
                 " min(run_key) FROM runs) ORDER BY step"),
            Json::parse("[[1,3],[2,2],[3,1],[4,0]]"));
  EXPECT_EQ(Rows("SELECT sweep, runs, tasks, tasks_succeeded, tasks_failed FROM sweeps"),
            Json::parse(R"([["sample",2,4,4,0]])"));
  EXPECT_EQ(Rows("SELECT DISTINCT context_lengths FROM tasks WHERE kind = 'evaluate'"),
            Json::parse(R"([["[64,128]"]])"));
  EXPECT_EQ(Rows("SELECT DISTINCT version, host, state FROM attempts"),
            Json::parse(R"([["0.1.0","machine","SUCCEEDED"]])"));
  // The sample's coordinator does not know which boot it is in.
  EXPECT_EQ(Rows("SELECT DISTINCT duration_clock, duration_ms >= 0 FROM attempts"),
            Json::parse(R"([["wall",1]])"));
  EXPECT_EQ(Rows("SELECT count(*) FROM artifacts WHERE name = 'manifest.json' AND is_final"),
            Json::parse("[[2]]"));
}

TEST_F(QueryTest, WhatPeopleSaidWhoLeftAndWhatARunGoesOnFromAreColumns) {
  CarryOutSweep();
  SweepSubmitted goes_on = SampleSubmission("01BX5ZZKBKACTAV9WEVGEMMVS0");
  goes_on.sweep.name = "further";
  goes_on.sweep.labels = {{"area", "rope"}, {"owner", "me"}};
  goes_on.sweep.runs.resize(1);
  PlannedRun& run = goes_on.sweep.runs[0];
  const std::string parent = run.run_key;
  run.run.parent = parent;
  run.run.train.tokens *= 2;
  run.run_key = Sha256Hex("the run that goes on");
  run.evaluations.clear();
  Take(goes_on);
  Take(WorkerLeaves{.session = 1});
  ASSERT_TRUE(store->Begin().ok());
  ASSERT_TRUE(store
                  ->PutAnnotation({.sweep_id = goes_on.sweep_id,
                                   .labels = {{"owner", std::nullopt}, {"ticket", "7"}},
                                   .note = "look again"})
                  .ok());
  ASSERT_TRUE(store->Commit().ok());

  EXPECT_EQ(Rows("SELECT labels, note FROM sweeps ORDER BY sweep"),
            Json::parse(R"([["{\"area\":\"rope\",\"ticket\":\"7\"}","look again"],["{}",""]])"));
  EXPECT_EQ(Rows("SELECT labels ->> '$.ticket' FROM sweeps WHERE note <> ''"),
            Json::parse(R"([["7"]])"));
  EXPECT_EQ(Rows("SELECT run_key, parent FROM runs WHERE parent IS NOT NULL"),
            Json::array({Json::array({run.run_key, parent})}));
  EXPECT_EQ(Rows("SELECT worker, draining FROM workers"), Json::parse(R"([["worker-1",1]])"));
}

TEST_F(QueryTest, AnAttemptThatNeverRanHasNoTimes) {
  Take(SampleSubmission(kSweepId));
  const StepResult step =
      Take(WorkerArrived{.session = 1, .worker = SampleWorker(1), .attempts = {}});
  const auto start = std::ranges::find_if(
      step.commands, [](const Command& c) { return std::holds_alternative<SendStart>(c); });
  ASSERT_NE(start, step.commands.end());
  const TaskFile& task = std::get<SendStart>(*start).task;
  EXPECT_EQ(Rows("SELECT state, started_ms, ended_ms, duration_ms FROM attempts"),
            Json::parse(R"([["OFFERED",null,null,null]])"));
  Take(AttemptRejected{.session = 1,
                       .attempt = task.attempt,
                       .epoch = task.epoch,
                       .failure_class = "",
                       .reason = "busy"});
  EXPECT_EQ(Rows("SELECT started_ms, ended_ms, duration_ms FROM attempts WHERE state = 'REJECTED'"),
            Json::parse("[[null,1700000000000,null]]"));
}

TEST_F(QueryTest, OrdinarySqlWorks) {
  CarryOutSweep();

  EXPECT_EQ(Rows("WITH a AS (SELECT DISTINCT run_key, position FROM results)"
                 " SELECT x.position FROM a x JOIN a y USING (run_key) ORDER BY 1 DESC"),
            Json::parse(R"([["rope"],["alibi"]])"));
  EXPECT_EQ(Rows("SELECT position, rank() OVER (ORDER BY position DESC) FROM runs ORDER BY 2"),
            Json::parse(R"([["rope",1],["alibi",2]])"));
  EXPECT_EQ(Rows("SELECT value FROM sweeps, json_each(sweeps.axes) LIMIT 2"),
            Json::parse(R"([["position"],["train_length"]])"));
  EXPECT_EQ(Rows("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 5)"
                 " SELECT sum(x) FROM c"),
            Json::parse("[[15]]"));
  EXPECT_EQ(Rows("SELECT run ->> '$.train.tokens' FROM runs LIMIT 1; -- the end"),
            Json::parse("[[65536]]"));
  EXPECT_EQ(Rows("SELECT 'a' LIKE 'A%', 1e999, -1e999, x'00ff', NULL, 9223372036854775807"),
            Json::parse(R"([[1,"Infinity","-Infinity","x'00ff'",null,9223372036854775807]])"));
}

// ---- what is refused ----------------------------------------------------------------------------

TEST_F(QueryTest, TablesAreNotReadUnderAnyName) {
  CarryOutSweep();
  ExpectRefused("SELECT * FROM task", Code::kInvalidArgument, "did you mean \"tasks\"?");
  ExpectRefused("SELECT * FROM main.record", Code::kInvalidArgument, "there is no view");
  ExpectRefused("SELECT * FROM sweep_cell", Code::kInvalidArgument, "there is no view");
  // A WITH that takes a view's name does not open the table below it.
  ExpectRefused("WITH results AS (SELECT line FROM result) SELECT * FROM results",
                Code::kInvalidArgument, "there is no view \"result\"");
  ExpectRefused("SELECT (SELECT value FROM meta LIMIT 1)", Code::kInvalidArgument,
                "there is no view \"meta\"");
  ExpectRefused("SELECT * FROM sqlite_schema", Code::kPermissionDenied, "read sqlite_");
  ExpectRefused("SELECT * FROM sqlite_master", Code::kPermissionDenied, "read sqlite_");
  ExpectRefused("SELECT * FROM pragma_table_info('task')", Code::kPermissionDenied, "may not");
  ExpectRefused("SELECT * FROM dbstat", Code::kPermissionDenied, "may not");
  ExpectRefused("SELECT * FROM sqlite_stmt", Code::kPermissionDenied, "may not");
}

TEST_F(QueryTest, WhatIsNoSelectIsRefused) {
  CarryOutSweep();
  ExpectRefused("DELETE FROM results", Code::kPermissionDenied, "a query may not change rows");
  ExpectRefused("INSERT INTO runs VALUES (1)", Code::kPermissionDenied, "change rows");
  ExpectRefused("UPDATE tasks SET state = 'FAILED'", Code::kPermissionDenied, "change rows");
  ExpectRefused("DROP VIEW results", Code::kPermissionDenied, "may not");
  ExpectRefused("CREATE TABLE t (x)", Code::kPermissionDenied, "may not");
  ExpectRefused("CREATE TEMP TABLE t (x)", Code::kPermissionDenied, "may not");
  ExpectRefused("PRAGMA query_only = OFF", Code::kPermissionDenied, "use PRAGMA");
  ExpectRefused("ATTACH '/tmp/x.db' AS x", Code::kPermissionDenied, "attach databases");
  ExpectRefused("BEGIN", Code::kPermissionDenied, "begin transactions");
  ExpectRefused("SAVEPOINT s", Code::kPermissionDenied, "begin transactions");
  ExpectRefused("VACUUM INTO '/tmp/copy.db'", Code::kPermissionDenied, "");
  ExpectRefused("ANALYZE", Code::kPermissionDenied, "may not");
  ExpectRefused("EXPLAIN QUERY PLAN SELECT * FROM runs", Code::kPermissionDenied, "only SELECT");
  ExpectRefused("SELECT load_extension('/tmp/x.so')", Code::kPermissionDenied, "load_extension");
  ExpectRefused("SELECT readfile('/etc/passwd')", Code::kInvalidArgument, "readfile");
  ExpectRefused("SELECT 1; SELECT 2", Code::kInvalidArgument, "expected one SELECT");
  ExpectRefused("SELECT 1; DROP TABLE task", Code::kInvalidArgument, "expected one SELECT");
  ExpectRefused("SELECT ?", Code::kInvalidArgument, "cannot have placeholders");
  ExpectRefused("", Code::kInvalidArgument, "the query is empty");
  ExpectRefused("-- nothing", Code::kInvalidArgument, "the query is empty");
  ExpectRefused(std::string("SELECT 1\0 FROM runs", 20), Code::kInvalidArgument, "not UTF-8 text");
  ExpectRefused("SELECT '\xff'", Code::kInvalidArgument, "not UTF-8 text");
  ExpectRefused("SELECT '" + std::string(20'000, 'x') + "'", Code::kInvalidArgument,
                "expected less than 16384");
  EXPECT_EQ(Rows("SELECT count(*) FROM tasks"), Json::parse("[[4]]"));
}

// What is wrong, where, and what was meant.
TEST_F(QueryTest, WhatCannotBeReadIsNamedWithItsPlaceAndARemedy) {
  const std::pair<const char*, const char*> cases[] = {
      {"SELEC 1",
       "line 1, column 1: the SQL cannot be parsed from \"SELEC\" onwards; did you mean "
       "\"SELECT\"?"},
      {"SELECT *\n  FORM runs",
       "line 2, column 3: the SQL cannot be parsed from \"FORM\" onwards; did you mean \"FROM\"?"},
      {"SELECT 1 FROM runs runs2 runs3",
       "line 1, column 26: the SQL cannot be parsed from \"runs3\" onwards; docs/query.md has "
       "examples"},
      {"SELECT 'ü', positon FROM runs",
       "line 1, column 13: no view here has a column \"positon\"; did you mean \"position\"?"},
      {"SELECT avg(\"positon\") FROM runs",
       "line 1, column 12: no view here has a column \"positon\"; did you mean \"position\"?"},
      {"SELECT r.seeed FROM runs r",
       "line 1, column 8: no view here has a column \"seeed\"; did you mean \"seed\"?"},
      {"SELECT perplexity FROM runs",
       "line 1, column 8: no view here has a column \"perplexity\"; found in: results, "
       "sweep_results"},
      {"SELECT nope FROM runs",
       "line 1, column 8: no view here has a column \"nope\"; `longrun query --views` lists views "
       "and columns"},
      {"SELECT *\nFROM main.resluts",
       "line 2, column 11: there is no view \"resluts\"; did you mean \"results\"?"},
      {"SELECT run_key FROM runs, tasks",
       "line 1, column 8: more than one view here has a column \"run_key\": write VIEW.run_key"},
      {"SELECT * FROM runs, runs",
       "more than one view here is called \"runs\": give each a name of its own, as in runs AS a, "
       "runs AS b"},
      {"SELECT r.run_key FROM runs r, tasks r",
       "line 1, column 8: more than one view here is called \"r\": give each a name of its own, as "
       "in runs AS a, tasks AS b"},
      {"SELECT ronud(1.5) FROM runs",
       "line 1, column 8: there is no function ronud(); did you mean \"round\"?"},
      {"SELECT (1",
       "line 1, column 10: the query ends too early: something is missing, or a "
       "bracket is not closed"},
      {"SELECT 'a",
       "line 1, column 8: no SQL begins with \"'a\": is a quote not closed, or a word "
       "not quoted?"},
      {"SELECT count(*) FROM runs WHERE max(seed) > 1",
       "line 1, column 33: misuse of aggregate: max(); docs/query.md has examples"},
  };
  for (const auto& [sql, message] : cases) {
    const Status status = Ask(sql).status();
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << sql;
    EXPECT_EQ(status.message(), message) << sql;
  }
}

// ---- what is stopped ----------------------------------------------------------------------------

TEST_F(QueryTest, EndlessQueriesEndAtTheirTime) {
  CarryOutSweep();
  const QueryLimits soon = {.timeout_ms = 50};
  for (const char* sql :
       {"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c",
        "SELECT count(*) FROM transitions a, transitions b, transitions c, transitions d,"
        " transitions e, transitions f, transitions g, transitions h",
        "WITH RECURSIVE c(x) AS (SELECT 'a' UNION ALL SELECT substr(x || x, 1, 100000) FROM c)"
        " SELECT count(*) FROM c WHERE x LIKE '%a%a%a%a%a%a%a%a%a%a%b'"}) {
    const Status status = Ask(sql, soon).status();
    EXPECT_EQ(status.code(), Code::kDeadlineExceeded) << sql << "\n" << status.message();
    EXPECT_NE(status.message().find("was stopped after 50 ms"), std::string::npos);
  }
}

TEST_F(QueryTest, MemoryIsBounded) {
  const QueryLimits limits = {.timeout_ms = 60'000, .memory_bytes_max = 8 << 20};
  for (const char* sql :
       {kHungry,
        "WITH RECURSIVE c(x) AS (SELECT 'a' UNION ALL SELECT substr(x || x, 1, 100000) FROM c)"
        " SELECT x FROM c ORDER BY x",
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION SELECT x + 1 FROM c) SELECT max(x) FROM c"}) {
    const Status status = AskChild(sql, limits).status();
    EXPECT_EQ(status.code(), Code::kResourceExhausted) << sql << "\n" << status.message();
    EXPECT_NE(status.message().find("more than 8 MiB"), std::string::npos) << status.message();
  }
}

// SQLite counts for a whole process; a query answers for itself alone.
TEST_F(QueryTest, WhatOthersHoldIsNotCountedAgainstAQuery) {
  CarryOutSweep();
  void* const held = sqlite3_malloc64(64 << 20);
  const auto answer = AskChild("SELECT count(*) FROM transitions a, transitions b",
                               {.timeout_ms = 60'000, .memory_bytes_max = 8 << 20});
  EXPECT_TRUE(answer.ok()) << answer.status().message();
  EXPECT_NE(held, nullptr);
  sqlite3_free(held);
}

TEST_F(QueryTest, TheWriterGoesOnWhenAQueryMeetsTheBoundOfItsMemory) {
  CarryOutSweep();
  int n_stored = 0;
  const auto write = [&] {
    DatasetRow dataset{.info = SampleDataset(), .folder = std::string(1 << 20, 'x')};
    dataset.info.name = Str("toy-", n_stored);
    if (store->Begin().ok() && store->PutDataset(dataset).ok() && store->Commit().ok()) ++n_stored;
  };

  // Large enough that the query is at work for a while.
  const QueryLimits limits = {.timeout_ms = 60'000, .memory_bytes_max = 256 << 20};
  const auto answer = AskChild(kHungry, limits, [&] {
    if (HasWorked(getpid())) write();
    return false;
  });

  EXPECT_EQ(answer.status().code(), Code::kResourceExhausted) << answer.status().message();
  const int n_during = n_stored;
  EXPECT_GE(n_during, 1);
  write();
  EXPECT_EQ(n_stored, n_during + 1);
  EXPECT_EQ(Rows("SELECT count(*) FROM datasets"), Json::parse(Str("[[", n_stored + 1, "]]")));
}

TEST_F(QueryTest, LargeValuesAreRefused) {
  ExpectRefused("SELECT randomblob(1000000000)", Code::kPermissionDenied, "call randomblob()");
  ExpectRefused("SELECT zeroblob(1000000000)", Code::kPermissionDenied, "call zeroblob()");
  ExpectRefused("SELECT printf('%.*c', 1000000000, 'x')", Code::kPermissionDenied, "call printf()");
  ExpectRefused(
      "WITH RECURSIVE c(x) AS (SELECT 'aaaaaaaa' UNION ALL SELECT x || x FROM c)"
      " SELECT length(x) FROM c",
      Code::kResourceExhausted, "a value, or read a row, of more than 64 MiB");
  ExpectRefused(
      "WITH RECURSIVE c(n, x) AS (SELECT 1, 'aaaaaaaa' UNION ALL SELECT n + 1, x || x FROM c"
      " WHERE n < 18) SELECT x AS text FROM c WHERE n = 18",
      Code::kResourceExhausted, "column \"text\" has a value of more than 512 KiB: leave it out");
  ExpectRefused("SELECT 'a' LIKE '" + std::string(200, '%') + "'", Code::kInvalidArgument,
                "100 bytes");
  ExpectRefused("SELECT 'a' GLOB '*a*'", Code::kPermissionDenied, "call glob()");
}

// An earlier release accepted sweeps with such tasks. Every row that a view meets is read whole.
TEST_F(QueryTest, ARowOfFortyMebibytesDisturbsNoQueryThatLeavesItsListOut) {
  Take(SampleSubmission(kSweepId));
  const auto connection =
      Connection::Open(store->database_path(), Connection::Mode::kWrite).value();
  ASSERT_TRUE(connection->FindRowSums().ok());
  ASSERT_TRUE(connection->row_sums().Keep().ok());
  ASSERT_TRUE(connection
                  ->Execute("UPDATE task SET expected_cells = replace(hex(zeroblob(20971520)), '0',"
                            " ' ') || expected_cells WHERE kind = 'evaluate'")
                  .ok());

  const auto answer = AskChild("SELECT kind, count(*) FROM tasks GROUP BY kind ORDER BY kind");

  ASSERT_TRUE(answer.ok()) << answer.status().message();
  EXPECT_EQ(answer->rows_json, R"([["evaluate",2],["train",2]])");
}

TEST_F(QueryTest, AQueryThatGrowsWhileItIsPreparedIsRefusedAtOnce) {
  std::string sql = "WITH c0(x) AS (SELECT 1)";
  for (int i = 1; i <= 40; ++i) {
    sql += Str(", c", i, "(x) AS (SELECT a.x FROM c", i - 1, " a, c", i - 1, " b)");
  }
  ExpectRefused(sql + " SELECT count(*) FROM c40", Code::kInvalidArgument,
                "names defined in its WITH");
  // The same in other clothes: quoted names, comments, capitals, windows of views.
  EXPECT_EQ(ExpandedTables("WITH \"A\" AS (SELECT 1) SELECT * FROM a, [a] /* a */, `a` -- a"), 3);
  EXPECT_EQ(ExpandedTables("WITH a AS MATERIALIZED (SELECT 1), b(x, y) AS NOT MATERIALIZED "
                           "(SELECT * FROM a, a) SELECT a.x FROM b, b, b"),
            6);
  EXPECT_EQ(ExpandedTables("SELECT * FROM runs, tasks WHERE runs.run_key = 'it''s runs'"), 3);
  // Names that are spelled like punctuation, and names with quotes in them.
  EXPECT_EQ(ExpandedTables("WITH a(\")\") AS (SELECT 1) SELECT * FROM a x, a y"), 2);
  EXPECT_EQ(ExpandedTables("WITH \"a\"\"1\" AS (SELECT 1) SELECT * FROM [a\"1], `a\"1`"), 2);
  EXPECT_EQ(ExpandedTables("WITH a AS (SELECT 1) SELECT * FROM a \".\", a \"..\""), 2);
  std::string deep = "1";
  for (int i = 0; i < 200; ++i) deep += " + 1";
  ExpectRefused("SELECT " + deep, Code::kInvalidArgument, "depth");
}

TEST_F(QueryTest, RowsAndBytesAreCutAndSaidToBe) {
  const std::string numbers =
      "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 1000)";
  const auto all = Ask(numbers + " SELECT x FROM c");
  const auto some = Ask(numbers + " SELECT x FROM c", {.rows_max = 10});
  const auto exact = Ask(numbers + " SELECT x FROM c", {.rows_max = 1000});
  const auto bytes = Ask(Str(numbers, " SELECT '", std::string(1000, 'x'), "' FROM c"),
                         {.answer_bytes_max = 100'000});
  ASSERT_TRUE(all.ok() && some.ok() && exact.ok() && bytes.ok());

  const auto n_rows = [](const Result<QueryAnswer>& answer) {
    return ParseJson(answer->rows_json)->size();
  };
  EXPECT_EQ(n_rows(all), 1000u);
  EXPECT_EQ(all->cut_by, "");
  EXPECT_EQ(n_rows(some), 10u);
  EXPECT_EQ(some->cut_by, "rows");
  EXPECT_EQ(exact->cut_by, "");
  EXPECT_EQ(bytes->cut_by, "bytes");
  EXPECT_EQ(n_rows(bytes), 97u);  // of 1024 bytes each
}

// ---- in a process of its own --------------------------------------------------------------------

TEST_F(QueryTest, AChildsAnswerIsTheSameInEveryField) {
  CarryOutSweep();
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(store->database_path().c_str(), &db), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(db,
                         "UPDATE result SET n = n + 1 WHERE context_length = 64 AND attempt ="
                         " (SELECT min(attempt) FROM result)",
                         nullptr, nullptr, nullptr),
            SQLITE_OK);
  sqlite3_close(db);

  for (const char* sql :
       {"SELECT * FROM sweep_results", "SELECT * FROM transitions, runs", "SELECT 1 WHERE 0",
        "SELECT 'é\n', x'00ff', 1e999, NULL, 0.1, 9223372036854775807 AS \"a \"\"b\"",
        "SELECT json(run) FROM runs"}) {
    const auto ours = Ask(sql, {.rows_max = 5}), childs = AskChild(sql, {.rows_max = 5});
    ASSERT_TRUE(ours.ok() && childs.ok()) << sql << childs.status().message();
    EXPECT_EQ(childs->columns, ours->columns) << sql;
    EXPECT_EQ(childs->rows_json, ours->rows_json) << sql;
    EXPECT_EQ(childs->tables, ours->tables) << sql;
    EXPECT_EQ(childs->cut_by, ours->cut_by) << sql;
    EXPECT_EQ(childs->damaged, ours->damaged) << sql;
  }
  EXPECT_EQ(AskChild("SELECT * FROM sweep_results")->damaged.size(), 1u);
}

TEST_F(QueryTest, AChildsErrorIsTheSame) {
  CarryOutSweep();
  for (const std::string& sql :
       {std::string("SELECT *\n  FORM runs"), std::string("SELECT 'ü', positon FROM runs"),
        std::string("DROP VIEW results"), std::string("SELECT 1\0 FROM runs", 20),
        std::string("SELECT '\xff'"), std::string(),
        std::string("SELECT json_extract('{}', CAST(x'ff' AS TEXT))"), std::string(2 << 20, 'x'),
        std::string(kEndless)}) {
    const QueryLimits soon = {.timeout_ms = 50};
    const Status ours = Ask(sql, soon).status(), childs = AskChild(sql, soon).status();
    EXPECT_FALSE(childs.ok());
    EXPECT_EQ(childs.code(), ours.code());
    EXPECT_EQ(childs.message(), ToUtf8(ours.message()));
  }
}

TEST_F(QueryTest, ACallerThatGoesEndsItsQuery) {
  const std::int64_t begun_ms = BootMs();
  const auto answer =
      AskChild(kEndless, {.timeout_ms = 60'000}, [&] { return BootMs() > begun_ms; });

  EXPECT_EQ(answer.status().code(), Code::kCancelled);
  ExpectNoChildLeft();
}

TEST_F(QueryTest, AChildThatIsKilledIsAnErrorThatSaysSo) {
  const auto answer = AskChild(kEndless, {.timeout_ms = 60'000}, [] {
    for (const int child : ChildrenOf(getpid())) kill(child, SIGKILL);
    return false;
  });

  EXPECT_EQ(answer.status().code(), Code::kInternal);
  EXPECT_NE(answer.status().message().find("the process of the query was killed by signal 9"),
            std::string::npos)
      << answer.status().message();
  EXPECT_EQ(AskChild("SELECT 1")->rows_json, "[[1]]");
  ExpectNoChildLeft();
}

TEST_F(QueryTest, AProgramThatCannotAnswerIsNamed) {
  const auto says = [&](const std::string& program) {
    const Status status = AskQuery(program, store->database_path(), "SELECT 1", "", {}).status();
    EXPECT_EQ(status.code(), Code::kInternal) << status.message();
    return status.message();
  };
  EXPECT_EQ(says("/nowhere/program"),
            "starting the process of the query: cannot run /nowhere/program: No such file or "
            "directory");
  EXPECT_NE(says("/bin/true").find("ended with exit code 0 before it had answered"),
            std::string::npos);
  EXPECT_NE(says("/bin/false").find("ended with exit code 1 before it had answered"),
            std::string::npos);
  EXPECT_NE(says("/bin/cat").find("before it had answered"), std::string::npos);
}

// As on a machine that has too much to do.
TEST_F(QueryTest, TheStartOfItsProcessIsNotTheQuerysTime) {
  const std::string program = JoinPath(folder.path(), "slow");
  ASSERT_TRUE(
      WriteFileAtomic(program, Str("#!/bin/sh\nsleep 8\nexec '", kProgram, "' \"$@\"\n"), 0700)
          .ok());
  const auto answer =
      AskQuery(program, store->database_path(), "SELECT 1", "", {.timeout_ms = 2'000});
  ASSERT_TRUE(answer.ok()) << answer.status().message();
  EXPECT_EQ(answer->rows_json, "[[1]]");
}

TEST_F(QueryTest, SeveralQueriesRunAtOnce) {
  CarryOutSweep();
  std::vector<std::thread> threads;
  std::vector<std::string> rows(8);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    threads.emplace_back([&, i] {
      const auto answer = AskChild(Str("SELECT ", i, ", count(*) FROM tasks"));
      rows[i] = answer.ok() ? answer->rows_json : answer.status().message();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(rows[i], Str("[[", i, ",4]]"));
}

// ---- beside the rest ----------------------------------------------------------------------------

TEST_F(QueryTest, WritesGoOnWhileAQueryRuns) {
  CarryOutSweep();
  std::atomic<bool> running = false, done = false;
  std::thread endless([&] {
    const auto answer = AskChild(
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c), t AS "
        "MATERIALIZED (SELECT count(*) AS n FROM tasks) SELECT count(*) FROM c, t",
        {.timeout_ms = 60'000}, [&] {
          running = running || HasWorked(getpid());
          return done.load();
        });
    EXPECT_EQ(answer.status().code(), Code::kCancelled) << answer.status().message();
    running = true;
  });
  while (!running) std::this_thread::yield();

  // Commits and the WAL's checkpoint, under the reader's eyes.
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(store->Begin().ok());
    DatasetRow dataset{.info = SampleDataset(), .folder = "/data/toy"};
    dataset.info.name = Str("toy-", i);
    EXPECT_TRUE(store->PutDataset(dataset).ok());
    EXPECT_TRUE(store->Commit().ok());
  }
  EXPECT_TRUE(store->CheckpointWal(true).ok());
  EXPECT_EQ(Rows("SELECT count(*) FROM datasets"), Json::parse("[[21]]"));
  done = true;
  endless.join();
  EXPECT_TRUE(store->CheckpointWal(true).ok());
}

// ---- LIKE ---------------------------------------------------------------------------------------

// What SQLite's own LIKE says of the same strings, asked of it here.
TEST(LikeTest, OursSaysWhatSqlitesSays) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(":memory:", &db), SQLITE_OK);
  sqlite3_stmt* like = nullptr;
  ASSERT_EQ(sqlite3_prepare_v2(db, "SELECT ?1 LIKE ?2 ESCAPE '\\'", -1, &like, nullptr), SQLITE_OK);
  const std::vector<std::string> texts = {"",    "a",     "A",   "ab",     "aab",  "ba%",
                                          "a_b", "é",     "aé",  "abcabc", "a\\b", "日本",
                                          "%",   "xaybz", "aaa", "aXbXc",  "_"};
  const std::vector<std::string> patterns = {
      "",   "%",   "a%",  "%a",   "_",     "__",     "%b%", "a\\%", "%\\%", "a\\_b", "É",
      "_é", "%本", "A%B", "%a%b", "a%b%c", "%abc%a", "%%",  "a_%",  "_%_",  "%_b_%", "a\\\\b"};
  for (const std::string& text : texts) {
    for (const std::string& pattern : patterns) {
      sqlite3_reset(like);
      sqlite3_bind_text(like, 1, text.c_str(), -1, SQLITE_TRANSIENT);
      sqlite3_bind_text(like, 2, pattern.c_str(), -1, SQLITE_TRANSIENT);
      ASSERT_EQ(sqlite3_step(like), SQLITE_ROW);
      EXPECT_EQ(LikeMatches(pattern, text, U'\\'), sqlite3_column_int(like, 0) == 1)
          << text << " LIKE " << pattern;
    }
  }
  sqlite3_finalize(like);
  sqlite3_close(db);
}

}  // namespace
}  // namespace longrun::coordinator
