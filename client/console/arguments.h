// The verbs of the command line and their arguments. CLI11 parses the line, but its header takes
// seconds to compile. So the verbs include this header, and only the sources that examine the
// whole line include CLI11.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace longrun::client {

// Sets further properties of a positional argument or an option. The parser refuses a value that
// breaks a rule, before any verb runs.
class Argument {
 public:
  explicit Argument(CLI::Option& option) : option_(&option) {}

  Argument& Required();
  Argument& ShowDefault();  // --help shows the present value of the variable
  // The word that stands for a value in --help: "N" in `--limit N`.
  Argument& Placeholder(const std::string& text);
  Argument& OneOf(const std::vector<std::string>& values);
  Argument& OneOfInAnyCase(const std::vector<std::string>& values);
  Argument& Between(std::int64_t least, std::int64_t most);  // a number, both ends included
  Argument& AtLeast(std::int64_t least);                     // a whole number; `least` is 0 or 1
  // For a list: each use of the option takes one word, as in `--set a --set b`.
  Argument& OneEach();
  Argument& SplitAt(char delimiter);  // for a list: splits a word into values

 private:
  CLI::Option* option_;
};

// A verb, such as `table` or `data import`. The parser fills the variables of its arguments, which
// must outlive it. The name of an option is "-o,--output", that of a positional argument "SWEEP".
class Verb {
 public:
  // Parsing sets `run` to the function that SetRun() gave to the verb that the user chose.
  Verb(CLI::App& app, std::function<int()>& run) : app_(&app), run_(&run) {}

  Verb AddVerb(const std::string& name, const std::string& meaning);
  void RequireVerb();  // one of the verbs added to it must follow

  Argument AddArgument(const std::string& name, std::string& value, const std::string& meaning);
  Argument AddArgument(const std::string& name, std::int64_t& value, const std::string& meaning);
  Argument AddArgument(const std::string& name, std::vector<std::string>& values,
                       const std::string& meaning);
  // Empty if the user did not give it.
  Argument AddArgument(const std::string& name, std::optional<std::string>& value,
                       const std::string& meaning);
  Argument AddArgument(const std::string& name, std::optional<std::int64_t>& value,
                       const std::string& meaning);
  void AddFlag(const std::string& name, bool& value, const std::string& meaning);

  // The end of the verb's --help: lines to copy. A test parses each.
  void AddExamples(const std::vector<std::string>& lines);

  // Sets what the verb does; `run` returns the exit code (exit_code.h).
  void SetRun(std::function<int()> run);

 private:
  CLI::App* app_;
  std::function<int()>* run_;
};

}  // namespace longrun::client
