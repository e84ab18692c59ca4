// The outermost frame of a program: what nobody expected ends it with a message and an exit code,
// not with an abort that tells nothing.
#pragma once

namespace longrun {

// sysexits' EX_SOFTWARE: the program itself is wrong. A worker reads it as a crash.
inline constexpr int kExitSoftware = 70;

// The exit code of `main(argc, argv)`. An exception that leaves it is printed on stderr under the
// name of the program, and `failed` is the exit code. Standard output is flushed at the end: when it
// could not be written, but for a reader that went away, that is said and success becomes 1. A write
// beyond the limit on the size of a file is an error like others (EFBIG), and no signal that kills.
int RunMain(const char* program, int failed, int (*main)(int, char**), int argc, char** argv);

}  // namespace longrun
