// A place in canonical JSON (json.h) that is in ASCII and without escapes: the base class of the
// readers of such text.
#pragma once

#include <cstddef>
#include <string_view>

namespace longrun {

// Whether a string in JSON contains this ASCII character as it is.
constexpr bool IsPlainJson(char c) { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\'; }

class PlainCursor {
 protected:
  explicit PlainCursor(std::string_view text) : at_(text.data()), end_(text.data() + text.size()) {}

  bool Take(char c) {
    if (at_ == end_ || *at_ != c) return false;
    ++at_;
    return true;
  }

  bool TakeWord(std::string_view word) {
    if (!std::string_view(at_, static_cast<std::size_t>(end_ - at_)).starts_with(word))
      return false;
    at_ += word.size();
    return true;
  }

  // A string with its quotes; `text` is what is between them.
  bool TakeString(std::string_view& text) {
    if (!Take('"')) return false;
    const char* const begin = at_;
    while (at_ != end_ && IsPlainJson(*at_)) ++at_;
    text = std::string_view(begin, at_);
    return Take('"');
  }

  const char* at_;
  const char* end_;
};

}  // namespace longrun
