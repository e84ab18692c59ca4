// How many mistakes the suite of bad input makes, so that it does not shrink unnoticed: by area,
// and at least 80 in all.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/str.h"

namespace longrun {
namespace {

const std::string kTests = LONGRUN_SOURCE_DIR "/tests";

std::vector<std::string> LinesOf(const std::string& path) {
  return Split(ReadFile(path).value(), '\n');
}

// Commands of a tests/cli file that are refused (exit code not 0) with a message
// that is written out.
std::int64_t RefusedCommands(const std::string& path) {
  std::int64_t n = 0;
  bool told = false;
  for (const std::string& line : LinesOf(path)) {
    if (line.starts_with("$ ")) told = false;
    if (line.starts_with("! ") && line != "! [...]" && line != "! [*]") told = true;
    if (line.starts_with("? ") && told) ++n;
  }
  return n;
}

// Lines "FILE.yaml:LINE:COLUMN: ..." or "--set ...: ..." of what is expected of a sweep file.
std::int64_t ToldMistakes(const std::string& path) {
  const std::vector<std::string> lines = LinesOf(path);
  return std::ranges::count_if(lines, [](const std::string& line) {
    const std::size_t at = line.find(".yaml:");
    const bool placed = at != std::string::npos && line.find(' ') > at && line.size() > at + 6 &&
                        line[at + 6] >= '1' && line[at + 6] <= '9';
    return placed || line.starts_with("--set ");
  });
}

TEST(BadInputTest, EveryAreaHasItsCases) {
  struct Area {
    std::string file;
    std::int64_t n_min;
  };
  const std::vector<Area> areas = {{"broken.test", 20},        {"bad_data.test", 12},
                                   {"bad_tokenizer.test", 8},  {"bad_model.test", 10},
                                   {"bad_arguments.test", 12}, {"bad_state.test", 10},
                                   {"bad_questions.test", 12}};
  std::int64_t n = 0;
  for (const Area& area : areas) {
    const std::int64_t found = RefusedCommands(kTests + "/cli/" + area.file);
    std::printf("%s: %lld\n", area.file.c_str(), static_cast<long long>(found));
    EXPECT_GE(found, area.n_min) << area.file;
    n += found;
  }
  EXPECT_GE(n, 80);
}

TEST(BadInputTest, SweepFilesHaveTheirCases) {
  std::int64_t n = 0;
  const std::vector<std::string> names = ListFolder(kTests + "/sweeps").value();
  for (const std::string& name : names) {
    if (name.ends_with(".expected")) n += ToldMistakes(kTests + "/sweeps/" + name);
  }
  std::printf("sweeps: %lld\n", static_cast<long long>(n));
  EXPECT_GE(n, 20);
}

}  // namespace
}  // namespace longrun
