// README.md tells the truth: every command line in its ```sh blocks is run.
//
// `longrun ...` is run here, in order, by the real programs in a folder of the test's own, with the
// README's own YAML as my.yaml and synthetic texts in place of the user's. `./dev VERB` is checked
// to be a verb of ./dev; what it does is covered elsewhere: `test` is the run that you are looking
// at, and `quickstart` is `longrun run sweeps/quickstart.yaml` (tests/quickstart_test.cc). Lines
// that install a package must name this release's files; tests/deploy/packages_test.py installs
// such files. A line of another kind fails, so that none slips in unseen.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/str.h"
#include "base/version.h"
#include "tests/cli/runner.h"

namespace longrun {
namespace {

// The lines of all ```LANGUAGE blocks.
std::vector<std::string> LinesOf(const std::string& text, const std::string& language) {
  std::vector<std::string> lines;
  bool inside = false;
  for (const std::string& line : Split(text, '\n')) {
    if (line.starts_with("```")) {
      inside = !inside && line == "```" + language;
    } else if (inside) {
      lines.push_back(line);
    }
  }
  return lines;
}

// Less its comment.
std::string CommandOf(const std::string& line) {
  return std::string(Trim(std::string_view(line).substr(0, line.find(" #"))));
}

class ReadmeTest : public testing::Test {
 protected:
  const std::string readme = ReadFile(LONGRUN_SOURCE_DIR "/README.md").value();
  const std::string dev = ReadFile(LONGRUN_SOURCE_DIR "/dev").value();
};

TEST_F(ReadmeTest, EachDevCommandIsAVerbOfDev) {
  for (const std::string& line : LinesOf(readme, "sh")) {
    const std::vector<std::string> words = Split(CommandOf(line), ' ');
    if (words[0] != "./dev") continue;
    ASSERT_GE(words.size(), 2u) << line;
    EXPECT_NE(dev.find(Str("\n  ", words[1], ") ")), std::string::npos) << line;
  }
}

const std::string kUnpacked = Str("longrun-", kVersion, "-linux-x86_64");
const std::set<std::string> kInstallation = {
    "PATH=$PWD/build/release/bin:$PATH",
    Str("apt install ./longrun_", kVersion, "_amd64.deb"),
    Str("tar --zstd -xf ", kUnpacked, ".tar.zst"),
    Str("PATH=$PWD/", kUnpacked, "/bin:$PATH"),
};

TEST_F(ReadmeTest, EachLongrunCommandWorksInTheOrderShown) {
  std::string steps =
      "$ env LONGRUN_WORKER_TRAINER\n"  // the real one
      "$ text a.txt 6000 1\n$ text b.txt 6000 2\n$ text c.txt 6000 3\n$ write my.yaml\n";
  for (const std::string& line : LinesOf(readme, "yaml")) steps += Str("  ", line, "\n");
  std::set<std::string> installation;
  int n_commands = 0;
  for (const std::string& line : LinesOf(readme, "sh")) {
    const std::string command = CommandOf(line);
    if (command.empty() || command.starts_with("./dev ")) continue;
    if (kInstallation.contains(command)) {
      installation.insert(command);
      continue;
    }
    ASSERT_TRUE(command.starts_with("longrun ")) << line;
    steps += Str("$ ", command, "\n  [...]\n! [...]\n");
    ++n_commands;
  }
  EXPECT_GE(n_commands, 5);
  EXPECT_EQ(installation, kInstallation);
  const TempFolder folder;
  const std::string file = JoinPath(folder.path(), "readme.test");
  ASSERT_TRUE(WriteFileAtomic(file, steps).ok());

  for (const std::string& failure : RunCliFile(file)) ADD_FAILURE() << failure;
}

TEST_F(ReadmeTest, EachFileThatIsLinkedIsThere) {
  for (std::size_t at = 0; (at = readme.find("](", at)) != std::string::npos; ++at) {
    std::string target = readme.substr(at + 2, readme.find(')', at) - at - 2);
    if (target.starts_with("http")) continue;
    target.erase(std::min(target.find('#'), target.size()));  // tests/house_text_test.cc checks it
    EXPECT_TRUE(PathExists(JoinPath(LONGRUN_SOURCE_DIR, target))) << target;
  }
}

}  // namespace
}  // namespace longrun
