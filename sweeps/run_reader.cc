// See run_reader.h.
#include "sweeps/run_reader.h"

#include <charconv>
#include <optional>

#include "base/json.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr std::string_view kMember = ",\"seed\":";
constexpr std::size_t kRunsMax = 1024;  // cached; each further run is parsed by itself

// Position and length of the digits of the only member "seed". A quotation mark inside a string has
// a backslash before it, so no string contains kMember.
struct SeedDigits {
  std::size_t begin = 0, end = 0;
  std::int64_t seed = 0;
};

std::optional<SeedDigits> FindSeed(std::string_view text) {
  const std::size_t at = text.find(kMember);
  if (at == std::string_view::npos || text.rfind(kMember) != at) return std::nullopt;
  SeedDigits found{.begin = at + kMember.size()};
  const char* const first = text.data() + found.begin;
  const auto [last, error] = std::from_chars(first, text.data() + text.size(), found.seed);
  if (error != std::errc()) return std::nullopt;
  found.end = found.begin + static_cast<std::size_t>(last - first);
  const bool is_canonical = Str(found.seed) == text.substr(found.begin, found.end - found.begin);
  const bool is_whole =
      found.end < text.size() && (text[found.end] == ',' || text[found.end] == '}');
  return is_canonical && is_whole ? std::optional(found) : std::nullopt;
}

}  // namespace

Result<Run> RunReader::Read(std::string_view text) {
  const std::optional<SeedDigits> digits = FindSeed(text);
  if (digits) {
    key_.assign(text.substr(0, digits->begin));
    key_.append(text.substr(digits->end));
    if (const auto known = runs_.find(key_); known != runs_.end()) {
      Run run = known->second;
      run.seed = digits->seed;
      return run;
    }
  }
  ASSIGN_OR_RETURN(const Json json, ParseJson(text));
  ASSIGN_OR_RETURN(Run run, Run::FromJson(json));
  // Otherwise the digits belong to another member named "seed".
  if (digits && digits->seed == run.seed && runs_.size() < kRunsMax) runs_.emplace(key_, run);
  return run;
}

}  // namespace longrun
