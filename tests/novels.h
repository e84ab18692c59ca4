// Sweeps over the novels through `longrun`, in a state folder of their own.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>

#include <map>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "base/process.h"
#include "base/str.h"
#include "tests/deadline.h"

namespace longrun {

inline constexpr std::int64_t kDeadlineMs = DeadlineMs(1'200'000);

struct Output {
  int code = -1;
  std::string out;
  std::string err;
};

class NovelsTest : public testing::Test {
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

  // A dataset of 0.54 MB to train on and 60 kB to score, the beginning of one novel.
  void ImportPartOfEmma(const std::string& dataset) {
    ASSERT_TRUE(PathExists(Novel("emma"))) << "the texts are missing: run ./dev setup";
    const auto at = [&](const char* name) { return JoinPath(folder_.path(), name); };
    const std::string text = ReadFile(Novel("emma")).value().substr(0, 600'000);
    ASSERT_TRUE(WriteFileAtomic(at("train.txt"), text.substr(0, 540'000)).ok());
    ASSERT_TRUE(WriteFileAtomic(at("held_out.txt"), text.substr(540'000)).ok());
    ASSERT_EQ(Longrun({"data", "import", dataset, "--tokenizer", "bytes", "--train",
                       at("train.txt"), "--validation", at("held_out.txt")})
                  .code,
              0);
  }

  TempFolder folder_;
};

// name of a row -> context length -> perplexity
using PerplexityByLength = std::map<std::string, std::map<std::int64_t, double>>;

template <typename NameOf>
PerplexityByLength Perplexities(const Json& table, NameOf name_of) {
  PerplexityByLength out;
  const auto read = [&out](const std::string& name, const Json& row) {
    for (const Json& cell : row.at("cells")) {
      EXPECT_EQ(cell.at("status"), "ok") << name;
      EXPECT_GT(cell.at("n").get<std::int64_t>(), 0) << name;
      EXPECT_GT(cell.at("se").get<double>(), 0.0) << name;
      out[name][cell.at("context_length").get<std::int64_t>()] =
          cell.at("perplexity").get<double>();
    }
  };
  for (const Json& row : table.at("rows")) read(name_of(row), row);
  for (const Json& row : table.at("baselines")) read(row.at("name").get<std::string>(), row);
  return out;
}

inline PerplexityByLength Perplexities(const Json& table) {
  return Perplexities(table, [](const Json& row) { return row.at("position").get<std::string>(); });
}

}  // namespace longrun
