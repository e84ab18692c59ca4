// The outermost frame of a program.
#include "base/program.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace longrun {
namespace {

int Count(int argc, char** /*argv*/) { return argc; }
int Throw(int /*argc*/, char** argv) { throw std::runtime_error(argv[0]); }
int ThrowNumber(int /*argc*/, char** /*argv*/) { throw 7; }

TEST(RunMain, GivesWhatTheProgramGives) { EXPECT_EQ(RunMain("program", 70, Count, 3, nullptr), 3); }

TEST(RunMain, TurnsAnExceptionIntoTheExitCodeOfAFailure) {
  char word[] = "why";
  char* argv[] = {word};
  EXPECT_EQ(RunMain("program", 70, Throw, 1, argv), 70);
  EXPECT_EQ(RunMain("program", 1, ThrowNumber, 1, argv), 1);
}

}  // namespace
}  // namespace longrun
