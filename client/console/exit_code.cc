#include "client/console/exit_code.h"

#include <cstdint>
#include <cstdio>
#include <set>

#include "base/program.h"
#include "base/str.h"
#include "client/console/suggestion.h"

namespace longrun::client {
namespace {

int ExitCodeOf(Code code) {
  switch (code) {
    case Code::kOk:
      return kExitOk;
    case Code::kInvalidArgument:
    case Code::kOutOfRange:
      return kExitUsage;
    case Code::kNotFound:
      return kExitNotFound;
    case Code::kFailedPrecondition:
    case Code::kAlreadyExists:
    case Code::kAborted:
      return kExitConflict;
    case Code::kPermissionDenied:
      return kExitDenied;
    case Code::kUnavailable:
    case Code::kDeadlineExceeded:
      return kExitUnavailable;
    case Code::kCancelled:
      return kExitInterrupted;
    case Code::kUnknown:
    case Code::kResourceExhausted:
    case Code::kUnimplemented:
    case Code::kInternal:
    case Code::kDataLoss:
      return kExitFailed;
  }
  return kExitFailed;
}

int ExitCodeOf(const std::string& state) {
  if (state == "SUCCEEDED") return kExitOk;
  static const std::set<std::string> open = {"PENDING", "RUNNING", "PAUSED", "INTERRUPTED"};
  if (open.contains(state)) return kExitIncomplete;
  return state == "PARTIAL" ? kExitPartial : kExitFailed;
}

// "cable.yaml:9:31: ...": editors find such a place only at the beginning of a line.
bool StartsWithPlace(std::string_view text) {
  std::string_view place = text.substr(0, text.find(": "));
  if (place.size() == text.size()) return false;
  for (int i = 0; i < 2; ++i) {  // column, line
    const std::size_t colon = place.rfind(':');
    if (colon == std::string_view::npos || colon == 0 || colon + 1 == place.size()) return false;
    if (place.find_first_not_of("0123456789", colon + 1) != std::string_view::npos) return false;
    place = place.substr(0, colon);
  }
  return true;
}

}  // namespace

int SweepExitCode(const std::vector<std::string>& states) {
  std::set<int> codes;
  for (const std::string& state : states) codes.insert(ExitCodeOf(state));
  if (codes.contains(kExitIncomplete)) return kExitIncomplete;
  if (codes.size() == 1) return *codes.begin();
  return codes.empty() ? kExitOk : kExitPartial;
}

int Report(const Status& status, const std::vector<std::string>& violations) {
  FlushOutput();  // where both go to one pipe, in the order in which they were written
  if (violations.empty()) {
    std::fprintf(stderr, "%s%s\n", StartsWithPlace(status.message()) ? "" : "longrun: ",
                 WithSuggestions(Printable(status.message())).c_str());
  } else {
    for (const std::string& line : violations) {
      std::fprintf(stderr, "%s\n", WithSuggestions(Printable(line)).c_str());
    }
  }
  return ExitCodeOf(status.code());
}

}  // namespace longrun::client
