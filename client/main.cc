// longrun: the command line.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <vector>

#include "base/program.h"
#include "base/str.h"
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
  6 unavailable or timed out, 7 some tasks failed, 8 not complete yet, 130 interrupted.)";

// What is wrong with the line, in our words where CLI11's do not name the word.
std::string UsageProblem(const CLI::App& app, const CLI::ParseError& error, int argc, char** argv) {
  if (!app.get_subcommands().empty()) return error.what();
  std::vector<std::string> verbs;
  for (const CLI::App* verb : app.get_subcommands(nullptr)) verbs.push_back(verb->get_name());
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--state") ++i;
    if (word.starts_with("-")) continue;
    const std::string nearest = Nearest(word, verbs);
    return Str("there is no verb \"", word, "\"",
               nearest.empty() ? "" : Str("; did you mean \"", nearest, "\"?"));
  }
  return "a verb is missing";
}

int Main(int argc, char** argv) {
  CLI::App app("longrun: perplexity by context length, for every position method", "longrun");
  app.footer(kFooter);
  app.require_subcommand(1);
  app.fallthrough();  // before the verbs, which take it over: --state may stand anywhere
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
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    std::fprintf(stderr,
                 "longrun: %s\n`longrun --help` shows the verbs, `longrun VERB --help` one\n",
                 UsageProblem(app, error, argc, argv).c_str());
    return kExitUsage;
  }
  Result<std::string> folder = StateFolder(state);
  if (!folder.ok()) return Report(folder.status());
  verbs.state = std::move(folder).value();
  return verbs.run();
}

}  // namespace
}  // namespace longrun

int main(int argc, char** argv) {
  return longrun::RunMain("longrun", longrun::kExitFailed, longrun::Main, argc, argv);
}
