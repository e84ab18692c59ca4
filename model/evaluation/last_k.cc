// How good a prediction is with nearly full context: of each window of L tokens only the last k
// targets count, which see L - k + 1 to L tokens.
//
//   window i ends at e = i P, i = 1, 2, ...:  fed [e - L, e), scored [e - k + 1, e + 1)
//
// P = L makes the windows adjacent, so that each length scores different tokens. With one P of at
// least the longest length (`every`), all lengths score exactly the same tokens.
#include "base/str.h"
#include "model/evaluation/protocol.h"

namespace longrun {
namespace {

std::int64_t PeriodOf(const PlanRequest& request) {
  const auto every = request.params.at("every").get<std::int64_t>();
  return every == 0 ? request.context_length : every;
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
  const std::int64_t period = PeriodOf(request);
  if (period < request.context_length) {
    return ParamError{"every", Str("expected 0, or at least the context length ",
                                   request.context_length, ", found ", period)};
  }
  if (LastTarget(request) < period && request.params.at("every") != 0) {
    return ParamError{
        "every", Str("the first window ends at token ", period, ", but tokens up to ",
                     LastTarget(request), " can be scored: lower it, or give the split more text")};
  }
  return std::nullopt;
}

Result<std::vector<Window>> Plan(const PlanRequest& request) {
  const auto k = request.params.at("k").get<std::int64_t>();
  const std::int64_t period = PeriodOf(request);
  const std::int64_t last = LastTarget(request);
  if (last < period) {
    return Status(Code::kInvalidArgument,
                  Str("the first window ends at token ", period, ", but tokens up to ", last,
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
      .plan = &Plan,
  };
  return protocol;
}

}  // namespace longrun
