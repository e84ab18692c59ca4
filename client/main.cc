// longrun: the command line.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/process.h"
#include "base/program.h"
#include "base/str.h"
#include "base/usage_problem.h"
#include "base/utf8.h"
#include "client/command_line.h"
#include "client/completion.h"
#include "client/console/exit_code.h"
#include "client/console/suggestion.h"
#include "client/verb.h"
#include "client/wire/context.h"
#include "client/wire/damage_notice.h"
#include "client/wire/embedded.h"
#include "proto/grpc_log.h"
#include "sweeps/schema.h"
#include "sweeps/unbuilt.h"

namespace longrun::client {
namespace {

// Verbs of longrun-trainer, which work on one model by hand.
constexpr std::string_view kTrainerVerbs[] = {"generate", "forward", "grad", "train", "evaluate"};

std::string DidYouMean(const std::string& word, const std::vector<std::string>& candidates) {
  const std::string nearest = Nearest(word, candidates);
  return nearest.empty() ? "" : Str("; did you mean \"", nearest, "\"?");
}

// What other programs call a verb.
struct Synonym {
  std::string_view word;
  const char* verb;  // with its arguments
};
constexpr Synonym kSynonyms[] = {
    {"status", "get SWEEP` or `longrun ls"},
    {"show", "get SWEEP"},
    {"describe", "get SWEEP"},
    {"list", "ls"},
    {"delete", "rm SWEEP"},
    {"remove", "rm SWEEP"},
    {"compare", "diff"},
    {"stop", "cancel SWEEP"},
    {"kill", "cancel SWEEP"},
    {"down", "cancel SWEEP` for a sweep, and Ctrl-C or SIGTERM for `longrun up"},
    {"start", "up"},
    {"serve", "up"},
    {"results", "table SWEEP"},
    {"tail", "logs -f RUN"},
    {"check", "validate FILE"},
    {"backup", "admin backup FILE"},
    {"restore", "admin restore FILE"},
    {"download", "import NAME FOLDER"}};

std::string NoSuchVerb(const std::string& before, const std::string& word, const CLI::App& among) {
  std::vector<std::string> verbs;
  for (const CLI::App* verb : among.get_subcommands(nullptr)) verbs.push_back(verb->get_name());
  const bool trainers =
      before.empty() && std::ranges::find(kTrainerVerbs, word) != std::end(kTrainerVerbs);
  const auto synonym = std::ranges::find(kSynonyms, word, &Synonym::word);
  const bool is_synonym = before.empty() && synonym != std::end(kSynonyms);
  const std::string remedy =
      is_synonym ? Str("; try `longrun ", synonym->verb, "`")
      : trainers ? Str("; `longrun-trainer ", word, "` does that, beside this program")
                 : DidYouMean(word, verbs);
  if (before.empty() && IsUnbuiltVerb(word)) {
    return Str("the verb \"", word, "\" is ", kNotBuiltYet, ": `longrun explain ", word,
               "` says what it will be");
  }
  return Str("there is no verb ", Quoted(Str(before, word)), remedy);
}

bool IsVerb(const CLI::App& app, const std::string& word) {
  const std::vector<const CLI::App*> verbs = app.get_subcommands(nullptr);
  return std::ranges::any_of(verbs, [&](const CLI::App* one) { return one->get_name() == word; });
}

int Usage(const std::string& problem) {
  std::fprintf(
      stderr, "longrun: %s\n`longrun --help` lists the verbs, `longrun VERB --help` explains one\n",
      Printable(problem).c_str());
  return kExitUsage;
}

// What was probably meant by a further word of a verb that takes a sweep file; "" for other verbs.
std::string HowToSet(const CLI::App& verb, const std::string& word) {
  if (verb.get_option_no_throw("--set") == nullptr) return "";
  if (word.find('=') != std::string::npos)
    return Str("; to change a key, write --set \"", word, "\"");
  if (word.ends_with(".yaml") || word.ends_with(".yml")) return "; give one sweep file at a time";
  return " after FILE; `--set PATH=VALUE` changes a key of the sweep file";
}

// The error for the first word that no verb or option took.
std::string NotExpected(const CLI::App& verb, const std::string& word) {
  if (!word.starts_with("-")) {
    if (!verb.get_subcommands(nullptr).empty()) {
      return NoSuchVerb(verb.get_name() + " ", word, verb);
    }
    return Str(Quoted(word), " was not expected: ", verb.get_name(), " takes no further argument",
               HowToSet(verb, word));
  }
  return NoSuchOption(verb, word, {"--state", "--context"});
}

// "admin pki init"
std::string VerbPath(const CLI::App& app) {
  std::vector<std::string> words;
  for (const CLI::App* verb = &app; !verb->get_subcommands().empty();) {
    verb = verb->get_subcommands().front();
    words.push_back(verb->get_name());
  }
  return Join(words, " ");
}

std::string SubVerbMissing(const CLI::App& app, const CLI::App& verb) {
  std::vector<std::string> names;
  for (const CLI::App* one : verb.get_subcommands(nullptr)) names.push_back(one->get_name());
  const std::string path = VerbPath(app);
  return Str(path, " needs one of ", Join(names, ", "), ": `longrun ", path,
             " --help` says what they do");
}

// The first word that is neither an option nor an option's value, or "".
std::string FirstWord(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    if (word == "--state" || word == "--context") ++i;
    if (!word.starts_with("-")) return word;
  }
  return "";
}

// The error in the line, in our words where CLI11's do not name the word or what is expected.
std::string UsageProblem(const CLI::App& app, const CLI::ParseError& error, int argc, char** argv) {
  const bool no_value = IsWithoutValue(error);
  if (app.get_subcommands().empty() && no_value) return ValueMissing({&app}, error.what());
  const std::string first = FirstWord(argc, argv);
  if (app.get_subcommands().empty()) {
    return first.empty() ? "a verb is missing" : NoSuchVerb("", first, app);
  }
  // Only the first word must be a verb: `ls` in "dat ls" is not the mistake.
  if (!first.empty() && !IsVerb(app, first)) return NoSuchVerb("", first, app);
  const CLI::App* verb = &app;
  while (!verb->get_subcommands().empty()) verb = verb->get_subcommands().front();
  std::string problem = error.what();
  std::vector<std::string> remaining = app.remaining(true);
  std::erase(remaining, "--");  // it only ends the options
  const bool missing = dynamic_cast<const CLI::RequiredError*>(&error) != nullptr;
  if (!remaining.empty() && (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr ||
                             (missing && !verb->get_subcommands(nullptr).empty()))) {
    return NotExpected(*verb, remaining.front());
  }
  // A missing option may be present but misspelt.
  const auto misspelt = std::ranges::find_if(
      remaining, [](const std::string& word) { return word.starts_with("-"); });
  if (missing && misspelt != remaining.end()) return NotExpected(*verb, *misspelt);
  if (missing && !verb->get_subcommands(nullptr).empty()) return SubVerbMissing(app, *verb);
  if (missing) return ArgumentMissing(*verb, problem);
  if (no_value) return ValueMissing({verb, &app}, problem);
  return AboutValue(*verb, problem);
}

// CLI11 shows values in full.
std::string WithShortValues(std::string text, const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    const bool is_option = word.starts_with("--") && equals != std::string::npos;
    const std::string value = is_option ? word.substr(equals + 1) : word;
    if (value.size() <= kQuotedBytesMax) continue;
    const std::size_t at = text.find(value);
    if (at != std::string::npos) text.replace(at, value.size(), Shortened(value, kQuotedBytesMax));
  }
  return text;
}

