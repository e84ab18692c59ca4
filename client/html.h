// HTML from data: everything a user can name is text here, never markup.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"

namespace longrun {

// Writes the entity of one of the five characters that mean something in markup, HTML or XML; false,
// and nothing, for another.
bool AppendEntity(char c, std::string& out);

// For text and for attributes in double quotes. Bytes that are no UTF-8, and control characters other
// than newline and tab, become U+FFFD.
std::string HtmlText(std::string_view text);

// JSON that can stand inside <script type="application/json">: no "<" is left in it.
std::string HtmlJson(const Json& json);

// RFC 4648, with padding.
std::string Base64(std::string_view bytes);

// What a Content-Security-Policy names an inline script by: 'sha256-...'.
std::string ScriptHash(std::string_view script);

}  // namespace longrun
