// longrun: the command line.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/program.h"
#include "base/str.h"
#include "client/command_line.h"
#include "client/completion.h"
#include "client/embedded.h"
#include "client/verb.h"

namespace longrun {
namespace {

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
  // Before anything is parsed: what is completed is no command line yet.
  if (argc > 1 && std::string_view(argv[1]) == "__complete") {
    return PrintCompletions({argv + 2, argv + argc});
  }
  Verbs verbs;
  std::string state;
  const std::unique_ptr<CLI::App> app = MakeCommandLine(verbs, state);
  try {
    app->parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app->exit(error);  // --help
    std::fprintf(stderr,
                 "longrun: %s\n`longrun --help` shows the verbs, `longrun VERB --help` one\n",
                 UsageProblem(*app, error, argc, argv).c_str());
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
