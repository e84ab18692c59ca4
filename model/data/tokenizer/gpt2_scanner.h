// The GPT-2 rule, which cuts a text into pieces; no token crosses a piece. OpenAI published it
// (gpt-2, src/encoder.py) as a regular expression, matched from left to right:
//
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// A scanner finds the same pieces in one pass. At i, with the classes of character_class.h:
//
//   1  an apostrophe followed by s, t, re, ve, m, ll or d                       -> both
//   2  an optional blank, then a letter, number or other character
//       -> the blank and the run
//   3  a run [i, r) of white space, at the end of the text or of one character  -> [i, r)
//      any other run of white space
//          -> the run without its last character
//
// The pieces, one after the other, are the text.
#pragma once

#include <cstddef>
#include <string_view>

#include "model/data/tokenizer/character_class.h"

namespace longrun {

// The name of this rule with these tables of Unicode: part of a tokenizer's identity.
inline constexpr std::string_view kGpt2Rule = "gpt2-unicode16";

// The last position where a text can be cut so that the parts have the pieces of the whole; 0 if
// none was found. A blank after a letter or digit always begins a new piece, whatever comes before:
// so in front of such a blank. Does not look for cuts in the first `begin` bytes, for a caller that
// has done so.
std::size_t LastGpt2Cut(std::string_view text, std::size_t begin = 0);

class Gpt2Scanner {
 public:
  explicit Gpt2Scanner(std::string_view text)
      : classes_(CharClasses::Get()), at_(text.data()), end_(text.data() + text.size()) {}

  bool done() const { return at_ == end_; }
  // The next piece. Not to be called when done().
  std::string_view Next() {
    const char* const begin = at_;
    at_ = EndOfPiece();
    return {begin, static_cast<std::size_t>(at_ - begin)};
  }

 private:
  const char* EndOfPiece() const {
    if (*at_ == '\'') {
      if (const std::size_t n = Contraction(); n > 0) return at_ + n;
    }
    const char* const body = *at_ == ' ' && at_ + 1 < end_ ? at_ + 1 : at_;
    const Character first = classes_.At(body, end_);
    if (first.char_class != CharClass::kSpace) {
      return EndOfRun(body + first.n_bytes, first.char_class);
    }
    return EndOfSpace();
  }

  // The number of bytes of the contraction at at_, with its apostrophe; 0 if there is none.
  std::size_t Contraction() const {
    if (end_ - at_ < 2) return 0;
    switch (at_[1]) {
      case 's':
      case 't':
      case 'm':
      case 'd':
        return 2;
      case 'r':
      case 'v':
        return end_ - at_ > 2 && at_[2] == 'e' ? 3 : 0;
      case 'l':
        return end_ - at_ > 2 && at_[2] == 'l' ? 3 : 0;
      default:
        return 0;
    }
  }

  const char* EndOfRun(const char* at, CharClass char_class) const {
    while (at < end_) {
      const auto byte = static_cast<unsigned char>(*at);
      if (byte < 0x80) {
        if (classes_.OfByte(byte) != char_class) break;
        ++at;
      } else {
        const Character next = classes_.At(at, end_);
        if (next.char_class != char_class) break;
        at += next.n_bytes;
      }
    }
    return at;
  }

  const char* EndOfSpace() const {
    const char* last = at_;  // where the last character of the run begins
    const char* at = at_;
    while (at < end_) {
      const Character next = classes_.At(at, end_);
      if (next.char_class != CharClass::kSpace) break;
      last = at;
      at += next.n_bytes;
    }
    return at == end_ || last == at_ ? at : last;
  }

  const CharClasses& classes_;
  const char* at_;
  const char* end_;
};

}  // namespace longrun
