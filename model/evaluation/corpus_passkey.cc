#include "model/evaluation/corpus_passkey.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/random.h"
#include "base/str.h"

namespace longrun {
namespace {

using Tokens = std::vector<std::int32_t>;

struct Words {
  std::vector<std::string_view> statement;  // a key after each but the last
  std::vector<std::string_view> question;   // a key after each but the last; the answer follows
  std::string_view between;                 // of the keys of the answer
  std::size_t n_statements;
  std::size_t n_answer;  // keys
};

const Words& WordsOf(CorpusPasskeyRules::Kind kind) {
  using Kind = CorpusPasskeyRules::Kind;
  static const Words single = {.statement = {"|The passkey is:", "|"},
                               .question = {"|What is the passkey? The passkey is"},
                               .between = "",
                               .n_statements = 1,
                               .n_answer = 1};
  static const Words multihop = {.statement = {"|DEF", "->", "|"},
                                 .question = {"|The path from", "is"},
                                 .between = ",",
                                 .n_statements = 4,
                                 .n_answer = 2};
  static const Words multi = {.statement = {"|One of the special magic numbers for ", " is ", "|"},
                              .question = {"|The value of ", "is"},
                              .between = "",
                              .n_statements = 6,
                              .n_answer = 1};
  return kind == Kind::kSingle ? single : kind == Kind::kMultihop ? multihop : multi;
}

void Append(const Tokens& from, Tokens& to) { to.insert(to.end(), from.begin(), from.end()); }

Tokens Encoded(const Tokenizer& tokenizer, std::string_view text) {
  Tokens ids;
  if (!text.empty()) tokenizer.Encode(text, ids);
  return ids;
}

// The texts with a key after each but the last, or also after the last.
Tokens Filled(const Tokenizer& tokenizer, const std::vector<std::string_view>& texts,
              std::span<const Tokens* const> keys) {
  Tokens ids;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    Append(Encoded(tokenizer, texts[i]), ids);
    if (i < keys.size()) Append(*keys[i], ids);
  }
  return ids;
}

struct Case {
  std::vector<Tokens> statements;
  std::size_t asked = 0;  // which statement the answer begins with
  Tokens question, answer;
  std::int64_t n_last = 0;  // tokens of the answer's last key
};

Case MakeCase(const CorpusPasskeyRules& rules, const Tokenizer& tokenizer,
              std::span<const std::int32_t> ids, SeededRandom& random) {
  using Kind = CorpusPasskeyRules::Kind;
  const Words& words = WordsOf(rules.kind);
  const auto draw = [&] {
    Tokens key(static_cast<std::size_t>(rules.key_tokens));
    for (std::int32_t& id : key) id = ids[random.Below(ids.size())];
    return key;
  };
  // Statement s says from[s] -> to[s]. The first chain is asked for.
  std::vector<Tokens> from, to;
  for (std::size_t s = 0; s < words.n_statements; ++s) {
    const bool goes_on = rules.kind == Kind::kMultihop && s % 2 == 1;
    from.push_back(rules.kind == Kind::kSingle ? Tokens() : goes_on ? to.back() : draw());
    to.push_back(draw());
  }
  Case made;
  made.n_last = rules.key_tokens;
  std::vector<std::size_t> order(words.n_statements);
  for (std::size_t s = 0; s < order.size(); ++s) order[s] = s;
  for (std::size_t s = order.size(); s > 1; --s) std::swap(order[s - 1], order[random.Below(s)]);
  for (const std::size_t s : order) {
    std::vector<const Tokens*> keys = {&from[s], &to[s]};
    if (rules.kind == Kind::kSingle) keys = {&to[s]};
    made.statements.push_back(Filled(tokenizer, words.statement, keys));
  }
  made.asked = static_cast<std::size_t>(std::ranges::find(order, std::size_t{0}) - order.begin());
  const std::array<const Tokens*, 1> asked_for = {&from[0]};
  made.question = Filled(tokenizer, words.question,
                         rules.kind == Kind::kSingle ? std::span<const Tokens* const>()
                                                     : std::span<const Tokens* const>(asked_for));
  for (std::size_t a = 0; a < words.n_answer; ++a) {
    if (a > 0) Append(Encoded(tokenizer, words.between), made.answer);
    Append(to[a], made.answer);
  }
  return made;
}

std::int64_t SizeOf(const Tokens& tokens) { return static_cast<std::int64_t>(tokens.size()); }

// Places in the text before which statements may be inserted: [0, n). DRT keeps the same distance
// from the end wherever the answer stands.
std::int64_t FreePlaces(const CorpusPasskeyRules& rules, const Case& made,
                        std::int64_t context_length) {
  std::int64_t n_inserted = 0;
  for (const Tokens& statement : made.statements) n_inserted += SizeOf(statement);
  if (rules.kind == CorpusPasskeyRules::Kind::kSingle) {
    return context_length - 2 * rules.chunk - n_inserted;
  }
  const std::int64_t n_asked = SizeOf(made.question) + SizeOf(made.answer);
  return context_length - n_inserted - (rules.chunk - 1 - SizeOf(made.answer)) - n_asked;
}

}  // namespace

