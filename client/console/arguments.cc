#include "client/console/arguments.h"

#include <CLI/CLI.hpp>
#include <utility>

#include "base/check.h"
#include "base/str.h"
#include "base/units.h"

namespace longrun::client {

Argument& Argument::Required() {
  option_->required();
  return *this;
}

Argument& Argument::ShowDefault() {
  option_->capture_default_str();
  return *this;
}

Argument& Argument::Placeholder(const std::string& text) {
  option_->type_name(text);
  return *this;
}

Argument& Argument::OneOf(const std::vector<std::string>& values) {
  option_->check(CLI::IsMember(values));
  return *this;
}

Argument& Argument::OneOfInAnyCase(const std::vector<std::string>& values) {
  option_->check(CLI::IsMember(values, CLI::ignore_case));
  return *this;
}

Argument& Argument::Between(std::int64_t least, std::int64_t most) {
  option_->check(CLI::Range(least, most));
  return *this;
}

Argument& Argument::AtLeast(std::int64_t least) {
  LR_CHECK(least == 0 || least == 1);  // each has a word of its own in --help
  option_->check(WholeNumberCheck(least), least == 0 ? "NONNEGATIVE" : "POSITIVE");
  return *this;
}

Argument& Argument::OneEach() {
  option_->allow_extra_args(false);
  return *this;
}

Argument& Argument::SplitAt(char delimiter) {
  option_->delimiter(delimiter);
  return *this;
}

Verb Verb::AddVerb(const std::string& name, const std::string& meaning) {
  return Verb(*app_->add_subcommand(name, meaning), *run_);
}

void Verb::RequireVerb() { app_->require_subcommand(1); }

Argument Verb::AddArgument(const std::string& name, std::string& value,
                           const std::string& meaning) {
  return Argument(*app_->add_option(name, value, meaning));
}

Argument Verb::AddArgument(const std::string& name, std::int64_t& value,
                           const std::string& meaning) {
  return Argument(*app_->add_option(name, value, meaning));
}

Argument Verb::AddArgument(const std::string& name, std::vector<std::string>& values,
                           const std::string& meaning) {
  return Argument(*app_->add_option(name, values, meaning));
}

Argument Verb::AddArgument(const std::string& name, std::optional<std::string>& value,
                           const std::string& meaning) {
  return Argument(*app_->add_option(name, value, meaning));
}

Argument Verb::AddArgument(const std::string& name, std::optional<std::int64_t>& value,
                           const std::string& meaning) {
  return Argument(*app_->add_option(name, value, meaning));
}

void Verb::AddFlag(const std::string& name, bool& value, const std::string& meaning) {
  app_->add_flag(name, value, meaning);
}

void Verb::AddExamples(const std::vector<std::string>& lines) {
  app_->footer(Str(lines.size() == 1 ? "Example:\n  " : "Examples:\n  ", Join(lines, "\n  ")));
}

void Verb::SetRun(std::function<int()> run) {
  app_->callback([chosen = run_, run = std::move(run)] { *chosen = run; });
}

}  // namespace longrun::client
