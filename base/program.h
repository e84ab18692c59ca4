// The outermost frame of a program: what nobody expected ends it with a message and an exit code,
// not with an abort that tells nothing.
#pragma once

namespace longrun {

// sysexits' EX_SOFTWARE: the program itself is wrong. A worker reads it as a crash.
inline constexpr int kExitSoftware = 70;
// sysexits' EX_USAGE, of all programs but `longrun`.
inline constexpr int kExitBadUsage = 64;

// The exit code of `main(argc, argv)`. An exception that leaves it is printed on stderr under the
// name of the program, and `failed` is the exit code. Standard output is flushed at the end: when it
// could not be written, but for a reader that went away, that is said and success becomes 1. A write
// beyond the limit on the size of a file is an error like others (EFBIG), and no signal that kills.
//
// Arguments, our variables of the environment (LONGRUN_*) and the program's own folder that are not UTF-8
// end it with one sentence and `usage`, before `main` is called. A standard file that is closed stays
// unusable: no file of ours takes its number.
int RunMain(const char* program, int failed, int (*main)(int, char**), int argc, char** argv,
            int usage = kExitBadUsage);

}  // namespace longrun
