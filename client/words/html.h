// HTML from data: everything that a user can name becomes text, never markup.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"

namespace longrun::client {

// Writes the entity for one of the five characters with a meaning in HTML or XML markup. For any
// other character, writes nothing and returns false.
bool AppendEntity(char c, std::string& out);

// For text, and for attributes in double quotes. Invalid UTF-8, and control characters other than
// newline and tab, become U+FFFD.
std::string HtmlText(std::string_view text);

// JSON for use inside <script type="application/json">: it contains no "<".
std::string HtmlJson(const Json& json);

// RFC 4648, with padding.
std::string Base64(std::string_view bytes);

// The name of an inline script in a Content-Security-Policy: 'sha256-...'.
std::string ScriptHash(std::string_view script);

}  // namespace longrun::client
