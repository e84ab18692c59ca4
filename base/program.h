// The outermost frame of a program: what nobody expected ends it with a message and an exit code,
// not with an abort that tells nothing.
#pragma once

#include <string_view>

#include "base/exit_code.h"

namespace longrun {

struct FailureCodes {
  int failed = kExitSoftware;  // of an exception that nobody expected
  int usage = kExitBadUsage;
  int out_of_memory = kExitStorage;
  int out_of_threads = kExitStorage;
};

// The exit code of `main(argc, argv)`. An exception that leaves it is printed on stderr under the
// name of the program, and `codes` has the exit code. Memory or threads that run out on any other
// thread, or where nothing can be caught, end the program in the same way; other exceptions there
// are printed, and abort. Standard output is flushed at the end: when it could not be written,
// except for a reader that went away, that is said and success becomes 1. A write beyond the limit
// on the size of a file is an error like others (EFBIG), not a signal that kills.
//
// Arguments, our variables of the environment (LONGRUN_*) and the program's own folder that are not
// UTF-8 end it with one sentence and `codes.usage`, before `main` is called. A standard file that
// is closed stays unusable: no file of ours takes its number.
int RunMain(const char* program, int (*main)(int, char**), int argc, char** argv,
            FailureCodes codes = {});

// Writes to standard output. Why that failed is remembered for the sentence that RunMain ends with: text
// that fills stdio's buffer is written long before the end.
void WriteOutput(std::string_view text);
void FlushOutput();

// Whether standard input was closed when the program began.
bool InputIsClosed();

// Ends the program at once because of the exception that is being handled, as RunMain does.
[[noreturn]] void EndProgram();

}  // namespace longrun
