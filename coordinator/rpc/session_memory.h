// The memory that worker sessions take together: messages that were received and not yet answered,
// and messages that wait to be sent. Each session has a limit of its own (session.cc); this one
// keeps many sessions from using up the coordinator's memory.
//
// Each caller has an equal share. Once all sessions together take more than the limit, the
// coordinator reads nothing more from callers that take more than their share, until there is room
// again. All others go on. So at most twice the limit is taken, and one message of each session.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/status.h"

namespace longrun::coordinator {

class SessionMemory {
 public:
  // `unread_ms_max`: a session of a caller above its share ends if its worker has read nothing for
  // so long, although messages wait for it.
  explicit SessionMemory(std::int64_t bytes_max, std::int64_t unread_ms_max = 10'000)
      : bytes_max_(bytes_max), unread_ms_max_(unread_ms_max) {}
  std::int64_t unread_ms_max() const { return unread_ms_max_; }

  // What the sessions of one caller take together.
  class Account {
   public:
    Account(SessionMemory& memory, std::string caller);
    ~Account();  // what it still has is free
    Account(const Account&) = delete;
    Account& operator=(const Account&) = delete;

    void Add(std::int64_t n_bytes);  // below 0: they are free again
    bool IsOverShare() const;
    // kResourceExhausted, for a session that is ended because of its share.
    Status Refusal() const;

   private:
    friend class SessionMemory;
    SessionMemory& memory_;
    const std::string caller_;
    std::int64_t n_bytes_ = 0;  // guarded by memory_.mutex_
  };
  // All sessions of a caller have the same account. "": a caller of one session only.
  std::shared_ptr<Account> AccountOf(const std::string& caller);

  std::int64_t n_bytes() const;

 private:
  std::int64_t Share() const { return bytes_max_ / std::max<std::int64_t>(n_accounts_, 1); }

  const std::int64_t bytes_max_, unread_ms_max_;
  mutable std::mutex mutex_;  // guards everything below
  std::int64_t n_bytes_ = 0;
  std::int64_t n_accounts_ = 0;
  std::map<std::string, std::weak_ptr<Account>> by_caller_;
};

}  // namespace longrun::coordinator
