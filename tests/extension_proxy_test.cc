// The smallest experiment that shows how extensions of the context compare: a rotary model that was
// trained at 64 bytes reads 256 (sweeps/extension-proxies.yaml), after PoSE's fine-tunings
// (arXiv:2309.10400, Table 1) and with extensions that need no training. Asserted are relations far
// from chance. Ratios of perplexities at 256, as limits and as measured (AMD EPYC):
//
//                                     limit                quick, 7 seeds   soak, 6 seeds
//   PoSE / full-length                within 1.03          1.003 to 1.017   1.001 to 1.014
//   RandPos / PoSE                    above 1.3            1.53 to 1.60     1.94 to 2.06
//   PI without training / RandPos     above 1.4            1.96 to 2.46     3.03 to 3.94
//   rope / rope at 64                 above 1.3            1.59 to 2.02     1.76 to 2.56
//   self_extend, ... / itself at 64   at most 1.01         0.980 to 0.988   0.972 to 0.985
//   gali, chunk 1 to 16 / at 64       at most 1.01         0.984 to 0.994   0.977 to 0.985
//   gali, chunk 64 / chunk 16         above 1.3            1.62 to 1.76     1.55 to 2.53
//
// LONGRUN_SOAK=1 runs the sweep as it is; without it, training and text are shorter.
#include <gtest/gtest.h>

#include <cstdio>
#include <set>

#include "base/process.h"
#include "tests/novels.h"
#include "tests/replaced.h"

namespace longrun {
namespace {

constexpr const char* kTooLong = "cannot tell their neighbours apart";  // model/extension/gali.cc
const bool kIsSoak = GetEnv("LONGRUN_SOAK").has_value();

constexpr std::pair<std::string_view, std::string_view> kQuick[] = {
    {"tokens: 1228800", "tokens: 409600"},
    {"batch_tokens: 1024", "batch_tokens: 512"},
    {"lr: 2.0e-3, min_lr: 2.0e-4", "lr: 3.0e-3, min_lr: 3.0e-4"},
    {"warmup_tokens: 61440", "warmup_tokens: 30720"},
    {"tokens: 204800", "tokens: 61440"},
    {"warmup_tokens: 10240", "warmup_tokens: 6144"},
    {"context_lengths: [64, 128, 256]", "context_lengths: [64, 256]"},
    {"score_tokens: 16384", "score_tokens: 8192"}};
constexpr const char* kQuickExtend =
    "extend=[{method: pi, factor: 4}, {method: self_extend, group: 8, window: 32}, dca, "
    "{method: rerope, window: 32}, {method: gali, local_window: 32, chunk: 4}, "
    "{method: gali, local_window: 32, chunk: 16}, {method: gali, local_window: 32, chunk: 64}]";

std::string StageOf(const Json& row) { return row.at("stage"); }

// "dca", "gali 32/16" (local_window and chunk). A row leaves out defaults: a window of half the
// train length, and a chunk as long as the window.
std::string ExtensionOf(const Json& row) {
  const Json& extension = row.at("extension");
  if (extension.is_string()) return extension;
  if (extension.at("method") != "gali") return extension.at("method");
  const std::int64_t window = extension.value("local_window", std::int64_t{32});
  return Str("gali ", window, "/", extension.value("chunk", window));
}

class ExtensionProxyTest : public NovelsTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(ImportPartOfEmma("proxy"));
    std::string sweep = ReadFile(LONGRUN_SOURCE_DIR "/sweeps/extension-proxies.yaml").value();
    if (!kIsSoak) {
      for (const auto& [what, by] : kQuick) sweep = Replaced(sweep, what, by);
    }
    ASSERT_TRUE(WriteFileAtomic(sweep_, sweep).ok());
  }

  std::vector<std::string> Arguments(std::string verb, std::vector<std::string> overrides) const {
    std::vector<std::string> arguments = {std::move(verb), sweep_, "-o", "json"};
    overrides.emplace_back("dataset=[proxy]");
    for (std::string& one : overrides) {
      arguments.emplace_back("--set");
      arguments.push_back(std::move(one));
    }
    return arguments;
  }

