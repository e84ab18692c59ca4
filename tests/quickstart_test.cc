// The quick start, carried out for real on the six novels: what the papers say must come out, with the
// margins that README promises. Takes a few minutes of both cores.
#include <gtest/gtest.h>
#include <signal.h>

#include <map>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "base/process.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr std::int64_t kDeadlineMs = 1'200'000;

struct Output {
  int code = -1;
  std::string out;
  std::string err;
};

class QuickStartTest : public testing::Test {
 protected:
  Output Longrun(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), JoinPath(LONGRUN_BIN_DIR, "longrun"));
    const std::string out = JoinPath(folder_.path(), "out");
    const std::string err = JoinPath(folder_.path(), "err");
    EXPECT_TRUE(RemoveAll(out).ok() && RemoveAll(err).ok());
    const Result<int> pid = Spawn(
        {.argv = arguments,
         .env = {Str("LONGRUN_HOME=", JoinPath(folder_.path(), "home")), "PATH=/usr/bin:/bin"},
         .stdout_path = out,
         .stderr_path = err});
    EXPECT_TRUE(pid.ok());
    const auto exited = WaitFor(*pid, kDeadlineMs);
    if (!exited.ok() || !exited->has_value()) {
      ADD_FAILURE() << Join(arguments, " ") << " did not end within " << kDeadlineMs / 1000
                    << " s: " << ReadFile(err).value();
      kill(*pid, SIGKILL);
      return {};
    }
    return {.code = (*exited)->code, .out = ReadFile(out).value(), .err = ReadFile(err).value()};
  }

  static std::string Novel(const std::string& name) {
    return Str(LONGRUN_SOURCE_DIR, "/.data/austen/", name, ".txt");
  }

  TempFolder folder_;
};

// method -> context length -> perplexity
std::map<std::string, std::map<std::int64_t, double>> Perplexities(const Json& table) {
  std::map<std::string, std::map<std::int64_t, double>> out;
  const auto read = [&out](const std::string& name, const Json& row) {
    for (const Json& cell : row.at("cells")) {
      EXPECT_EQ(cell.at("status"), "ok") << name;
      EXPECT_GT(cell.at("n").get<std::int64_t>(), 0) << name;
      EXPECT_GT(cell.at("se").get<double>(), 0.0) << name;
      out[name][cell.at("context_length").get<std::int64_t>()] =
          cell.at("perplexity").get<double>();
    }
  };
  for (const Json& row : table.at("rows")) read(row.at("position").get<std::string>(), row);
  for (const Json& row : table.at("baselines")) read(row.at("name").get<std::string>(), row);
  return out;
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
    for (const Json& task : run.at("tasks")) EXPECT_EQ(task.at("attempts"), 1);
  }
  std::printf("%s\n", Longrun({"table", "quickstart"}).out.c_str());
}

}  // namespace
}  // namespace longrun
