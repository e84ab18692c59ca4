#include "client/command_line.h"

#include <CLI/CLI.hpp>

#include "client/models.h"
#include "client/verb.h"

namespace longrun {
namespace {

constexpr const char* kFooter = R"(Examples:
  longrun run sweep.yaml                 submit, watch, print the table
  longrun table my-sweep -o csv          the table of a sweep, for a spreadsheet
  longrun up &  longrun submit s.yaml    keep the service running, submit to it

State: --state, else $LONGRUN_HOME, else $XDG_DATA_HOME/longrun, else ~/.local/share/longrun.
Exit codes: 0 ok, 1 failed, 2 usage or sweep file, 3 not found, 4 conflict, 5 denied,
  6 unavailable or timed out, 7 some tasks failed, 8 some still to come, 130 interrupted.)";

}  // namespace

std::unique_ptr<CLI::App> MakeCommandLine(Verbs& verbs, std::string& state) {
  auto app = std::make_unique<CLI::App>(
      "longrun: perplexity by context length, for every position method", "longrun");
  app->footer(kFooter);
  app->require_subcommand(1);
  app->fallthrough();  // before the verbs, which take it over: --state may stand anywhere
  app->add_option("--state", state, "state folder");
  app->set_version_flag("--version", VersionText(), "what `longrun version` prints");
  verbs.app = app.get();
  AddRun(verbs);
  AddUp(verbs);
  AddSubmit(verbs);
  AddValidate(verbs);
  AddPlan(verbs);
  AddLs(verbs);
  AddGet(verbs);
  AddWatch(verbs);
  AddLogs(verbs);
  AddTable(verbs);
  AddPlot(verbs);
  AddAttention(verbs);
  AddDiff(verbs);
  AddQuery(verbs);
  AddReproduce(verbs);
  AddReport(verbs);
  AddCancel(verbs);
  AddRetry(verbs);
  AddLabel(verbs);
  AddNote(verbs);
  AddWorkers(verbs);
  AddData(verbs);
  AddImport(verbs);
  AddModels(verbs);
  AddExport(verbs);
  AddExplain(verbs);
  AddSchema(verbs);
  AddGc(verbs);
  AddDoctor(verbs);
  AddCompletion(verbs);
  AddVersion(verbs);
  return app;
}

}  // namespace longrun