  template <typename NameOf>
  PerplexityByLength RunSweep(std::vector<std::string> overrides, NameOf name_of) {
    const Output run = Longrun(Arguments("run", std::move(overrides)));
    const Result<Json> tables = ParseJson(run.out);
    if (run.code != 0 || !tables.ok() || tables->size() != 1) {
      ADD_FAILURE() << "exit code " << run.code << ", expected one table: " << run.out << run.err;
      return {};
    }
    return Perplexities(tables->front(), name_of);
  }

  // The lines of the sweep about which `validate` prints a note.
  std::set<std::string> NotedLines() {
    const std::vector<std::string> lines = Split(ReadFile(sweep_).value(), '\n');
    const Json validated = ParseJson(Longrun(Arguments("validate", {})).out).value();
    std::set<std::string> noted;
    for (const std::string note : validated.at("notes")) {
      EXPECT_NE(note.find(kTooLong), std::string::npos) << note;
      const std::size_t line = std::stoul(note.substr(note.find(':') + 1));
      noted.insert(lines.at(line - 1));
    }
    return noted;
  }

  // The extensions of the attempts whose journals warn about the chunk.
  std::set<std::string> WarnedExtensions() const {
    const std::string attempts = JoinPath(folder_.path(), "home/worker/attempts");
    const std::vector<std::string> names = ListFolder(attempts).value();
    std::set<std::string> warned;
    for (const std::string& attempt : names) {
      const std::string folder = JoinPath(attempts, attempt);
      const std::string journal = ReadFile(JoinPath(folder, "journal.jsonl")).value();
      if (journal.find(kTooLong) == std::string::npos) continue;
      warned.insert(
          ExtensionOf(ParseJson(ReadFile(JoinPath(folder, "task.json")).value()).value()));
    }
    return warned;
  }

  const std::string sweep_ = JoinPath(folder_.path(), "proxies.yaml");
};

TEST_F(ExtensionProxyTest, TheOrderAtFourTimesTheTrainLengthIsThatOfThePapers) {
  PerplexityByLength stage = RunSweep({"extend=[none]"}, &StageOf);
  std::vector<std::string> untrained = {"metadata.name=untrained",
                                        "exclude=[{stage: full}, {stage: pose}, {stage: randpos}]"};
  if (!kIsSoak) untrained.emplace_back(kQuickExtend);
  PerplexityByLength base = RunSweep(untrained, &ExtensionOf);
  ASSERT_FALSE(HasFailure());
  std::printf("%s%s\n", Longrun({"table", "extension-proxies"}).out.c_str(),
              Longrun({"table", "untrained"}).out.c_str());

  EXPECT_LT(stage["full"][256], 1.03 * stage["pose"][256]);
  EXPECT_LT(stage["pose"][256], 1.03 * stage["full"][256]);
  EXPECT_GT(stage["randpos"][256], 1.3 * stage["pose"][256]);
  EXPECT_GT(base["pi"][256], 1.4 * stage["randpos"][256]);
  EXPECT_GT(stage["base"][256], 1.3 * stage["base"][64]);

  std::vector<std::string> flat = {"self_extend", "dca", "rerope", "gali 32/4", "gali 32/16"};
  std::vector<std::string> too_long = {"gali 32/64"};
  if (kIsSoak) {
    flat.insert(flat.end(), {"leaky_rerope", "lm_infinite", "window", "gali 32/1"});
    too_long.insert(too_long.end(), {"gali 16/64", "gali 48/64"});
  }
  for (const std::string& extension : flat) {
    ASSERT_EQ(base[extension].count(256), 1u) << extension;
    EXPECT_LT(base[extension][256], 1.01 * base[extension][64]) << extension;
  }
  for (const std::string& extension : too_long) {
    EXPECT_GT(base[extension][256], 1.3 * base["gali 32/16"][256]) << extension;
  }

  // Of a text of 128 or 256 bytes, the last local_window positions are whole: 32, 16 or 48 of them.
  for (const std::string& line : NotedLines()) {
    EXPECT_NE(line.find("method: gali"), std::string::npos) << line;
    EXPECT_NE(line.find("chunk: 64"), std::string::npos) << line;
  }
  EXPECT_EQ(NotedLines().size(), 3u);
  EXPECT_EQ(WarnedExtensions(), std::set<std::string>(too_long.begin(), too_long.end()));
}

}  // namespace
}  // namespace longrun
