// The command line as a whole: what the help of each verb says can be typed.
#include "client/command_line.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "base/str.h"

namespace longrun {
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

TEST(CommandLineTest, AnExampleThatIsWrongIsFound) {
  Verbs verbs;
  std::string state;
  const auto app = MakeCommandLine(verbs, state);
  EXPECT_THROW(app->parse("longrun ls --no-such-option", true), CLI::ParseError);
}

}  // namespace
}  // namespace longrun
