// Decides how one attempt's journal gets to the coordinator: which records are sent next, which
// have to wait for their files, and which were sent but not acknowledged. The agent does the
// sending and uploading. Time is passed in (milliseconds of BootMs()).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/status.h"
#include "sweeps/session_messages.h"
#include "worker/agent/attempt.h"
#include "worker/agent/transfer.h"

namespace longrun::agent {

// Whether the trainer has removed this checkpoint's folder, since newer ones took its place.
bool IsReplaced(const std::string& checkpoint_folder);

class JournalUplink {
 public:
  explicit JournalUplink(LocalAttempt& attempt) : attempt_(attempt) {}  // must outlive this

  enum class Next {
    kNothing,  // there is nothing to send now
    kUpload,   // the next record names files, which must arrive before it
    kBatch,
    kEnd,  // the whole journal was sent, or is not wanted
  };
  // Says what to send next. Reads further records if none is waiting.
  Next Look(std::int64_t now_ms);

  // To be called after kUpload. Uploads come one at a time: RetryUpload or NoteUploaded ends one.
  struct Upload {
    std::int64_t seq = 0;  // of the record
    Result<std::vector<LocalArtifact>> files;
    std::string replaceable = {};  // the folder of a checkpoint that is not the final one
  };
  Upload TakeUpload();
  // After a pause, which grows with each failure. Returns when.
  std::int64_t RetryUpload(std::int64_t now_ms);
  // The record is sent in any case. A trainer keeps only its last few checkpoints, so after an
  // outage the files of older ones are gone (kNotFound). The batch then says so, and the record is
  // stored but does not count.
  void NoteUploaded(std::int64_t seq, const Status& status);

  // To be called after kBatch.
  struct Batch {
    JournalBatchMessage message;
    std::vector<JournalRecord> records;  // of its lines
  };
  std::size_t batch_bytes() const;
  Batch TakeBatch();
  // The number of bytes that were sent and are not acknowledged.
  std::size_t in_flight_bytes() const;

  // To be called after kEnd. Look() does not return kEnd again before Rewind() or RepeatEnd().
  AttemptEndedMessage TakeEnd();
  void RepeatEnd() { end_sent_ = false; }

  // A new session: the coordinator has the records up to `durable_seq`.
  void Resume(std::int64_t durable_seq, bool fenced);
  // Sends the records after `durable_seq` again.
  void Rewind(std::int64_t durable_seq);
  void Acknowledge(std::int64_t durable_seq);
  // A fenced attempt's journal is not urgent: it is sent one batch at a time, without waiting for
  // files. `journal_wanted`: false if the coordinator does not know the attempt; then only its end
  // is sent.
  void Fence(bool journal_wanted);
  // The coordinator has stored the attempt's end.
  void Finish() { in_flight_.clear(); }

  bool fenced() const { return fenced_; }
  // A file differed from its record: the attempt's files stay for inspection.
  bool files_damaged() const { return files_damaged_; }

 private:
  bool WaitsForFiles(const JournalRecord& record) const;
  // The number of waiting lines in the next batch, and their bytes.
  std::pair<std::size_t, std::size_t> NextBatch() const;

  LocalAttempt& attempt_;
  bool fenced_ = false;
  bool unwanted_ = false;
  bool files_damaged_ = false;
  bool uploading_ = false;
  std::int64_t upload_again_ms_ = 0;
  std::int64_t upload_pause_ms_ = 0;
  // By seq, the records whose upload has ended: true if the files are in the store, false if they
  // could not be uploaded (missing or damaged on this machine).
  std::map<std::int64_t, bool> uploaded_;
  std::deque<std::pair<std::int64_t, std::size_t>> in_flight_;  // last seq, bytes
  bool end_sent_ = false;
  RepeatedError not_read_;
};

}  // namespace longrun::agent
