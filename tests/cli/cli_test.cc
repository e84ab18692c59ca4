// One file of tests/cli/, which the build names: see runner.h.
#include <gtest/gtest.h>

#include "base/files.h"
#include "tests/cli/runner.h"

namespace longrun {
namespace {

TEST(CliTest, EachCommandGivesWhatTheFileSays) {
  for (const std::string& failure :
       RunCliFile(JoinPath(LONGRUN_SOURCE_DIR "/tests/cli", LONGRUN_CLI_FILE))) {
    ADD_FAILURE() << failure;
  }
}

}  // namespace
}  // namespace longrun