// Verbs that read or write the state folder themselves, or start programs on it.
constexpr std::string_view kNeedStateFolder[] = {"up",
                                                 "gc",
                                                 "doctor",
                                                 "data inspect",
                                                 "data verify",
                                                 "admin pki init",
                                                 "admin pki show",
                                                 "admin pki renew",
                                                 "admin backup",
                                                 "admin restore",
                                                 "admin check"};
// Verbs that change the contexts: a damaged one must not stop them.
constexpr std::string_view kOfContexts[] = {"login", "context list", "context use", "context rm"};

// Verbs that need no coordinator.
constexpr std::string_view kNeedNone[] = {"explain", "schema", "completion", "version"};

// Messages may suggest commands, which need the same option as this one.
void SuggestWithOptionOf(const CLI::App& app, const std::string& state,
                         const std::string& context) {
  std::vector<std::string_view> without(std::begin(kOfContexts), std::end(kOfContexts));
  without.insert(without.end(), std::begin(kNeedNone), std::end(kNeedNone));
  if (app.count("--state") > 0) SuggestWith(Str("--state ", ShellWord(state)), without);
  if (app.count("--context") == 0) return;
  without.insert(without.end(), std::begin(kNeedStateFolder), std::end(kNeedStateFolder));
  without.push_back("data register");  // of a folder on the coordinator's machine
  SuggestWith(Str("--context ", ShellWord(context)), without);
}

