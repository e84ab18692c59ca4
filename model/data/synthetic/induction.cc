// A pair A B is hidden in noise; A comes again, and B must follow. m = noise, V = alphabet:
//
//   NOISE A B NOISE A B        m symbols of noise in all, none of them A; B is one of them
//
// A is uniform, and so is its place among the m before each symbol of the noise (B is the next).
//
//   entropy of a document = ln V + ln m + m ln(V - 1);  the last byte is certain
//
// Olsson et al. 2022 (arXiv:2209.11895): induction heads.
#include <algorithm>
#include <cmath>

#include "base/str.h"
#include "model/data/synthetic/rules.h"

namespace longrun {
namespace {

Result<std::string> WriteInduction(const Json& params, const RuleSetting&, SeededRandom& random) {
  const auto alphabet = params.at("alphabet").get<std::int64_t>();
  const auto noise = params.at("noise").get<std::int64_t>();
  const char a =
      Symbol(static_cast<std::int64_t>(random.Below(static_cast<std::uint64_t>(alphabet))));
  std::string text = RandomSymbols(noise, alphabet - 1, random);
  // The last symbol of the alphabet replaces A, so that all others are equally likely.
  std::ranges::replace(text, a, Symbol(alphabet - 1));
  const auto place = static_cast<std::size_t>(random.Below(static_cast<std::uint64_t>(noise)));
  const char b = text[place];
  text.insert(place, 1, a);
  return Str(text, a, b);
}

RuleBound BoundOfInduction(const Json& params) {
  const auto alphabet = params.at("alphabet").get<double>();
  const auto noise = params.at("noise").get<std::int64_t>();
  const auto m = static_cast<double>(noise);
  return {.document_nats = std::log(alphabet) + std::log(m) + m * std::log(alphabet - 1),
          .document_bytes = noise + 3,
          .answer_bytes = 1};
}

}  // namespace

const SyntheticRule& InductionRule() {
  static const SyntheticRule rule = {
      .name = "induction",
      .source = "arXiv:2209.11895",
      .meaning = "a pair of symbols hidden in noise, the first of which comes again",
      .params = {AlphabetParam(26), LengthParam("noise", 61, "symbols of noise")},
      .write = &WriteInduction,
      .bound = &BoundOfInduction,
  };
  return rule;
}

}  // namespace longrun
