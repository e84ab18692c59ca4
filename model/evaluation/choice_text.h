// Text as Python's str methods and lm-evaluation-harness' HellaSwag task treat it.
// All text is UTF-8.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace longrun {

// The number of code points: Python's len().
std::int64_t CountCharacters(std::string_view text);
// str.strip(): removes Unicode white space (and U+001C to U+001F) at both ends.
std::string_view StripPython(std::string_view text);
// str.rstrip(): the same at the end only.
std::string_view StripEndPython(std::string_view text);
// str.capitalize(), as in CPython 3.11 (Unicode 14, case_table.h): the first character in title
// case, the rest in lower case. Also correct for characters that become several characters, and for
// the final sigma.
std::string CapitalizePython(std::string_view text);
// preprocess() of lm_eval/tasks/hellaswag/utils.py: strips; replaces " [title]" by ". "; removes
// text in brackets (up to the nearest "]", not across a line end); replaces two spaces by one,
// in a single pass.
std::string PreprocessHellaSwag(std::string_view text);

}  // namespace longrun
