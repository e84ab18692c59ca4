#include "model/data/inspect.h"

#include <algorithm>
#include <vector>

#include "base/files.h"
#include "base/str.h"
#include "model/data/dataset.h"
#include "model/data/manifest.h"
#include "model/data/shard.h"
#include "model/data/tokenizer_file.h"

namespace longrun {
namespace {

constexpr std::int64_t kSampleTokens = 64;

Json LengthFacts(const std::vector<std::int64_t>& sorted) {
  // By nearest rank: the smallest length that at least `percent` % of the documents do not exceed.
  const auto at = [&](std::size_t percent) {
    return sorted[(percent * sorted.size() + 99) / 100 - 1];
  };
  double sum = 0.0;
  for (const std::int64_t length : sorted) sum += static_cast<double>(length);
  return {{"min", sorted.front()},
          {"p10", at(10)},
          {"median", at(50)},
          {"p90", at(90)},
          {"p99", at(99)},
          {"max", at(100)},
          {"mean", sum / static_cast<double>(sorted.size())}};
}

// The documents and tokens with at least each power of two of tokens, up to the longest document.
Json Reaching(const std::vector<std::int64_t>& sorted) {
  std::vector<std::int64_t> tokens_from(sorted.size() + 1, 0);  // tokens of the documents from i on
  for (std::size_t i = sorted.size(); i-- > 0;) tokens_from[i] = tokens_from[i + 1] + sorted[i];
  Json list = Json::array();
  for (std::int64_t length = 1; length <= sorted.back(); length *= 2) {
    const auto first =
        static_cast<std::size_t>(std::ranges::lower_bound(sorted, length) - sorted.begin());
    list.push_back({{"tokens", length},
                    {"documents", sorted.size() - first},
                    {"share_of_tokens", static_cast<double>(tokens_from[first]) /
                                            static_cast<double>(tokens_from[0])}});
  }
  return list;
}

Status AddSample(const std::string& folder, const TokenSplit& split, Json& json) {
  std::vector<std::int32_t> ids(
      static_cast<std::size_t>(std::min(kSampleTokens, split.document_starts()[1])));
  RETURN_IF_ERROR(split.Read(0, ids));
  const Result<std::unique_ptr<Tokenizer>> tokenizer = OpenTokenizerOf(folder);
  const Result<std::string> text =
      tokenizer.ok() ? (*tokenizer)->Decode(ids) : Result<std::string>(tokenizer.status());
  json["sample"] = text.ok() ? Json(ToUtf8(*text)) : Json();
  if (!text.ok()) json["sample_error"] = ToUtf8(text.status().message());
  return Status();
}

Result<Json> InspectSplit(const std::string& folder, const Dataset& dataset,
                          const ManifestSplit& listed) {
  ASSIGN_OR_RETURN(const TokenSplit* const split, dataset.Split(listed.identity.name));
  const std::span<const std::int64_t> starts = split->document_starts();
  std::vector<std::int64_t> lengths(starts.size() - 1);
  for (std::size_t i = 0; i < lengths.size(); ++i) lengths[i] = starts[i + 1] - starts[i];
  std::ranges::sort(lengths);
  std::int64_t text_bytes = 0, file_bytes = 0;
  for (const ManifestShard& shard : listed.shards) {
    file_bytes += shard.bytes;
    ASSIGN_OR_RETURN(const ShardReader reader, ShardReader::Open(JoinPath(folder, shard.file)));
    for (const ShardDocument& document : reader.documents()) text_bytes += document.text_bytes;
  }
  Json json = {{"name", listed.identity.name},
               {"n_tokens", split->n_tokens()},
               {"n_documents", lengths.size()},
               {"n_shards", listed.shards.size()},
               {"text_bytes", text_bytes},
               {"file_bytes", file_bytes},
               {"document_tokens", LengthFacts(lengths)},
               {"documents_of_at_least", Reaching(lengths)}};
  RETURN_IF_ERROR(AddSample(folder, *split, json));
  return json;
}

}  // namespace

Result<Json> InspectDataset(const std::string& folder) {
  ASSIGN_OR_RETURN(const Dataset dataset, Dataset::Open(folder));
  ASSIGN_OR_RETURN(const Json written, ReadManifestJson(folder));
  ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(folder));
  Json json = {
      {"digest", dataset.digest()}, {"folder", folder}, {"vocab_size", dataset.vocab_size()}};
  // The folder of an earlier release lacks some of them.
  for (const char* const key :
       {"packing", "source", "sources", "spec_sha256", "split", "tokenizer", "tool"}) {
    json[key] = written.value(key, Json());
  }
  Json splits = Json::array();
  for (const ManifestSplit& split : manifest.splits) {
    ASSIGN_OR_RETURN(Json inspected, InspectSplit(folder, dataset, split));
    splits.push_back(std::move(inspected));
  }
  json["splits"] = std::move(splits);
  return json;
}

}  // namespace longrun
