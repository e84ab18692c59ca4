#include "client/words/signs.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/words/render.h"

namespace longrun::client {
namespace {

TEST(SignsTest, OnlyOurOwnSignsAreReplaced) {
  EXPECT_EQ(WithAsciiSigns("14.67±0.1°  (7.08–30.40) … é"), "14.67+-0.1^  (7.08-30.40) ~ é");
  EXPECT_EQ(WithAsciiSigns(""), "");
}

// In a child whose stdout is a terminal.
[[noreturn]] void ExitWith0If(const char* locale, const std::string& expected) {
  setenv("LC_ALL", locale, 1);
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
  if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0) _exit(2);
  const int end = open(ptsname(terminal), O_RDWR | O_NOCTTY);
  if (end < 0 || dup2(end, STDOUT_FILENO) < 0) _exit(3);
  const std::string table = RenderColumns({"a"}, {Align::kRight}, {{"1±2"}, {"10"}});
  _exit(table.find(expected) != std::string::npos ? 0 : 1);
}

TEST(SignsTest, ATerminalThatIsNotUtf8GetsAsciiSignsInAlignedColumns) {
  EXPECT_EXIT(ExitWith0If("C", "1+-2\n  10\n"), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(ExitWith0If("C.UTF-8", "1±2\n 10\n"), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace longrun::client
