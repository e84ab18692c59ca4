// GALI: a long text gets as few positions between two whole ones as will do, and a score is taken
// between those of the two whole distances around its own. Li et al. 2025 (arXiv:2502.02659),
// section 3, and the authors' code.
//
//   T tokens, W local_window:  g = ceil((T - W) / (L0 - W)),  m = ceil((T - L0) / (g - 1))
//   position[t] = t / g                   for the first T - (L0 - m) tokens
//                 m, m + 1, ... L0 - 1    for the last L0 - m
//   distance(p, j) = ceil(position[p]) - position[j], of which the score at the distance above
//                    weighs 1 - r, that below r = ceil(position[j]) - position[j]
//
// The first L0 tokens are read at once at their own positions, then `chunk` at a time: for each,
// the positions are those of the text so far, and the rotations of earlier keys change. What was
// computed from earlier tokens stays, so that the result depends on the chunk. Queries whose
// position is not whole lose the distances of their neighbours: a chunk of at most the last L0 - m
// tokens, of which there are at least W, has none. The authors' chunk is 3000.
//
// In the authors' code positions are bf16. Beyond 128 these are whole, so that it interpolates
// nothing; here they are exact.
#include <algorithm>

#include "base/str.h"
#include "model/extension/extension.h"

namespace longrun {
namespace {

constexpr std::int64_t kLocalWindow = 128;  // the authors'

// The positions of a text of T tokens.
class Positions {
 public:
  Positions(const Json& params, std::int64_t n_tokens) {
    const auto original = params.at("original_length").get<std::int64_t>();
    const auto window = params.at("local_window").get<std::int64_t>();
    if (n_tokens <= original) return;
    g_ = CeilDivide(n_tokens - window, original - window);
    m_ = CeilDivide(n_tokens - original, g_ - 1);
    n_shared_ = n_tokens - (original - m_);
  }

  std::int64_t Floor(std::int64_t t) const { return t < n_shared_ ? t / g_ : m_ + t - n_shared_; }
  std::int64_t Ceil(std::int64_t t) const { return Floor(t) + (IsWhole(t) ? 0 : 1); }
  // Ceil(t) less the position.
  double Below(std::int64_t t) const {
    return IsWhole(t) ? 0.0 : static_cast<double>(g_ - t % g_) / static_cast<double>(g_);
  }
  std::int64_t g() const { return g_; }
  std::int64_t n_shared() const { return n_shared_; }

 private:
  static std::int64_t CeilDivide(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
  bool IsWhole(std::int64_t t) const { return t >= n_shared_ || t % g_ == 0; }

  std::int64_t g_ = 1, m_ = 0, n_shared_ = 0;
};

Reading Read(const Json& params, const Stretch& stretch) {
  const Positions at(params, stretch.n_text());
  KeySet keys = {.row = stretch.Keys([&](std::int64_t j) { return at.Ceil(j); }),
                 .blended_row = stretch.Keys([&](std::int64_t j) { return at.Floor(j); })};
  for (std::int64_t j = 0; j < stretch.n_key(); ++j) keys.blended_weight.push_back(at.Below(j));
  return {.regions = {{.query_row = stretch.Queries([&](std::int64_t p) { return at.Ceil(p); })}},
          .key_sets = {std::move(keys)}};
}

std::int64_t Piece(const Json& params, std::int64_t n_read) {
  const auto original = params.at("original_length").get<std::int64_t>();
  if (n_read < original) return original - n_read;
  const auto chunk = params.at("chunk").get<std::int64_t>();
  return chunk - (n_read - original) % chunk;
}

std::int64_t KeysKept(const Json& params, std::int64_t n_before, std::int64_t n_now) {
  const Positions before(params, n_before), now(params, n_now);
  if (now.n_shared() == 0) return n_before;
  return before.g() == now.g() ? before.n_shared() : 0;
}

void RefineDefaults(const Json& given, Json& params) {
  const auto original = params.at("original_length").get<std::int64_t>();
  if (given.value("local_window", Json(0)) == 0) {
    params["local_window"] = std::max<std::int64_t>(1, std::min(kLocalWindow, original / 2));
  }
  if (given.value("chunk", Json(0)) == 0) params["chunk"] = params.at("local_window");
}

std::optional<ParamError> Check(const Json& params) {
  return CheckBelowOriginal("local_window", params);
}

}  // namespace

const Extension& GaliExtension() {
  static const Extension extension = {
      .name = "gali",
      .source = "arXiv:2502.02659, section 3",
      .meaning =
          "old keys are squeezed into positions below original_length, and scores are "
          "interpolated between whole distances",
      .params = {LengthParam("local_window", 0,
                             "smallest number of tokens at the end that keep whole positions "
                             "(default: 128, or half of original_length if that is less)"),
                 LengthParam("chunk", 0,
                             "tokens beyond original_length that are read at once; the result "
                             "depends on it (default: local_window)"),
                 {.name = "noise",
                  .type = ParamSpec::Type::kChoice,
                  .default_value = "none",
                  .choices = {"none"},
                  .choices_unbuilt = {"gaussian", "uniform"},
                  .meaning = "what is added to interpolated scores"},
                 {.name = "rel_precision",
                  .type = ParamSpec::Type::kChoice,
                  .default_value = "fp32",
                  .choices = {"fp32"},
                  .choices_unbuilt = {"bf16_compat"},
                  .meaning = "number format in which positions are subtracted"},
                 OriginalLengthParam(true)},
      .refine_defaults = &RefineDefaults,
      .needs_original_length = true,
      .read = &Read,
      .piece = &Piece,
      .keys_kept = &KeysKept,
      .check = &Check};
  return extension;
}

}  // namespace longrun
