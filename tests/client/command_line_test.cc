// The command line as a whole: what the help of each verb says can be typed.
#include "client/command_line.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/str.h"

namespace longrun::client {
namespace {

// The lines below "Example:" or "Examples:" in a verb's help.
std::vector<std::string> ExamplesOf(const CLI::App& verb) {
  std::vector<std::string> examples;
  bool inside = false;
  for (const std::string& line : Split(verb.get_footer(), '\n')) {
    if (line == "Example:" || line == "Examples:") {
      inside = true;
    } else if (inside && line.starts_with("  longrun ")) {
      examples.emplace_back(Trim(line));
    } else {
      inside = false;
    }
  }
  return examples;
}

void ForEachVerb(CLI::App& app, const std::function<void(CLI::App&)>& visit) {
  for (CLI::App* verb : app.get_subcommands([](CLI::App*) { return true; })) {
    if (verb->get_group().empty()) continue;  // hidden: not for people
    visit(*verb);
    ForEachVerb(*verb, visit);
  }
}

TEST(CommandLineTest, EachExampleInTheHelpParsesAndChoosesAVerb) {
  Verbs verbs;
  std::string state;
  const auto app = MakeCommandLine(verbs, state);
  std::vector<std::string> examples;
  ForEachVerb(*app, [&](CLI::App& verb) {
    const std::vector<std::string> own = ExamplesOf(verb);
    EXPECT_FALSE(own.empty()) << "`longrun " << verb.get_name()
                              << " --help` has no example: AddExamples()";
    for (const std::string& example : own) {
      EXPECT_NE(example.find(" " + verb.get_name()), std::string::npos)
          << "an example of `" << verb.get_name() << "` that is of another verb: " << example;
      examples.push_back(example);
    }
  });
  ASSERT_GT(examples.size(), 15u);
  for (const std::string& example : examples) {
    Verbs parsed;
    std::string parsed_state;
    const auto line = MakeCommandLine(parsed, parsed_state);
    try {
      line->parse(example, /*program_name_included=*/true);
    } catch (const CLI::ParseError& error) {
      ADD_FAILURE() << example << ": " << error.what();
      continue;
    }
    EXPECT_TRUE(parsed.run != nullptr) << example;
  }
}

TEST(CommandLineTest, WhatAnOptionTakesHasANameOfItsOwn) {
  Verbs verbs;
  std::string state;
  const auto app = MakeCommandLine(verbs, state);
  EXPECT_EQ(app->get_option("--state")->get_type_name(), "FOLDER");
  ForEachVerb(*app, [](CLI::App& verb) {
    for (const CLI::Option* const option : verb.get_options()) {
      EXPECT_NE(option->get_type_name(), "TEXT") << verb.get_name() << " " << option->get_name();
    }
  });
}

// Why a verb has no `-o json`.
const std::map<std::string, std::string>& WithoutJson() {
  static const std::map<std::string, std::string> reasons = {
      {"up", "prints no data: it runs until Ctrl-C"},
      {"report", "-o names the page; its numbers stand in it as JSON"},
      {"data", "its sub-verbs print"},
      {"models", "its sub-verbs print"},
      {"admin", "its sub-verbs print"},
      {"pki", "its sub-verbs print"},
      {"token", "its sub-verbs print"},
      {"join-token", "its sub-verbs print"},
      {"context", "its sub-verbs print"},
      {"pilot", "its sub-verbs print"},
      {"slurm", "keeps jobs in a queue until Ctrl-C; --dry-run prints a batch script"},
      {"worker", "its sub-verbs print"},
      {"schema", "is JSON"},
      {"completion", "prints a script of a shell"},
  };
  return reasons;
}

TEST(CommandLineTest, EachVerbThatPrintsDataPrintsItAsJsonToo) {
  Verbs verbs;
  std::string state;
  const auto app = MakeCommandLine(verbs, state);
  std::set<std::string> without;
  ForEachVerb(*app, [&](CLI::App& verb) {
    Verbs parsed;
    std::string parsed_state;
    const auto line = MakeCommandLine(parsed, parsed_state);
    // The first example that chooses no form of its own.
    std::string example;
    for (const std::string& one : ExamplesOf(verb)) {
      if (example.empty() && one.find(" -o ") == std::string::npos) example = one;
    }
    const CLI::Option* output = verb.get_option_no_throw("--output");
    const bool is_of_forms =
        output != nullptr && output->get_description().find("json") != std::string::npos;
    if (!is_of_forms) {
      without.insert(verb.get_name());
      return;
    }
    EXPECT_NO_THROW(line->parse(example + " -o json", true)) << example;
  });
  std::set<std::string> listed;
  for (const auto& [name, reason] : WithoutJson()) listed.insert(name);
  EXPECT_EQ(without, listed);
}

// The pages name commands in their text, too: each verb and option in them is there.
TEST(CommandLineTest, EachCommandThatAPageNamesHasItsVerbAndItsOptions) {
  std::vector<std::string> pages = {"README.md", "sweeps/presets/README.md", "deploy/README.md"};
  const std::vector<std::string> names = ListFolder(LONGRUN_SOURCE_DIR "/docs").value();
  for (const std::string& name : names) {
    if (name.ends_with(".md")) pages.push_back("docs/" + name);
  }
  int n_commands = 0;
  for (const std::string& page : pages) {
    const std::string text = ReadFile(JoinPath(LONGRUN_SOURCE_DIR, page)).value();
    for (std::size_t at = 0; (at = text.find("`longrun ", at)) != std::string::npos; ++at) {
      std::string command = text.substr(at + 1, text.find('`', at + 1) - at - 1);
      std::ranges::replace(command, '\n', ' ');
      if (command.find("VERB") != std::string::npos) continue;
      ++n_commands;
      Verbs parsed;
      std::string state;
      const auto line = MakeCommandLine(parsed, state);
      try {
        line->parse(command, true);
      } catch (const CLI::RequiredError&) {  // a verb without what it works on, as in a sentence
      } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() != 0) ADD_FAILURE() << page << ": " << command << error.what();
      }
    }
  }
  EXPECT_GE(n_commands, 10);
}

TEST(CommandLineTest, AnExampleThatIsWrongIsFound) {
  Verbs verbs;
  std::string state;
  const auto app = MakeCommandLine(verbs, state);
  EXPECT_THROW(app->parse("longrun ls --no-such-option", true), CLI::ParseError);
}

}  // namespace
}  // namespace longrun::client
