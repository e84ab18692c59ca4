// The classes of characters that the GPT-2 rule distinguishes, for UTF-8 text.
//
//   letter   general category L*          space   property White_Space
//   number   general category N*          other   everything else: marks, symbols, invalid UTF-8
//
// Ill-formed UTF-8 (Unicode 16, table 3-7) is read byte by byte;
// each byte is a character of class other.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace longrun {

enum class CharClass : std::uint8_t { kOther, kLetter, kNumber, kSpace };

struct Character {
  CharClass char_class = CharClass::kOther;
  std::uint8_t n_bytes = 1;
};

class CharClasses {
 public:
  // Built once, on first use; any thread.
  static const CharClasses& Get();

  CharClass OfByte(unsigned char ascii) const { return of_ascii_[ascii]; }  // below 0x80
  CharClass Of(std::uint32_t code) const {
    return blocks_[block_of_[code >> kBlockBits]][code & (kBlockSize - 1)];
  }
  // The character that begins at `at`, which is before `end`.
  Character At(const char* at, const char* end) const {
    const auto first = static_cast<unsigned char>(*at);
    if (first < 0x80) return {.char_class = of_ascii_[first]};
    return AtNonAscii(at, end);
  }

 private:
  static constexpr std::size_t kBlockBits = 8;
  static constexpr std::size_t kBlockSize = std::size_t{1} << kBlockBits;
  static constexpr std::size_t kCodes = 0x110000;
  using Block = std::array<CharClass, kBlockSize>;

  CharClasses();
  Character AtNonAscii(const char* at, const char* end) const;

  std::array<CharClass, 128> of_ascii_{};
  std::array<std::uint16_t, (kCodes >> kBlockBits)> block_of_{};
  std::vector<Block> blocks_;  // the distinct ones
};

}  // namespace longrun
