#include "model/data/tokenizer/character_class.h"

#include <algorithm>
#include <span>

#include "model/data/tokenizer/unicode_ranges.h"

namespace longrun {

CharClasses::CharClasses() {
  std::vector<CharClass> of_code(kCodes, CharClass::kOther);
  const auto mark = [&](std::span<const CodeRange> ranges, CharClass char_class) {
    for (const CodeRange& range : ranges) {
      std::fill(of_code.begin() + range.first, of_code.begin() + range.last + 1, char_class);
    }
  };
  mark(kLetterRanges, CharClass::kLetter);
  mark(kNumberRanges, CharClass::kNumber);
  mark(kSpaceRanges, CharClass::kSpace);
  std::copy_n(of_code.begin(), of_ascii_.size(), of_ascii_.begin());
  for (std::size_t i = 0; i < block_of_.size(); ++i) {
    Block block;
    std::copy_n(of_code.begin() + static_cast<std::ptrdiff_t>(i << kBlockBits), kBlockSize,
                block.begin());
    const auto same = std::ranges::find(blocks_, block);
    block_of_[i] = static_cast<std::uint16_t>(same - blocks_.begin());
    if (same == blocks_.end()) blocks_.push_back(block);
  }
}

const CharClasses& CharClasses::Get() {
  static const CharClasses classes;
  return classes;
}

Character CharClasses::AtNonAscii(const char* at, const char* end) const {
  const auto byte = [&](std::ptrdiff_t i) { return static_cast<unsigned char>(at[i]); };
  const auto is_tail = [&](std::ptrdiff_t i) { return i < end - at && (byte(i) & 0xc0) == 0x80; };
  const auto tail = [&](std::ptrdiff_t i) { return static_cast<std::uint32_t>(byte(i) & 0x3f); };
  const std::uint32_t first = byte(0);
  if (first >= 0xc2 && first < 0xe0 && is_tail(1)) {
    return {.char_class = Of((first & 0x1f) << 6 | tail(1)), .n_bytes = 2};
  }
  if (first >= 0xe0 && first < 0xf0 && is_tail(1) && is_tail(2)) {
    const std::uint32_t code = (first & 0x0f) << 12 | tail(1) << 6 | tail(2);
    const bool is_surrogate = code >= 0xd800 && code < 0xe000;
    if (code >= 0x800 && !is_surrogate) return {.char_class = Of(code), .n_bytes = 3};
  }
  if (first >= 0xf0 && first < 0xf5 && is_tail(1) && is_tail(2) && is_tail(3)) {
    const std::uint32_t code = (first & 0x07) << 18 | tail(1) << 12 | tail(2) << 6 | tail(3);
    if (code >= 0x10000 && code < kCodes) return {.char_class = Of(code), .n_bytes = 4};
  }
  return {};
}

}  // namespace longrun
