// The quick start and README's own recipe, carried out for real on the novels: what the papers say
// must come out, with the margins that README promises. Takes a few minutes of both cores.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <numeric>

#include "tests/novels.h"

namespace longrun {
namespace {

using QuickStartTest = NovelsTest;

// How far a curve, as the mean of three steps, rises above the lowest that it was before.
double LargestRise(const Json& points) {
  constexpr std::size_t kWidth = 3;
  std::vector<double> losses;
  losses.reserve(points.size());
  for (const Json& point : points) losses.push_back(point.at("y").get<double>());
  double lowest = losses.front();
  double rise = 0.0;
  for (std::size_t i = kWidth; i <= losses.size(); ++i) {
    const auto end = losses.begin() + static_cast<std::ptrdiff_t>(i);
    const double mean = std::accumulate(end - kWidth, end, 0.0) / kWidth;
    rise = std::max(rise, mean - lowest);
    lowest = std::min(lowest, mean);
  }
  return rise;
}

// The lines of README's sweep.
std::string ReadmeSweep() {
  const std::string readme = ReadFile(LONGRUN_SOURCE_DIR "/README.md").value();
  const std::size_t begin = readme.find("```yaml\n") + 8;
  return readme.substr(begin, readme.find("```", begin) - begin);
}

TEST_F(QuickStartTest, ShowsWhatThePapersSayAndTrainsNothingTheSecondTime) {
  ASSERT_TRUE(PathExists(Novel("persuasion"))) << "the texts are missing: run ./dev setup";
  ASSERT_EQ(Longrun({"data", "import", "austen", "--tokenizer", "bytes", "--train", Novel("emma"),
                     Novel("mansfieldpark"), Novel("northangerabbey"), Novel("prideprejudice"),
                     Novel("sensesensibility"), "--validation", Novel("persuasion")})
                .code,
            0);

  const Output first =
      Longrun({"run", Str(LONGRUN_SOURCE_DIR, "/sweeps/quickstart.yaml"), "-o", "json"});
  ASSERT_EQ(first.code, 0) << first.err;
  const Result<Json> parsed = ParseJson(first.out);
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  const Json& tables = *parsed;
  ASSERT_EQ(tables.size(), 1u);
  auto ppl = Perplexities(tables[0]);
  ASSERT_EQ(ppl.size(), 5u);

  // Far beyond the train length: cable and alibi hold, sinusoidal falls apart.
  EXPECT_LE(ppl["cable"][1024], 1.15 * ppl["cable"][64]);
  EXPECT_LE(ppl["alibi"][1024], 1.15 * ppl["alibi"][64]);
  EXPECT_GT(ppl["sinusoidal"][1024], 2.0 * ppl["sinusoidal"][64]);
  // At the train length: everybody has learned more than the frequencies of bytes.
  const double unigram = ppl["unigram"][64];
  EXPECT_NEAR(unigram, 22.0, 1.0);
  EXPECT_LT(ppl["sinusoidal"][64], unigram);
  for (const char* method : {"cable", "alibi", "rope"}) {
    EXPECT_LT(ppl[method][64], 0.5 * unigram) << method;
  }

  const Output second =
      Longrun({"run", Str(LONGRUN_SOURCE_DIR, "/sweeps/quickstart.yaml"), "-o", "json"});
  EXPECT_EQ(second.code, 0) << second.err;
  EXPECT_EQ(second.out, first.out);
  EXPECT_NE(second.err.find("nothing new"), std::string::npos) << second.err;
  const Output got = Longrun({"get", "quickstart", "-o", "json"});
  const Result<Json> sweep = ParseJson(got.out);
  ASSERT_TRUE(sweep.ok()) << sweep.status().message() << "\n" << got.err;
  for (const Json& run : sweep->at("runs")) {
    EXPECT_EQ(run.at("execution").at("paths").at("attention"), "fused");
    for (const Json& task : run.at("tasks")) EXPECT_EQ(task.at("attempts"), 1);
  }
  std::printf("%s\n", Longrun({"table", "quickstart"}).out.c_str());
}

// The steps' own noise makes three of them rise by up to 0.14 nats (four methods, three seeds).
// Without the warm-up, the sixth step throws alibi from 4.7 to 5.9: 0.25.
TEST_F(QuickStartTest, TheRecipeOfTheReadmeHasNoSpikeForAnyMethodOfTheQuickStart) {
  ASSERT_TRUE(PathExists(Novel("persuasion"))) << "the texts are missing: run ./dev setup";
  ASSERT_EQ(Longrun({"data", "import", "mybook", "--train", Novel("mansfieldpark"), Novel("emma"),
                     "--validation", Novel("persuasion")})
                .code,
            0);
  const std::string file = JoinPath(folder_.path(), "my.yaml");
  ASSERT_TRUE(WriteFileAtomic(file, ReadmeSweep()).ok());
  const Output ran =
      Longrun({"run", file, "--set", "position=[cable, alibi, rope, sinusoidal]", "-o", "json"});
  ASSERT_EQ(ran.code, 0) << ran.err;

  const Output drawn = Longrun({"plot", "my-sweep", "--what", "loss", "--x", "step", "-o", "json"});
  const Result<Json> plots = ParseJson(drawn.out);
  ASSERT_TRUE(plots.ok()) << plots.status().message() << "\n" << drawn.err;
  const Json& curves = plots->at(0).at("series");
  ASSERT_EQ(curves.size(), 4u);
  for (const Json& curve : curves) {
    const auto name = curve.at("name").get<std::string>();
    EXPECT_EQ(curve.at("points").size(), 200u) << name;
    const double rise = LargestRise(curve.at("points"));
    std::printf("%s: the loss rises by at most %.3f nats\n", name.c_str(), rise);
    EXPECT_LT(rise, 0.2) << name;
  }
}

}  // namespace
}  // namespace longrun
