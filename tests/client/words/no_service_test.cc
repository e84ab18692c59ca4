// Sweeps on which no service works are never said to run.
#include "client/words/no_service.h"

#include <gtest/gtest.h>

#include <utility>

#include "base/files.h"
#include "base/host_name.h"
#include "base/str.h"
#include "client/words/sweep_view.h"
#include "sweeps/worker_id.h"

namespace longrun::client {
namespace {

void AddTask(v1::RunInfo& run, const char* state, const char* worker) {
  v1::TaskInfo& task = *run.add_tasks();
  task.set_kind("train");
  task.set_task("7a6b5c4d");
  task.set_state(state);
  task.set_worker(worker);
  task.set_attempts(1);
  task.set_reason("attempt 1 runs on worker box-1");
  task.add_attempt_list()->set_state(state);
}

void AddNotice(v1::GetSweepResponse& message, const char* about, const char* text) {
  v1::Notice& notice = *message.add_notices();
  notice.set_about(about);
  notice.set_text(text);
}

v1::GetSweepResponse Message() {
  v1::GetSweepResponse message;
  v1::SweepInfo& info = *message.mutable_info();
  info.set_name("a");
  info.set_state("RUNNING");
  info.set_tasks(2);
  info.set_tasks_succeeded(1);
  info.set_tasks_running(1);
  v1::RunInfo& run = *message.add_runs();
  run.set_run_key("1a2b3c4d");
  run.set_axes_json(R"({"position": "rope", "train_length": 64})");
  AddTask(run, "RUNNING", "box-1");
  AddTask(run, "SUCCEEDED", "");
  AddNotice(message, "worker box-1", "has not come back");
  AddNotice(message, "disk", "full");
  return message;
}

TEST(NoServiceTest, NothingRunsAndWorkersAreNotWaitedFor) {
  v1::GetSweepResponse message = Message();
  ShowInterrupted(message);
  const std::string json = CanonicalJson(ToJson(message));
  EXPECT_EQ(json.find("RUNNING"), std::string::npos) << json;
  EXPECT_EQ(message.info().state(), "INTERRUPTED");
  EXPECT_EQ(message.runs(0).tasks(0).state(), "INTERRUPTED");
  EXPECT_EQ(message.runs(0).tasks(0).reason(), "attempt 1 began on worker box-1");
  EXPECT_EQ(message.runs(0).tasks(1).state(), "SUCCEEDED");
  ASSERT_EQ(message.notices_size(), 1);
  EXPECT_EQ(message.notices(0).about(), "disk");
  EXPECT_EQ(RenderProgress(message),
            "a INTERRUPTED  1 of 2 tasks done, 1 interrupted, 0 failed\n"
            "position  train_length    now                loss  tokens/s  ETA\n"
            "rope      64              train interrupted\n");
}

TEST(NoServiceTest, TheNewestWordOfAWorkerIsToldWithWhatGoesOn) {
  v1::ListWorkersResponse answer;
  for (const auto& [id, heard_wall_ms] :
       {std::pair("box-1", 1767323045000), std::pair("box-2", 1767323044000),
        std::pair("box-3", std::int64_t{0})}) {
    v1::WorkerInfo& worker = *answer.add_workers();
    worker.set_worker_id(id);
    worker.set_host("elsewhere.example.org");
    worker.set_heard_wall_ms(heard_wall_ms);
  }
  const TempFolder state;
  const auto expected = [&](std::string_view hint) {
    return Str("no service runs on ", state.path(),
               "; worker box-1 was last heard from at 2026-01-02T03:04:05Z: `longrun up` continues "
               "all work",
               hint, "; `longrun run FILE` continues only the sweep in FILE");
  };
  const std::string id_path = JoinPath(state.path(), "worker/worker_id");
  ASSERT_TRUE(MakeFolders(FolderOf(id_path)).ok());
  ASSERT_TRUE(WriteFileAtomic(id_path, WorkerIdText("box-1")).ok());
  EXPECT_EQ(NoServiceText(answer.workers(), state.path()), expected(""));
  // The worker is on another machine.
  ASSERT_TRUE(WriteFileAtomic(id_path, WorkerIdText("box-2")).ok());
  EXPECT_EQ(NoServiceText(answer.workers(), state.path()),
            expected(" (with --listen HOST:PORT if that worker is to join again)"));
  // A second worker of this machine, with a folder of its own, uses the socket.
  answer.mutable_workers(0)->set_host(HostName());
  EXPECT_EQ(NoServiceText(answer.workers(), state.path()), expected(""));
  const std::string attempt = JoinPath(state.path(), "worker/attempts/01ABC");
  ASSERT_TRUE(MakeFolders(attempt).ok());
  EXPECT_EQ(TrainersAtWork(state.path()), 0);
  EXPECT_EQ(TrainersGoOnText(state.path()),
            Str("no service is running for ", state.path(),
                ": `longrun up` starts one, which ends the tasks that are stopping; none of their "
                "trainers runs here any more"));
  const Result<FileLock> shim = FileLock::Acquire(JoinPath(attempt, "shim.lock"), "a shim");
  ASSERT_TRUE(shim.ok());
  EXPECT_EQ(TrainersAtWork(state.path()), 1);
  EXPECT_EQ(TrainersGoOnText(state.path()),
            Str("no service is running for ", state.path(),
                ", so its trainers keep running: `longrun up` starts a service, which stops them"));
  EXPECT_TRUE(
      NoServiceText(Repeated<v1::WorkerInfo>(), state.path())
          .starts_with(Str("no service runs on ", state.path(),
                           ", but 1 of its trainers still runs, and the next service stores "
                           "what it reports: `longrun up` continues all work")));
  EXPECT_EQ(NoServiceText(Repeated<v1::WorkerInfo>(), "/state"),
            "no service runs on /state: `longrun up` continues all work; `longrun run FILE` "
            "continues only the sweep in FILE");
}

}  // namespace
}  // namespace longrun::client
