// See recount.h.
#include "tests/hosts/recount.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/files.h"
#include "base/process.h"
#include "base/str.h"
#include "tests/deadline.h"

namespace longrun {

Recount RecountSweep(Cluster& cluster, const std::string& folder, const std::string& sweep,
                     const std::string& table) {
  const Ran rows = cluster.Here(
      {"query", "-o", "json",
       Str("SELECT cell, variant, metric, context_length, value, nll_sum, n, attempt, seq FROM "
           "sweep_results WHERE sweep = '",
           sweep, "' AND newest = 1")});
  EXPECT_EQ(rows.code, 0) << rows.err;
  const std::string table_path = JoinPath(folder, "table.json");
  const std::string rows_path = JoinPath(folder, "rows.json");
  EXPECT_TRUE(WriteFileAtomic(table_path, table).ok());
  EXPECT_TRUE(WriteFileAtomic(rows_path, rows.out).ok());
  std::vector<std::string> argv = {
      "/usr/bin/env", "python3",  "-B",     LONGRUN_SOURCE_DIR "/tools/recount.py",
      "--table",      table_path, "--rows", rows_path};
  for (const auto& worker : cluster.workers()) {
    argv.push_back(worker->host->Outside("worker/attempts"));
  }
  const std::string log = JoinPath(folder, "recount.log");
  EXPECT_TRUE(RemoveAll(log).ok());
  const Result<int> pid = Spawn({.argv = std::move(argv),
                                 .env = {"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8"},
                                 .stdout_path = log,
                                 .stderr_path = log,
                                 .die_with_parent = true});
  Recount recount;
  if (!pid.ok()) return recount;
  const auto ended = WaitFor(*pid, DeadlineMs(300'000));
  if (ended.ok() && *ended) recount.code = (*ended)->code;
  const Result<std::string> said = ReadFile(log);
  if (said.ok()) recount.said = *said;
  return recount;
}

}  // namespace longrun
