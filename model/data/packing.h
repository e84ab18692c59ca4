// How documents become one row of tokens, as data: written in a dataset's file and in its manifest.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace longrun {

struct Packing {
  enum class Eot { kAfter, kBefore, kBoth, kNone };
  enum class Order { kSorted, kListed, kGiven };
  // Where the end-of-text token stands. Of formats of tokens it says where the files have it; their
  // ids are kept as they are.
  Eot eot = Eot::kAfter;
  bool universal_newlines = false;  // "newline: universal", else "keep"
  // Of the files: byte-wise by path; as the folder lists them; as given, the matches of each pattern
  // byte-wise by path.
  Order order = Order::kSorted;
  // With it, the documents of one file are joined by this text into one document.
  std::optional<std::string> join = std::nullopt;
  std::int64_t min_doc_tokens = 0;  // a document with fewer (end-of-text not counted) is left out
  std::int64_t max_doc_tokens = 0;  // a longer one is cut; 0: none is

  bool EotBefore() const { return eot == Eot::kBefore || eot == Eot::kBoth; }
  bool EotAfter() const { return eot == Eot::kAfter || eot == Eot::kBoth; }
  Json ToJson() const;

  static Result<Eot> ParseEot(std::string_view name);
  static Result<Order> ParseOrder(std::string_view name);
  static std::vector<std::string> EotNames();
  static std::vector<std::string> OrderNames();
};

// Which split a document belongs to.
struct SplitRule {
  enum class By {
    kFiles,        // the lists of files say it
    kDocument,     // u = Sm64(StreamKey(seed, 0, 3) ^ Fnv1a64(id)) / 2^64, where the id is the
                   // SHA-256 of the document in hex: validation where u < validation, test where
                   // u < validation + test, else train. Another document changes none.
    kFirstTokens,  // the first tokens of the whole row are validation, the next test; a document on
                   // the border is cut
  };
  By by = By::kFiles;
  double validation = 0.0;  // fractions, of kDocument
  double test = 0.0;
  std::int64_t validation_tokens = 0;  // of kFirstTokens
  std::int64_t test_tokens = 0;
  std::uint64_t seed = 0;

  Json ToJson() const;
  Status Check() const;
  // Of kDocument: "train", "validation" or "test".
  std::string_view SplitOf(std::string_view document_sha256_hex) const;
};

}  // namespace longrun
