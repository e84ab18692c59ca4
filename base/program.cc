#include "base/program.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>

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
int WriteOut(const char* program, int code) {
  const bool lost = std::ferror(stdout) != 0;
  if (std::fflush(stdout) == 0 && !lost) return code;
  const char* const why = errno == 0 ? "a write failed" : std::strerror(errno);
  if (errno == EPIPE || NobodyReads()) return code;
  std::fprintf(stderr, "%s: the output could not be written in full: %s\n", program, why);
  return code == 0 ? kExitOutputLost : code;
}

}  // namespace

int RunMain(const char* program, int failed, int (*main)(int, char**), int argc, char** argv) {
  signal(SIGXFSZ, SIG_IGN);
  try {
    const int code = main(argc, argv);
    errno = 0;
    return WriteOut(program, code);
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
