// Byte-level byte-pair encoding, trained on texts (Sennrich, Haddow, Birch 2016, arXiv:1508.07909,
// algorithm 1; over bytes and behind the GPT-2 rule).
//
// Texts are cut into pieces by the GPT-2 rule; a piece begins as its bytes, ids 0..255. Then again and
// again the most frequent pair of neighbours becomes the next id, everywhere, from left to right;
// among pairs of one count, the one whose left bytes, then whose right bytes, come first. A count is of
// places: "aaa" has the pair (a, a) twice. Pairs that stand at one place only are not merged, nor
// what would have more than 256 bytes.
//
// The result depends on the texts alone: not on their order, nor on how they lie in files as long as
// no file ends inside a piece.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/status.h"

namespace longrun {

class BpeTraining {
 public:
  // Counts the pieces of a text. Memory grows with the pieces that differ, not with the texts.
  void Add(std::string_view text);
  std::size_t n_pieces() const { return count_of_piece_.size(); }  // that differ
  std::uint64_t n_bytes() const { return n_bytes_; }               // of all texts

  // The bytes of the ids 0, 1, ..., `n_ids` of them: 256 at least. kFailedPrecondition when the texts
  // give fewer: the message says how many. `progress` is told the ids there are, now and then.
  Result<std::vector<std::string>> Train(
      std::size_t n_ids, const std::function<void(std::size_t)>& progress = {}) const;

 private:
  std::unordered_map<std::string, std::uint64_t> count_of_piece_;
  std::uint64_t n_bytes_ = 0;
};

}  // namespace longrun
