// Tests of the command line as data. A file `NAME.test` is a list of steps:
//
//   # Prose for the reader.
//   $ longrun submit a.yaml
//     a: 2 to train, ...             two spaces: a line of standard output
//   ! nothing is running: ...        a line of standard error
//   ? 2                              the exit code, where it is not 0
//
// Steps run in order in a fresh folder, with a fresh LONGRUN_HOME (`home` in it), a small
// environment and the fake trainer. A command is split at spaces ('...' and "..." keep a word
// together) and started directly: no shell, no globs, no variables. Only these can be named:
//
//   longrun longrun-coordinator longrun-worker longrun-trainer
//   start TEXT PROGRAM ...     starts it and waits until it has written TEXT
//   until TEXT PROGRAM ...     runs it again and again until it writes TEXT, which is not printed
//   stop | hangup | kill       SIGINT, SIGHUP or SIGKILL to what was started last;
//                              its output and exit code
//   end                        waits until what was started last has ended by itself: the same
//   write FILE                 the lines below it, less their two spaces
//   bytes FILE                 the same without line ends; \n \\ \xHH, and \*N* for N bytes of zero
//   text FILE WORDS SEED       synthetic text, the same for the same seed
//   truncate-file FILE BYTES
//   corrupt-byte FILE OFFSET   inverts a byte
//   overwrite FILE OFFSET BYTES   escapes as in `bytes`; an OFFSET below 0 counts from the end
//   replace FILE FROM TO       the first FROM in it, both with the escapes of `bytes`
//   without FILE MEMBER        takes a member out of a JSON object
//   stored-run FILE FROM TO    every FROM in the runs of a database,
//                              as another build would have stored it
//   sql FILE STATEMENTS        as another program would run them in a database: checksums stay as
//                              they are, row_sum(COLUMN, ...) makes one
//   copy FILE TO               or folder, with all but sockets
//   golden NAME TO             unpacks tests/golden/NAME.tar.zst
//   folder NAME
//   remove FILE                or folder, also one that a running program still writes into
//   move FILE TO               or folder
//   names FOLDER               prints what lies in it; nothing where there is none
//   mode FILE                  prints its permissions
//   chmod FILE MODE            sets them, octal
//   sha256 FILE                prints that of its bytes
//   size FILE                  prints its bytes; of a folder, those of all files in it
//                              '*' in the FILE of truncate-file, corrupt-byte and copy stands for
//                              any name; all matches are hit, copy needs exactly one
//   env NAME=VALUE             for the programs started from here on; "env NAME" removes it
//
// What varies is written as a pattern: [ID] (a ULID), [HEX] (8 or more digits), [NUM], [TIME],
// [TMP] (the folder), [ws] (spaces), [*] (any text), and on a line of its own [...] (any lines).
// [HEX:name] also keeps the text, and {name} stands for it in later lines. Empty lines of output
// are not compared; a control character (a colour, say) in any output is a failure of its own.
//
// LONGRUN_UPDATE=1 writes what came instead of comparing: look at the diff.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace longrun {

using Captures = std::map<std::string, std::string>;

// Whether `text` is what `pattern` says; on success `captures` gains what the pattern names.
bool MatchLine(std::string_view pattern, std::string_view text, Captures& captures);
bool MatchLines(const std::vector<std::string>& patterns, const std::vector<std::string>& lines,
                Captures& captures);

// Runs a file; what is not as it says, one entry a step.
std::vector<std::string> RunCliFile(const std::string& path);

}  // namespace longrun
