// Asks a child process one question: the child reads the question from its standard input to the
// end, writes the answer to its standard output, and exits.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/process.h"
#include "base/status.h"

namespace longrun {

struct AskLimits {
  std::int64_t timeout_ms = 0;
  // Not 0: the child first sends one byte, which does not belong to its answer, within this time;
  // then `timeout_ms` begins. On a busy machine, starting a program may take seconds.
  std::int64_t start_ms = 0;
  std::size_t answer_bytes_max = 0;
  std::function<bool()> is_cancelled = {};  // called about every 20 ms; may be empty
};

// The reason why a child's answer ended. In all cases but kExit, we killed the child.
enum class AnswerEnd { kExit, kNotStarted, kTimeout, kTooLong, kCancelled };

struct ProcessAnswer {
  AnswerEnd end = AnswerEnd::kExit;
  std::string text = {};  // only at kExit
  ExitInfo exit = {};
};

// Starts the child, and returns when it has ended and been reaped. The child dies with the calling
// thread, and shares our standard error. Returns an error if it could not be started or waited for.
Result<ProcessAnswer> AskProcess(SpawnOptions options, std::string_view question,
                                 const AskLimits& limits);

}  // namespace longrun
