// The content of a row of results: the body of a `result` record (sweeps/record.h), parsed once.
//
// Bodies are stored unchanged, so those of older versions lack members, and `extra` may have any
// form. A member of another form than its type here is treated as absent, and one that is not
// listed here is ignored.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "client/words/position_range.h"

namespace longrun::client {

// The units of text from which a row's error was computed (`extra.clusters`). Rows measured by
// older versions have windows, which are not independent, so the errors of these rows are too
// small.
enum class TextClusters { kUnknown, kBlocks, kDocuments, kWindows };
std::string_view ClustersName(TextClusters clusters);  // "", "block", "document", "window"

// The quantiles over the timed steps, in a row that measures a speed (`extra.quantiles`).
inline constexpr std::array<const char*, 5> kQuantiles = {"p10", "p25", "median", "p75", "p90"};
using Quantiles = std::array<double, kQuantiles.size()>;

// The means over blocks of the scored text, in its order: lists of one length.
struct BlockMeans {
  std::vector<std::int64_t> begin = {};  // the block's first token in the split
  std::vector<std::int64_t> n = {};      // tokens scored
  std::vector<double> nll = {};          // nats per token
};

// The sums over the part of a bucket of context lengths that lies in one block of the text.
struct BlockSum {
  std::int64_t begin = 0;  // the block's first token in the split
  std::int64_t n = 0;      // tokens scored
  double nll_sum = 0.0;    // nats
};

// The sums over the targets with `begin` or more, and fewer than `end`, tokens of context.
struct PositionBucket {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t n = 0;  // tokens scored; 0 if the bucket has no number
  double nll_sum = 0.0;
  std::vector<BlockSum> blocks = {};  // all blocks of the row, some without tokens; empty: unknown
};

struct RowBody {
  std::string metric = {};  // "": unreadable
  std::string status = {};  // "": unreadable
  std::optional<std::int64_t> context_length = {};
  std::optional<std::string> split = {}, protocol = {}, averaging = {}, variant = {};
  std::optional<double> depth = {};
  std::optional<PositionRange> tokens_of_context = {};  // only of a bucket's row (by_position.h)
  std::optional<double> value = {}, se = {}, nll_sum = {};
  std::optional<std::int64_t> n = {}, n_bytes = {};

  // Members of `extra`.
  TextClusters clusters = TextClusters::kUnknown;
  std::optional<std::int64_t> n_clusters = {};
  std::optional<double> df = {};  // of `se`
  BlockMeans blocks = {};         // empty: not known
  // Of the protocol per_position; empty if the row has no curve or no context length.
  std::vector<PositionBucket> buckets = {};
  std::optional<std::pair<double, double>> wilson95 = {};  // of a share: low and high
  std::string scores = {};                  // of a share: 1 or 0 for each answer; "": not known
  std::optional<Quantiles> quantiles = {};  // empty if one of them is absent
  std::optional<std::int64_t> passes = {};  // of a pseudo-likelihood
  std::optional<std::int64_t> longest_prompt = {};  // tokens
  std::string reason = {};  // why the status is not ok; "" if it is, or if nothing was said
};

// Accepts any JSON: if it is not an object, all members are absent.
RowBody ReadBody(const Json& body);

// A member as a value on an axis and in an answer: null if it is absent. A whole number has no
// fraction, as in the canonical JSON of a body.
Json AxisValue(const std::optional<std::string>& text);
Json AxisValue(std::optional<std::int64_t> number);
Json AxisValue(std::optional<double> number);
Json AxisValue(const std::optional<PositionRange>& range);

}  // namespace longrun::client
