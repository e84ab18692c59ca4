#include "client/words/signs.h"

#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>

#include "client/words/render.h"

namespace longrun::client {

std::string WithAsciiSigns(const std::string& text) {
  constexpr std::pair<std::string_view, std::string_view> kSigns[] = {
      {"±", "+-"}, {"–", "-"}, {"°", "^"}, {"…", "~"}};
  std::string out;
  for (std::string_view rest = text; !rest.empty();) {
    const auto found = std::ranges::find_if(
        kSigns, [&rest](const auto& sign) { return rest.starts_with(sign.first); });
    const bool is_sign = found != std::end(kSigns);
    out += is_sign ? found->second : rest.substr(0, 1);
    rest.remove_prefix(is_sign ? found->first.size() : 1);
  }
  return out;
}

std::string ForTerminal(const std::string& text) {
  const auto is_ascii = [](char c) { return static_cast<unsigned char>(c) < 0x80; };
  if (std::ranges::all_of(text, is_ascii)) return text;
  return isatty(STDOUT_FILENO) != 1 || LocaleIsUtf8() ? text : WithAsciiSigns(text);
}

}  // namespace longrun::client
