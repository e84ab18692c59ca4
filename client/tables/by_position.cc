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

struct Bucket {
  std::int64_t begin = 0;
  std::int64_t end = 0;  // exclusive
  std::int64_t n = 0;
  double nll_sum = 0.0;
  std::vector<ClusterSum> blocks = {};  // of the row, also without a token; empty: not known
};

// The first context length of each bucket, then L + 1; at most `n_buckets` buckets,
// unless that is 0.
std::vector<std::int64_t> Edges(const ResultRow& row, std::int64_t n_buckets) {
  if (!row.evaluation.is_object() || row.evaluation.empty()) return {};
  Json params = row.evaluation.begin().value();
  if (n_buckets > 0) params["buckets"] = n_buckets;
  if (!params.contains("buckets") || !params.contains("spacing")) return {};
  return FindProtocol(kProtocol).bucket_edges(
      {.context_length = row.body.at("context_length").get<std::int64_t>(),
       .params = std::move(params)});
}

// Whether the buckets of a row have their form.
bool IsCurve(const Json& curve) {
  if (!curve.is_object()) return false;
  const Json begin = curve.value("begin", Json()), n = curve.value("n", Json()),
             nll = curve.value("nll", Json());
  const auto is_integer = [](const Json& one) { return one.is_number_integer(); };
  return begin.is_array() && n.is_array() && nll.is_array() && begin.size() == n.size() &&
         begin.size() == nll.size() && std::ranges::all_of(begin, is_integer) &&
         std::ranges::all_of(n, is_integer);
}

// The sums of bucket i by text block; none if the curve does not have them in their form.
std::vector<ClusterSum> BlocksOf(const Json& curve, std::size_t i) {
  const Json blocks = curve.value("blocks", Json());
  if (!blocks.is_object()) return {};
  const Json begin = blocks.value("begin", Json::array());
  const auto of_bucket = [&](const char* key) -> Json {
    const Json all = blocks.value(key, Json::array());
    return all.is_array() && i < all.size() ? all[i] : Json::array();
  };
  const Json n = of_bucket("n"), nll = of_bucket("nll");
  if (!begin.is_array() || !n.is_array() || !nll.is_array()) return {};
  if (n.size() != begin.size() || nll.size() != begin.size()) return {};
  std::vector<ClusterSum> sums;
  sums.reserve(begin.size());
  for (std::size_t b = 0; b < begin.size(); ++b) {
    if (!begin[b].is_number_integer() || !n[b].is_number_integer()) return {};
    ClusterSum sum = {.id = begin[b].get<std::int64_t>(), .n = n[b].get<std::int64_t>()};
    if (sum.n > 0 && !nll[b].is_number()) return {};
    if (sum.n > 0) sum.nll_sum = nll[b].get<double>() * static_cast<double>(sum.n);
    sums.push_back(sum);
  }
  return sums;
}

// A row's numbers, bucket by bucket; for a row without numbers, just the buckets' borders.
std::vector<Bucket> BucketsOf(const ResultRow& row) {
  std::vector<Bucket> buckets;
  const Json& body = row.body;
  const Json extra = body.value("extra", Json());
  const Json curve = extra.is_object() ? extra.value("buckets", Json()) : Json();
  if (!IsCurve(curve)) {
    const std::vector<std::int64_t> edges = Edges(row, 0);
    for (std::size_t i = 0; i + 1 < edges.size(); ++i) {
      buckets.push_back({.begin = edges[i], .end = edges[i + 1]});
    }
    return buckets;
  }
  const Json& begin = curve.at("begin");
  for (std::size_t i = 0; i < begin.size(); ++i) {
    const Json& nll = curve.at("nll").at(i);
    const auto n = nll.is_number() ? curve.at("n").at(i).get<std::int64_t>() : 0;
    const Json& end = i + 1 < begin.size() ? begin.at(i + 1) : body.at("context_length");
    buckets.push_back({.begin = begin.at(i).get<std::int64_t>(),
                       .end = end.get<std::int64_t>() + (i + 1 < begin.size() ? 0 : 1),
                       .n = n,
                       .nll_sum = n > 0 ? nll.get<double>() * static_cast<double>(n) : 0.0,
                       .blocks = BlocksOf(curve, i)});
  }
  return buckets;
}

