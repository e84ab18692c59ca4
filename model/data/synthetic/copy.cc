// A random span, and the same span again `distance` bytes later. n = span, D = distance:
//
//   SPAN "|" NOISE "|" SPAN          NOISE has D - n - 2 random symbols
//
//   entropy of a document = (D - 2) ln alphabet;  the last n bytes are certain
#include <cmath>

#include "base/str.h"
#include "model/data/synthetic/rules.h"

namespace longrun {
namespace {

constexpr std::int64_t kSeparators = 2;

Result<std::string> WriteCopy(const Json& params, const RuleSetting&, SeededRandom& random) {
  const auto alphabet = params.at("alphabet").get<std::int64_t>();
  const auto span = params.at("span").get<std::int64_t>();
  const auto distance = params.at("distance").get<std::int64_t>();
  const std::string copied = RandomSymbols(span, alphabet, random);
  return Str(copied, "|", RandomSymbols(distance - span - kSeparators, alphabet, random), "|",
             copied);
}

RuleBound BoundOfCopy(const Json& params) {
  const auto span = params.at("span").get<std::int64_t>();
  const auto distance = params.at("distance").get<std::int64_t>();
  return {.document_nats = static_cast<double>(distance - kSeparators) *
                           std::log(params.at("alphabet").get<double>()),
          .document_bytes = distance + span,
          .answer_bytes = span};
}

std::optional<ParamError> CheckCopy(const Json& params) {
  const auto least = params.at("span").get<std::int64_t>() + kSeparators;
  const auto distance = params.at("distance").get<std::int64_t>();
  if (distance >= least) return std::nullopt;
  return ParamError{.key = "distance",
                    .message = Str("expected at least span + ", kSeparators, " = ", least,
                                   ", found ", distance, ": raise distance, or lower span")};
}

}  // namespace

const SyntheticRule& CopyRule() {
  static const SyntheticRule rule = {
      .name = "copy",
      .source = "docs/data.md",
      .meaning = "a random span, and the same span again at a distance",
      .params = {AlphabetParam(26), LengthParam("span", 16, "symbols that are repeated"),
                 LengthParam("distance", 64, "bytes from a symbol to its repetition")},
      .check = &CheckCopy,
      .write = &WriteCopy,
      .bound = &BoundOfCopy,
  };
  return rule;
}

}  // namespace longrun
