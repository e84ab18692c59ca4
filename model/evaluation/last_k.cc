// How good a prediction is with nearly full context: of each window of L tokens only the last k
// targets count, which see L - k + 1 to L tokens.
//
//   window i ends at e = i P, i = 1, 2, ...:  fed [e - L, e), scored [e - k + 1, e + 1)
//
// P = L makes the windows adjacent, so that each length scores different tokens. With one P of at
// least the longest length (`every`), all lengths score exactly the same tokens.
//
// Windows end at or before token T: floor(T / P) k tokens are scored. Cells have called T
// `score_tokens` since the first release, and keep that name, because their keys contain it. In a
// sweep, `score_tokens` is what is scored, S, from which T = S / k P follows, and T itself is
// `text_tokens` (perplexity.cc).
#include <algorithm>

#include "base/str.h"
#include "model/evaluation/evaluation.h"
#include "model/evaluation/protocol.h"

namespace longrun {
namespace {

std::int64_t PeriodOf(const Json& params, std::int64_t context_length) {
  const auto every = params.at("every").get<std::int64_t>();
  return every == 0 ? context_length : every;
}

// S is a multiple of k, and S / k windows fit into the split, at the same places for every length.
std::optional<ParamError> FitScoreTokens(const DatasetShape& dataset, Json& params) {
  const auto lengths = params.at("context_lengths").get<std::vector<std::int64_t>>();
  const auto k = params.at("k").get<std::int64_t>();
  const auto scored = params.at("score_tokens").get<std::int64_t>();
  const auto& split = params.at("split").get_ref<const std::string&>();
  const std::int64_t n_tokens = dataset.split_tokens.at(split);
  const std::string of_split = Str("split ", split, " of dataset \"", dataset.name, "\"");
  params["score_tokens"] = 0;  // for the errors of Check
  const std::int64_t period = PeriodOf(params, lengths.back());
  if (k > lengths.front() || period < lengths.back() || period >= n_tokens) return std::nullopt;
  const std::int64_t most = (n_tokens - 1) / period * k;
  if (scored > most) {
    return ParamError{
        "score_tokens",
        Str("last_k scores ", k, " of every ", period, " tokens, so it can score at most ", most,
            " of the ", n_tokens, " of ", of_split, ", found ", scored, "; write ", most,
            " or less", period > lengths.back() ? ", or lower every" : "")};
  }
  if (scored % k != 0) {
    const std::int64_t below = scored / k * k;
    return ParamError{"score_tokens",
                      Str("last_k scores ", k, " tokens of each window, so expected a multiple of ",
                          k, ", found ", scored, "; write ", below == 0 ? k : below,
                          below > 0 && below + k <= most ? Str(" or ", below + k) : "")};
  }
  if (params.at("every") == 0 && lengths.size() > 1) {
    return ParamError{"score_tokens",
                      Str("without `every`, windows of different context lengths end at different "
                          "places, so that no number fits all of them; give `every` a value of "
                          "at least ",
                          lengths.back(), ", the longest context length")};
  }
  params["score_tokens"] = scored / k * period;
  return std::nullopt;
}

std::int64_t LastTarget(const PlanRequest& request) {
  return request.score_tokens == 0 ? request.n_tokens - 1 : request.score_tokens;
}

std::optional<ParamError> Check(const PlanRequest& request) {
  const auto k = request.params.at("k").get<std::int64_t>();
  if (k > request.context_length) {
    return ParamError{
        "k", Str("expected from 1 to the context length ", request.context_length, ", found ", k)};
  }
  const std::int64_t period = PeriodOf(request.params, request.context_length);
  if (period < request.context_length) {
    return ParamError{"every", Str("expected 0, or at least the context length ",
                                   request.context_length, ", found ", period)};
  }
  if (LastTarget(request) < period && request.params.at("every") != 0) {
    return ParamError{
        "every", Str("the first window ends at token ", period, ", but only tokens up to ",
                     LastTarget(request), " can be scored: lower it, or give the split more text")};
  }
  return std::nullopt;
}

Result<std::vector<Window>> Plan(const PlanRequest& request) {
  const auto k = request.params.at("k").get<std::int64_t>();
  const std::int64_t period = PeriodOf(request.params, request.context_length);
  const std::int64_t last = LastTarget(request);
  if (last < period) {
    return Status(Code::kInvalidArgument,
                  Str("the first window ends at token ", period, ", but only tokens up to ", last,
                      " can be scored: lower context_length, or give the split more text"));
  }
  std::vector<Window> windows;
  windows.reserve(static_cast<std::size_t>(last / period));
  for (std::int64_t end = period; end <= last; end += period) {
    windows.push_back({.context_begin = end - request.context_length,
                       .score_begin = end - k + 1,
                       .score_end = end + 1});
  }
  return windows;
}

}  // namespace

const Protocol& LastKProtocol() {
  static const Protocol protocol = {
      .name = "last_k",
      .source = "longrun docs/evaluation.md",
      .meaning = "the last k targets of each window: predictions with nearly full context",
      .params =
          {{.name = "k",
            .type = ParamSpec::Type::kCount,
            .default_value = nullptr,
            .min = 1,
            .max = 1 << 30,
            .meaning = "targets scored at the end of each window, at most L"},
           {.name = "every",
            .type = ParamSpec::Type::kCount,
            .default_value = 0,
            .min = 0,
            .max = 1 << 30,
            .meaning =
                "tokens from one window's end to the next; 0: L, so that each length scores "
                "different tokens; the longest length or more: all lengths score the same tokens"}},
      .check = &Check,
      .fit_score_tokens = &FitScoreTokens,
      .plan = &Plan,
  };
  return protocol;
}

}  // namespace longrun
