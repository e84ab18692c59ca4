// Documents by rule (model/data/synthetic/) between the documents of the training text, so that a
// model learns what the text does not teach, such as to repeat a key that it has read.
//
//   text, rule documents, text, rule documents, ..
//
// A piece of text has u bytes, u uniform in text_bytes / 2 .. 3 text_bytes / 2, and goes on to the
// end of its line. After each piece come documents until rule k has the share s_k of all tokens so
// far: the next document is of the rule that lacks most tokens. A piece is a document of its own.
//
// Document g of source file i (in the order of ListSources) is a pure function of the seed, of
// 2^32 i + g with g counted over all rules, and of the last 64 KiB of the text; lengths of pieces
// come from the stream StreamKey(seed, i, 6). So the result depends neither on the number of jobs
// nor on the pieces in which a reader delivers the text.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/random.h"
#include "base/status.h"
#include "model/data/source/source.h"
#include "model/data/synthetic/rule.h"
#include "model/data/tokenizer.h"

namespace longrun {

struct MixedRule {
  ResolvedRule rule;
  double share = 0;  // of all tokens of the training split
};

struct Mix {
  std::vector<MixedRule> rules = {};  // empty: the text alone
  std::uint64_t seed = 1;
  std::int64_t text_bytes = 1024;

  bool empty() const { return rules.empty(); }
  Json ToJson() const;
  // Adds a rule from {"rule": NAME, "share": S, and its parameters}.
  Status Add(Json object);
  // The same from its text, or from NAME=S.
  Status AddText(std::string_view text);
  Status Check() const;
};

// Takes the documents of one source file and gives them to `sink`, mixed.
class MixSink final : public DocumentSink {
 public:
  // `n_tokens` says how many tokens the sink has stored, after the end of a document.
  MixSink(const Mix& mix, const Tokenizer& tokenizer, std::uint64_t source, DocumentSink& sink,
          std::function<std::int64_t()> n_tokens);

  Status Text(std::string_view bytes) override;
  Status Ids(std::span<const std::int32_t> ids) override;
  Status EndDocument() override;

 private:
  Status EndPiece();
  Status AddDocument(std::size_t k);
  void Remember(std::string_view bytes);
  void ForgetOld();
  void DrawPiece();

  const Mix& mix_;
  const Tokenizer& tokenizer_;
  DocumentSink& sink_;
  std::function<std::int64_t()> n_tokens_;
  SeededRandom random_;
  std::uint64_t next_document_ = 0;
  std::vector<std::int64_t> n_of_rule_;  // tokens
  std::int64_t n_left_ = 0;              // bytes of the piece, before it may end with a line
  bool has_text_ = false;                // the piece has begun
  std::string recent_;                   // the last bytes of the text, as filler
};

}  // namespace longrun
