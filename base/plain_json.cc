// See plain_json.h.
#include "base/plain_json.h"

#include <charconv>
#include <cmath>
#include <string>
#include <type_traits>

#include "base/str.h"

namespace longrun {
namespace {

// ASCII that a string in JSON holds as it is.
constexpr bool IsPlain(char c) { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\'; }

// Walks over canonical text, in ASCII and without escapes; false at the first byte of anything else.
class PlainWalker {
 public:
  PlainWalker(std::string_view text, const JsonLimits& limits)
      : at_(text.data()), end_(text.data() + text.size()), limits_(limits) {}

  // The whole text is an object, whose members are put into `members`.
  bool WalkAll(MemberTexts& members) { return WalkObject(0, &members) && at_ == end_; }

 private:
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

  bool WalkValue(int depth) {
    if (at_ == end_) return false;
    std::string_view text;
    switch (*at_) {
      case '{':
        return WalkObject(depth, nullptr);
      case '[':
        return WalkArray(depth);
      case '"':
        return WalkString(text);
      case 't':
        return TakeWord("true");
      case 'f':
        return TakeWord("false");
      case 'n':
        return TakeWord("null");
      default:
        return WalkNumber();
    }
  }

  bool WalkObject(int depth, MemberTexts* members) {
    if (depth >= limits_.depth_max || !Take('{')) return false;
    if (Take('}')) return true;
    std::string_view last, name;
    bool is_first = true;
    do {
      if (!WalkString(name) || !(is_first || last < name) || !Take(':')) return false;
      const char* const begin = at_;
      if (!WalkValue(depth + 1)) return false;
      if (members != nullptr) members->emplace_back(name, std::string_view(begin, at_));
      last = name;
      is_first = false;
    } while (Take(','));
    return Take('}');
  }

  bool WalkArray(int depth) {
    if (depth >= limits_.depth_max || !Take('[')) return false;
    if (Take(']')) return true;
    do {
      if (!WalkValue(depth + 1)) return false;
    } while (Take(','));
    return Take(']');
  }

  bool WalkString(std::string_view& text) {
    if (!Take('"')) return false;
    const char* const begin = at_;
    while (at_ != end_ && IsPlain(*at_)) ++at_;
    text = std::string_view(begin, at_);
    return Take('"');
  }

  // Only as it would be written.
  bool WalkNumber() {
    const char* const begin = at_;
    while (at_ != end_ && ((*at_ >= '0' && *at_ <= '9') || *at_ == '-' || *at_ == '+' ||
                           *at_ == '.' || *at_ == 'e' || *at_ == 'E')) {
      ++at_;
    }
    const std::string_view text(begin, at_);
    const bool is_integer = text.find_first_of(".eE") == std::string_view::npos;
    if (!is_integer) return IsWrittenAs<double>(text);
    return text.starts_with('-') ? IsWrittenAs<std::int64_t>(text)
                                 : IsWrittenAs<std::uint64_t>(text);
  }

  template <typename T>
  bool IsWrittenAs(std::string_view text) {
    T number = 0;
    const char* const end = text.data() + text.size();
    const auto [last, error] = std::from_chars(text.data(), end, number);
    if (error != std::errc() || last != end) return false;
    written_.clear();
    if constexpr (std::is_same_v<T, double>) {
      if (!std::isfinite(number)) return false;
      written_ = CanonicalJson(number);
    } else {
      StrAppend(written_, number);
    }
    return written_ == text;
  }

  const char* at_;
  const char* end_;
  const JsonLimits& limits_;
  std::string written_;
};

}  // namespace

std::optional<MemberTexts> PlainMembers(std::string_view text, const JsonLimits& limits) {
  MemberTexts members;
  if (text.size() > limits.bytes_max || !PlainWalker(text, limits).WalkAll(members)) {
    return std::nullopt;
  }
  return members;
}

}  // namespace longrun
