// Copies of trainers' logs, for people: STATE/logs/ATTEMPT.log. Best effort and bounded: only a
// copy can be lost, and after kLogBytesMax no more is kept for an attempt.
//
// May be called from any thread.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace longrun::coordinator {

inline constexpr std::int64_t kLogBytesMax = 1 << 20;

class LogStore {
 public:
  explicit LogStore(std::string folder) : folder_(std::move(folder)) {}  // STATE/logs

  // Appends the bytes of the worker's file from `offset` on. Skips bytes that are already here, and
  // mentions a gap in the text. kInvalidArgument if `attempt` is not a ULID.
  Status Append(const std::string& attempt, std::int64_t offset, std::string_view bytes);
  // Reads our copy from an offset, at most bytes_max; "" at its end, and if there is no log.
  Result<std::string> Read(const std::string& attempt, std::int64_t offset,
                           std::size_t bytes_max) const;

  struct Log {
    std::string attempt;
    std::int64_t n_bytes = 0;
  };
  Result<std::vector<Log>> List() const;  // by attempt
  // Also succeeds if there is none.
  Status Remove(const std::string& attempt);

 private:
  Result<std::string> PathOf(const std::string& attempt) const;

  std::string folder_;
  std::mutex mutex_;                          // guards next_ and the order of writes
  std::map<std::string, std::int64_t> next_;  // attempt -> next byte of the worker's file
};

}  // namespace longrun::coordinator
