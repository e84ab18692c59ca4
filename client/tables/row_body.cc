#include "client/tables/row_body.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace longrun::client {
namespace {

constexpr TextClusters kKnownClusters[] = {TextClusters::kBlocks, TextClusters::kDocuments,
                                           TextClusters::kWindows};

// Null without the member; `object` may be of any type.
const Json* Find(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

std::optional<std::string> TextAt(const Json& object, const char* key) {
  const Json* const found = Find(object, key);
  if (found == nullptr || !found->is_string()) return std::nullopt;
  return found->get_ref<const std::string&>();
}

std::optional<double> NumberAt(const Json& object, const char* key) {
  const Json* const found = Find(object, key);
  if (found == nullptr || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

// 2.0 and 2 are one number.
std::optional<std::int64_t> WholeIn(const Json& number) {
  if (number.is_number_integer()) return number.get<std::int64_t>();
  if (!number.is_number()) return std::nullopt;
  constexpr double kExactMax = 9007199254740992.0;  // 2^53
  const auto real = number.get<double>();
  if (std::abs(real) > kExactMax || std::trunc(real) != real) return std::nullopt;
  return static_cast<std::int64_t>(real);
}

std::optional<std::int64_t> WholeAt(const Json& object, const char* key) {
  const Json* const found = Find(object, key);
  return found == nullptr ? std::nullopt : WholeIn(*found);
}

TextClusters ClustersIn(const Json& extra) {
  const Json* const found = Find(extra, "clusters");
  if (found == nullptr) return TextClusters::kUnknown;
  const auto* const known = std::ranges::find_if(
      kKnownClusters, [found](TextClusters one) { return *found == ClustersName(one); });
  return known == std::end(kKnownClusters) ? TextClusters::kUnknown : *known;
}

std::vector<std::int64_t> WholesAt(const Json& object, const char* key) {
  const Json* const found = Find(object, key);
  if (found == nullptr || !found->is_array()) return {};
  std::vector<std::int64_t> numbers;
  numbers.reserve(found->size());
  for (const Json& one : *found) {
    const std::optional<std::int64_t> number = WholeIn(one);
    if (!number) return {};
    numbers.push_back(*number);
  }
  return numbers;
}

std::vector<double> NumbersAt(const Json& object, const char* key) {
  const Json* const found = Find(object, key);
  if (found == nullptr || !found->is_array()) return {};
  std::vector<double> numbers;
  numbers.reserve(found->size());
  for (const Json& one : *found) {
    if (!one.is_number()) return {};
    numbers.push_back(one.get<double>());
  }
  return numbers;
}

BlockMeans BlocksIn(const Json& extra) {
  const Json* const blocks = Find(extra, "blocks");
  if (blocks == nullptr) return {};
  BlockMeans means{.begin = WholesAt(*blocks, "begin"),
                   .n = WholesAt(*blocks, "n"),
                   .nll = NumbersAt(*blocks, "nll")};
  const bool is_whole =
      means.n.size() == means.begin.size() && means.nll.size() == means.begin.size();
  return is_whole ? std::move(means) : BlockMeans();
}

// An array's element, or null.
const Json* ElementOf(const Json* array, std::size_t i) {
  return array == nullptr || !array->is_array() || i >= array->size() ? nullptr : &(*array)[i];
}

// The sums of bucket i by text block; none if the curve does not have them in their form.
std::vector<BlockSum> BlocksOfBucket(const Json& curve, std::size_t i) {
  const Json* const blocks = Find(curve, "blocks");
  if (blocks == nullptr) return {};
  const Json* const begin = Find(*blocks, "begin");
  const Json* const n = ElementOf(Find(*blocks, "n"), i);
  const Json* const nll = ElementOf(Find(*blocks, "nll"), i);
  for (const Json* const list : {begin, n, nll}) {
    if (list == nullptr || !list->is_array() || list->size() != begin->size()) return {};
  }
  std::vector<BlockSum> sums;
  sums.reserve(begin->size());
  for (std::size_t b = 0; b < begin->size(); ++b) {
    if (!(*begin)[b].is_number_integer() || !(*n)[b].is_number_integer()) return {};
    BlockSum sum = {.begin = (*begin)[b].get<std::int64_t>(), .n = (*n)[b].get<std::int64_t>()};
    if (sum.n > 0 && !(*nll)[b].is_number()) return {};
    if (sum.n > 0) sum.nll_sum = (*nll)[b].get<double>() * static_cast<double>(sum.n);
    sums.push_back(sum);
  }
  return sums;
}

std::vector<PositionBucket> BucketsIn(const Json& extra,
                                      std::optional<std::int64_t> context_length) {
  const Json* const curve = Find(extra, "buckets");
  if (curve == nullptr || !context_length) return {};
  const Json* const begin = Find(*curve, "begin");
  const Json* const n = Find(*curve, "n");
  const Json* const nll = Find(*curve, "nll");
  for (const Json* const list : {begin, n, nll}) {
    if (list == nullptr || !list->is_array() || list->size() != begin->size()) return {};
  }
  const auto is_integer = [](const Json& one) { return one.is_number_integer(); };
  if (!std::ranges::all_of(*begin, is_integer) || !std::ranges::all_of(*n, is_integer)) return {};
  std::vector<PositionBucket> buckets;
  buckets.reserve(begin->size());
  for (std::size_t i = 0; i < begin->size(); ++i) {
    const bool is_last = i + 1 == begin->size();
    PositionBucket bucket = {
        .begin = (*begin)[i].get<std::int64_t>(),
        .end = is_last ? *context_length + 1 : (*begin)[i + 1].get<std::int64_t>(),
        .n = (*nll)[i].is_number() ? (*n)[i].get<std::int64_t>() : 0,
        .blocks = BlocksOfBucket(*curve, i)};
    if (bucket.n > 0) bucket.nll_sum = (*nll)[i].get<double>() * static_cast<double>(bucket.n);
    buckets.push_back(std::move(bucket));
  }
  return buckets;
}

std::optional<std::pair<double, double>> Wilson95In(const Json& extra) {
  const std::vector<double> ends = NumbersAt(extra, "wilson95");
  if (ends.size() != 2) return std::nullopt;
  return std::pair(ends[0], ends[1]);
}

std::string ScoresIn(const Json& extra) {
  std::optional<std::string> scores = TextAt(extra, "scores");
  const bool is_known = scores && scores->find_first_not_of("01") == std::string::npos;
  return is_known ? *std::move(scores) : std::string();
}

std::optional<Quantiles> QuantilesIn(const Json& extra) {
  const Json* const given = Find(extra, "quantiles");
  if (given == nullptr) return std::nullopt;
  Quantiles quantiles{};
  for (std::size_t i = 0; i < kQuantiles.size(); ++i) {
    const std::optional<double> number = NumberAt(*given, kQuantiles[i]);
    if (!number) return std::nullopt;
    quantiles[i] = *number;
  }
  return quantiles;
}

}  // namespace

std::string_view ClustersName(TextClusters clusters) {
  switch (clusters) {
    case TextClusters::kUnknown:
      return "";
    case TextClusters::kBlocks:
      return "block";
    case TextClusters::kDocuments:
      return "document";
    case TextClusters::kWindows:
      return "window";
  }
  LR_CHECK(false);
}

RowBody ReadBody(const Json& body) {
  RowBody out{.metric = TextAt(body, "metric").value_or(""),
              .status = TextAt(body, "status").value_or(""),
              .context_length = WholeAt(body, "context_length"),
              .split = TextAt(body, "split"),
              .protocol = TextAt(body, "protocol"),
              .averaging = TextAt(body, "averaging"),
              .variant = TextAt(body, "variant"),
              .depth = NumberAt(body, "depth"),
              .value = NumberAt(body, "value"),
              .se = NumberAt(body, "se"),
              .nll_sum = NumberAt(body, "nll_sum"),
              .n = WholeAt(body, "n"),
              .n_bytes = WholeAt(body, "bytes")};
  const Json* const extra = Find(body, "extra");
  if (extra == nullptr) return out;
  if (out.status != "ok") out.reason = TextAt(*extra, "reason").value_or("");
  out.clusters = ClustersIn(*extra);
  out.n_clusters = WholeAt(*extra, "n_clusters");
  out.df = NumberAt(*extra, "df");
  out.blocks = BlocksIn(*extra);
  out.buckets = BucketsIn(*extra, out.context_length);
  out.wilson95 = Wilson95In(*extra);
  out.scores = ScoresIn(*extra);
  out.quantiles = QuantilesIn(*extra);
  out.passes = WholeAt(*extra, "passes");
  out.longest_prompt = WholeAt(*extra, "longest_prompt");
  return out;
}

Json AxisValue(const std::optional<std::string>& text) { return text ? Json(*text) : Json(); }

Json AxisValue(std::optional<std::int64_t> number) { return number ? Json(*number) : Json(); }

Json AxisValue(std::optional<double> number) {
  if (!number) return nullptr;
  const std::optional<std::int64_t> whole = WholeIn(*number);
  return whole ? Json(*whole) : Json(*number);
}

Json AxisValue(const std::optional<PositionRange>& range) {
  return range ? range->ToJson() : Json();
}

}  // namespace longrun::client