// Merges buckets that begin between the same two borders of `edges`.
std::vector<Bucket> Merged(const std::vector<Bucket>& buckets,
                           const std::vector<std::int64_t>& edges) {
  std::vector<Bucket> merged;
  const auto group = [&edges](const Bucket& bucket) {
    return std::ranges::upper_bound(edges, bucket.begin) - edges.begin();
  };
  for (const Bucket& bucket : buckets) {
    if (merged.empty() || group(merged.back()) != group(bucket)) {
      merged.push_back(bucket);
      continue;
    }
    merged.back().end = bucket.end;
    merged.back().n += bucket.n;
    merged.back().nll_sum += bucket.nll_sum;
    std::vector<ClusterSum>& blocks = merged.back().blocks;
    if (blocks.size() != bucket.blocks.size()) blocks.clear();  // not known of both
    for (std::size_t b = 0; b < blocks.size(); ++b) {
      blocks[b].n += bucket.blocks[b].n;
      blocks[b].nll_sum += bucket.blocks[b].nll_sum;
    }
  }
  return merged;
}

void AddError(Json& body, std::vector<ClusterSum> blocks) {
  std::erase_if(blocks, [](const ClusterSum& block) { return block.n == 0; });
  if (blocks.empty()) return;
  const TextError error = BucketError(blocks);
  Json& extra = body["extra"] = {{"clusters", error.clusters}, {"n_clusters", error.n_clusters}};
  if (error.se) {
    body["se"] = *error.se;
    extra["df"] = error.df;
  }
  Json begin = Json::array(), n = Json::array(), nll = Json::array();
  for (const ClusterSum& block : blocks) {
    begin.push_back(block.id);
    n.push_back(block.n);
    nll.push_back(block.nll_sum / static_cast<double>(block.n));
  }
  extra["blocks"] = {{"begin", std::move(begin)}, {"n", std::move(n)}, {"nll", std::move(nll)}};
}

ResultRow RowOf(const ResultRow& row, const Bucket& bucket) {
  ResultRow one = row;
  Json& body = one.body;
  body.erase("extra");
  body["metric"] = kNllByPosition;
  body[kPositionAxis] = {{"from", bucket.begin}, {"to", bucket.end - 1}};
  for (const char* of_all : {"value", "se", "nll_sum", "bytes"}) body[of_all] = nullptr;
  body["n"] = bucket.n;
  if (bucket.n == 0) return one;
  body["nll_sum"] = bucket.nll_sum;
  body["value"] = bucket.nll_sum / static_cast<double>(bucket.n);
  AddError(body, bucket.blocks);
  return one;
}

}  // namespace

bool HasBuckets(const Json& metric, const Json& protocol) {
  return metric == "nll" && protocol == kProtocol;
}

std::vector<SweepResults> ByPosition(const std::vector<SweepResults>& results,
                                     std::int64_t buckets_max) {
  std::vector<SweepResults> out;
  out.reserve(results.size());
  for (const SweepResults& result : results) {
    std::vector<ResultRow> rows;
    for (const ResultRow& row : result.rows) {
      const Json& body = row.body;
      if (!HasBuckets(body.at("metric"), body.value("protocol", Json()))) continue;
      std::vector<Bucket> buckets = BucketsOf(row);
      if (buckets_max > 0 && static_cast<std::int64_t>(buckets.size()) > buckets_max) {
        buckets = Merged(buckets, Edges(row, buckets_max));
      }
      for (const Bucket& bucket : buckets) {
        // If the text ends early, the last positions of its windows have no target.
        if (bucket.n == 0 && body.at("status") == "ok") continue;
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
