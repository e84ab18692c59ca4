// Passkeys of random tokens in a text of the dataset. The questions are those of
// ant-research/long-context-modeling (DRT, arXiv:2410.01651), utils/data_loader_utils.py and
// eval/slidewin_eval.py. A key is k random tokens. Statements about keys are inserted into T
// consecutive tokens of a split, and the text ends with a question and its answer:
//
//   kind      statements                                                    question, then answer
//   single    |The passkey is: K|                                           |What is the passkey?
//                                                                           The passkey is K
//   multihop  4 of |DEF a->b|: v0->v1, v1->v2, and such a chain of others    |The path from v0 is
//                                                                           v1,v2
//   multi     6 of |One of the special magic numbers for a is b|            |The value of a is b
//
// Each string and each key is tokenised by itself. With in_last_chunk the answer begins at
// T - C + 1, one token after the beginning of the last chunk of C tokens. Otherwise it ends at T.
// Inserted tokens move the text to the right, and text beyond T is cut off.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "model/data/tokenizer.h"
#include "model/language_model.h"

namespace longrun {

struct CorpusPasskeyRules {
  enum class Kind { kSingle, kMultihop, kMulti };
  Kind kind = Kind::kSingle;
  std::int64_t key_tokens = 5;
  std::int64_t chunk = 64;
  bool in_last_chunk = true;  // where the answer stands
  std::uint64_t seed = 0;
};

struct CorpusPasskey {
  std::vector<std::int32_t> tokens;  // ends with the answer
  std::int64_t answer_begin = 0;
  std::int64_t scored = 0;                    // index of the token that DRT's metric looks at
  std::vector<std::int64_t> statement_begin;  // the question is about the first of these statements
};

// The reason why statements, question and answer do not fit into context_length tokens, as the end
// of a sentence; "" if they fit.
std::string WhyTooShort(const CorpusPasskeyRules& rules, const Tokenizer& tokenizer,
                        std::int64_t context_length);

// Case `i` over `text`, whose T tokens are long enough. Keys are drawn from `ids`. A pure function
// of the arguments.
CorpusPasskey MakeCorpusPasskey(const CorpusPasskeyRules& rules, const Tokenizer& tokenizer,
                                std::span<const std::int32_t> ids,
                                std::span<const std::int32_t> text, std::int64_t i);

}  // namespace longrun
