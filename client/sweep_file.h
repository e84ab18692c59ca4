// The arguments of every verb that takes a sweep file: FILE, and `--set path=value` any number of
// times.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace CLI {
class App;
}

namespace longrun {

struct SweepFileArguments {
  std::string file;
  std::vector<std::string> sets;
};

std::shared_ptr<SweepFileArguments> AddSweepFile(CLI::App& verb);

// The request of PlanSweep and SubmitSweep. Files that the sweep names (sweeps/named_files.h) are read
// and checked; for a submission they are kept in `state`/files, where trainers find them.
Result<Json> SweepRequest(const SweepFileArguments& arguments, const std::string& state = "");

}  // namespace longrun
