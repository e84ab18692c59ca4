#include "client/tables/by_position.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "model/evaluation/protocol.h"
#include "model/evaluation/text_error.h"

namespace longrun::client {
namespace {

constexpr const char* kProtocol = "per_position";

// The first context length of each bucket, then L + 1; at most `n_buckets` buckets,
// unless that is 0.
std::vector<std::int64_t> Edges(const ResultRow& row, std::int64_t n_buckets) {
  if (!row.body.context_length) return {};
  if (!row.evaluation.is_object() || row.evaluation.empty()) return {};
  Json params = row.evaluation.begin().value();
  if (n_buckets > 0) params["buckets"] = n_buckets;
  if (!params.contains("buckets") || !params.contains("spacing")) return {};
  return FindProtocol(kProtocol).bucket_edges(
      {.context_length = *row.body.context_length, .params = std::move(params)});
}

// A row's numbers, bucket by bucket; for a row without numbers, just the buckets' borders.
std::vector<PositionBucket> BucketsOf(const ResultRow& row) {
  if (!row.body.buckets.empty()) return row.body.buckets;
  std::vector<PositionBucket> buckets;
  const std::vector<std::int64_t> edges = Edges(row, 0);
  for (std::size_t i = 0; i + 1 < edges.size(); ++i) {
    buckets.push_back({.begin = edges[i], .end = edges[i + 1]});
  }
  return buckets;
}

// Merges buckets that begin between the same two borders of `edges`.
std::vector<PositionBucket> Merged(const std::vector<PositionBucket>& buckets,
                                   const std::vector<std::int64_t>& edges) {
  std::vector<PositionBucket> merged;
  const auto group = [&edges](const PositionBucket& bucket) {
    return std::ranges::upper_bound(edges, bucket.begin) - edges.begin();
  };
  for (const PositionBucket& bucket : buckets) {
    if (merged.empty() || group(merged.back()) != group(bucket)) {
      merged.push_back(bucket);
      continue;
    }
    merged.back().end = bucket.end;
    merged.back().n += bucket.n;
    merged.back().nll_sum += bucket.nll_sum;
    std::vector<BlockSum>& blocks = merged.back().blocks;
    if (blocks.size() != bucket.blocks.size()) blocks.clear();  // not known of both
    for (std::size_t b = 0; b < blocks.size(); ++b) {
      blocks[b].n += bucket.blocks[b].n;
      blocks[b].nll_sum += bucket.blocks[b].nll_sum;
    }
  }
  return merged;
}

void AddError(const std::vector<BlockSum>& of_bucket, RowBody& body) {
  std::vector<ClusterSum> blocks;
  for (const BlockSum& block : of_bucket) {
    if (block.n == 0) continue;
    blocks.push_back({.id = block.begin, .n = block.n, .nll_sum = block.nll_sum});
  }
  if (blocks.empty()) return;
  const TextError error = BucketError(blocks);
  body.clusters = TextClusters::kBlocks;
  body.n_clusters = error.n_clusters;
  if (error.se) {
    body.se = error.se;
    body.df = error.df;
  }
  for (const ClusterSum& block : blocks) {
    body.blocks.begin.push_back(block.id);
    body.blocks.n.push_back(block.n);
    body.blocks.nll.push_back(block.nll_sum / static_cast<double>(block.n));
  }
}

ResultRow RowOf(const ResultRow& row, const PositionBucket& bucket) {
  const RowBody& body = row.body;
  ResultRow one{.run_key = row.run_key,
                .cell = row.cell,
                .attempt = row.attempt,
                .body = {.metric = std::string(kNllByPosition),
                         .status = body.status,
                         .context_length = body.context_length,
                         .split = body.split,
                         .protocol = body.protocol,
                         .averaging = body.averaging,
                         .variant = body.variant,
                         .depth = body.depth,
                         .tokens_of_context = {{.from = bucket.begin, .to = bucket.end - 1}},
                         .n = bucket.n},
                .evaluation = row.evaluation};
  if (bucket.n == 0) return one;
  one.body.nll_sum = bucket.nll_sum;
  one.body.value = bucket.nll_sum / static_cast<double>(bucket.n);
  AddError(bucket.blocks, one.body);
  return one;
}

}  // namespace

bool HasBuckets(std::string_view metric, const std::optional<std::string>& protocol) {
  return metric == "nll" && protocol == kProtocol;
}

std::vector<SweepResults> ByPosition(const std::vector<SweepResults>& results,
                                     std::int64_t buckets_max) {
  std::vector<SweepResults> out;
  out.reserve(results.size());
  for (const SweepResults& result : results) {
    std::vector<ResultRow> rows;
    for (const ResultRow& row : result.rows) {
      const RowBody& body = row.body;
      if (!HasBuckets(body.metric, body.protocol)) continue;
      std::vector<PositionBucket> buckets = BucketsOf(row);
      if (buckets_max > 0 && static_cast<std::int64_t>(buckets.size()) > buckets_max) {
        buckets = Merged(buckets, Edges(row, buckets_max));
      }
      for (const PositionBucket& bucket : buckets) {
        // If the text ends early, the last positions of its windows have no target.
        if (bucket.n == 0 && body.status == "ok") continue;
        rows.push_back(RowOf(row, bucket));
      }
    }
    out.push_back({.name = result.name,
                   .state = result.state,
                   .axes = result.axes,
                   .runs = result.runs,
                   .rows = std::move(rows)});
  }
  return out;
}

}  // namespace longrun::client
