// See plain_json.h.
#include "base/plain_json.h"

#include <charconv>
#include <cmath>
#include <string>
#include <type_traits>

#include "base/plain_cursor.h"
#include "base/str.h"

namespace longrun {
namespace {

// Checks canonical text, in ASCII and without escapes; returns false at the first byte
// of anything else.
class PlainWalker : private PlainCursor {
 public:
  PlainWalker(std::string_view text, const JsonLimits& limits)
      : PlainCursor(text), limits_(limits) {}

  // Whether the whole text is an object; adds its members to `members`.
  bool WalkAll(MemberTexts& members) { return WalkObject(0, &members) && at_ == end_; }

 private:
  bool WalkValue(int depth) {
    if (at_ == end_) return false;
    std::string_view text;
    switch (*at_) {
      case '{':
        return WalkObject(depth, nullptr);
      case '[':
        return WalkArray(depth);
      case '"':
        return TakeString(text);
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
      if (!TakeString(name) || !(is_first || last < name) || !Take(':')) return false;
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

  // A number is accepted only in the form in which it would be written.
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
