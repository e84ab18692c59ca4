// Independent symbols, each equally likely: nothing can be learned but the alphabet.
//
//   entropy of a document = length ln alphabet
#include <cmath>

#include "model/data/synthetic/rules.h"

namespace longrun {
namespace {

Result<std::string> WriteUniform(const Json& params, const RuleSetting&, SeededRandom& random) {
  return RandomSymbols(params.at("length"), params.at("alphabet"), random);
}

RuleBound BoundOfUniform(const Json& params) {
  const auto length = params.at("length").get<std::int64_t>();
  return {
      .document_nats = static_cast<double>(length) * std::log(params.at("alphabet").get<double>()),
      .document_bytes = length};
}

}  // namespace

const SyntheticRule& UniformRule() {
  static const SyntheticRule rule = {
      .name = "uniform",
      .source = "docs/data.md",
      .meaning = "independent symbols, all equally likely",
      .params = {AlphabetParam(62), LengthParam("length", 1024, "symbols of a document")},
      .write = &WriteUniform,
      .bound = &BoundOfUniform,
  };
  return rule;
}

}  // namespace longrun
