// The commands that messages suggest, such as "`longrun get my-sweep`". If this command was told
// with --state or --context which coordinator to use, they need the same option to work when they
// are pasted. Messages need not care: `output.h` and Report() add it to all that people read.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace longrun::client {

// To be called before anything is said. `option` is "--state FOLDER", "--context NAME" or "";
// `without`: verbs that do not take it, such as "explain" and "login".
void SuggestWith(std::string option, std::vector<std::string_view> without);

// "longrun --state FOLDER get my-sweep" for "get my-sweep".
std::string SuggestedCommand(std::string_view verb_and_arguments);
// The text with the option in each command in backticks, unless words of kElsewhere follow it.
std::string WithSuggestions(std::string_view text);

// For a shell, as one word: in quotes if that is necessary, or always.
std::string ShellWord(std::string_view text);
std::string ShellQuoted(std::string_view text);

}  // namespace longrun::client
