// Byte-level byte-pair encoding (Sennrich, Haddow, Birch 2016, arXiv:1508.07909; over bytes:
// Radford et al. 2019). A piece of text starts as its bytes. Repeatedly, among all neighbours whose
// joined bytes are a token, those that form the token with the lowest id are joined, the leftmost
// first, until no neighbours can be joined. A piece that is itself a token becomes
// that token at once.
//
// So ids are ranks: token t was the t-th merge. That is the form of .tiktoken files; a list of
// merges, the output of training, is equivalent (tokenizer/hugging_face.cc checks it).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "model/data/tokenizer.h"

namespace longrun {

inline constexpr std::size_t kVocabularyMax = (std::size_t{1} << 20) - 1;  // ids
inline constexpr std::size_t kTokenBytesMax = 256;                         // in one text token

// (left id, right id) -> id of their join. One word per entry, 20 bits per id.
class PairTable {
 public:
  static constexpr std::uint32_t kNone = 0xffffffff;

  void Reserve(std::size_t n_pairs);
  void Add(std::uint32_t left, std::uint32_t right, std::uint32_t whole);
  std::uint32_t Find(std::uint32_t left, std::uint32_t right) const {
    const std::uint64_t key = Key(left, right);
    for (std::size_t at = Home(key);; at = (at + 1) & mask_) {
      const std::uint64_t entry = entries_[at];
      if (entry >> kIdBits == key) return static_cast<std::uint32_t>(entry & kIdMask);
      if (entry == kEmpty) return kNone;
    }
  }

 private:
  static constexpr unsigned kIdBits = 20;
  static constexpr std::uint64_t kIdMask = (std::uint64_t{1} << kIdBits) - 1;
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
  static std::uint64_t Key(std::uint32_t left, std::uint32_t right) {
    return std::uint64_t{left} << kIdBits | right;
  }
  std::size_t Home(std::uint64_t key) const {
    return static_cast<std::size_t>((key * 0x9e3779b97f4a7c15) >> shift_);
  }

  std::vector<std::uint64_t> entries_;
  std::size_t mask_ = 0;
  unsigned shift_ = 63;
};

// Merges one piece; it does not cut text into pieces.
class BpeMerger {
 public:
  // kInvalidArgument: a byte without a token, two tokens with the same bytes, an empty or too long
  // token, too many tokens.
  static Result<BpeMerger> Make(const std::vector<Token>& tokens);

  // The token of exactly these bytes, or PairTable::kNone.
  std::uint32_t Find(std::string_view bytes) const;
  // Whether merging the bytes of any token gives that token, as in every trained vocabulary. Then
  // a piece need not be looked up as a whole, since merging finds its token.
  bool every_token_is_merged() const { return every_token_is_merged_; }
  // Appends the ids of `piece`, using only merges to tokens below `below`. n log n in its length;
  // needs about 40 bytes of memory per byte of a long piece.
  void Merge(std::string_view piece, std::uint32_t below, std::vector<std::int32_t>& ids) const;

 private:
  struct Pair {
    std::uint32_t left, right, whole;
  };

  BpeMerger() = default;
  void SetPairs(const std::vector<Pair>& pairs);
  void SetBytePairs(const std::vector<Token>& tokens);
  std::vector<Pair> AllPairs(const std::vector<Token>& tokens) const;
  std::vector<Pair> PairsThatMeet(const std::vector<Token>& tokens) const;
  void MergeShort(std::string_view piece, std::uint32_t below,
                  std::vector<std::int32_t>& ids) const;
  void MergeLong(std::string_view piece, std::uint32_t below, std::vector<std::int32_t>& ids) const;
  template <typename Pairs>
  void MergeBy(Pairs pairs, std::string_view piece, std::uint32_t below,
               std::vector<std::int32_t>& ids) const;
  std::uint32_t Whole(std::uint32_t left, std::uint32_t right, std::uint32_t below) const {
    const std::uint32_t whole = pairs_.Find(left, right);
    return whole < below ? whole : PairTable::kNone;
  }

  static std::size_t BytePair(char left, char right) {
    return std::size_t{static_cast<unsigned char>(left)} << 8 | static_cast<unsigned char>(right);
  }

  std::size_t n_ids_ = 0;
  std::vector<std::uint32_t> id_of_byte_;  // 256
  PairTable pairs_;
  // For two bytes: their token, and whether they are adjacent in any token. If they are not, no
  // merge ever crosses them, and the piece can be divided there.
  std::vector<std::uint32_t> whole_of_bytes_;
  std::vector<std::uint8_t> meet_;
  bool every_token_is_merged_ = false;
  // The keys are copies of the bytes, so that the object can be moved.
  struct BytesHash {
    using is_transparent = void;  // NOLINT(readability-identifier-naming): the standard's name
    std::size_t operator()(std::string_view bytes) const {
      return std::hash<std::string_view>()(bytes);
    }
  };
  std::unordered_map<std::string, std::uint32_t, BytesHash, std::equal_to<>> id_of_bytes_;
};

// A tokenizer from its vocabulary, which must name the GPT-2 rule. Errors as in BpeMerger::Make.
Result<std::unique_ptr<Tokenizer>> MakeBpeTokenizer(Vocabulary vocabulary);

// The vocabulary of a .tiktoken file: the ids [0, n) of byte-level BPE, then `<|endoftext|>`.
Vocabulary RanksWithEndOfText(std::string name, std::vector<std::string> bytes_of_rank);

// The rows of an embedding: n_tokens rounded up to a multiple of 64, so that the output matrix
// divides well into tiles.
std::int64_t EmbeddingRows(std::size_t n_tokens);

}  // namespace longrun
