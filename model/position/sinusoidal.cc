// Sinusoidal absolute positions: fixed waves, added to the token embeddings.
//
//   x_0[t] = multiplier * token[t] + E[t],   c = 0 .. C/2 - 1
//
//   vaswani:  E[t][2c] = sin(t w_c), E[t][2c+1]  = cos(t w_c),  w_c = 10000^(-2c/C)
//             Vaswani et al. 2017 (arXiv:1706.03762), section 3.5; C is even
//   fairseq:  E[t][c]  = sin(t u_c), E[t][C/2+c] = cos(t u_c),  u_c = exp(-c ln(10000) / (C/2-1))
//             as fairseq's SinusoidalPositionalEmbedding, which ALiBi's paper used; the last column
//             of an odd C is 0. Positions count from 0 here (fairseq's own start at 2).
//
// The papers' multiplier is sqrt(C), GPT's is 1. With embeddings of N(0, 0.02^2) and multiplier 1
// the unit waves dominate the input, and short training runs lag far behind.
#include <cmath>

#include "base/str.h"
#include "model/position/method.h"

namespace longrun {
namespace {

void FillVaswani(std::int64_t t, std::span<double> row) {
  const auto width = static_cast<double>(row.size());
  for (std::size_t c = 0; 2 * c + 1 < row.size(); ++c) {
    const double w = std::pow(10000.0, -2.0 * static_cast<double>(c) / width);
    row[2 * c] = std::sin(static_cast<double>(t) * w);
    row[2 * c + 1] = std::cos(static_cast<double>(t) * w);
  }
}

void FillFairseq(std::int64_t t, std::span<double> row) {
  const std::size_t half = row.size() / 2;
  const double step = std::log(10000.0) / static_cast<double>(half - 1);
  for (std::size_t c = 0; c < half; ++c) {
    const double u = std::exp(-static_cast<double>(c) * step);
    row[c] = std::sin(static_cast<double>(t) * u);
    row[half + c] = std::cos(static_cast<double>(t) * u);
  }
  if (row.size() % 2 == 1) row.back() = 0.0;
}

ParamResult<TermSpec> SinusoidalTerms(const Json& params, const AttentionShape& shape) {
  const bool fairseq = params.at("layout") == "fairseq";
  if (!fairseq && shape.d_model % 2 != 0) {
    return ParamError{.key = "layout",
                      .message = Str("\"vaswani\" needs an even model.d_model, found ",
                                     shape.d_model, "; choose \"fairseq\", or an even width"),
                      .others = {"model.d_model"}};
  }
  if (fairseq && shape.d_model < 4) {
    return ParamError{
        .key = "layout",
        .message = Str("\"fairseq\" needs model.d_model of at least 4, found ", shape.d_model),
        .others = {"model.d_model"}};
  }
  return TermSpec{
      .scale = 1.0 / std::sqrt(static_cast<double>(shape.head_dim)),
      .input_add = InputAdd{.multiplier = params.at("multiplier").get<double>(),
                            .fill = fairseq ? &FillFairseq : &FillVaswani},
  };
}

}  // namespace

const PositionMethod& SinusoidalMethod() {
  static const PositionMethod method = {
      .name = "sinusoidal",
      .source = "arXiv:1706.03762, section 3.5",
      .beyond = "works, but perplexity explodes within a few dozen tokens",
      .params = {{.name = "layout",
                  .type = PositionParam::Type::kChoice,
                  .default_value = "vaswani",
                  .choices = {"vaswani", "fairseq"},
                  .meaning = "sine and cosine interleaved, or in two halves"},
                 {.name = "multiplier",
                  .type = PositionParam::Type::kNumber,
                  .default_value = 1.0,
                  .min = 1e-3,
                  .max = 1e3,
                  .meaning = "factor on the token embeddings; the paper's is sqrt(d_model)"}},
      .terms = &SinusoidalTerms,
  };
  return method;
}

}  // namespace longrun
