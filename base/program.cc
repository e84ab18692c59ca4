#include "base/program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string_view>
#include <utility>

#include "base/process.h"
#include "base/status.h"
#include "base/str.h"
#include "base/utf8.h"

namespace longrun {
namespace {

constexpr int kExitOutputLost = 1;

int Failed(const char* program, const char* what, int failed) {
  std::fprintf(stderr, "%s: %s (a mistake of the program itself: please report it)\n", program,
               what);
  return failed;
}

// Who reads our output has seen enough, as `| head` does: nobody misses the rest.
bool NobodyReads() {
  pollfd output = {.fd = STDOUT_FILENO, .events = POLLOUT, .revents = 0};
  return poll(&output, 1, 0) == 1 && (output.revents & (POLLERR | POLLHUP)) != 0;
}

// What was printed lies in a buffer until now; an output that is not there is no success.
int WriteOut(const char* program, int code, bool is_closed) {
  const bool lost = std::ferror(stdout) != 0;
  if (std::fflush(stdout) == 0 && !lost) return code;
  const char* const why = errno == 0 ? "a write failed" : std::strerror(errno);
  if (is_closed) {
    std::fprintf(stderr,
                 "%s: standard output is closed, so nothing could be printed: send it to a "
                 "file, or to /dev/null\n",
                 program);
    return code == 0 ? kExitOutputLost : code;
  }
  if (errno == EPIPE || NobodyReads()) return code;
  std::fprintf(stderr, "%s: the output could not be written in full: %s\n", program, why);
  return code == 0 ? kExitOutputLost : code;
}

// A file that is opened gets the lowest free number: were standard output closed, what is printed would go
// into a database or a socket. What takes its place fails as a closed file does. Whether standard output
// was closed.
bool HoldStandardFiles() {
  bool no_output = false;
  for (const auto& [descriptor, flags] :
       {std::pair(STDIN_FILENO, O_WRONLY), std::pair(STDOUT_FILENO, O_RDONLY),
        std::pair(STDERR_FILENO, O_RDWR)}) {
    if (fcntl(descriptor, F_GETFD) >= 0 || errno != EBADF) continue;
    no_output = no_output || descriptor == STDOUT_FILENO;
    if (open("/dev/null", flags) < 0) break;
  }
  return no_output;
}

Status CheckWords(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    RETURN_IF_ERROR(CheckUtf8(argv[i], Str("argument ", i),
                              "write it in UTF-8, and rename the file or folder that it names"));
  }
  return Status();
}

Status CheckEnvironment() {
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::size_t equals = text.find('=');
    if (!text.starts_with("LONGRUN_") || equals == std::string_view::npos) continue;
    RETURN_IF_ERROR(CheckUtf8(text.substr(equals + 1),
                              Str("the environment variable ", text.substr(0, equals)),
                              "set it to another value"));
  }
  return CheckUtf8(ProgramFolder(), "the folder of this program", "install it in another folder");
}

Status CheckText(int argc, char** argv) {
  RETURN_IF_ERROR(CheckWords(argc, argv));
  return CheckEnvironment();
}

}  // namespace

int RunMain(const char* program, int failed, int (*main)(int, char**), int argc, char** argv,
            int usage) {
  const bool is_closed = HoldStandardFiles();
  signal(SIGXFSZ, SIG_IGN);
  try {
    if (const Status text = CheckText(argc, argv); !text.ok()) {
      std::fprintf(stderr, "%s: %s\n", program, text.message().c_str());
      return usage;
    }
    const int code = main(argc, argv);
    errno = 0;
    return WriteOut(program, code, is_closed);
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr,
                 "%s: out of memory: the memory of the machine or of its cgroup is used up, or the "
                 "limit of this process is reached (`ulimit -v`)\n",
                 program);
    return failed;
  } catch (const std::exception& error) {
    return Failed(program, error.what(), failed);
  } catch (...) {
    return Failed(program, "an exception without a text", failed);
  }
}

}  // namespace longrun