// The folder that says where the coordinator is: a state folder of this machine, or a context's.
Result<std::string> PlaceOf(const CLI::App& app, const std::string& state,
                            const std::string& given) {
  const std::string verb = VerbPath(app);
  if (std::ranges::find(kOfContexts, verb) != std::end(kOfContexts)) return StateFolder(state);
  const bool is_given = app.count("--context") > 0;
  if (is_given && app.count("--state") > 0) {
    return Status(Code::kInvalidArgument,
                  "--state names a folder of this machine, and --context a coordinator on another "
                  "one: give only one of them");
  }
  const bool has_state = !state.empty() || GetEnv("LONGRUN_HOME").has_value();
  std::string context = given;
  if (!is_given && !has_state) {
    ASSIGN_OR_RETURN(context, CurrentContext());
  }
  if (context.empty() && !is_given) return StateFolder(state);
  RETURN_IF_ERROR(CheckContext(context));
  if (std::ranges::find(kNeedStateFolder, verb) != std::end(kNeedStateFolder)) {
    return Status(
        Code::kFailedPrecondition,
        Str("`longrun ", verb, "` works only on the coordinator's machine, but context \"", context,
            "\" is in use: run it there, or name a state folder of this machine "
            "with --state"));
  }
  return ContextFolder(context);
}

int Main(int argc, char** argv) {
  // Before anything is parsed: an unfinished line may not be a valid command yet.
  if (argc > 1 && std::string_view(argv[1]) == "__complete") {
    return PrintCompletions({argv + 2, argv + argc});
  }
  SilenceGrpc();
  Verbs verbs;
  std::string state;
  const std::unique_ptr<CLI::App> app = MakeCommandLine(verbs, state);
  std::vector<char*> words(argv, argv + argc);
  std::string help = "--help";  // `longrun help VERB` is `longrun VERB --help`
  if (argc > 1 && std::string_view(argv[1]) == "help") {
    words.erase(words.begin() + 1);
    // For an unknown verb CLI11 would show the help of all verbs.
    if (argc > 2 && !IsVerb(*app, words[1])) {
      return Usage(NoSuchVerb("", words[1], *app));
    }
    words.push_back(help.data());
    argv = words.data();
  }
  try {
    app->parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app->exit(error);  // --help
    return Usage(WithShortValues(UsageProblem(*app, error, argc, argv), {argv + 1, argv + argc}));
  }
  if (app->count("--state") > 0 && state.empty()) {
    return Report(Status(Code::kInvalidArgument,
                         "--state is empty: expected a folder; leave it out for the default one"));
  }
  SuggestWithOptionOf(*app, state, verbs.context);
  Result<std::string> folder = PlaceOf(*app, state, verbs.context);
  if (!folder.ok()) return Report(folder.status());
  verbs.state = std::move(folder).value();
  return ExitCodeWithDamage(verbs.run());
}

}  // namespace
}  // namespace longrun::client

int main(int argc, char** argv) {
  return longrun::RunMain("longrun", longrun::client::Main, argc, argv,
                          {.failed = longrun::client::kExitFailed,
                           .usage = longrun::client::kExitUsage,
                           .out_of_memory = longrun::client::kExitFailed,
                           .out_of_threads = longrun::client::kExitFailed});
}
