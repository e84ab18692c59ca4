// Sizes and durations as people write them. K, M, G are decimal, Ki, Mi, Gi binary, B = 10^9 for
// counts of tokens; durations take ms, s, m, min, h, d.
// Also the check of whole numbers on a command line.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace longrun {

// "200M" -> 200000000, "64Ki" -> 65536, "1.5K" -> 1500. The value must be an integer that fits into
// 63 bits. Negative numbers are parsed, so that the caller's range check can name them.
Result<std::int64_t> ParseCount(std::string_view text);
// The text that the user probably meant instead of one that ParseCount refuses: "100k" -> "100K",
// "1e5" -> "100000", "100_000" -> "100000"; "" if there is no suggestion.
std::string NearestCount(std::string_view text);
// The boolean that a word of YAML 1.1 stands for: "yes", "True", "on" -> "true"; "no", "OFF" ->
// "false"; "" for others.
std::string NearestBool(std::string_view text);
// "10min" -> 600000 (milliseconds). A number without a unit is refused.
Result<std::int64_t> ParseDurationMs(std::string_view text);

// For a whole number on a command line: returns "" if the number is at least `least`, else one
// sentence that says what was expected and what was given. (CLI11's own check for a non-negative
// number prints the largest double.)
std::function<std::string(const std::string&)> WholeNumberCheck(std::int64_t least);

std::string FormatCount(std::int64_t count);    // 200000000 -> "200M", 44670976 -> "44.7M"
std::string FormatBytes(std::int64_t n_bytes);  // 1572864 -> "1.5 MiB"
std::string FormatDurationMs(std::int64_t ms);  // 83000 -> "1min 23s"

}  // namespace longrun
