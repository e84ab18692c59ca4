// The outermost frame of a program: an unexpected exception ends it with a message and an exit
// code, not with an abort that explains nothing.
#pragma once

#include <string_view>

#include "base/exit_code.h"

namespace longrun {

struct FailureCodes {
  int failed = kExitSoftware;  // after an unexpected exception
  int usage = kExitBadUsage;
  int out_of_memory = kExitStorage;
  int out_of_threads = kExitStorage;
};

// The end of the line after the errors of a daemon's or the trainer's command line.
inline constexpr std::string_view kUsageHint = "explains the options";

// Returns the exit code of `main(argc, argv)`. An exception that leaves `main` is printed on stderr
// after the program's name, and the exit code comes from `codes`. An exception that nothing
// catches, on another thread or in a function that must not throw, is printed too. The program then
// ends with the code from `codes` if memory or threads ran out, and aborts otherwise. Standard
// output is flushed at the end. If it could not be written, a message says so and exit code 0
// becomes 1, unless the reader of the output went away. A write beyond the limit on file size gives
// the error EFBIG, not a signal that kills the program.
//
// Before `main` is called, the program ends with one sentence and `codes.usage` if an argument, an
// environment variable of ours (LONGRUN_*) or the program's own folder is not UTF-8. A standard
// file that is closed stays unusable: no file of ours gets its number.
int RunMain(const char* program, int (*main)(int, char**), int argc, char** argv,
            FailureCodes codes = {});

// Writes to standard output; inside RunMain, std::cout does the same. If a write fails, its errno
// is kept for the message that RunMain prints at the end: stdio writes whenever its buffer is full,
// so a write can fail long before that.
void WriteOutput(std::string_view text);
void FlushOutput();

// Whether standard input was closed when the program began.
bool InputIsClosed();

// Called while an exception is handled: ends the program at once, with the message and code that
// RunMain would give.
[[noreturn]] void EndProgram();

}  // namespace longrun
