// See session_memory.h.
#include "coordinator/rpc/session_memory.h"

#include <utility>

#include "base/str.h"

namespace longrun::coordinator {

SessionMemory::Account::Account(SessionMemory& memory, std::string caller)
    : memory_(memory), caller_(std::move(caller)) {
  const std::lock_guard lock(memory_.mutex_);
  memory_.n_accounts_ += 1;
}

SessionMemory::Account::~Account() {
  const std::lock_guard lock(memory_.mutex_);
  memory_.n_accounts_ -= 1;
  memory_.n_bytes_ -= n_bytes_;
  const auto known = memory_.by_caller_.find(caller_);
  if (known != memory_.by_caller_.end() && known->second.expired()) {
    memory_.by_caller_.erase(known);
  }
}

void SessionMemory::Account::Add(std::int64_t n_bytes) {
  const std::lock_guard lock(memory_.mutex_);
  n_bytes_ += n_bytes;
  memory_.n_bytes_ += n_bytes;
}

bool SessionMemory::Account::IsOverShare() const {
  const std::lock_guard lock(memory_.mutex_);
  return memory_.n_bytes_ > memory_.bytes_max_ && n_bytes_ > memory_.Share();
}

Status SessionMemory::Account::Refusal() const {
  const std::lock_guard lock(memory_.mutex_);
  return Status(
      Code::kResourceExhausted,
      Str("the messages of ", caller_.empty() ? "this session" : caller_, " take ", n_bytes_,
          " bytes of the coordinator's memory, more than its share of ", memory_.Share(),
          ", and all sessions together take ", memory_.n_bytes_, " of at most ", memory_.bytes_max_,
          ": the worker does not read its messages; start it again, or start the coordinator with "
          "larger --session-memory-bytes"));
}

std::shared_ptr<SessionMemory::Account> SessionMemory::AccountOf(const std::string& caller) {
  if (caller.empty()) return std::make_shared<Account>(*this, caller);
  std::shared_ptr<Account> known;
  {
    const std::lock_guard lock(mutex_);
    known = by_caller_[caller].lock();
  }
  if (known != nullptr) return known;
  known = std::make_shared<Account>(*this, caller);
  const std::lock_guard lock(mutex_);
  // Another session of the caller may have begun at the same time: both have an account then.
  by_caller_[caller] = known;
  return known;
}

std::int64_t SessionMemory::n_bytes() const {
  const std::lock_guard lock(mutex_);
  return n_bytes_;
}

}  // namespace longrun::coordinator
