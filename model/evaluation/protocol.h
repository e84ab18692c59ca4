// A protocol of perplexity: how windows are laid over a text, and which tokens of each are scored.
// One file and one line of protocols.cc each.
//
// A protocol is arithmetic: it turns sizes and parameters into windows. It reads no token and knows
// no model, so it is tested without one. Notation: L context length,
// N tokens of the text, t a target.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "model/data/documents.h"
#include "model/language_model.h"
#include "model/param.h"

namespace longrun {

struct DatasetShape;  // evaluation.h
struct Score;         // window.h

struct PlanRequest {
  std::int64_t n_tokens = 0;  // of the split
  std::int64_t context_length = 0;
  // S: windows cover only the beginning of the text: its first S tokens if the protocol uses a BOS,
  // else tokens 0 .. S, of which token 0 is only context. 0: the whole text.
  std::int64_t score_tokens = 0;
  // The documents in order, without their end-of-text tokens; for protocols whose windows stay
  // inside a document.
  std::span<const TextSpan> documents = {};
  Json params = Json::object();  // resolved; may have more than the protocol's own
};

struct Protocol {
  std::string_view name;
  std::string_view source;  // paper or code
  std::string_view meaning;
  std::vector<ParamSpec> params = {};  // its own; the condition on "protocol" is added to them
  // Windows start with a begin-of-text token, so that the first token of a text is scored too and a
  // text may be shorter than L. Without it, a text needs L + 1 tokens.
  bool uses_bos = false;
  std::int64_t n_unfed = 0;  // a window cut by L feeds L - n_unfed tokens, including its BOS
  // Whether PlanRequest::documents is needed with these parameters; null: never.
  bool (*needs_documents)(const Json& params) = nullptr;
  // Returns an error, with the parameter's name, if a parameter contradicts another one or the
  // length. Null: there can be no such error.
  std::optional<ParamError> (*check)(const PlanRequest& request) = nullptr;
  // Converts params.score_tokens (more than 0) from a sweep's meaning, the number of scored tokens,
  // to a cell's meaning, PlanRequest::score_tokens. A sweep can also give the cell's number, as
  // `text_tokens`. Null: the two numbers are the same, and there is no text_tokens.
  std::optional<ParamError> (*fit_score_tokens)(const DatasetShape& dataset,
                                                Json& params) = nullptr;
  // The default of score_tokens, a number that depends only on the split, so that a length added
  // later changes no other cell; null: CommonScoreTokens(n_tokens).
  std::int64_t (*default_score_tokens)(std::int64_t n_tokens, const Json& params) = nullptr;
  // The windows in the order of the text, for a request that passed `check`. kInvalidArgument if no
  // window fits.
  Result<std::vector<Window>> (*plan)(const PlanRequest& request) = nullptr;
  // Whether every window of a document begins where the document begins. Then one pass over it
  // serves all windows and all lengths of a task (prefix_pass.h), and a submission that no document
  // is long enough for is refused.
  bool reads_prefixes = false;
  // More members of the row's `extra`, from the plan's windows and their score; null if there are
  // none. Null: never any.
  Json (*extra)(const PlanRequest& request, std::span<const Window> windows,
                const Score& score) = nullptr;
  // The first context lengths of the buckets that the row distinguishes, ascending from 1, and
  // L + 1 at the end; null: no buckets.
  std::vector<std::int64_t> (*bucket_edges)(const PlanRequest& request) = nullptr;
};

// All protocols, in listing order.
std::span<const Protocol* const> Protocols();
// The name must be valid (LR_CHECK): the table of parameters has checked it.
const Protocol& FindProtocol(std::string_view name);

// ---- nonoverlap --------------------------------------------------------------------------------

struct NonOverlapPlan {
  std::int64_t n_tokens = 0;
  std::int64_t context_length = 0;
  // Tokens 1 .. score_tokens are scored; 0: all full windows.
  std::int64_t score_tokens = 0;
};

// Windows side by side. Window k is fed tokens [k L, k L + L) and scored on [k L + 1, k L + L + 1);
// token 0 is never scored.
//   score_tokens = 0  floor((N - 1) / L) windows; the tail is dropped, so *different lengths score
//                     different tokens*
//   score_tokens = S  every length scores exactly tokens 1 .. S: lengths that divide S tile them;
//                     for others the last window is cut at S
// kInvalidArgument if not even one full window fits.
Result<std::vector<Window>> PlanNonOverlap(const NonOverlapPlan& plan);

}  // namespace longrun
