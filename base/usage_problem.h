// What is wrong with a command line, in our words where CLI11's name neither the word nor what is
// expected.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace longrun {

// For an error about a value, such as "--limit: Value 0 not in range 1 to 9".
std::string AboutValue(const CLI::App& verb, const std::string& problem);
// For an option at the end of the line without its value: says what it takes. `problem` begins with
// the option of one of these.
std::string ValueMissing(const std::vector<const CLI::App*>& levels, const std::string& problem);
bool IsWithoutValue(const CLI::ParseError& error);
// For an argument that must be given: says what it is.
std::string ArgumentMissing(const CLI::App& verb, const std::string& problem);
// `words`: those that nothing took.
std::string NoSuchVerb(const CLI::App& verb, const std::vector<std::string>& words);
// `also`: options besides those of the verb.
std::string NoSuchOption(const CLI::App& verb, const std::string& word,
                         std::vector<std::string> also = {});

// Of a daemon or the trainer, whose name is the app's: prints the problem to stderr and returns
// kExitBadUsage; or prints what --help or --version asks for, and returns 0.
int ReportUsage(const CLI::App& app, const CLI::ParseError& error,
                const std::vector<std::string_view>& arguments);
// The same with these problems.
int ReportUsage(const CLI::App& app, const std::vector<std::string>& problems);

}  // namespace longrun
