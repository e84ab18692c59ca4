#include "client/console/suggestion.h"

#include <algorithm>
#include <utility>

#include "base/str.h"

namespace longrun::client {
namespace {

struct Suggestions {
  std::string option;
  std::vector<std::string_view> without;
};

Suggestions& TheSuggestions() {
  static auto& suggestions = *new Suggestions();
  return suggestions;
}

// A message marks a command as one for another machine, where the state folder and the contexts are
// others, by one of these after it.
constexpr std::string_view kElsewhere[] = {"` on the coordinator's machine", "` on a machine",
                                           "` there"};

bool TakesOption(std::string_view verb_and_arguments) {
  const bool is_verb = !verb_and_arguments.empty() && verb_and_arguments[0] >= 'a' &&
                       verb_and_arguments[0] <= 'z';  // not `longrun VERB --help`
  return is_verb && std::ranges::none_of(TheSuggestions().without, [&](std::string_view verb) {
           if (!verb_and_arguments.starts_with(verb)) return false;
           const std::string_view rest = verb_and_arguments.substr(verb.size());
           return rest.empty() || rest[0] == ' ' || rest[0] == '`';
         });
}

}  // namespace

void SuggestWith(std::string option, std::vector<std::string_view> without) {
  TheSuggestions() = {.option = std::move(option), .without = std::move(without)};
}

std::string SuggestedCommand(std::string_view verb_and_arguments) {
  const std::string& option = TheSuggestions().option;
  const bool has_option = !option.empty() && TakesOption(verb_and_arguments);
  return Str("longrun ", has_option ? Str(option, " ") : "", verb_and_arguments);
}

std::string WithSuggestions(std::string_view text) {
  constexpr std::string_view kCommand = "`longrun ";
  if (TheSuggestions().option.empty()) return std::string(text);
  std::string out;
  for (std::size_t at = text.find(kCommand); at != std::string_view::npos;
       at = text.find(kCommand)) {
    const std::size_t verb = at + kCommand.size();
    const std::size_t end = std::min(text.find('`', verb), text.size());
    const bool is_elsewhere = std::ranges::any_of(
        kElsewhere, [&](std::string_view mark) { return text.substr(end).starts_with(mark); });
    out += is_elsewhere
               ? std::string(text.substr(0, end))
               : Str(text.substr(0, at + 1), SuggestedCommand(text.substr(verb, end - verb)));
    text.remove_prefix(end);
  }
  return Str(out, text);
}

std::string ShellWord(std::string_view text) {
  const bool is_plain = !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("._-/+@:,=").find(c) != std::string_view::npos;
  });
  return is_plain ? std::string(text) : ShellQuoted(text);
}

std::string ShellQuoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace longrun::client
