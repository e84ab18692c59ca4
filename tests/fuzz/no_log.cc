// Takes the place of base/log.cc in a fuzz target: a million inputs would write gigabytes of lines.
#include "base/log.h"

namespace longrun {

void LogInfo(std::string_view, LogFields) {}
void LogWarning(std::string_view, LogFields) {}
void LogError(std::string_view, LogFields) {}

}  // namespace longrun
