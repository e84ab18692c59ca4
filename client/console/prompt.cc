#include "client/console/prompt.h"

#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "base/str.h"

namespace longrun::client {
namespace {

constexpr std::size_t kLineBytesMax = 4096;

// Shows nothing of what is typed while it lives.
class NoEcho {
 public:
  NoEcho() {
    is_set_ = tcgetattr(STDIN_FILENO, &before_) == 0;
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    if (is_set_) is_set_ = tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) == 0;
  }
  ~NoEcho() {
    if (!is_set_) return;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
    std::fputc('\n', stderr);
  }
  NoEcho(const NoEcho&) = delete;
  NoEcho& operator=(const NoEcho&) = delete;

 private:
  termios before_{};
  bool is_set_ = false;
};

Result<std::string> ReadLine() {
  std::string line;
  while (line.size() < kLineBytesMax) {
    char c = 0;
    const ssize_t n = read(STDIN_FILENO, &c, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "cannot read the answer");
    if (n == 0 && line.empty()) return Status(Code::kCancelled, "no answer was given");
    if (n == 0 || c == '\n') break;
    line += c;
  }
  return std::string(Trim(line));
}

}  // namespace

bool CanAsk() { return isatty(STDIN_FILENO) == 1; }

Result<std::string> Ask(const std::string& question, bool is_secret) {
  std::fputs(question.c_str(), stderr);
  if (!is_secret) return ReadLine();
  const NoEcho quiet;
  return ReadLine();
}

}  // namespace longrun::client
