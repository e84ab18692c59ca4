// PoSE, positional skip-wise training. Zhu et al. 2023 (arXiv:2309.10400), section 3;
// dwzhu-pku/PoSE, src/train_pose.py.
//
// A sample is N chunks, of n_0 .. n_{N-1} tokens that add up to T. Chunk i begins behind the tokens
// of those before it, and skips v_i tokens of the text and u_i positions in all:
//
//   t = n_0 + .. + n_{i-1} + k, k < n_i:   place[t] = t + v_i,   position[t] = t + u_i
//   u_0 = v_0 = 0,   u_i ~ U{u_{i-1} .. Lt - T},   v_i ~ U{v_{i-1} .. Lx - T}
//
// Two chunks are as in the paper's code: n_0 ~ U{1 .. (T + 1) div 2}, so that the first is never
// the longer one by more than a token. More are as in the paper: N - 1 distinct cuts. A document of
// fewer than N tokens has as many chunks as tokens.
//
// content: random    as above
//          contiguous  v_i = 0: one piece of text, as without PoSE
//          aligned     v_i = u_i: the tokens that stand at these positions in the text
//
// Draws: the lengths, then v_1 .. v_{N-1}, then u_1 .. u_{N-1}. Those of v are made for any
// content, so that all have the same positions, except with `aligned` near the end of the text.
#include <algorithm>
#include <numeric>
#include <string>

#include "base/str.h"
#include "model/limits.h"
#include "model/position_schedule/schedule.h"

namespace longrun {
namespace {

// The paper's code truncates a text to this many times train_length.
constexpr std::int64_t kTextFactor = 5;

void RefineDefaults(Json& params, std::int64_t train_length) {
  if (params.value("text_length", Json()) == 0) {
    params["text_length"] = std::min(kTextFactor * train_length, kLengthMax);
  }
}

std::optional<ParamError> Check(const Json& params, std::int64_t train_length) {
  const auto n_chunks = params.at("chunks").get<std::int64_t>();
  if (n_chunks > train_length) {
    return ParamError{
        .key = "chunks",
        .message = Str("a sequence of train_length ", train_length, " has room for at most ",
                       train_length, " chunks, found ", n_chunks)};
  }
  const Json text = params.value("text_length", Json());
  if (text.is_number() && text < train_length) {
    return ParamError{
        .key = "text_length",
        .message = Str("expected train_length ", train_length,
                       " or more, since each sample is taken from a text of this length; found ",
                       text.dump())};
  }
  return std::nullopt;
}

std::int64_t TextLength(const Json& params, std::int64_t train_length) {
  const auto content = params.at("content").get<std::string>();
  if (content == "contiguous") return train_length;
  return params.at(content == "aligned" ? "target_length" : "text_length").get<std::int64_t>();
}

std::vector<std::int64_t> DrawLengths(std::int64_t n_chunks, std::int64_t n_tokens,
                                      const UniformDraw& draw) {
  std::vector<std::int64_t> ends = n_chunks == 2
                                       ? std::vector{draw(1, (n_tokens + 1) / 2)}
                                       : DrawDistinct(n_chunks - 1, 1, n_tokens - 1, draw);
  ends.push_back(n_tokens);
  std::vector<std::int64_t> lengths(ends.size());
  std::adjacent_difference(ends.begin(), ends.end(), lengths.begin());
  return lengths;
}

// 0, then increasing numbers up to `most`.
std::vector<std::int64_t> DrawSkips(std::size_t n_chunks, std::int64_t most,
                                    const UniformDraw& draw) {
  std::vector<std::int64_t> skips = {0};
  while (skips.size() < n_chunks) skips.push_back(draw(skips.back(), most));
  return skips;
}

NumberedSample Number(const Json& params, std::int64_t train_length, std::int64_t n_text,
                      const UniformDraw& draw) {
  const auto content = params.at("content").get<std::string>();
  const bool is_aligned = content == "aligned";
  const std::int64_t n_chunks = std::min(params.at("chunks").get<std::int64_t>(), train_length);
  const std::vector<std::int64_t> lengths = DrawLengths(n_chunks, train_length, draw);
  std::vector<std::int64_t> v = DrawSkips(lengths.size(), n_text - train_length, draw);
  auto n_positions = params.at("target_length").get<std::int64_t>();
  if (is_aligned) n_positions = std::min(n_positions, n_text);
  const std::vector<std::int64_t> u = DrawSkips(lengths.size(), n_positions - train_length, draw);
  if (is_aligned) v = u;
  if (content == "contiguous") std::ranges::fill(v, 0);

  NumberedSample sample;
  sample.place.reserve(static_cast<std::size_t>(train_length + 1));
  sample.position.reserve(static_cast<std::size_t>(train_length));
  std::int64_t t = 0;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    for (const std::int64_t end = t + lengths[i]; t < end; ++t) {
      sample.place.push_back(t + v[i]);
      sample.position.push_back(static_cast<std::int32_t>(t + u[i]));
    }
  }
  sample.place.push_back(t + v.back());
  return sample;
}

}  // namespace

const PositionSchedule& PoseSchedule() {
  static const PositionSchedule schedule = {
      .name = "pose",
      .source = "arXiv:2309.10400, section 3",
      .meaning =
          "chunks of a text with skips between their positions, so that distances up to "
          "target_length occur",
      .params = {TargetLengthParam(),
                 {.name = "chunks",
                  .type = ParamSpec::Type::kInt,
                  .default_value = 2,
                  .min = 2,
                  .max = static_cast<double>(kLengthMax),
                  .meaning = "number of chunks in a sample; of two chunks, the first has at most "
                             "half of the tokens"},
                 {.name = "content",
                  .type = ParamSpec::Type::kChoice,
                  .default_value = "random",
                  .choices = {"random", "contiguous", "aligned"},
                  .meaning = "how much text is skipped between chunks; random: a random number of "
                             "tokens (the paper's v = U); contiguous: none (v = 0); aligned: as "
                             "many tokens as positions (v = u)"},
                 {.name = "text_length",
                  .type = ParamSpec::Type::kCount,
                  .default_value = 0,
                  .min = 0,
                  .max = static_cast<double>(kLengthMax),
                  .meaning = "length of the text from which a sample is taken, in tokens; 0: 5 "
                             "times train_length",
                  .only_with = ParamSpec::Condition{.name = "content", .values = {"random"}}}},
      .refine_defaults = &RefineDefaults,
      .check = &Check,
      .text_length = &TextLength,
      .number = &Number};
  return schedule;
}

}  // namespace longrun
