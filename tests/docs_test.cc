// docs/*.md tells the truth: each ```sh and ```yaml block is run by a test, and this one runs those
// of docs/cli.md, docs/query.md, docs/published.md, docs/claims.md and docs/encoders.md by the real
// programs, on sweeps of the names that the pages use.
//
// Which test runs which page stands in kRunBy; a block of a page that is not there fails.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/str.h"
#include "tests/cli/runner.h"

namespace longrun {
namespace {

// The test that runs the blocks of a page, or why none can.
const std::map<std::string, std::string>& RunBy() {
  static const std::map<std::string, std::string> pages = {
      {"cli.md", "docs"},
      {"query.md", "docs"},
      {"published.md", "docs"},
      {"models.md", "docs"},
      {"data.md", "docs_data"},
      {"encoders.md", "docs"},
      {"claims.md", "docs"},
      {"evaluation.md", "sweeps/sweep: its YAML is read as a sweep's"},
      {"extensions.md", "sweeps/sweep: its YAML is read as a sweep's"},
      {"position-methods.md",
       "model/net compiles and tries its method; its commands build the tree that a test is part "
       "of"},
      {"security.md",
       "coordinator/rpc/network and cli/admin: they run its commands, on ports of their own"},
      {"slurm.md", "pilot/slurm: it runs such commands in a Slurm of its own"},
      {"operating.md",
       "none: it needs root, systemd and Docker; deploy/files checks what it names"},
  };
  return pages;
}

std::vector<std::string> BlockLines(const std::string& page, const std::string& language) {
  std::vector<std::string> lines;
  bool inside = false;
  for (const std::string& line : Split(page, '\n')) {
    if (line.starts_with("```")) {
      inside = !inside && line == "```" + language;
    } else if (inside) {
      lines.push_back(line);
    }
  }
  return lines;
}

std::string Page(const std::string& name) {
  return ReadFile(JoinPath(LONGRUN_SOURCE_DIR "/docs", name)).value();
}

// Commands as one line each: one whose quotes are open goes on in the next line. The runner knows
// no redirection: what reads standard input is given the text itself.
std::vector<std::string> CommandsOf(const std::string& page) {
  std::vector<std::string> commands;
  std::string command;
  for (const std::string& line : BlockLines(page, "sh")) {
    command += Str(command.empty() ? "" : " ", Trim(line));
    if (std::ranges::count(command, '"') % 2 != 0) continue;
    if (const std::size_t at = command.find(" - < question.sql"); at != std::string::npos) {
      command.replace(at, std::string::npos, " 'SELECT 1'");
    }
    if (!command.empty()) commands.push_back(command);
    command.clear();
  }
  return commands;
}

constexpr const char* kSetUp = R"($ env LONGRUN_WORKER_TRAINER
$ text a.txt 4000 1
$ text b.txt 1000 2
$ longrun data import tiny --train a.txt --validation b.txt
  tiny: [HEX]
  train 1 document, [NUM] tokens; validation 1 document, [NUM] tokens
$ write my.yaml
  apiVersion: longrun/v1
  kind: Sweep
  metadata: {name: my-sweep}
  spec:
    model: {architecture: gpt2, n_layer: 1, n_head: 2, d_model: 16}
    matrix: {position: [cable, rope, alibi], train_length: [32], dataset: [tiny], seed: [1]}
    train: {tokens: 8192, batch_tokens: 1024, schedule: {name: constant}}
    evaluate:
      - perplexity: {context_lengths: [32, 64]}
      - attention_map: {context_lengths: [32, 64]}
      - perplexity: {context_lengths: [64], protocol: per_position, score_tokens: 1024}
$ longrun run my.yaml
  [...]
! [...]
$ longrun run my.yaml --set metadata.name=other-sweep --set seed=2
  [...]
! [...]
$ longrun get my-sweep -o csv
  run,position,train_length,task,kind,evaluation,state,tries,worker,path,reason,duration_ms
  [HEX:run],cable,[*]
  [...]
)";

TEST(DocsTest, EachCommandOfTheCommandLineAndOfQueriesWorks) {
  std::string steps = Str(kSetUp, "$ write a-paper.yaml\n");
  for (const std::string& line : BlockLines(Page("published.md"), "yaml")) {
    steps += Str("  ", line, "\n");
  }
  int n_commands = 0;
  for (const char* page : {"cli.md", "query.md", "published.md"}) {
    for (std::string command : CommandsOf(Page(page))) {
      ASSERT_TRUE(command.starts_with("longrun ")) << page << ": " << command;
      if (const std::size_t at = command.find("1f2e3d4c"); at != std::string::npos) {
        command.replace(at, 8, "{run}");
      }
      steps += Str("$ ", command, "\n  [...]\n! [...]\n");
      ++n_commands;
    }
  }
  EXPECT_GE(n_commands, 10);
  const TempFolder folder;
  const std::string file = JoinPath(folder.path(), "docs.test");
  ASSERT_TRUE(WriteFileAtomic(file, steps).ok());

  for (const std::string& failure : RunCliFile(file)) ADD_FAILURE() << failure;
}

// The commands and sweeps of docs/models.md, in order; an export stands in for the folder that a
// reader has, and what would train for long is shorter.
TEST(DocsTest, EachExampleOfImportedModelsWorks) {
  const std::string page = Page("models.md");
  std::string steps = Str(kSetUp,
                          "$ longrun export {run} pythia-70m\n  [...]\n! [...]\n"
                          "$ text long.txt 60000 3\n"
                          "$ longrun data import mybook --train a.txt --validation long.txt\n"
                          "  mybook: [HEX]\n  [*]\n");
  const std::vector<std::string> yaml = BlockLines(page, "yaml");
  std::string name;
  for (const std::string& line : yaml) {
    if (line == "apiVersion: longrun/v1") {
      name = name.empty() ? "measure.yaml" : "tune.yaml";
      steps += Str("$ write ", name, "\n");
    }
    steps += Str("  ", line, "\n");
  }
  ASSERT_EQ(name, "tune.yaml");
  std::vector<std::string> commands = CommandsOf(page);
  EXPECT_EQ(commands.size(), 6u);
  commands.insert(commands.begin() + 3,
                  "longrun run tune.yaml --set train_length=32 --set train.batch_tokens=256 --set "
                  "train.tokens=512");
  for (std::string command : commands) {
    if (const std::size_t at = command.find("1f2e3d4c"); at != std::string::npos) {
      command.replace(at, 8, "{run}");
    }
    steps += Str("$ ", command, "\n  [...]\n! [...]\n");
  }
  const TempFolder folder;
  const std::string file = JoinPath(folder.path(), "models.test");
  ASSERT_TRUE(WriteFileAtomic(file, steps).ok());

  for (const std::string& failure : RunCliFile(file)) ADD_FAILURE() << failure;
}

TEST(DocsTest, TheEncoderOfItsPageIsTrainedAndScored) {
  std::string steps =
      "$ env LONGRUN_WORKER_TRAINER\n$ text a.txt 4000 1\n$ text b.txt 1000 2\n"
      "$ longrun data import mybook --train a.txt --validation b.txt\n  mybook: [HEX]\n  [*]\n"
      "$ write encoder.yaml\n";
  for (std::string line : BlockLines(Page("encoders.md"), "yaml")) {
    // What beats byte frequencies on a book takes longer than a test has.
    if (line == "    tokens: 614400") line = "    tokens: 16384";
    steps += Str("  ", line, "\n");
  }
  for (const std::string& command : CommandsOf(Page("encoders.md"))) {
    steps += Str("$ ", command, "\n  [...]\n! [...]\n");
  }
  steps +=
      "$ longrun table my-encoder\n"
      "  pseudo-perplexity by context length (validation, pll)\n"
      "  position[ws]train_length  dataset[ws]32[ws]128\n"
      "  alibi(variant=symmetric)[*]\n"
      "  cable(variant=bidirectional) (experimental)[*]\n"
      "  rope[*]\n"
      "  unigram[*]\n"
      "  [...]\n";
  const TempFolder folder;
  const std::string file = JoinPath(folder.path(), "encoders.test");
  ASSERT_TRUE(WriteFileAtomic(file, steps).ok());

  for (const std::string& failure : RunCliFile(file)) ADD_FAILURE() << failure;
}

// One seed, so that the verdicts do not depend on the processor: all are undecided.
TEST(DocsTest, TheClaimsOfTheirPageAreJudged) {
  const std::string page = Page("claims.md");
  std::string steps =
      "$ env LONGRUN_WORKER_TRAINER\n$ text a.txt 4000 1\n$ text b.txt 1000 2\n"
      "$ longrun data import tiny --train a.txt --validation b.txt\n  tiny: [HEX]\n  [*]\n"
      "$ write my.yaml\n"
      "  apiVersion: longrun/v1\n"
      "  kind: Sweep\n"
      "  metadata: {name: my-sweep}\n"
      "  spec:\n"
      "    model: {architecture: gpt2, n_layer: 1, n_head: 2, d_model: 16}\n"
      "    matrix: {position: [cable, rope, alibi], train_length: [64], dataset: [tiny]}\n"
      "    train: {tokens: 2048, batch_tokens: 1024, schedule: {name: constant}}\n"
      "    evaluate: [{perplexity: {context_lengths: [64, 256, 512]}}]\n";
  std::string claims;
  for (const std::string& line : BlockLines(page, "yaml")) claims += Str("    ", line, "\n");
  ASSERT_FALSE(claims.empty());
  steps += Str(claims, "$ write other-claims.yaml\n  spec:\n", claims,
               "$ longrun validate my.yaml\n  [...]\n! [...]\n"
               "$ longrun run my.yaml\n  [...]\n! [...]\n");
  for (const std::string& command : CommandsOf(page)) {
    const bool judges = command.starts_with("longrun claims ");
    steps += Str("$ ", command, "\n  [...]\n", judges ? "? 8\n" : "");
  }
  const TempFolder folder;
  const std::string file = JoinPath(folder.path(), "claims.test");
  ASSERT_TRUE(WriteFileAtomic(file, steps).ok());

  for (const std::string& failure : RunCliFile(file)) ADD_FAILURE() << failure;
}

TEST(DocsTest, EachPageWithExamplesHasATestThatRunsThem) {
  const std::vector<std::string> names = ListFolder(LONGRUN_SOURCE_DIR "/docs").value();
  for (const std::string& name : names) {
    if (!name.ends_with(".md")) continue;
    const std::string page = Page(name);
    const bool has_examples = !BlockLines(page, "sh").empty() || !BlockLines(page, "yaml").empty();
    EXPECT_EQ(has_examples, RunBy().contains(name)) << name;
    // A block without a language holds no command, which nobody would run.
    for (const std::string& line : BlockLines(page, "")) {
      const bool is_synopsis =
          line.find("NAME ") != std::string::npos || line.find("FILE.yaml ") != std::string::npos;
      const bool needs_arrow = line.find(".parquet'") != std::string::npos;  // by hand
      EXPECT_TRUE(!line.starts_with("longrun ") || is_synopsis || needs_arrow)
          << name << ": " << line;
    }
  }
}

}  // namespace
}  // namespace longrun
