// The way of one attempt's journal to the coordinator: what is sent next, what has to wait for its
// files, and what was sent but is not acknowledged. It decides; the agent sends and uploads. Time
// is passed in (milliseconds of BootMs()).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "base/status.h"
#include "sweeps/session_messages.h"
#include "worker/agent/attempt.h"
#include "worker/agent/transfer.h"

namespace longrun::agent {

class JournalUplink {
 public:
  explicit JournalUplink(LocalAttempt& attempt) : attempt_(attempt) {}  // must outlive this

  enum class Next {
    kNothing,  // to send now
    kUpload,   // the next record names files, which must arrive before it
    kBatch,
    kEnd,  // the whole journal was sent, or is not wanted
  };
  // Reads further records if none is waiting.
  Next Look(std::int64_t now_ms);

  // After kUpload. One upload at a time: RetryUpload or NoteUploaded ends it.
  struct Upload {
    std::int64_t seq = 0;  // of the record
    Result<std::vector<LocalArtifact>> files;
  };
  Upload TakeUpload();
  void RetryUpload(std::int64_t at_ms);
  // The record is sent in any case. A trainer keeps only its last few checkpoints, so after an
  // outage the files of older ones are gone (kNotFound): the record says so, and is stored but does
  // not count.
  void NoteUploaded(std::int64_t seq, const Status& status);

  // After kBatch.
  struct Batch {
    JournalBatchMessage message;
    std::vector<JournalRecord> records;  // of its lines
  };
  std::size_t batch_bytes() const;
  Batch TakeBatch();
  // Sent and not acknowledged.
  std::size_t in_flight_bytes() const;

  // After kEnd, which then does not come again before Rewind or RepeatEnd.
  AttemptEndedMessage TakeEnd();
  void RepeatEnd() { end_sent_ = false; }

  // A new session: the coordinator has the records up to `durable_seq`.
  void Resume(std::int64_t durable_seq, bool fenced);
  // Sends the records after `durable_seq` again.
  void Rewind(std::int64_t durable_seq);
  void Acknowledge(std::int64_t durable_seq);
  // A fenced attempt's journal is not urgent: one batch at a time, without waiting for files.
  // `journal_wanted`: false if the coordinator does not know the attempt; then only its end is
  // sent.
  void Fence(bool journal_wanted);
  // The coordinator has stored the attempt's end.
  void Finish() { in_flight_.clear(); }

  bool fenced() const { return fenced_; }
  // A file differed from its record: the attempt's files stay for inspection.
  bool files_damaged() const { return files_damaged_; }

 private:
  bool WaitsForFiles(const JournalRecord& record) const;
  // How many of the waiting lines the next batch has, and their bytes.
  std::pair<std::size_t, std::size_t> NextBatch() const;

  LocalAttempt& attempt_;
  bool fenced_ = false;
  bool unwanted_ = false;
  bool files_damaged_ = false;
  bool uploading_ = false;
  std::int64_t upload_again_ms_ = 0;
  // Records whose files were sent: true if they are in the store, false if they are gone here.
  std::map<std::int64_t, bool> uploaded_;
  std::deque<std::pair<std::int64_t, std::size_t>> in_flight_;  // last seq, bytes
  bool end_sent_ = false;
};

}  // namespace longrun::agent
