// DRT's single passkey (docs/evaluation.md) in noise instead of a corpus. m = noise, k = key:
//
//   NOISE "|The passkey is:" KEY "|" NOISE "|What is the passkey? The passkey is" KEY
//
// NOISE has m random symbols in all, KEY k; the key's place is uniform among the m + 1.
//
//   entropy of a document = (m + k) ln alphabet + ln(m + 1);  the last k bytes are certain
#include <cmath>

#include "base/str.h"
#include "model/data/synthetic/rules.h"

namespace longrun {
namespace {

constexpr std::string_view kStatement = "|The passkey is:", kEnd = "|",
                           kQuestion = "|What is the passkey? The passkey is";

Result<std::string> WritePasskeyTokens(const Json& params, const RuleSetting&,
                                       SeededRandom& random) {
  const auto alphabet = params.at("alphabet").get<std::int64_t>();
  const auto noise = params.at("noise").get<std::int64_t>();
  const std::string key = RandomSymbols(params.at("key"), alphabet, random);
  const std::string text = RandomSymbols(noise, alphabet, random);
  const auto place = static_cast<std::size_t>(random.Below(static_cast<std::uint64_t>(noise) + 1));
  const std::string_view all = text;
  return Str(all.substr(0, place), kStatement, key, kEnd, all.substr(place), kQuestion, key);
}

RuleBound BoundOfPasskeyTokens(const Json& params) {
  const auto noise = params.at("noise").get<std::int64_t>();
  const auto key = params.at("key").get<std::int64_t>();
  const auto n_words =
      static_cast<std::int64_t>(kStatement.size() + kEnd.size() + kQuestion.size());
  return {.document_nats =
              static_cast<double>(noise + key) * std::log(params.at("alphabet").get<double>()) +
              std::log(static_cast<double>(noise) + 1),
          .document_bytes = noise + 2 * key + n_words,
          .answer_bytes = key};
}

}  // namespace

const SyntheticRule& PasskeyTokensRule() {
  static const SyntheticRule rule = {
      .name = "passkey_tokens",
      .source = "docs/evaluation.md",
      .meaning = "DRT's passkey of random symbols, hidden in random symbols",
      .params = {AlphabetParam(62), LengthParam("key", 5, "symbols of the key"),
                 LengthParam("noise", 160, "symbols around the key")},
      .write = &WritePasskeyTokens,
      .bound = &BoundOfPasskeyTokens,
  };
  return rule;
}

}  // namespace longrun
