// What an attempt's journal sends next, without a session: the test answers for the coordinator.
#include "worker/agent/journal_uplink.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>

#include "base/files.h"
#include "tests/worker/agent/tasks.h"

namespace longrun::agent {
namespace {

using Next = JournalUplink::Next;

constexpr std::int64_t kNow = 1000;

// An attempt whose trainer has ended. Its journal: started, checkpoint, series, artifact, failed.
class JournalUplinkTest : public testing::Test {
 protected:
  JournalUplinkTest() {
    const TaskFile task = TestTrainTask(1, 7, Execution{});
    folder.path = JoinPath(state.path(), task.attempt);
    LR_CHECK(MakeFolders(folder.path).ok());
    LR_CHECK(WriteFileAtomic(folder.TaskFilePath(), CanonicalJson(task.ToJson())).ok());
    LR_CHECK(WriteAcked(folder, {}).ok());
    LR_CHECK(WriteExit(folder, {.code = 82, .signal = 0}).ok());
    JournalWriter writer = JournalWriter::Create(folder.Journal()).value();
    LR_CHECK(writer.Append(RecordKind::kStarted, Json::object()).ok());
    LR_CHECK(
        writer
            .Append(
                RecordKind::kCheckpoint,
                {{"path", "checkpoints/5"},
                 {"files",
                  {{{"name", "manifest.json"}, {"sha256", Sha256Hex("manifest")}, {"bytes", 8}}}}})
            .ok());
    LR_CHECK(writer.Append(RecordKind::kSeries, {{"loss", 1.5}}, 5).ok());
    LR_CHECK(writer
                 .Append(ArtifactRecord{
                     .name = "map", .path = "../other", .sha256 = Sha256Hex("map"), .n_bytes = 3})
                 .ok());
    LR_CHECK(writer.Append(RecordKind::kFailed, {{"class", "storage"}, {"message", "full"}}).ok());
    attempt = LocalAttempt::Adopt(folder).value();
    uplink.emplace(*attempt);
  }

  // The record numbers of the next batch, which must be due.
  std::vector<std::int64_t> SendBatch() {
    EXPECT_EQ(uplink->Look(kNow), Next::kBatch);
    const std::size_t n_bytes = uplink->batch_bytes();
    const JournalUplink::Batch batch = uplink->TakeBatch();
    std::vector<std::int64_t> seqs;
    std::size_t n_sent = 0;
    for (const JournalRecord& record : batch.records) seqs.push_back(record.seq);
    for (const std::string& line : batch.message.lines) n_sent += line.size();
    EXPECT_EQ(n_sent, n_bytes);
    EXPECT_EQ(batch.message.first_seq, seqs.front());
    without_files = batch.message.without_files;
    return seqs;
  }
  void Upload(const Status& status) {
    ASSERT_EQ(uplink->Look(kNow), Next::kUpload);
    uplink->NoteUploaded(uplink->TakeUpload().seq, status);
  }

  using Seqs = std::vector<std::int64_t>;

