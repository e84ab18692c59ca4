// The verbs of the command line: each has one file in client/verbs/, one line here, and one name in
// a group of command_line.cc. Adding a verb declares its arguments; after the whole line was
// parsed, the chosen verb's `run` is called.
//
// stdout carries data, stderr everything else. Exit codes: see console/exit_code.h.
#pragma once

#include <functional>
#include <string>

#include "client/console/arguments.h"

namespace longrun::client {

struct Verbs {
  CLI::App* app = nullptr;   // the whole line
  std::string state;         // --state, resolved; created with mode 0700. Or a context's folder
  std::string context;       // --context as given
  std::function<int()> run;  // of the chosen verb

  Verb AddVerb(const std::string& name, const std::string& meaning) {
    return Verb(*app, run).AddVerb(name, meaning);
  }
};

void AddRun(Verbs& verbs);
void AddUp(Verbs& verbs);
void AddSubmit(Verbs& verbs);
void AddValidate(Verbs& verbs);
void AddPlan(Verbs& verbs);
void AddLs(Verbs& verbs);
void AddGet(Verbs& verbs);
void AddWhy(Verbs& verbs);
void AddWatch(Verbs& verbs);
void AddLogs(Verbs& verbs);
void AddTable(Verbs& verbs);
void AddClaims(Verbs& verbs);
void AddPlot(Verbs& verbs);
void AddAttention(Verbs& verbs);
void AddDiff(Verbs& verbs);
void AddQuery(Verbs& verbs);
void AddReproduce(Verbs& verbs);
void AddReport(Verbs& verbs);
void AddCancel(Verbs& verbs);
void AddRetry(Verbs& verbs);
void AddPause(Verbs& verbs);
void AddResume(Verbs& verbs);
void AddRm(Verbs& verbs);
void AddLabel(Verbs& verbs);
void AddNote(Verbs& verbs);
void AddWorkers(Verbs& verbs);
void AddWorker(Verbs& verbs);
void AddDrain(Verbs& verbs);
void AddUndrain(Verbs& verbs);
void AddPilot(Verbs& verbs);
void AddData(Verbs& verbs);
void AddImport(Verbs& verbs);
void AddModels(Verbs& verbs);
void AddExport(Verbs& verbs);
void AddExplain(Verbs& verbs);
void AddSchema(Verbs& verbs);
void AddGc(Verbs& verbs);
void AddDoctor(Verbs& verbs);
void AddLogin(Verbs& verbs);
void AddContext(Verbs& verbs);
void AddAdmin(Verbs& verbs);
void AddCompletion(Verbs& verbs);
void AddVersion(Verbs& verbs);

// Below `admin`:
void AddAdminBackup(Verbs& verbs, Verb& admin);
void AddAdminRestore(Verbs& verbs, Verb& admin);
void AddAdminCheck(Verbs& verbs, Verb& admin);

// Below `data`:
void AddDataImport(Verbs& verbs, Verb& data);
void AddDataPrepare(Verbs& verbs, Verb& data);
void AddDataSynthesize(Verbs& verbs, Verb& data);
void AddDataInspect(Verbs& verbs, Verb& data);
void AddDataVerify(Verbs& verbs, Verb& data);
void AddTrainTokenizer(Verb& data);

}  // namespace longrun::client
