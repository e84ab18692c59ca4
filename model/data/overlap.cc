// See overlap.h.
#include "model/data/overlap.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <utility>
#include <vector>

#include "base/check.h"

namespace longrun {
namespace {

constexpr std::int64_t kBlock = kOverlapTokens / 2;
constexpr std::int64_t kChunk = std::int64_t{1} << 18;  // tokens read at once
// Comparisons of a block with a place, each of at most 3 kBlock tokens. Ordinary text needs about
// as many as it has blocks in common.
constexpr std::int64_t kComparisonsMax = std::int64_t{1} << 22;
// Of a block: sum over i of (token[i] + 1) * kBase^(kBlock - 1 - i), modulo 2^64.
constexpr std::uint64_t kBase = 0x9e3779b97f4a7c15;

constexpr std::uint64_t Power(std::uint64_t base, std::int64_t exponent) {
  std::uint64_t power = 1;
  for (std::int64_t i = 0; i < exponent; ++i) power *= base;
  return power;
}

std::uint64_t Digit(std::int32_t token) { return static_cast<std::uint32_t>(token) + 1ull; }

std::uint64_t HashOf(const std::int32_t* block) {
  std::uint64_t hash = 0;
  for (std::int64_t i = 0; i < kBlock; ++i) hash = hash * kBase + Digit(block[i]);
  return hash;
}

class Search {
 public:
  explicit Search(std::span<const std::int32_t> text)
      : text_(text), n_text_(static_cast<std::int64_t>(text.size())), is_shared_(text.size()) {
    for (std::int64_t at = 0; at + kBlock <= n_text_; at += kBlock) {
      blocks_.emplace_back(HashOf(text.data() + at), at);
    }
    std::ranges::sort(blocks_);
    is_done_.resize(blocks_.size());
    // 16 bits a block, so that few of the searched hashes need a look at the blocks.
    const std::size_t n_bits = std::bit_ceil(std::max<std::size_t>(blocks_.size() * 16, 4096));
    shift_ = 64 - std::countr_zero(n_bits);
    filter_.resize(n_bits / 64);
    for (const auto& [hash, at] : blocks_) {
      filter_[BitOf(hash) / 64] |= std::uint64_t{1} << (BitOf(hash) % 64);
    }
  }

  // Looks for blocks that begin in `chunk` at [begin, end). Returns false if that took too many
  // comparisons.
  bool Read(std::span<const std::int32_t> chunk, std::int64_t begin, std::int64_t end) {
    constexpr std::uint64_t kOldest = Power(kBase, kBlock);
    std::uint64_t hash = HashOf(chunk.data() + begin);
    for (std::int64_t at = begin;; ++at) {
      const std::uint64_t bit = BitOf(hash);
      if ((filter_[bit / 64] >> (bit % 64) & 1) != 0) Compare(hash, chunk, at);
      if (n_left_ < 0) return false;
      if (at + 1 >= end) return true;
      hash = hash * kBase + Digit(chunk[static_cast<std::size_t>(at + kBlock)]) -
             kOldest * Digit(chunk[static_cast<std::size_t>(at)]);
    }
  }

  std::int64_t n_shared() const { return std::ranges::count(is_shared_, true); }
  bool is_empty() const { return blocks_.empty(); }

 private:
  std::size_t BitOf(std::uint64_t hash) const {
    return static_cast<std::size_t>((hash * 0xd6e8feb86659fd93) >> shift_);
  }

  void Compare(std::uint64_t hash, std::span<const std::int32_t> chunk, std::int64_t at) {
    const auto first = std::ranges::lower_bound(blocks_, std::pair(hash, std::int64_t{0}));
    for (auto block = first; block != blocks_.end() && block->first == hash; ++block) {
      const auto i = static_cast<std::size_t>(block - blocks_.begin());
      if (is_done_[i]) continue;
      if (--n_left_ < 0) return;
      is_done_[i] = Mark(block->second, chunk, at);
    }
  }

  // Marks the stretch around a block of the text and its place in the chunk, if there is one.
  // Returns whether the block can mark no more.
  bool Mark(std::int64_t block, std::span<const std::int32_t> chunk, std::int64_t at) {
    const auto n_chunk = static_cast<std::int64_t>(chunk.size());
    const auto is_same = [&](std::int64_t offset) {
      const std::int64_t t = block + offset, c = at + offset;
      return t >= 0 && t < n_text_ && c >= 0 && c < n_chunk &&
             text_[static_cast<std::size_t>(t)] == chunk[static_cast<std::size_t>(c)];
    };
    std::int64_t begin = 0, end = 0;
    while (end < 2 * kBlock && is_same(end)) ++end;
    if (end < kBlock) return false;  // the hashes are equal by chance
    while (begin > -kBlock && is_same(begin - 1)) --begin;
    if (end - begin < kOverlapTokens) return false;
    std::fill(is_shared_.begin() + block + begin, is_shared_.begin() + block + end, true);
    const auto from = is_shared_.begin() + std::max<std::int64_t>(0, block - kBlock);
    const auto to = is_shared_.begin() + std::min(n_text_, block + 2 * kBlock);
    return std::find(from, to, false) == to;
  }

  std::span<const std::int32_t> text_;
  std::int64_t n_text_;
  std::vector<std::pair<std::uint64_t, std::int64_t>> blocks_;  // hash and place, sorted
  std::vector<bool> is_done_;                                   // of each of them
  int shift_ = 0;
  std::vector<std::uint64_t> filter_;  // a bit is set if a block's hash has it
  std::vector<bool> is_shared_;        // of each token
  std::int64_t n_left_ = kComparisonsMax;
};

}  // namespace

Result<TextOverlap> FindOverlap(std::span<const std::int32_t> text, const TokenSplit& searched,
                                std::int64_t n_searched) {
  LR_CHECK(n_searched <= searched.n_tokens());
  Search search(text);
  TextOverlap overlap = {.n_tokens = static_cast<std::int64_t>(text.size())};
  if (search.is_empty()) return overlap;
  std::vector<std::int32_t> chunk;
  // The blocks that begin in [place, end), and what is around them.
  for (std::int64_t place = 0; place + kBlock <= n_searched; place += kChunk) {
    const std::int64_t end = std::min(place + kChunk, n_searched - kBlock + 1);
    const std::int64_t from = std::max<std::int64_t>(0, place - kBlock);
    const std::int64_t to = std::min(n_searched, end + 2 * kBlock);
    chunk.resize(static_cast<std::size_t>(to - from));
    RETURN_IF_ERROR(searched.Read(from, chunk));
    overlap.is_exact = search.Read(chunk, place - from, end - from);
    if (!overlap.is_exact) break;
  }
  overlap.n_shared = search.n_shared();
  return overlap;
}

}  // namespace longrun
