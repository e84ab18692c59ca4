// Rows of an earlier version are measured again with real daemons: only evaluated, from the final
// checkpoint; nothing is lost when everything is killed meanwhile; and the second time nothing
// happens. The trainer is the fake one: its behaviour file says which version's rows it writes, and
// a gate holds it at work.
#include <gtest/gtest.h>
#include <signal.h>

#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "base/str.h"
#include "tests/crash/service.h"
#include "tests/deadline.h"
#include "tests/wait_until.h"

namespace longrun {
namespace {

constexpr std::int64_t kEndMs = DeadlineMs(60'000);

class RefreshTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(
        WriteFileAtomic(service.At("trainer"),
                        Str("#!/bin/sh\nexec ", LONGRUN_BIN_DIR, "/longrun-fake-trainer \"$@\"\n"),
                        0755)
            .ok());
    Behave(R"({"default": {"text_error": "window"}})");
    service.ImportWords();
    service.WriteSweep("words", {.steps = 20, .positions = {"cable", "rope"}});
    service.Start();
    ASSERT_EQ(service.Client({"submit", service.At("words.yaml")}), 0) << service.Logs();
    AwaitState("SUCCEEDED");
    before = Numbers();
    ASSERT_EQ(service.Client({"table", "words", "-o", "csv"}, &table), 0);
    ASSERT_EQ(Count("task.kind = 'train'"), "2");
    ASSERT_EQ(Count("task.kind = 'evaluate'"), "2");
    ASSERT_EQ(WithBlocks(), "0");
  }

  void Behave(const std::string& behaviour) {
    const std::string cache = JoinPath(service.state(), "worker/cache");
    ASSERT_TRUE(MakeFolders(cache, 0700).ok());
    ASSERT_TRUE(WriteFileAtomic(JoinPath(cache, "behaviour.json"), behaviour).ok());
  }
  std::string gate() const { return JoinPath(service.state(), "worker/cache/gate"); }
  // From here on trainers write this version's rows, and wait before each.
  void HoldTrainers() {
    ASSERT_TRUE(WriteFileAtomic(gate(), "").ok());
    Behave(R"({"default": {"text_error": "block", "gate": "gate"}})");
  }
  void LetTrainersGo() { ASSERT_TRUE(RemoveAll(gate()).ok()); }

  // An `ok` answer of a verb with JSON.
  Json Ask(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"-o", "json"});
    std::string text;
    EXPECT_EQ(service.Client(std::move(arguments), &text), 0) << service.Logs();
    const Result<Json> json = ParseJson(text);
    EXPECT_TRUE(json.ok()) << text;
    return json.ok() ? *json : Json::object();
  }
  Json Refresh() { return Ask({"submit", service.At("words.yaml"), "--refresh-errors"}); }
  Json Plan() { return Ask({"plan", service.At("words.yaml"), "--refresh-errors"}).at("refresh"); }

  // "nll at 32 of cable: 26200.5", ...: every number that counts.
  std::string Numbers() {
    return Query(
        service,
        "SELECT group_concat(said, '; ') FROM (SELECT metric || ' at ' || context_length ||"
        " ' ' || ifnull(variant, '') || ' of ' || position || ': ' || nll_sum AS said"
        " FROM results ORDER BY 1)");
  }
  std::string Count(const std::string& which) {
    return Query(service, Str("SELECT count(*) FROM attempt JOIN task ON task.id = attempt.task"
                              " WHERE ",
                              which));
  }
  std::string WithBlocks() {
    return Query(service,
                 "SELECT count(*) FROM results WHERE json_extract(extra, '$.blocks') IS NOT NULL");
  }
  void AwaitState(const std::string& state) {
    ASSERT_TRUE(WaitUntil(kEndMs, [&] { return service.SweepState("words") == state; }))
        << service.SweepState("words") << service.Logs();
  }
  void AwaitEvaluation() {
    ASSERT_TRUE(WaitUntil(kEndMs, [&] {
      return Count("task.kind = 'evaluate' AND attempt.state = 'RUNNING'") != "0";
    })) << service.Logs();
  }

  TempFolder folder;
  Service service{folder.path()};
  std::string before, table;
};

