// A log line is an event with fields, on stderr:
//
//   I 2026-11-20T08:03:46.123Z attempt_started task=3f2a91c0 worker=gpu-1 devices=0,1
//
// LogInfo is for facts that an operator would tell a colleague. A user's mistake is not logged as
// an error. Secrets and the text of sweep files are never logged.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace longrun {

using LogFields = std::initializer_list<std::pair<std::string_view, std::string>>;

void LogInfo(std::string_view event, LogFields fields = {});
void LogWarning(std::string_view event, LogFields fields = {});
void LogError(std::string_view event, LogFields fields = {});

// For an error that a loop may meet at every turn.
class RepeatedError {
 public:
  // Whether to log it now: the last one had another text, or was logged a minute ago or more.
  bool IsDue(std::string_view text, std::int64_t now_ms);

 private:
  std::string text_;
  std::int64_t next_ms_ = 0;
};

}  // namespace longrun
