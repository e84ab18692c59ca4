// GALI: a long text gets as few positions between two whole ones as will do, and a score is taken
// between those of the two whole distances around its own. Li et al. 2025 (arXiv:2502.02659),
// section 3, and the authors' code.
//
//   T tokens, W local_window:  g = ceil((T - W) / (L0 - W)),  m = ceil((T - L0) / (g - 1))
//   position[t] = t / g                   for the first T - (L0 - m) tokens
//                 m, m + 1, ... L0 - 1    for the last L0 - m
//   distance(i, j) = ceil(position[i]) - position[j]
//   score[i][j] = (1 - r) score at the whole distance below + r score at the one above,
//                 r = fraction of distance(i, j) = ceil(position[j]) - position[j]
//
// The first L0 tokens are read at once at their own positions, then `chunk` at a time: for each,
// the positions are those of the text so far, and the rotations of earlier keys change. What was
// computed from earlier tokens stays, so that the result depends on the chunk. Queries whose
// position is not whole lose the distances of their neighbours: a chunk of at most the last L0 - m
// tokens, of which there are at least W, has none. The authors' chunk is 3000.
//
// rel_precision bf16_compat: r as the authors' code computes it, with positions in fp32 that become
// bf16 (8 significant bits, rounded to nearest even) before and after they are subtracted:
//
//   r = fraction of bf16(bf16(ceil(position[i])) - bf16(position[j]))
//
// which depends on the query, too. The keys are rotated to the same positions as before. A bf16
// number of at least 128 is whole, so r is 0 if ceil(position[i]) >= 256 or position[j] >= 128.
// If L0 - W >= 256, a chunk of at most W tokens interpolates nothing.
//
// noise: random numbers in the scores with r != 0 (reading.h), with T tokens of the text so far as
// n_text. The authors' uniform noise takes the largest score of all keys before they are masked, of
// later tokens in the chunk as well; here it is the largest score that the query sees, so that no
// score depends on later tokens.
#include <algorithm>
#include <cmath>

#include "base/str.h"
#include "kernels/scalar.h"
#include "model/extension/extension.h"

