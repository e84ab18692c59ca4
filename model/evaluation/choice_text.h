// Text as Python's str methods and lm-evaluation-harness' HellaSwag task treat it. All text is UTF-8.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace longrun {

// Code points: Python's len().
std::int64_t CountCharacters(std::string_view text);
// str.strip(): without the white space of Unicode (and U+001C to U+001F) at both ends.
std::string_view StripPython(std::string_view text);
// The part of `text` that str.rstrip() leaves.
std::string_view StripEndPython(std::string_view text);
// str.capitalize(), as CPython 3.11 has it (Unicode 14, case_table.h): the first character in title case, the
// rest in lower case, with those that become several characters and the final sigma.
std::string CapitalizePython(std::string_view text);
// preprocess() of lm_eval/tasks/hellaswag/utils.py: strip; " [title]" becomes ". "; what stands in
// brackets goes (up to the nearest "]", not across a line's end); two spaces become one, once.
std::string PreprocessHellaSwag(std::string_view text);

}  // namespace longrun
