// The arguments of every verb that takes a sweep file: FILE, and any number of `--set path=value`.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "client/console/arguments.h"
#include "client/wire/messages.h"

namespace longrun::client {

struct SweepFileArguments {
  std::string file;
  std::vector<std::string> sets;
  bool refresh_errors = false;
};

std::shared_ptr<SweepFileArguments> AddSweepFile(Verb& verb);
// `--refresh-errors`, for the verbs that plan or submit.
void AddRefreshErrors(Verb& verb, SweepFileArguments& arguments);

// The request for a plan. Reads and checks the files that the sweep names (sweeps/named_files.h).
// If one of them cannot be read, the coordinator of `state` is asked for the other mistakes of the
// sweep file, so that the error has all of them, a line each.
Result<v1::PlanSweepRequest> PlanRequest(const SweepFileArguments& arguments,
                                         const std::string& state);
// The request for a submission. Also stores the named files in `state`/files, where trainers find
// them; of a context, sends them to its coordinator.
Result<v1::SubmitSweepRequest> SubmitRequest(const SweepFileArguments& arguments,
                                             const std::string& state);
// Reports why there is no request; returns the exit code.
int ReportRequest(const Status& status);

}  // namespace longrun::client
