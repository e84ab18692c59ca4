// See ask_process.h. Question and answer pass through one pair of sockets instead of two pipes: a
// send to a child that has gone is an error, not a SIGPIPE.
#include "base/ask_process.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <utility>

#include "base/clock.h"
#include "base/descriptor.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr std::int64_t kLookMs = 20;  // between two looks at is_cancelled

bool IsForLater(int error_number) {
  return error_number == EAGAIN || error_number == EWOULDBLOCK || error_number == EINTR;
}

// Sends what fits, and says that nothing follows after the last byte.
void Send(int fd, std::string_view& question) {
  const ssize_t n = send(fd, question.data(), question.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n < 0 && IsForLater(errno)) return;
  // Whoever does not read its question to the end may answer all the same.
  question.remove_prefix(n < 0 ? question.size() : static_cast<std::size_t>(n));
  if (question.empty()) shutdown(fd, SHUT_WR);
}

// Whether more may follow.
bool Receive(int fd, std::string& answer) {
  static constexpr std::size_t kPartBytes = 64 << 10;
  std::array<char, kPartBytes> part;
  const ssize_t n = recv(fd, part.data(), part.size(), MSG_DONTWAIT);
  if (n < 0) return IsForLater(errno);
  answer.append(part.data(), static_cast<std::size_t>(n));
  return n > 0;
}

// Until the child closes its end, or a limit is reached. Sets `deadline_ms` once it has started.
AnswerEnd Converse(int fd, std::string_view question, const AskLimits& limits,
                   std::int64_t& deadline_ms, std::string& answer) {
  bool has_started = limits.start_ms == 0;
  while (true) {
    if (limits.is_cancelled && limits.is_cancelled()) return AnswerEnd::kCancelled;
    const std::int64_t left_ms = deadline_ms - BootMs();
    if (left_ms <= 0) return has_started ? AnswerEnd::kTimeout : AnswerEnd::kNotStarted;
    pollfd watched = {.fd = fd, .events = POLLIN, .revents = 0};
    if (!question.empty()) watched.events |= POLLOUT;
    if (poll(&watched, 1, static_cast<int>(std::min(left_ms, kLookMs))) <= 0) continue;
    if ((watched.revents & POLLOUT) != 0) Send(fd, question);
    if ((watched.revents & (POLLIN | POLLHUP | POLLERR)) == 0) continue;
    if (!Receive(fd, answer)) return AnswerEnd::kExit;
    if (!has_started && !answer.empty()) {
      has_started = true;
      answer.erase(0, 1);
      deadline_ms = BootMs() + limits.timeout_ms;
    }
    if (answer.size() > limits.answer_bytes_max) return AnswerEnd::kTooLong;
  }
}

}  // namespace

Result<ProcessAnswer> AskProcess(SpawnOptions options, std::string_view question,
                                 const AskLimits& limits) {
  int ends[2] = {-1, -1};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return ErrnoStatus(errno, Str("cannot make a socket for ", Join(options.argv, " ")));
  }
  const Descriptor ours(ends[0]);
  Descriptor theirs(ends[1]);
  std::int64_t deadline_ms = BootMs() + (limits.start_ms > 0 ? limits.start_ms : limits.timeout_ms);
  options.channel = theirs.get();
  options.inherit_output = true;
  options.die_with_parent = true;
  ASSIGN_OR_RETURN(const int pid, Spawn(options));
  theirs.Close();
  if (question.empty()) shutdown(ours.get(), SHUT_WR);

  ProcessAnswer answer;
  Status unwaited;
  answer.end = Converse(ours.get(), question, limits, deadline_ms, answer.text);
  if (answer.end == AnswerEnd::kExit) {
    // It has closed its output, and has only to exit.
    const auto ended = WaitFor(pid, std::max(deadline_ms - BootMs(), kLookMs));
    if (ended.ok() && *ended) {
      answer.exit = **ended;
      return answer;
    }
    answer.end = AnswerEnd::kTimeout;
    if (!ended.ok()) unwaited = ended.status();
  }
  answer.text.clear();
  kill(pid, SIGKILL);
  ASSIGN_OR_RETURN(const auto killed, WaitFor(pid, -1));
  RETURN_IF_ERROR(unwaited);
  answer.exit = *killed;
  return answer;
}

}  // namespace longrun
