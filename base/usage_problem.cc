// See usage_problem.h.
#include "base/usage_problem.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

#include "base/exit_code.h"
#include "base/process.h"
#include "base/program.h"
#include "base/str.h"
#include "base/utf8.h"

namespace longrun {
namespace {

// What is before and after the last `middle`, since a value may hold anything; nullopt without one.
std::optional<std::pair<std::string, std::string>> SplitAtLast(const std::string& text,
                                                               std::string_view middle) {
  const std::size_t at = text.rfind(middle);
  if (at == std::string::npos) return std::nullopt;
  return std::pair(text.substr(0, at), text.substr(at + middle.size()));
}

const CLI::Option* FindOption(const CLI::App& verb, const std::string& name) {
  for (const CLI::Option* option : verb.get_options()) {
    if (option->get_name() == name || option->check_name(name)) return option;
  }
  return nullptr;
}

std::string_view KindOfNumber(const CLI::App& verb, const std::string& name) {
  const CLI::Option* const option = FindOption(verb, name);
  const bool is_real =
      option != nullptr && option->get_type_name().find("FLOAT") != std::string::npos;
  return is_real ? "a number" : "a whole number";
}

// The environment variable from which the option of the problem has its value, or "".
std::string VariableOf(const CLI::App& verb, const std::string& problem,
                       const std::vector<std::string_view>& arguments) {
  for (const CLI::Option* option : verb.get_options()) {
    const std::string name = option->get_name();
    if (!problem.starts_with(name + ":") && !problem.starts_with(name + " ")) continue;
    const bool is_argument = std::ranges::any_of(arguments, [&](std::string_view argument) {
      return argument == name || argument.starts_with(name + "=");
    });
    const std::string variable = option->get_envname();
    return !is_argument && !variable.empty() && GetEnv(variable.c_str()) ? variable : "";
  }
  return "";
}

}  // namespace

std::string AboutValue(const CLI::App& verb, const std::string& problem) {
  constexpr std::string_view kNotConverted = "Could not convert: ";
  if (problem.starts_with(kNotConverted)) {
    const std::string rest = problem.substr(kNotConverted.size());
    const std::size_t equals = rest.find(" = ");
    if (equals == std::string::npos) return problem;
    const std::string name = rest.substr(0, equals);
    return Str(name, " ", Quoted(rest.substr(equals + 3)), ": expected ", KindOfNumber(verb, name));
  }
  const std::size_t colon = problem.find(": ");
  if (colon == std::string::npos) return problem;
  const std::string name = problem.substr(0, colon), rest = problem.substr(colon + 2);
  if (const auto parts = SplitAtLast(rest, " not in {"); parts && rest.ends_with("}")) {
    const std::vector<std::string> choices =
        Split(parts->second.substr(0, parts->second.size() - 1), ',');
    const std::string nearest = Nearest(parts->first, choices);
    return Str(name, " ", Quoted(parts->first), ": expected one of ", Join(choices, ", "),
               nearest.empty() ? "" : Str("; did you mean \"", nearest, "\"?"));
  }
  constexpr std::string_view kValue = "Value ";
  if (const auto parts = SplitAtLast(rest, " not in range "); parts && rest.starts_with(kValue)) {
    return Str(name, " ", Quoted(parts->first.substr(kValue.size())), ": expected ",
               KindOfNumber(verb, name), " from ", parts->second);
  }
  constexpr std::string_view kTooMany = "At Most 1 required but received ";
  if (rest.starts_with(kTooMany)) {
    return Str(name, " is given ", rest.substr(kTooMany.size()), " times: give it once");
  }
  return problem;
}

bool IsWithoutValue(const CLI::ParseError& error) {
  return dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr &&
         std::string_view(error.what()).ends_with("missing");
}

std::string ValueMissing(const std::vector<const CLI::App*>& levels, const std::string& problem) {
  for (const CLI::App* level : levels) {
    for (const CLI::Option* option : level->get_options()) {
      if (!problem.starts_with(option->get_name() + ":")) continue;
      return Str(option->get_name(), " needs a value: ", option->get_description());
    }
  }
  return problem;
}

std::string ArgumentMissing(const CLI::App& verb, const std::string& problem) {
  for (const CLI::Option* option : verb.get_options()) {
    if (problem != option->get_name() + " is required") continue;
    return Str(problem, ": ", option->get_description());
  }
  return problem;
}

std::string NoSuchOption(const CLI::App& verb, const std::string& word,
                         std::vector<std::string> also) {
  for (const CLI::Option* option : verb.get_options()) {
    for (const std::string& name : option->get_lnames()) also.push_back("--" + name);
  }
  const std::string name = word.substr(0, word.find('='));
  const std::string nearest = Nearest(name, also);
  // One that stands before the verb whose option it is.
  if (nearest == name)
    return Str(name, " is an option of ", verb.get_name(), ": write it after that");
  return Str("there is no option ", Quoted(name),
             nearest.empty() ? "" : Str("; did you mean \"", nearest, "\"?"));
}

std::string NoSuchVerb(const CLI::App& verb, const std::vector<std::string>& words) {
  std::vector<std::string> names;
  for (const CLI::App* one : verb.get_subcommands(nullptr)) names.push_back(one->get_name());
  const std::string expected = Str("expected one of ", Join(names, ", "));
  const auto word =
      std::ranges::find_if(words, [](const std::string& one) { return !one.starts_with("-"); });
  if (word == words.end()) return Str("a verb is missing: ", expected);
  return Str("there is no verb ", Quoted(*word), ": ", expected);
}

int ReportUsage(const CLI::App& app, const CLI::ParseError& error,
                const std::vector<std::string_view>& arguments) {
  if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
  const CLI::App* verb = &app;
  while (!verb->get_subcommands().empty()) verb = verb->get_subcommands().front();
  std::vector<std::string> remaining = app.remaining(true);
  std::erase(remaining, "--");  // it only ends the options
  std::string problem = error.what();
  // A missing option may be present but misspelt.
  const auto misspelt = std::ranges::find_if(
      remaining, [](const std::string& word) { return word.starts_with("-"); });
  const bool is_missing = dynamic_cast<const CLI::RequiredError*>(&error) != nullptr;
  const bool is_extra = dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr;
  const bool has_verbs = !verb->get_subcommands(nullptr).empty();
  const bool is_word = !remaining.empty() && !remaining.front().starts_with("-");
  if (is_missing && has_verbs && app.get_require_subcommand_min() > 0) {
    problem = NoSuchVerb(*verb, remaining);
  } else if (is_extra && is_word) {
    problem = has_verbs ? NoSuchVerb(*verb, remaining)
                        : Str(Quoted(remaining.front()), " was not expected: ", verb->get_name(),
                              " takes no further argument");
  } else if ((is_extra || is_missing) && misspelt != remaining.end()) {
    problem = NoSuchOption(*verb, *misspelt);
  } else if (is_missing) {
    problem = ArgumentMissing(*verb, problem);
  } else if (IsWithoutValue(error)) {
    problem = ValueMissing({verb, &app}, problem);
  } else {
    const std::string variable = VariableOf(*verb, problem, arguments);
    problem = AboutValue(*verb, problem);
    if (!variable.empty()) problem = Str("the environment variable ", variable, ": ", problem);
  }
  return ReportUsage(app, {std::move(problem)});
}

int ReportUsage(const CLI::App& app, const std::vector<std::string>& problems) {
  std::string command = app.get_name();
  for (const CLI::App* verb = &app; !verb->get_subcommands().empty();) {
    verb = verb->get_subcommands().front();
    command += " " + verb->get_name();
  }
  for (const std::string& problem : problems) {
    std::fprintf(stderr, "%s: %s\n", app.get_name().c_str(), Printable(problem).c_str());
  }
  std::fprintf(stderr, "`%s --help` %s\n", command.c_str(), kUsageHint.data());
  return kExitBadUsage;
}

}  // namespace longrun
