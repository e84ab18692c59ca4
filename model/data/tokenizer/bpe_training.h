// Trains byte-level byte-pair encoding on texts: algorithm 1 of Sennrich, Haddow, Birch 2016
// (arXiv:1508.07909), applied to bytes, once the GPT-2 rule has cut the texts into pieces.
//
// The GPT-2 rule cuts texts into pieces; a piece starts as its bytes, ids 0..255. Repeatedly, the
// most frequent pair of neighbours becomes the next id everywhere, from left to right. Pairs with
// equal counts are ordered by their left bytes, then by their right bytes, and the first is taken.
// A count is the number of occurrences: "aaa" has the pair (a, a) twice. Pairs that occur only once
// are not merged, nor pairs with more than 256 bytes.
//
// The result depends only on the texts, not on their order, nor on their division into files as
// long as no file ends inside a piece.
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
  // Counts the pieces of a text. Memory grows with the number of different pieces,
  // not with the texts.
  void Add(std::string_view text);
  std::size_t n_pieces() const { return count_of_piece_.size(); }  // different pieces
  std::uint64_t n_bytes() const { return n_bytes_; }               // of all texts

  // The bytes of ids 0, 1, ...; `n_ids` of them, at least 256. kFailedPrecondition if the texts
  // give fewer; the message says how many. `progress` is called now and then with the
  // number of ids so far.
  Result<std::vector<std::string>> Train(
      std::size_t n_ids, const std::function<void(std::size_t)>& progress = {}) const;

 private:
  std::unordered_map<std::string, std::uint64_t> count_of_piece_;
  std::uint64_t n_bytes_ = 0;
};

}  // namespace longrun
