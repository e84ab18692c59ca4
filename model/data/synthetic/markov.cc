// A chain of order 2: the next symbol depends on the last two. V = alphabet, r = ratio.
//
//   p(k) = r^k / (1 + r + .. + r^(V-1)),  k = 0 .. V-1     for 0 < r <= 1
//   next symbol after (a, b) = Permute(k; V, key(a, b))    with probability p(k)
//   key(a, b) = StreamKey(seed, V a + b, 7)
//
// The first two symbols of a document are uniform. Every row of the chain is the same distribution
// in another order, so that the entropy does not depend on which rows are visited:
//
//   entropy of a document = 2 ln V + (length - 2) H(p),  H(p) = -sum of p(k) ln p(k)
#include <cmath>

#include "model/data/order.h"
#include "model/data/synthetic/rules.h"

namespace longrun {
namespace {

constexpr std::uint64_t kRowStream = 7;

std::vector<double> RowProbabilities(const Json& params) {
  const auto n = params.at("alphabet").get<std::size_t>();
  const auto ratio = params.at("ratio").get<double>();
  std::vector<double> p(n);
  double sum = 0;
  for (std::size_t k = 0; k < n; ++k) sum += p[k] = std::pow(ratio, static_cast<double>(k));
  for (double& probability : p) probability /= sum;
  return p;
}

Result<std::string> WriteMarkov(const Json& params, const RuleSetting& setting,
                                SeededRandom& random) {
  const std::vector<double> p = RowProbabilities(params);
  const std::uint64_t n = p.size();
  const auto length = params.at("length").get<std::int64_t>();
  std::uint64_t before = random.Below(n), last = random.Below(n);
  std::string text = {Symbol(static_cast<std::int64_t>(before)),
                      Symbol(static_cast<std::int64_t>(last))};
  for (std::int64_t t = 2; t < length; ++t) {
    double u = random.Uniform();
    std::uint64_t k = 0;
    while (k + 1 < n && u >= p[k]) u -= p[k++];
    const std::uint64_t next =
        Permute(k, n, StreamKey(setting.seed, n * before + last, kRowStream));
    text += Symbol(static_cast<std::int64_t>(next));
    before = last;
    last = next;
  }
  return text;
}

RuleBound BoundOfMarkov(const Json& params) {
  double entropy = 0;
  for (const double probability : RowProbabilities(params)) {
    if (probability > 0) entropy -= probability * std::log(probability);
  }
  const auto length = params.at("length").get<std::int64_t>();
  return {.document_nats = 2 * std::log(params.at("alphabet").get<double>()) +
                           static_cast<double>(length - 2) * entropy,
          .document_bytes = length};
}

std::optional<ParamError> CheckMarkov(const Json& params) {
  if (params.at("length").get<std::int64_t>() >= 2) return std::nullopt;
  return ParamError{
      .key = "length",
      .message = "expected at least the 2 symbols with which a chain begins, found 1"};
}

}  // namespace

const SyntheticRule& MarkovRule() {
  static const SyntheticRule rule = {
      .name = "markov",
      .source = "docs/data.md",
      .meaning = "a chain in which each symbol depends on the two before it",
      .params = {AlphabetParam(16),
                 {.name = "ratio",
                  .type = ParamSpec::Type::kNumber,
                  .default_value = 0.5,
                  .min = 1e-3,
                  .max = 1,
                  .meaning = "probability of each continuation divided by that of the next more "
                             "likely one; 1: all equally likely"},
                 LengthParam("length", 1024, "symbols of a document")},
      .check = &CheckMarkov,
      .write = &WriteMarkov,
      .bound = &BoundOfMarkov,
  };
  return rule;
}

}  // namespace longrun