  TempFolder state;
  AttemptFolder folder;
  std::unique_ptr<LocalAttempt> attempt;
  std::optional<JournalUplink> uplink;
  Seqs without_files;  // of the newest batch
};

TEST_F(JournalUplinkTest, RecordThatNamesFilesWaitsForThem) {
  EXPECT_EQ(SendBatch(), Seqs{1});
  ASSERT_EQ(uplink->Look(kNow), Next::kUpload);
  const JournalUplink::Upload upload = uplink->TakeUpload();
  ASSERT_TRUE(upload.files.ok());
  ASSERT_EQ(upload.files->size(), 1u);
  EXPECT_EQ(upload.files->front().path, folder.path + "/checkpoints/5/manifest.json");
  EXPECT_EQ(uplink->Look(kNow), Next::kNothing);

  uplink->NoteUploaded(upload.seq, Status());

  EXPECT_EQ(SendBatch(), (Seqs{2, 3}));
  EXPECT_EQ(without_files, Seqs());
}

TEST_F(JournalUplinkTest, UploadThatFailsForNowIsTriedAgainAfterAPauseThatGrows) {
  SendBatch();
  std::int64_t now_ms = kNow;
  for (const std::int64_t pause_ms : {1000, 2000, 4000, 8000, 16'000, 30'000, 30'000}) {
    ASSERT_EQ(uplink->Look(now_ms), Next::kUpload);
    (void)uplink->TakeUpload();
    EXPECT_EQ(uplink->RetryUpload(now_ms), now_ms + pause_ms);
    now_ms += pause_ms;
    EXPECT_EQ(uplink->Look(now_ms - 1), Next::kNothing);
  }
  // A new session is a new chance.
  uplink->Resume(1, false);
  EXPECT_EQ(uplink->Look(now_ms - 1), Next::kUpload);
}

TEST_F(JournalUplinkTest, RecordWhoseFilesAreGoneIsSentWithoutThem) {
  SendBatch();
  Upload(Status(Code::kNotFound, "the trainer removed it"));

  EXPECT_EQ(SendBatch(), (Seqs{2, 3}));
  EXPECT_EQ(without_files, Seqs{2});
  EXPECT_FALSE(uplink->files_damaged());
}

TEST_F(JournalUplinkTest, PathOutOfTheAttemptsFolderIsNotUploaded) {
  SendBatch();
  Upload(Status());
  SendBatch();
  ASSERT_EQ(uplink->Look(kNow), Next::kUpload);

  const JournalUplink::Upload upload = uplink->TakeUpload();

  EXPECT_EQ(upload.seq, 4);
  ASSERT_FALSE(upload.files.ok());
  EXPECT_NE(upload.files.status().message().find("leads out"), std::string::npos)
      << upload.files.status().message();
  uplink->NoteUploaded(upload.seq, Status(Code::kDataLoss, upload.files.status().message()));
  EXPECT_TRUE(uplink->files_damaged());
  EXPECT_EQ(SendBatch(), (Seqs{4, 5}));
  EXPECT_EQ(without_files, Seqs{4});
}

TEST_F(JournalUplinkTest, EndComesOnceAfterTheWholeJournalAndAgainWhenItIsAsked) {
  SendBatch();
  Upload(Status());
  SendBatch();
  Upload(Status());
  EXPECT_EQ(SendBatch(), (Seqs{4, 5}));

  ASSERT_EQ(uplink->Look(kNow), Next::kEnd);
  const AttemptEndedMessage ended = uplink->TakeEnd();

  EXPECT_EQ(ended.last_seq, 5);
  EXPECT_TRUE(ended.exit_known);
  EXPECT_EQ(ended.exit_code, 82);
  EXPECT_EQ(uplink->Look(kNow), Next::kNothing);
  uplink->RepeatEnd();
  EXPECT_EQ(uplink->Look(kNow), Next::kEnd);
}

TEST_F(JournalUplinkTest, RewindSendsAgainAndAsksForTheFilesAgain) {
  SendBatch();
  Upload(Status());
  SendBatch();
  EXPECT_GT(uplink->in_flight_bytes(), 0u);

  uplink->Rewind(1);

  EXPECT_EQ(uplink->in_flight_bytes(), 0u);
  Upload(Status());
  EXPECT_EQ(SendBatch(), (Seqs{2, 3}));
}

TEST_F(JournalUplinkTest, AcknowledgedBatchesAreNoLongerInFlight) {
  SendBatch();
  const std::size_t first_bytes = uplink->in_flight_bytes();
  Upload(Status());
  SendBatch();
  const std::size_t both_bytes = uplink->in_flight_bytes();

  uplink->Acknowledge(1);
  EXPECT_EQ(uplink->in_flight_bytes(), both_bytes - first_bytes);
  uplink->Acknowledge(2);  // a part of the second batch
  EXPECT_EQ(uplink->in_flight_bytes(), both_bytes - first_bytes);
  uplink->Acknowledge(3);
  EXPECT_EQ(uplink->in_flight_bytes(), 0u);
  EXPECT_EQ(attempt->acked().durable_seq, 3);
}

TEST_F(JournalUplinkTest, FencedJournalGoesBatchByBatchWithoutItsFiles) {
  uplink->Fence(/*journal_wanted=*/true);

  EXPECT_EQ(SendBatch(), (Seqs{1, 2, 3, 4, 5}));
  EXPECT_EQ(uplink->Look(kNow), Next::kNothing);
  uplink->Acknowledge(5);
  EXPECT_EQ(uplink->Look(kNow), Next::kEnd);
}

TEST_F(JournalUplinkTest, OfAnUnwantedJournalOnlyTheEndIsSent) {
  SendBatch();

  uplink->Fence(/*journal_wanted=*/false);

  EXPECT_EQ(uplink->Look(kNow), Next::kEnd);
  EXPECT_EQ(uplink->in_flight_bytes(), 0u);
  // A new session may want it again.
  uplink->Resume(0, /*fenced=*/false);
  EXPECT_EQ(SendBatch(), Seqs{1});
}

}  // namespace
}  // namespace longrun::agent