TEST_F(RefreshTest, KillingEverythingMeanwhileLosesNothing) {
  EXPECT_EQ(Plan().at("cells"), 6);
  HoldTrainers();
  const Json submitted = Refresh();
  EXPECT_EQ(submitted.at("refresh").at("cells"), 6);
  EXPECT_EQ(submitted.at("counts").at("train_tasks_new"), 0);
  AwaitEvaluation();
  EXPECT_EQ(Numbers(), before);  // while it is measured again
  std::string csv;
  EXPECT_EQ(service.Client({"table", "words", "-o", "csv"}, &csv), 8);
  EXPECT_EQ(csv, table);

  service.KillCoordinator();
  service.KillWorker();
  for (const int pid : service.Processes()) kill(pid, SIGKILL);
  EXPECT_EQ(Numbers(), before);

  LetTrainersGo();
  service.Start();
  AwaitState("SUCCEEDED");
  EXPECT_EQ(Numbers(), before);
  EXPECT_EQ(WithBlocks(), "12");
  EXPECT_EQ(Count("task.kind = 'train'"), "2");
  EXPECT_EQ(
      Query(service,
            "SELECT count(*) FROM task WHERE reason LIKE '% those of attempt 1, bit for bit'"),
      "2");

  const std::string attempts = Count("1");
  EXPECT_EQ(Plan().at("cells"), 0);
  EXPECT_EQ(Refresh().at("refresh").at("tasks").size(), 0u);
  EXPECT_EQ(service.SweepState("words"), "SUCCEEDED");
  EXPECT_EQ(Count("1"), attempts);
  EXPECT_EQ(service.Stop(), (std::pair{0, 0})) << service.Logs();
}

TEST_F(RefreshTest, ACancelledOneKeepsTheNumbersAndTheStateOfTheSweep) {
  HoldTrainers();
  Refresh();
  AwaitEvaluation();

  ASSERT_EQ(service.Client({"cancel", "words"}), 0) << service.Logs();
  LetTrainersGo();
  AwaitState("SUCCEEDED");

  EXPECT_EQ(Numbers(), before);
  EXPECT_EQ(Plan().at("cells"), 6);
  const std::string attempts = Count("1");
  ASSERT_EQ(service.Client({"submit", service.At("words.yaml")}), 0) << service.Logs();
  EXPECT_EQ(service.SweepState("words"), "SUCCEEDED");  // not asked for
  EXPECT_EQ(Count("1"), attempts);
}

TEST_F(RefreshTest, WithoutTheCheckpointItSaysSoAndTrainsNothing) {
  // Of each run, one file.
  for (const char* const run : {"cable", "rope"}) {
    const std::string sha256 =
        Query(service, Str("SELECT f.sha256 FROM checkpoint_file f JOIN checkpoint c ON c.sha256 ="
                           " f.checkpoint JOIN task t ON t.id = c.task JOIN run ON run.run_key ="
                           " t.run_key WHERE c.is_final AND f.name = 'model.safetensors' AND"
                           " run.position = '",
                           run, "'"));
    ASSERT_EQ(sha256.size(), 64u) << run;
    ASSERT_TRUE(
        RemoveAll(JoinPath(service.state(), Str("artifacts/", sha256.substr(0, 2), "/", sha256)))
            .ok());
  }

  const Json refresh = Refresh().at("refresh");

  EXPECT_EQ(refresh.at("cells"), 0);
  ASSERT_EQ(refresh.at("impossible").size(), 2u);
  const auto said = refresh.at("impossible").at(0).get<std::string>();
  EXPECT_NE(said.find("nll at 32, 64, 128: the run's final checkpoint was removed"),
            std::string::npos)
      << said;
  EXPECT_NE(said.find("first train the run again (`longrun retry "), std::string::npos) << said;
  EXPECT_EQ(service.SweepState("words"), "SUCCEEDED");
  EXPECT_EQ(Count("1"), "4");
  EXPECT_EQ(Numbers(), before);
}

// With --set, the command names another sweep, one of whose runs is new.
TEST_F(RefreshTest, ASweepThatSharesCellsMeasuresThemAgainForBothSweeps) {
  Behave(R"({"default": {"text_error": "block"}})");
  const Json submitted = Ask({"submit", service.At("words.yaml"), "--set", "metadata.name=other",
                              "--set", "position=[cable, alibi]", "--refresh-errors"});
  EXPECT_EQ(submitted.at("refresh").at("cells"), 3);
  EXPECT_EQ(submitted.at("counts").at("train_tasks_new"), 1);
  ASSERT_TRUE(WaitUntil(kEndMs, [&] { return service.SweepState("other") == "SUCCEEDED"; }));

  EXPECT_EQ(WithBlocks(), "12");  // 6 of cable, and 6 of alibi
  EXPECT_EQ(service.SweepState("words"), "SUCCEEDED");
  EXPECT_EQ(Plan().at("cells"), 3);  // those of rope
}

}  // namespace
}  // namespace longrun