std::string WhyTooShort(const CorpusPasskeyRules& rules, const Tokenizer& tokenizer,
                        std::int64_t context_length) {
  SeededRandom random(rules.seed);
  const std::int32_t any = 0;
  const Case made = MakeCase(rules, tokenizer, std::span(&any, 1), random);
  const std::int64_t n_asked = SizeOf(made.question) + SizeOf(made.answer);
  if (SizeOf(made.answer) > rules.chunk - 1) {
    return Str("the answer has ", made.answer.size(), " tokens, but a chunk of ", rules.chunk,
               " tokens has room for only ", rules.chunk - 1);
  }
  if (SizeOf(made.question) > rules.chunk + 1) {
    return Str("the question has ", made.question.size(), " tokens, but with a chunk of ",
               rules.chunk, " tokens it can have at most ", rules.chunk + 1);
  }
  const auto n_places = static_cast<std::int64_t>(made.statements.size());
  const std::int64_t n_free = FreePlaces(rules, made, context_length);
  if (n_free >= n_places) return "";
  const std::int64_t needed = context_length + n_places - n_free;
  return Str("its statements, the question and the answer (", n_asked,
             " tokens) leave no place in ", context_length,
             " tokens: expected a context length of at least ",
             (needed + rules.chunk - 1) / rules.chunk * rules.chunk);
}

CorpusPasskey MakeCorpusPasskey(const CorpusPasskeyRules& rules, const Tokenizer& tokenizer,
                                std::span<const std::int32_t> ids,
                                std::span<const std::int32_t> text, std::int64_t i) {
  const auto context_length = static_cast<std::int64_t>(text.size());
  SeededRandom random(StreamKey(rules.seed, static_cast<std::uint64_t>(context_length),
                                static_cast<std::uint64_t>(i)));
  const Case made = MakeCase(rules, tokenizer, ids, random);
  const std::int64_t n_free = FreePlaces(rules, made, context_length);
  const auto n = made.statements.size();
  LR_CHECK(n_free >= static_cast<std::int64_t>(n));
  std::vector<std::int64_t> places;
  while (places.size() < n) {
    const auto place = static_cast<std::int64_t>(random.Below(static_cast<std::uint64_t>(n_free)));
    if (std::ranges::find(places, place) == places.end()) places.push_back(place);
  }
  std::ranges::sort(places);

  CorpusPasskey out;
  const std::int64_t answer_begin =
      rules.in_last_chunk ? context_length - rules.chunk + 1 : context_length - SizeOf(made.answer);
  const std::int64_t question_begin = answer_begin - SizeOf(made.question);
  std::int64_t taken = 0;
  for (std::size_t s = 0; s < n; ++s) {
    out.tokens.insert(out.tokens.end(), text.begin() + taken, text.begin() + places[s]);
    taken = places[s];
    out.statement_begin.push_back(SizeOf(out.tokens));
    Append(made.statements[s], out.tokens);
  }
  std::swap(out.statement_begin[0], out.statement_begin[made.asked]);
  const std::int64_t n_left = question_begin - SizeOf(out.tokens);
  LR_CHECK(n_left >= 0);
  out.tokens.insert(out.tokens.end(), text.begin() + taken, text.begin() + taken + n_left);
  Append(made.question, out.tokens);
  out.answer_begin = SizeOf(out.tokens);
  LR_CHECK(out.answer_begin == answer_begin);
  Append(made.answer, out.tokens);
  const bool asks_first = rules.in_last_chunk && rules.kind == CorpusPasskeyRules::Kind::kSingle;
  out.scored = asks_first ? out.answer_begin : SizeOf(out.tokens) - 1;
  return out;
}

}  // namespace longrun