namespace longrun {
namespace {

constexpr std::int64_t kLocalWindow = 128;  // the authors'

// The positions of a text of T tokens.
class Positions {
 public:
  Positions(const Json& params, std::int64_t n_tokens)
      : Positions(params.at("original_length").get<std::int64_t>(),
                  params.at("local_window").get<std::int64_t>(), n_tokens) {}
  Positions(std::int64_t original, std::int64_t window, std::int64_t n_tokens) {
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
  // The position as the authors' program has it.
  float InFp32(std::int64_t t) const {
    if (t >= n_shared_) return static_cast<float>(Floor(t));
    const double interval = 1.0 / static_cast<double>(g_);
    return static_cast<float>(static_cast<double>(t / g_) + interval * static_cast<double>(t % g_));
  }
  std::int64_t g() const { return g_; }
  std::int64_t n_shared() const { return n_shared_; }

 private:
  static std::int64_t CeilDivide(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
  bool IsWhole(std::int64_t t) const { return t >= n_shared_ || t % g_ == 0; }

  std::int64_t g_ = 1, m_ = 0, n_shared_ = 0;
};

float InBf16(float x) { return FromBf16(ToBf16(x)); }

// The positions of queries and keys in bf16; nothing if r is 0 for all of them. Positions that bf16
// makes whole have a whole difference, and so have those that are 128 or more apart.
std::optional<PairBlend> Bf16Blend(const Positions& at, const Stretch& stretch,
                                   std::size_t other_set) {
  constexpr float kWholeFrom = 128.0F;
  PairBlend blend = {.other_set = other_set};
  bool has_near_query = false, has_part = false;
  for (std::int64_t p = stretch.q_begin; p < stretch.n_key(); ++p) {
    blend.query.push_back(InBf16(static_cast<float>(at.Ceil(p))));
    has_near_query = has_near_query || blend.query.back() < 2.0F * kWholeFrom;
  }
  for (std::int64_t j = 0; j < stretch.n_key(); ++j) {
    blend.key.push_back(InBf16(at.InFp32(j)));
    has_part = has_part || blend.key.back() != std::floor(blend.key.back());
  }
  if (!has_near_query || !has_part) return std::nullopt;
  return blend;
}

std::optional<ReadingNoise> NoiseOf(const Json& params, std::int64_t n_text) {
  const auto& name = params.at("noise").get_ref<const std::string&>();
  if (name == "none") return std::nullopt;
  return ReadingNoise{
      .kind = name == "gaussian" ? ReadingNoise::Kind::kGaussian : ReadingNoise::Kind::kUniform,
      .std = params.at("noise_std").get<double>(),
      .seed = params.at("noise_seed").get<std::uint64_t>(),
      .n_text = n_text};
}

Reading Read(const Json& params, const Stretch& stretch) {
  const Positions at(params, stretch.n_text());
  KeySet above = {.row = stretch.Keys([&](std::int64_t j) { return at.Ceil(j); })};
  const auto below = stretch.Keys([&](std::int64_t j) { return at.Floor(j); });
  Reading reading = {
      .regions = {{.query_row = stretch.Queries([&](std::int64_t p) { return at.Ceil(p); })}}};
  bool blends = false;
  if (params.at("rel_precision") == "bf16_compat") {
    reading.key_sets = {std::move(above), {.row = below}};
    reading.regions.front().pair_blend = Bf16Blend(at, stretch, 1);
    blends = reading.regions.front().pair_blend.has_value();
  } else {
    above.blended_row = below;
    for (std::int64_t j = 0; j < stretch.n_key(); ++j) above.blended_weight.push_back(at.Below(j));
    blends = at.n_shared() > 0;
    reading.key_sets = {std::move(above)};
  }
  if (blends) reading.noise = NoiseOf(params, stretch.n_text());
  return reading;
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

bool HasKeysOfItsOwnForTokens(const Json& params) {
  return params.at("noise") == "none" && params.at("rel_precision") == "fp32";
}

// With each token, the whole positions at the end become smaller by 1 in relation to the tokens.
// Only distances matter: here the last tokens and the query are counted from the beginning of the
// text instead, in a key set of their own. Then all keys keep their rows until g changes.
Reading ReadToken(const Json& params, const Stretch& token) {
  if (!HasKeysOfItsOwnForTokens(params)) return Read(params, token);
  const Positions at(params, token.n_text());
  const std::int64_t g = at.g();
  KeySet shared = {.row = token.Keys([=](std::int64_t j) { return (j + g - 1) / g; }),
                   .blended_row = token.Keys([=](std::int64_t j) { return j / g; })};
  for (std::int64_t j = 0; j < token.n_key(); ++j) {
    shared.blended_weight.push_back(static_cast<double>((g - j % g) % g) / static_cast<double>(g));
  }
  return {.regions = {{.key_begin = token.Begins([&](std::int64_t) { return at.n_shared(); }),
                       .query_row = token.Queries([](std::int64_t p) { return p; })},
                      {.query_row = token.Queries([&](std::int64_t p) { return at.Ceil(p); }),
                       .key_set = 1}},
          .key_sets = {{.row = token.Keys([](std::int64_t j) { return j; })}, std::move(shared)}};
}

std::int64_t KeysKeptByTokens(const Json& params, std::int64_t n_before, std::int64_t n_now) {
  if (!HasKeysOfItsOwnForTokens(params)) return KeysKept(params, n_before, n_now);
  return Positions(params, n_before).g() == Positions(params, n_now).g() ? n_before : 0;
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

std::string NoKernelsReason(const Json& params) {
  if (params.at("noise") != "none") return "the kernels add no noise to scores";
  if (params.at("rel_precision") != "bf16_compat") return "";
  return "in bf16, the weights of interpolated scores depend on query and key, which the kernels "
         "cannot express";
}

// The first chunk that has more tokens than have whole positions.
std::optional<ParamError> Warn(const Json& params, std::int64_t n_tokens) {
  const auto original = params.at("original_length").get<std::int64_t>();
  const auto window = params.at("local_window").get<std::int64_t>();
  const auto chunk = params.at("chunk").get<std::int64_t>();
  if (chunk <= window) return std::nullopt;
  for (std::int64_t begin = original; begin < n_tokens; begin += chunk) {
    const std::int64_t end = std::min(begin + chunk, n_tokens);
    const std::int64_t n_whole = end - Positions(original, window, end).n_shared();
    if (end - begin <= n_whole) continue;
    return ParamError{
        "chunk",
        Str("when the text is ", end, " tokens long, only its last ", n_whole,
            " tokens have whole positions, but the chunk that ends there has ", end - begin,
            ": its other tokens cannot tell their neighbours apart. A chunk of at most "
            "local_window (",
            window, ") tokens avoids this")};
  }
  return std::nullopt;
}

}  // namespace

const Extension& GaliExtension() {
  const ParamSpec::Condition kWithNoise = {.name = "noise", .values = {"gaussian", "uniform"}};
  static const Extension extension = {
      .name = "gali",
      .source = "arXiv:2502.02659, section 3",
      .meaning =
          "old keys are squeezed into positions below original_length, and scores are "
          "interpolated between whole distances",
      .params =
          {LengthParam("local_window", 0,
                       "smallest number of tokens at the end that keep whole positions "
                       "(default: 128, or half of original_length if that is less)"),
           LengthParam("chunk", 0,
                       "tokens beyond original_length that are read at once; the result "
                       "depends on it (default: local_window)"),
           {.name = "noise",
            .type = ParamSpec::Type::kChoice,
            .default_value = "none",
            .choices = {"none", "gaussian", "uniform"},
            .meaning = "random numbers that are added to interpolated scores"},
           {.name = "noise_std",
            .type = ParamSpec::Type::kNumber,
            .default_value = 1.0,
            .min = 0.0,
            .max = 1000.0,
            .meaning =
                "size of the noise for a key as far back as the text is long, and in proportion to "
                "the distance for nearer keys; gaussian: its standard deviation; uniform: its "
                "largest value, as a share of the query's largest score",
            .only_with = kWithNoise},
           {.name = "noise_seed",
            .type = ParamSpec::Type::kInt,
            .default_value = 1,
            .min = 0,
            .max = 1LL << 53,
            .meaning = "seed of the noise",
            .only_with = kWithNoise},
           {.name = "rel_precision",
            .type = ParamSpec::Type::kChoice,
            .default_value = "fp32",
            .choices = {"fp32", "bf16_compat"},
            .meaning = "how positions are subtracted; fp32: exactly; bf16_compat: in bf16, as the "
                       "authors' code does, which leaves no fractions beyond position 128"},
           OriginalLengthParam(true)},
      .refine_defaults = &RefineDefaults,
      .needs_original_length = true,
      .read = &Read,
      .piece = &Piece,
      .keys_kept = &KeysKept,
      .read_token = &ReadToken,
      .keys_kept_by_tokens = &KeysKeptByTokens,
      .why_not_by_kernels = &NoKernelsReason,
      .warn = &Warn,
      .check = &Check};
  return extension;
}

}  // namespace longrun
