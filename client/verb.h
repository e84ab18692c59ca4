// A verb of the command line: one file, and one name in a group of command_line.cc. Adding a verb declares
// its arguments; after the whole line was parsed, the chosen verb's `run` is called.
//
// stdout carries data, stderr everything else. Exit codes: see ExitCode.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace CLI {
class App;
}

namespace longrun {

enum ExitCode : int {
  kExitOk = 0,
  kExitFailed = 1,  // the requested outcome failed
  kExitUsage = 2,   // arguments or a sweep file are wrong
  kExitNotFound = 3,
  kExitConflict = 4,  // the state of the system does not allow it
  kExitDenied = 5,
  kExitUnavailable = 6,  // no coordinator answers, or a deadline passed
  kExitPartial = 7,      // some tasks of the sweep failed, and none remain
  kExitIncomplete = 8,   // some of the sweep is unfinished
  kExitInterrupted = 130,
};

struct Verbs {
  CLI::App* app = nullptr;
  std::string state;         // --state, resolved; created with mode 0700
  std::function<int()> run;  // of the chosen verb
};

// The exit code for the sweeps that a verb has shown, from their SweepInfo: the same for every verb.
//   kExitIncomplete  some of it is unfinished
//   kExitOk          all of it succeeded
//   kExitPartial     nothing more will run by itself: a part succeeded, a part failed
//   kExitFailed      nothing more will run by itself: it was cancelled, or all of it failed
int SweepExitCode(const std::vector<Json>& infos);

// Prints "longrun: message" (and each violation on its own line) and returns the exit code.
int Report(const Status& status, const std::vector<std::string>& violations = {});

std::string VersionText();  // release, commit, protocol: one line

void AddRun(Verbs& verbs);
void AddUp(Verbs& verbs);
void AddSubmit(Verbs& verbs);
void AddValidate(Verbs& verbs);
void AddPlan(Verbs& verbs);
void AddLs(Verbs& verbs);
void AddGet(Verbs& verbs);
void AddWatch(Verbs& verbs);
void AddLogs(Verbs& verbs);
void AddTable(Verbs& verbs);
void AddPlot(Verbs& verbs);
void AddAttention(Verbs& verbs);
void AddDiff(Verbs& verbs);
void AddQuery(Verbs& verbs);
void AddReproduce(Verbs& verbs);
void AddReport(Verbs& verbs);
void AddCancel(Verbs& verbs);
void AddRetry(Verbs& verbs);
void AddRm(Verbs& verbs);
void AddLabel(Verbs& verbs);
void AddNote(Verbs& verbs);
void AddWorkers(Verbs& verbs);
void AddData(Verbs& verbs);
void AddExplain(Verbs& verbs);
void AddSchema(Verbs& verbs);
void AddGc(Verbs& verbs);
void AddDoctor(Verbs& verbs);
void AddCompletion(Verbs& verbs);
void AddVersion(Verbs& verbs);

// Below `data`:
void AddTrainTokenizer(CLI::App& data, Verbs& verbs);

}  // namespace longrun
