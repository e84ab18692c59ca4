// Threads that the system refuses.
#include "base/thread.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <string>

#include "base/exit_code.h"
#include "base/files.h"
#include "tests/sanitized.h"

namespace longrun {
namespace {

TEST(ThreadTest, StartsWhatItIsGiven) {
  std::atomic<int> n_run = 0;
  StartThread([&] { n_run += 1; }).join();
  EXPECT_EQ(n_run, 1);
  EXPECT_TRUE(CheckThreadRoom(8).ok());
}

#if !defined(LONGRUN_SANITIZED)

// More than the stacks that a process keeps of threads that have ended.
constexpr int kThreads = 64;
constexpr int kLimitIgnored = 77;

// Limits the address space to its present size and a little more: there is no room for a thread's
// stack. qemu's user mode ignores such a limit, since it would limit qemu itself.
void LeaveNoRoom() {
  const std::string pages = ReadFile("/proc/self/statm").value();
  const rlim_t now = std::stoull(pages) * static_cast<rlim_t>(sysconf(_SC_PAGESIZE));
  const rlimit limit = {.rlim_cur = now + (1 << 20), .rlim_max = now + (1 << 20)};
  if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(1);
  rlimit in_effect{};
  if (getrlimit(RLIMIT_AS, &in_effect) != 0 || in_effect.rlim_cur != limit.rlim_cur) {
    _exit(kLimitIgnored);
  }
}

// In a child, since a limit cannot be raised again: its exit code, or minus its signal.
int EndOf(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int state = 0;
  EXPECT_EQ(waitpid(child, &state, 0), child);
  return WIFEXITED(state) ? WEXITSTATUS(state) : -WTERMSIG(state);
}

TEST(ThreadTest, ALimitIsAnErrorWithWhatToRaise) {
  const int end = EndOf([] {
    LeaveNoRoom();
    const Status room = CheckThreadRoom(kThreads);
    const bool is_told = room.message().find("ulimit -u") != std::string::npos;
    return room.code() == Code::kResourceExhausted && is_told ? 42 : 0;
  });
  if (end == kLimitIgnored) GTEST_SKIP() << "this emulator ignores limits of the address space";
  EXPECT_EQ(end, 42);
}

TEST(ThreadTest, AThreadThatCannotBeStartedEndsTheProgram) {
  const int end = EndOf([] {
    LeaveNoRoom();
    for (int i = 0; i < kThreads; ++i) StartThread([] { pause(); }).detach();
    return 0;
  });
  if (end == kLimitIgnored) GTEST_SKIP() << "this emulator ignores limits of the address space";
  EXPECT_EQ(end, kExitStorage);
}

#endif

}  // namespace
}  // namespace longrun
