#include "model/data/tokenizer/added_tokens.h"

#include <algorithm>
#include <functional>

namespace longrun {
namespace {

std::size_t Byte(char c) { return static_cast<unsigned char>(c); }

}  // namespace

AddedTokens::AddedTokens(const std::vector<Token>& tokens) {
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    const std::string_view bytes = tokens[id].bytes;
    if (tokens[id].kind != Token::Kind::kAdded || bytes.empty()) continue;
    Beginning& beginning = by_first_[Byte(bytes[0])];
    beginning.tokens.push_back({.bytes = bytes, .id = static_cast<std::int32_t>(id)});
    if (bytes.size() == 1) beginning.has_single = true;
    if (bytes.size() > 1) beginning.second.set(Byte(bytes[1]));
  }
  for (Beginning& beginning : by_first_) {
    std::ranges::stable_sort(beginning.tokens, std::greater(),
                             [](const Entry& entry) { return entry.bytes.size(); });
  }
}

AddedTokens::Match AddedTokens::Next(std::string_view text, std::size_t from) const {
  for (std::size_t at = from; at < text.size(); ++at) {
    const Beginning& beginning = by_first_[Byte(text[at])];
    const bool may_go_on = at + 1 < text.size() && beginning.second[Byte(text[at + 1])];
    if (!may_go_on && !beginning.has_single) continue;
    for (const Entry& entry : beginning.tokens) {
      if (!text.substr(at).starts_with(entry.bytes)) continue;
      return {.begin = at, .end = at + entry.bytes.size(), .id = entry.id};
    }
  }
  return {.begin = text.size(), .end = text.size()};
}

}  // namespace longrun
