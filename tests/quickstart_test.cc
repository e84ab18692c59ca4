// The quick start, carried out for real on the six novels: what the papers say must come out, with the
// margins that README promises. Takes a few minutes of both cores.
#include <gtest/gtest.h>

#include <cstdio>

#include "tests/novels.h"

namespace longrun {
namespace {

using QuickStartTest = NovelsTest;

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

}  // namespace
}  // namespace longrun
