// The smallest experiment that shows what position methods are compared for: trained at 64 bytes
// for 600 steps on 0.54 MB of a novel, read at up to 16 times that. Asserted are orderings far from
// chance (docs/position-methods-table.md has five seeds of each), with margins; the order at the
// train length is not among them, since a short training favours a prior for what is near.
#include <gtest/gtest.h>

#include "tests/novels.h"
#include "tests/replaced.h"

namespace longrun {
namespace {

using ProxyTest = NovelsTest;

TEST_F(ProxyTest, TheOrderBeyondTheTrainLengthIsThatOfThePapers) {
  ASSERT_NO_FATAL_FAILURE(ImportPartOfEmma("proxy"));
  std::string sweep = ReadFile(LONGRUN_SOURCE_DIR "/sweeps/position-methods.yaml").value();
  sweep = Replaced(sweep, "name: position-methods", "name: proxy");
  sweep = Replaced(sweep, "score_tokens: 65536", "score_tokens: 16384");
  const std::string file = JoinPath(folder_.path(), "proxy.yaml");
  ASSERT_TRUE(WriteFileAtomic(file, sweep).ok());

  const Output run =
      Longrun({"run", file, "--set", "dataset=proxy", "--set", "seed=[1337]", "--set",
               "position=[cable, kerple, alibi, t5, rope, sinusoidal]", "-o", "json"});

  ASSERT_EQ(run.code, 0) << run.err;
  const Json tables = ParseJson(run.out).value();
  ASSERT_EQ(tables.size(), 1u);
  auto ppl = Perplexities(tables[0]);
  constexpr double kMargin = 1.03;
  EXPECT_LT(kMargin * ppl["cable"][1024], ppl["kerple"][1024]);
  EXPECT_LT(kMargin * ppl["kerple"][1024], ppl["alibi"][1024]);
  for (const char* method : {"t5", "rope", "sinusoidal"}) {
    EXPECT_LT(kMargin * ppl["alibi"][1024], ppl[method][1024]) << method;
  }
  for (const char* method : {"cable", "alibi", "kerple"}) {
    EXPECT_LE(ppl[method][1024], 1.01 * ppl[method][64]) << method;
  }
  EXPECT_GT(ppl["rope"][256], 1.3 * ppl["rope"][64]);
  EXPECT_GT(ppl["sinusoidal"][1024], 2.0 * ppl["sinusoidal"][64]);
  std::printf("%s\n", Longrun({"table", "proxy"}).out.c_str());
}

}  // namespace
}  // namespace longrun
