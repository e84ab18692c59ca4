// Byte-level byte-pair encoding (Sennrich, Haddow, Birch 2016, arXiv:1508.07909; over bytes: Radford
// et al. 2019). A piece of text begins as its bytes; of all neighbours whose bytes together are a
// token, those that make the token of the lowest id become one, the leftmost first; until there are
// none. A piece that is a token as a whole is that token at once.
//
// So ids are ranks: token t was the t-th thing to be merged. That is what .tiktoken files hold; a
// list of merges, as training makes it, says the same (tokenizer/hugging_face.cc compares).
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
inline constexpr std::size_t kTokenBytesMax = 256;                         // of one text token

// (left id, right id) -> id of the two together. One word an entry: 20 bits each.
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

// The merging alone: of one piece, without the cutting of text.
class BpeMerger {
 public:
  // kInvalidArgument: a byte without a token, two tokens of the same bytes, one that is empty or
  // too long, too many.
  static Result<BpeMerger> Make(const std::vector<Token>& tokens);

  // The token of exactly these bytes, or PairTable::kNone.
  std::uint32_t Find(std::string_view bytes) const;
  // Every token of more than a byte is what merging its bytes gives: so it is when training made the
  // vocabulary. Then a piece need not be looked up as a whole, for merging finds it.
  bool every_token_is_merged() const { return every_token_is_merged_; }
  // Appends the ids of `piece`, from merges that make tokens below `below`. n log n in its length;
  // takes some 40 bytes of memory for each byte of a long piece.
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
  // By two bytes: their token; and whether any token has them beside each other. Where none has, no
  // merge ever crosses, and a piece falls apart.
  std::vector<std::uint32_t> whole_of_bytes_;
  std::vector<std::uint8_t> meet_;
  bool every_token_is_merged_ = false;
  // Keyed by a copy of the bytes, so that the object may move.
  struct BytesHash {
    using is_transparent = void;  // NOLINT(readability-identifier-naming): the standard's name
    std::size_t operator()(std::string_view bytes) const {
      return std::hash<std::string_view>()(bytes);
    }
  };
  std::unordered_map<std::string, std::uint32_t, BytesHash, std::equal_to<>> id_of_bytes_;
};

// A tokenizer from its vocabulary, which names the GPT-2 rule. Errors as BpeMerger::Make.
Result<std::unique_ptr<Tokenizer>> MakeBpeTokenizer(Vocabulary vocabulary);

// The ids [0, n) of byte-level BPE with `<|endoftext|>` behind them: what a .tiktoken file means.
Vocabulary RanksWithEndOfText(std::string name, std::vector<std::string> bytes_of_rank);

// The rows of an embedding: n_tokens rounded up to a multiple of 64, so that the output matrix tiles
// well.
std::int64_t EmbeddingRows(std::size_t n_tokens);

}  // namespace longrun
