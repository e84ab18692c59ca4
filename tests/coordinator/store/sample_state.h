// A state folder in which the sample sweep has run to its end, with the files that its database
// names: for tests of backups.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/str.h"
#include "coordinator/store/artifacts.h"
#include "coordinator/store/store.h"
#include "tests/coordinator/sample.h"

namespace longrun::coordinator {

inline constexpr const char* kSampleSweepId = "01BX5ZZKBKACTAV9WEVGEMMVRZ";

// Runs steps against a store, as the core does.
class SampleState {
 public:
  explicit SampleState(std::string folder) : folder_(std::move(folder)) {}

  const std::string& folder() const { return folder_; }
  State state;

  void Open() {
    auto opened = Store::Open(folder_);
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    store_ = std::move(opened).value();
    auto loaded = store_->Load();
    ASSERT_TRUE(loaded.ok()) << loaded.status().message();
    state = std::move(loaded).value();
    AfterLoad(state, now_, 1);
  }
  void Close() {
    ASSERT_TRUE(store_->CheckpointWal(true).ok());
    store_.reset();
  }
  Store& store() { return *store_; }

  StepResult Do(const SchedulerEvent& event) {
    now_ += 10;
    StepResult result = Step(state, event, now_, 1'700'000'000'000 + now_);
    for (const Command& command : result.commands) commands_.push_back(command);
    EXPECT_TRUE(store_->Begin().ok());
    ApplyCounts counts;
    const Status status = store_->Apply(result.writes, 1'700'000'000'000 + now_, counts);
    EXPECT_TRUE(status.ok()) << status.message();
    EXPECT_TRUE(store_->Commit().ok());
    return result;
  }

  // Carries out what was placed, up to `n_tasks` tasks.
  void CarryOut(std::size_t n_tasks = 1000) {
    while (!commands_.empty() && n_tasks > 0) {
      const Command command = std::move(commands_.back());
      commands_.pop_back();
      const auto* const start = std::get_if<SendStart>(&command);
      if (start == nullptr) continue;
      n_tasks -= 1;
      const TaskFile& task = start->task;
      Do(AttemptAccepted{.session = 1, .attempt = task.attempt, .epoch = task.epoch});
      std::vector<BatchRecord> journal = SampleJournal(task);
      for (BatchRecord& record : journal) record.bytes_stored = true;
      const auto n_records = static_cast<std::int64_t>(journal.size());
      Do(JournalReceived{.session = 1,
                         .attempt = task.attempt,
                         .epoch = task.epoch,
                         .first_seq = 1,
                         .records = std::move(journal)});
      AttemptFinished end = SampleEnd(task, n_records);
      end.session = 1;
      Do(end);
      Do(TimePassed{});
    }
  }

  // The bytes that the sample's checkpoints name (SampleJournal).
  void PutArtifact() {
    auto artifacts = ArtifactStore::Open({.folder = JoinPath(folder_, "artifacts")});
    ASSERT_TRUE(artifacts.ok());
    auto upload = (*artifacts)->Begin(Sha256Hex("manifest"), 8);
    ASSERT_TRUE(upload.ok());
    ASSERT_TRUE((*upload)->Write("manifest").ok());
    ASSERT_TRUE((*upload)->Finish().ok());
  }
  std::string ArtifactPath() const {
    const std::string sha256 = Sha256Hex("manifest");
    return JoinPath(folder_, Str("artifacts/", sha256.substr(0, 2), "/", sha256));
  }
  // A file that a sweep named.
  void PutKeptFile(const std::string& bytes) {
    ASSERT_TRUE(MakeFolders(JoinPath(folder_, "files"), 0700).ok());
    ASSERT_TRUE(WriteFileAtomic(JoinPath(folder_, Str("files/", Sha256Hex(bytes))), bytes).ok());
  }

  void RunTheSample() {
    PutArtifact();
    PutKeptFile("questions");
    Open();
    Do(SampleSubmission(kSampleSweepId));
    Do(WorkerArrived{.session = 1, .worker = SampleWorker(), .attempts = {}});
    CarryOut();
    ASSERT_EQ(SweepStateName(state, kSampleSweepId), "SUCCEEDED");
    Close();
  }

 private:
  std::string folder_;
  std::unique_ptr<Store> store_;
  std::vector<Command> commands_;  // not looked at yet
  Instant now_ = 1000;
};

}  // namespace longrun::coordinator
