// longrun: the command line.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "client/embedded.h"
#include "client/verb.h"

namespace longrun {
namespace {

constexpr const char* kFooter = R"(Examples:
  longrun run sweep.yaml                 submit, watch, print the table
  longrun table my-sweep -o csv          the table of a sweep, for a spreadsheet
  longrun up &  longrun submit s.yaml    keep the service running, submit to it

State: --state, else $LONGRUN_HOME, else $XDG_DATA_HOME/longrun, else ~/.local/share/longrun.
Exit codes: 0 ok, 1 failed, 2 usage or sweep file, 3 not found, 4 conflict, 5 denied,
  6 unavailable or timed out, 7 some tasks failed, 8 table incomplete, 130 interrupted.)";

int Main(int argc, char** argv) {
  CLI::App app("longrun: perplexity by context length, for every position method", "longrun");
  app.footer(kFooter);
  app.require_subcommand(1);
  std::string state;
  app.add_option("--state", state, "state folder");
  Verbs verbs;
  verbs.app = &app;
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
  AddCancel(verbs);
  AddWorkers(verbs);
  AddData(verbs);
  AddVersion(verbs);
  app.fallthrough();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  Result<std::string> folder = StateFolder(state);
  if (!folder.ok()) return Report(folder.status());
  verbs.state = std::move(folder).value();
  return verbs.run();
}

}  // namespace
}  // namespace longrun

int main(int argc, char** argv) { return longrun::Main(argc, argv); }
