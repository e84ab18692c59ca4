// Output and errors in one pipe or file.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "base/files.h"
#include "base/program.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"

namespace longrun::client {
namespace {

TEST(OrderTest, ErrorsFollowTheOutputThatWasWrittenBeforeThem) {
  const TempFolder temp;
  const std::string path = JoinPath(temp.path(), "both");
  std::fflush(stdout);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const int file = open(path.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0 || dup2(file, STDOUT_FILENO) < 0 || dup2(file, STDERR_FILENO) < 0) _exit(1);
    // As in a program whose stdout was never a terminal.
    if (std::setvbuf(stdout, nullptr, _IOFBF, BUFSIZ) != 0) _exit(1);
    Print("one\n");
    SayLine("two");
    Print("three\n");
    Report(Status(Code::kNotFound, "four"));
    Print("five\n");
    FlushOutput();
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(ReadFile(path).value(), "one\ntwo\nthree\nlongrun: four\nfive\n");
}

}  // namespace
}  // namespace longrun::client
