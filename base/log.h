// A log line is an event with fields, on stderr:
//
//   I 2026-11-20T08:03:46.123Z attempt_started task=3f2a91c0 worker=gpu-1 devices=0,1
//
// LogInfo is for facts that an operator would tell a colleague. A user's mistake is not logged as
// an error. Secrets and the text of sweep files are never logged.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace longrun {

using LogFields = std::initializer_list<std::pair<std::string_view, std::string>>;

void LogInfo(std::string_view event, LogFields fields = {});
void LogWarning(std::string_view event, LogFields fields = {});
void LogError(std::string_view event, LogFields fields = {});

}  // namespace longrun
