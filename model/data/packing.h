// The rules by which documents become one row of tokens. They are data, stored in a dataset's file
// and in its manifest.
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
  // Where the end-of-text token is placed. For token formats, `eot` says where the files have it;
  // their ids are kept unchanged.
  Eot eot = Eot::kAfter;
  bool universal_newlines = false;  // "newline: universal", else "keep"
  // The order of the files: kSorted byte-wise by path, kListed as the folder lists them, or kGiven:
  // as given, with the matches of each pattern sorted byte-wise by path.
  Order order = Order::kSorted;
  // If set, the documents of one file are joined by this text into one document.
  std::optional<std::string> join = std::nullopt;
  // A document without text is a document of its end-of-text tokens; else it is left out.
  bool keep_empty = false;
  std::int64_t min_doc_tokens = 0;  // documents with fewer (end-of-text not counted) are left out
  std::int64_t max_doc_tokens = 0;  // longer documents are cut; 0: never

  bool EotBefore() const { return eot == Eot::kBefore || eot == Eot::kBoth; }
  bool EotAfter() const { return eot == Eot::kAfter || eot == Eot::kBoth; }
  Json ToJson() const;

  static Result<Eot> ParseEot(std::string_view name);
  static Result<Order> ParseOrder(std::string_view name);
  static std::vector<std::string> EotNames();
  static std::vector<std::string> OrderNames();
};

// The rule that decides which split a document belongs to.
struct SplitRule {
  enum class By {
    kFiles,        // the lists of files decide
    kDocument,     // u = Sm64(StreamKey(seed, 0, 3) ^ Fnv1a64(id)) / 2^64, where the id is the
                   // SHA-256 of the document in hex: validation where u < validation, test where
                   // u < validation + test, else train. Other documents have no influence.
    kFirstTokens,  // the first tokens of the whole row are validation, the next test; a document on
                   // the border is cut
    kLastTokens,   // the last tokens are test, those before them validation; documents are cut too
  };
  By by = By::kFiles;
  double validation = 0.0;  // fractions, for kDocument
  double test = 0.0;
  std::int64_t validation_tokens = 0;  // for kFirstTokens and kLastTokens
  std::int64_t test_tokens = 0;
  std::uint64_t seed = 0;

  bool IsByTokens() const { return by == By::kFirstTokens || by == By::kLastTokens; }
  Json ToJson() const;
  Status Check() const;
  // For kDocument: "train", "validation" or "test".
  std::string_view SplitOf(std::string_view document_sha256_hex) const;
};

}  // namespace longrun
