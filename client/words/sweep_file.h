// The arguments of every verb that takes a sweep file: FILE, and any number of `--set path=value`.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "client/console/arguments.h"

namespace longrun {

struct SweepFileArguments {
  std::string file;
  std::vector<std::string> sets;
};

std::shared_ptr<SweepFileArguments> AddSweepFile(Verb& verb);

// The request for PlanSweep and SubmitSweep. Reads and checks the files that the sweep names
// (sweeps/named_files.h); for a submission it stores them in `state`/files,
// where trainers find them.
Result<Json> SweepRequest(const SweepFileArguments& arguments, const std::string& state = "");

}  // namespace longrun
