// The outermost frame of a program.
#include "base/program.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>

namespace longrun {
namespace {

int RunOut(int /*argc*/, char** /*argv*/) { throw std::bad_alloc(); }

// The errno of a write beyond the limit on the size of a file.
int WriteTooMuch(int /*argc*/, char** argv) {
  const rlimit one = {.rlim_cur = 1, .rlim_max = 1};
  const int fd = open(argv[0], O_WRONLY | O_CREAT, 0600);
  if (fd < 0 || setrlimit(RLIMIT_FSIZE, &one) != 0 || write(fd, "x", 1) != 1) return 1;
  return write(fd, "y", 1) < 0 ? errno : 2;
}

int Count(int argc, char** /*argv*/) { return argc; }
int Throw(int /*argc*/, char** argv) { throw std::runtime_error(argv[0]); }
int ThrowNumber(int /*argc*/, char** /*argv*/) { throw 7; }

// argv[0], then enough for the buffer to be written before the end.
int Say(int argc, char** argv) {
  std::fputs(argv[0], stdout);
  if (argc > 1) std::fputs(std::string(1 << 20, 'x').c_str(), stdout);
  return 0;
}
int SayAndFail(int argc, char** argv) { return Say(argc, argv) + 3; }

// The exit code of a program whose standard output is `descriptor`, which is closed here.
int RunInto(int descriptor, int (*program)(int, char**), int argc) {
  std::fflush(stdout);
  const int kept = dup(STDOUT_FILENO);
  dup2(descriptor, STDOUT_FILENO);
  close(descriptor);
  char word[] = "word";
  char* argv[] = {word, word};
  const int code = RunMain("program", program, argc, argv);
  dup2(kept, STDOUT_FILENO);
  close(kept);
  std::fflush(stdout);  // what is still in the buffer has its place here
  std::clearerr(stdout);
  return code;
}

int PipeThatNobodyReads() {
  int ends[2] = {};
  EXPECT_EQ(pipe(ends), 0);
  close(ends[0]);
  return ends[1];
}

TEST(RunMain, GivesWhatTheProgramGives) {
  char word[] = "word";
  char* argv[] = {word, word, word};
  EXPECT_EQ(RunMain("program", Count, 3, argv), 3);
}

TEST(RunMain, TakesNoArgumentAndNoVariableOfOursThatIsNotUtf8) {
  char word[] = "word", bytes[] = "caf\xe9";
  char* argv[] = {bytes, word, word};  // the program's name is nobody's to choose
  EXPECT_EQ(RunMain("program", Count, 3, argv, {.usage = 2}), 3);
  argv[2] = bytes;
  EXPECT_EQ(RunMain("program", Count, 3, argv, {.usage = 2}), 2);
  argv[2] = word;
  setenv("LONGRUN_TEST_VARIABLE", bytes, 1);
  EXPECT_EQ(RunMain("program", Count, 3, argv), 64);
  unsetenv("LONGRUN_TEST_VARIABLE");
}

TEST(RunMain, PrintsIntoNoFileThatTookThePlaceOfAClosedOutput) {
  std::fflush(stdout);
  const int kept = dup(STDOUT_FILENO);
  close(STDOUT_FILENO);
  char word[] = "word";
  char* argv[] = {word};
  const auto open_and_print = [](int, char**) {
    const int opened = open("/dev/null", O_RDWR);
    std::fputs("text", stdout);
    const bool is_apart = opened > STDERR_FILENO;
    close(opened);
    return is_apart ? 0 : 9;
  };
  const int code = RunMain("program", open_and_print, 1, argv);
  dup2(kept, STDOUT_FILENO);
  close(kept);
  std::fflush(stdout);
  std::clearerr(stdout);
  EXPECT_EQ(code, 1);
}

TEST(RunMain, TurnsAnExceptionIntoTheExitCodeOfAFailure) {
  char word[] = "why";
  char* argv[] = {word};
  EXPECT_EQ(RunMain("program", Throw, 1, argv), 70);
  EXPECT_EQ(RunMain("program", ThrowNumber, 1, argv, {.failed = 1}), 1);
}

TEST(RunMain, SaysThatMemoryRanOut) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(RunMain("program", RunOut, 0, nullptr), 74);
  EXPECT_EQ(RunMain("program", RunOut, 0, nullptr, {.out_of_memory = 81}), 81);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(said.rfind("program: out of memory: ", 0), 0u) << said;
}

TEST(RunMain, SaysThatThreadsRanOut) {
  const auto refuse = [](int, char**) -> int {
    throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
  };
  testing::internal::CaptureStderr();
  EXPECT_EQ(RunMain("program", refuse, 0, nullptr), 74);
  EXPECT_EQ(RunMain("program", refuse, 0, nullptr, {.out_of_threads = 71}), 71);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(said.rfind("program: no thread can be started: ", 0), 0u) << said;
}

// The exit code, or minus the signal, of a child that runs this program.
int EndOf(int (*program)(int, char**), FailureCodes codes = {.out_of_memory = 81}) {
  const pid_t child = fork();
  if (child == 0) _exit(RunMain("program", program, 0, nullptr, codes));
  int state = 0;
  EXPECT_EQ(waitpid(child, &state, 0), child);
  return WIFEXITED(state) ? WEXITSTATUS(state) : -WTERMSIG(state);
}

TEST(RunMain, MemoryThatRunsOutWhereNothingCatchesItIsNoAbort) {
  EXPECT_EQ(EndOf([](int, char**) {
              std::thread([] { throw std::bad_alloc(); }).join();
              return 0;
            }),
            81);
  EXPECT_EQ(EndOf([](int, char**) noexcept { return RunOut(0, nullptr); }), 81);
  // `longrun` has one code for it and for what nobody expected.
  EXPECT_EQ(EndOf([](int, char**) noexcept { return RunOut(0, nullptr); },
                  {.failed = 1, .out_of_memory = 1}),
            1);
}

TEST(RunMain, AnotherExceptionThereStaysAnAbort) {
  EXPECT_EQ(EndOf([](int, char**) {
              std::thread([] { throw std::runtime_error("?"); }).join();
              return 0;
            }),
            -SIGABRT);
  EXPECT_EQ(EndOf([](int, char**) -> int { std::abort(); }), -SIGABRT);
}

// In a child, since the limit cannot be raised again.
TEST(RunMain, AWriteBeyondTheLimitOfAFileIsAnErrorAndKillsNobody) {
  std::string path = testing::TempDir() + "program_test." + std::to_string(getpid());
  const pid_t child = fork();
  if (child == 0) {
    char* argv[] = {path.data()};
    _exit(RunMain("program", WriteTooMuch, 1, argv));
  }
  int state = 0;
  ASSERT_EQ(waitpid(child, &state, 0), child);
  unlink(path.c_str());
  ASSERT_TRUE(WIFEXITED(state)) << "signal " << WTERMSIG(state);
  EXPECT_EQ(WEXITSTATUS(state), EFBIG);
}

TEST(RunMain, DoesNotSucceedWhenItsOutputCouldNotBeWritten) {
  for (const int argc : {1, 2}) {
    EXPECT_EQ(RunInto(open("/dev/full", O_WRONLY), Say, argc), 1);
    EXPECT_EQ(RunInto(open("/dev/full", O_WRONLY), SayAndFail, argc), 3);
    EXPECT_EQ(RunInto(open("/dev/null", O_WRONLY), Say, argc), 0);
  }
}

TEST(RunMain, SucceedsForAReaderThatHasSeenEnough) {
  const auto before = signal(SIGPIPE, SIG_IGN);
  for (const int argc : {1, 2}) {
    EXPECT_EQ(RunInto(PipeThatNobodyReads(), Say, argc), 0);
    EXPECT_EQ(RunInto(PipeThatNobodyReads(), SayAndFail, argc), 3);
  }
  signal(SIGPIPE, before);
}

}  // namespace
}  // namespace longrun
