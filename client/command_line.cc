#include "client/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <string_view>

#include "client/console/version_text.h"
#include "client/verb.h"

namespace longrun::client {
namespace {

constexpr const char* kFooter = R"(Examples:
  longrun run sweep.yaml                 submit, watch, print the table
  longrun table my-sweep -o csv          the table of a sweep, for a spreadsheet
  longrun up &  longrun submit s.yaml    keep the service running, submit to it

State: --state or --context, else $LONGRUN_HOME, else the context in use (`longrun context list`),
  else $XDG_DATA_HOME/longrun, else ~/.local/share/longrun.
Exit codes: 0 ok, 1 failed, 2 usage or sweep file, 3 not found, 4 conflict, 5 denied,
  6 unavailable or timed out, 7 some tasks failed, 8 some still to come, 130 interrupted.)";

// What to call an option's value if the option's name in capitals does not say it.
struct Placeholder {
  std::string_view option;
  const char* text;
};
constexpr Placeholder kPlaceholders[] = {
    {"--state", "FOLDER"},        {"--context", "NAME"},       {"--set", "PATH=VALUE"},
    {"--where", "AXIS=VALUES"},   {"--rows", "AXES"},          {"--cols", "AXES"},
    {"--metrics", "HOST:PORT"},   {"--listen", "HOST:PORT"},   {"--label", "KEY[=VALUE]"},
    {"--train", "FILES"},         {"--validation", "FILES"},   {"--test", "FILES"},
    {"--output", "FILE"},         {"--out", "FOLDER"},         {"--size", "WIDTHxHEIGHT"},
    {"--tokenizer", "NAME|FILE"}, {"--filter", "PATH==VALUE"}, {"--shard-size", "BYTES"}};

// CLI11 calls every value TEXT that is not a number. Options with fixed choices show those, and a
// positional is shown by its name.
void NamePlaceholders(CLI::App& app) {
  for (CLI::Option* const option : app.get_options()) {
    if (option->get_type_name() != "TEXT") continue;
    const std::string name = option->get_name();
    const auto known = std::ranges::find(kPlaceholders, name, &Placeholder::option);
    std::string text = option->get_positional() ? ""
                       : known != std::end(kPlaceholders)
                           ? std::string(known->text)
                           : name.substr(name.find_first_not_of('-'));
    if (known == std::end(kPlaceholders)) {
      std::ranges::transform(text, text.begin(),
                             [](char c) { return c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c; });
    }
    option->type_name(text);
  }
  for (CLI::App* const verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    NamePlaceholders(*verb);
  }
}

// A group of verbs in `--help`.
struct VerbGroup {
  const char* name;
  std::vector<void (*)(Verbs&)> add;
};
const VerbGroup kGroups[] = {
    {"Sweeps",
     {AddRun, AddUp, AddSubmit, AddValidate, AddPlan, AddPause, AddResume, AddCancel, AddRetry}},
    {"Progress", {AddLs, AddGet, AddWhy, AddWatch, AddLogs}},
    {"Workers", {AddWorkers, AddDrain, AddUndrain, AddWorker, AddPilot}},
    {"Results",
     {AddTable, AddClaims, AddPlot, AddAttention, AddDiff, AddQuery, AddReproduce, AddReport}},
    {"Data and models", {AddData, AddImport, AddModels, AddExport}},
    {"Upkeep", {AddRm, AddLabel, AddNote, AddGc, AddDoctor}},
    {"Other machines", {AddLogin, AddContext, AddAdmin}},
    {"Help", {AddExplain, AddSchema, AddCompletion, AddVersion}}};

}  // namespace

std::unique_ptr<CLI::App> MakeCommandLine(Verbs& verbs, std::string& state) {
  auto app = std::make_unique<CLI::App>(
      "longrun: perplexity by context length, for every position method", "longrun");
  app->footer(kFooter);
  app->require_subcommand(1);
  app->fallthrough();  // set before the verbs inherit it: --state may be anywhere
  app->add_option("--state", state,
                  "the state folder, which has the database, results and checkpoints");
  app->add_option("--context", verbs.context,
                  "use the coordinator of this name, which `longrun login` has stored");
  app->set_version_flag("--version", VersionText(), "print the same as `longrun version`");
  verbs.app = app.get();
  for (const VerbGroup& group : kGroups) {
    const std::size_t n_before = app->get_subcommands(nullptr).size();
    for (void (*const add)(Verbs&) : group.add) add(verbs);
    const std::vector<CLI::App*> all = app->get_subcommands(nullptr);
    for (std::size_t i = n_before; i < all.size(); ++i) all[i]->group(group.name);
  }
  NamePlaceholders(*app);
  return app;
}

}  // namespace longrun::client
