#include "base/program.h"

#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iostream>
#include <new>
#include <streambuf>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/process.h"
#include "base/shortage.h"
#include "base/status.h"
#include "base/str.h"
#include "base/utf8.h"

namespace longrun {
namespace {

constexpr int kExitOutputLost = 1;

const char* g_program = "program";
FailureCodes g_codes;
std::terminate_handler g_terminate_before = nullptr;
int g_output_errno = 0;  // of the first failed write to standard output
bool g_input_is_closed = false;

// Uses plain writes, which need no memory; if one fails, there is nowhere to report it.
void Write(const char* text) {
  static_cast<void>(write(STDERR_FILENO, text, std::strlen(text)) < 0);
}

void Say(const char* what, const char* more = "") {
  for (const char* const part : {g_program, ": ", what, more, "\n"}) Write(part);
}

struct Told {
  int code = 0;
  bool is_shortage = false;  // of memory or threads: not the program's own mistake
};

Told TellOutOfMemory() {
  Say("out of memory: ", ShortageRemedy(ENOMEM).data());
  return {.code = g_codes.out_of_memory, .is_shortage = true};
}

// Reports the exception that is being handled, and returns its exit code.
Told TellException() {
  constexpr const char* kMistake = " (a mistake of the program itself: please report it)";
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return TellOutOfMemory();
  } catch (const std::system_error& error) {
    if (error.code() == std::errc::resource_unavailable_try_again) {
      Say(kOutOfThreads);
      return {.code = g_codes.out_of_threads, .is_shortage = true};
    }
    if (error.code() == std::errc::not_enough_memory) return TellOutOfMemory();
    Say(error.what(), kMistake);
  } catch (const std::exception& error) {
    Say(error.what(), kMistake);
  } catch (...) {
    Say("an exception without a text", kMistake);
  }
  return {.code = g_codes.failed};
}

// Handles exceptions on other threads, or from functions that must not throw,
// which no handler catches.
[[noreturn]] void EndUncaught() {
  if (std::current_exception()) {
    if (const Told told = TellException(); told.is_shortage) _exit(told.code);
  } else {
    g_terminate_before();
  }
  std::abort();
}

// std::cout's, into which libraries print (CLI11 the version): keeps the reason for a failed write,
// as WriteOutput does.
class OutputBuffer : public std::streambuf {
  std::streamsize xsputn(const char* text, std::streamsize n) override {
    WriteOutput({text, static_cast<std::size_t>(n)});
    return n;
  }
  int_type overflow(int_type c) override {
    const char text = traits_type::to_char_type(c);
    if (!traits_type::eq_int_type(c, traits_type::eof())) WriteOutput({&text, 1});
    return traits_type::not_eof(c);
  }
  int sync() override {
    FlushOutput();
    return 0;
  }
};

// Whether the reader of our output has closed it, as `| head` does: then nobody misses the rest.
bool NobodyReads() {
  pollfd output = {.fd = STDOUT_FILENO, .events = POLLOUT, .revents = 0};
  return poll(&output, 1, 0) == 1 && (output.revents & (POLLERR | POLLHUP)) != 0;
}

std::string_view OutputRemedy(int error_number) {
  if (error_number == ENOSPC || error_number == EDQUOT) {
    return "make room on its disk, or send it to another file";
  }
  const std::string_view remedy = ShortageRemedy(error_number);
  return remedy.empty() ? "send it to another file" : remedy;
}

// Flushes the output, which is still in a buffer; a lost output is not a success.
int FinishOutput(const char* program, int code, bool is_closed) {
  const bool lost = std::ferror(stdout) != 0;
  errno = 0;
  if (std::fflush(stdout) == 0 && !lost) return code;
  const int error_number = g_output_errno != 0 ? g_output_errno : errno;
  if (is_closed) {
    std::fprintf(stderr,
                 "%s: standard output is closed, so nothing could be printed: send it to a "
                 "file, or to /dev/null\n",
                 program);
    return code == 0 ? kExitOutputLost : code;
  }
  if (error_number == EPIPE || NobodyReads()) return code;
  std::fprintf(stderr, "%s: standard output could not be written in full: %s; %s\n", program,
               error_number == 0 ? "a write failed" : std::strerror(error_number),
               OutputRemedy(error_number).data());
  return code == 0 ? kExitOutputLost : code;
}

// A newly opened file gets the lowest free number: if standard output were closed, printed text
// would go into a database or a socket. Opens stand-ins, which fail as closed files do. Returns
// whether standard output was closed.
bool HoldStandardFiles() {
  bool no_output = false;
  // We did not inherit a descriptor with close-on-exec: an initialiser of a library made it (gRPC's
  // test for eventfds keeps number 0).
  const int input_flags = fcntl(STDIN_FILENO, F_GETFD);
  g_input_is_closed = input_flags < 0 || (input_flags & FD_CLOEXEC) != 0;
  for (const auto& [descriptor, flags] :
       {std::pair(STDIN_FILENO, O_WRONLY), std::pair(STDOUT_FILENO, O_RDONLY),
        std::pair(STDERR_FILENO, O_RDWR)}) {
    if (fcntl(descriptor, F_GETFD) >= 0 || errno != EBADF) continue;
    no_output = no_output || descriptor == STDOUT_FILENO;
    if (open("/dev/null", flags) < 0) break;
  }
  return no_output;
}

// glibc reserves regions of 64 MiB of addresses for threads, eight per core. If addresses are
// limited, these would use them up, and the next thread would have no room for its stack.
void TakeFewAddresses() {
#ifdef __GLIBC__
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) mallopt(M_ARENA_MAX, 1);
#endif
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

int RunMain(const char* program, int (*main)(int, char**), int argc, char** argv,
            FailureCodes codes) {
  g_program = program;
  g_codes = codes;
  if (std::get_terminate() != &EndUncaught) g_terminate_before = std::set_terminate(&EndUncaught);
  const bool is_closed = HoldStandardFiles();
  static auto* const output = new OutputBuffer;  // for good: std::cout is flushed at the very end
  std::cout.rdbuf(output);
  signal(SIGXFSZ, SIG_IGN);
  TakeFewAddresses();
  try {
    if (const Status text = CheckText(argc, argv); !text.ok()) {
      Say(text.message().c_str());
      return codes.usage;
    }
    return FinishOutput(program, main(argc, argv), is_closed);
  } catch (...) {
    return TellException().code;
  }
}

void WriteOutput(std::string_view text) {
  errno = 0;
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size()) return;
  if (g_output_errno == 0) g_output_errno = errno;
}

void FlushOutput() {
  errno = 0;
  if (std::fflush(stdout) != 0 && g_output_errno == 0) g_output_errno = errno;
}

bool InputIsClosed() { return g_input_is_closed; }

void EndProgram() { _exit(TellException().code); }

}  // namespace longrun
