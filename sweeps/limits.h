// Every limit of the language in one place. Ranges of single keys are declared with the keys
// (model/fields.h, schema.cc).
#pragma once

#include <cstddef>
#include <cstdint>

namespace longrun {

// Limits of the sweep file that are checked before it is interpreted.
inline constexpr std::size_t kSweepBytesMax = std::size_t{1} << 20;
inline constexpr int kYamlDepthMax = 64;
inline constexpr int kYamlNodesMax = 100'000;
// Points of the matrix, before `exclude` and with `include`. A sweep of this size can still be
// planned, sent in one message and shown within seconds.
inline constexpr std::int64_t kRunsMax = 100'000;
// Rows of results that a sweep asks for: they are planned in memory before the sweep is accepted, a
// fifth of a GiB for each million.
inline constexpr std::int64_t kResultsMax = 2'000'000;
// Rows of results of one evaluation of a run: they are one task, which reaches its worker in one
// message of at most 8 MiB (sweeps/message_size.h), and a row takes up to 200 bytes there.
inline constexpr std::int64_t kTaskResultsMax = 30'000;
// Entries of `exclude`.
inline constexpr std::size_t kExcludesMax = 1000;
// Errors reported in one answer.
inline constexpr std::size_t kErrorsMax = 50;
inline constexpr std::size_t kLabelsMax = 64;
inline constexpr std::size_t kTextBytesMax = 256;  // of a label
inline constexpr std::size_t kOverridesMax = 1000;

// One line of a journal, without its newline.
inline constexpr std::size_t kJournalLineBytesMax = std::size_t{1} << 20;

}  // namespace longrun
