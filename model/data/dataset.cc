#include "model/data/dataset.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <set>

#include "base/check.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/version.h"
#include "model/data/shard.h"
#include "model/data/tokenizer.h"

namespace longrun {
namespace {

constexpr std::string_view kManifestName = "dataset.json";
constexpr std::string_view kTokenizerFile = "tokenizer.json";
constexpr int kManifestFormat = 1;
constexpr std::array<std::string_view, 3> kSplitNames = {"train", "validation", "test"};
// Of dataset.json and of tokenizer.json.
constexpr std::size_t kJsonBytesMax = std::size_t{64} << 20;
// Tokens that Verify widens at a time.
constexpr std::int64_t kVerifyTokens = std::int64_t{1} << 20;

// A pipe would keep its reader waiting, a device would never end.
Result<std::string> ReadPlainFile(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, Str("cannot read ", path));
  if (!S_ISREG(info.st_mode)) {
    return Status(Code::kInvalidArgument, Str(path, " is no regular file: expected one"));
  }
  return ReadFile(path, kJsonBytesMax);
}

Status DataLoss(const std::string& path, const std::string& what) {
  return Status(Code::kDataLoss,
                Str(path, ": ", what, ": the dataset is damaged; import it again"));
}

std::array<std::uint8_t, 32> BytesOfHex(std::string_view hex) {
  LR_CHECK(IsSha256Hex(hex));
  const auto digit = [](char c) {
    return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10);
  };
  std::array<std::uint8_t, 32> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::uint8_t>(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
  }
  return bytes;
}

// What a split is, apart from how it lies in files.
struct SplitIdentity {
  std::string name;
  std::int64_t n_tokens = 0;
  std::int64_t n_documents = 0;
  std::string tokens_sha256;
  std::string documents_sha256;
};

std::string DatasetDigest(const std::string& tokenizer_fingerprint,
                          const std::vector<SplitIdentity>& splits) {
  Json list = Json::array();
  for (const SplitIdentity& split : splits) {
    list.push_back({{"name", split.name},
                    {"n_tokens", split.n_tokens},
                    {"n_documents", split.n_documents},
                    {"tokens_sha256", split.tokens_sha256},
                    {"documents_sha256", split.documents_sha256}});
  }
  return Sha256Hex(CanonicalJson({{"format", kManifestFormat},
                                  {"tokenizer", tokenizer_fingerprint},
                                  {"splits", std::move(list)}}));
}

// ids are not negative, so as u32 they have the bytes they have here.
void HashTokens(Sha256& hash, std::span<const std::int32_t> tokens) {
  hash.Update(tokens.data(), tokens.size_bytes());
}

std::string DocumentsSha256(std::span<const std::int64_t> starts) {
  Sha256 hash;
  hash.Update(starts.data(), starts.size_bytes());
  return hash.FinishHex();
}

// ---- the manifest, read ------------------------------------------------------------------------

struct ManifestShard {
  std::string file;
  std::int64_t n_tokens = 0;
  std::int64_t n_documents = 0;
  std::int64_t bytes = 0;
  std::string sha256;
};

struct ManifestSplit {
  SplitIdentity identity;
  std::vector<ManifestShard> shards;
};

struct Manifest {
  std::string digest;
  std::string tokenizer_fingerprint;
  std::string tokenizer_sha256;  // of tokenizer.json
  std::string spec_sha256;
  std::vector<ManifestSplit> splits;
};

Result<std::string> GetSha256(const Json& object, std::string_view key, const std::string& path) {
  ASSIGN_OR_RETURN(std::string hex, GetString(object, key, path));
  if (!IsSha256Hex(hex)) {
    return Status(Code::kDataLoss,
                  Str(path, ".", key, ": expected 64 hex digits, found \"", hex, "\""));
  }
  return hex;
}

Result<std::int64_t> GetPositive(const Json& object, std::string_view key,
                                 const std::string& path) {
  ASSIGN_OR_RETURN(const std::int64_t number, GetInt(object, key, path));
  if (number <= 0 || number > (std::int64_t{1} << 56)) {
    return Status(Code::kDataLoss, Str(path, ".", key, ": expected 1 to 2^56, found ", number));
  }
  return number;
}

Result<Json> GetArray(const Json& object, std::string_view key, const std::string& path) {
  ASSIGN_OR_RETURN(Json list, GetMember(object, key, path));
  if (!list.is_array() || list.empty()) {
    return Status(Code::kDataLoss,
                  Str(path.empty() ? "" : path + ".", key, ": expected a list that is not empty"));
  }
  return list;
}

Result<ManifestShard> ParseShard(const Json& json, const std::string& path) {
  ManifestShard shard;
  ASSIGN_OR_RETURN(shard.file, GetString(json, "file", path));
  if (!IsSafeName(shard.file)) {
    return Status(Code::kDataLoss, Str(path, ".file: \"", shard.file, "\" is no plain file name"));
  }
  ASSIGN_OR_RETURN(shard.n_tokens, GetPositive(json, "n_tokens", path));
  ASSIGN_OR_RETURN(shard.n_documents, GetPositive(json, "n_documents", path));
  ASSIGN_OR_RETURN(shard.bytes, GetPositive(json, "bytes", path));
  ASSIGN_OR_RETURN(shard.sha256, GetSha256(json, "sha256", path));
  return shard;
}

Result<ManifestSplit> ParseSplit(const Json& json, const std::string& path) {
  ManifestSplit split;
  SplitIdentity& identity = split.identity;
  ASSIGN_OR_RETURN(identity.name, GetString(json, "name", path));
  ASSIGN_OR_RETURN(identity.n_tokens, GetPositive(json, "n_tokens", path));
  ASSIGN_OR_RETURN(identity.n_documents, GetPositive(json, "n_documents", path));
  ASSIGN_OR_RETURN(identity.tokens_sha256, GetSha256(json, "tokens_sha256", path));
  ASSIGN_OR_RETURN(identity.documents_sha256, GetSha256(json, "documents_sha256", path));
  ASSIGN_OR_RETURN(const Json shards, GetArray(json, "shards", path));
  std::int64_t n_tokens = 0;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    ASSIGN_OR_RETURN(ManifestShard shard, ParseShard(shards[i], Str(path, ".shards[", i, "]")));
    // Each is at most 2^56 and the sum is checked as it grows: no overflow.
    n_tokens += shard.n_tokens;
    if (n_tokens > identity.n_tokens) break;
    split.shards.push_back(std::move(shard));
  }
  if (n_tokens != identity.n_tokens) {
    return Status(Code::kDataLoss,
                  Str(path, ".n_tokens is ", identity.n_tokens, ", its shards have ", n_tokens));
  }
  return split;
}

Result<Manifest> ParseManifest(const Json& json) {
  ASSIGN_OR_RETURN(const std::int64_t format, GetInt(json, "format"));
  if (format != kManifestFormat) {
    return Status(Code::kDataLoss,
                  Str("format is ", format, ", expected ", kManifestFormat,
                      format > kManifestFormat ? ": it was written by a newer longrun" : ""));
  }
  Manifest manifest;
  ASSIGN_OR_RETURN(manifest.digest, GetSha256(json, "digest", ""));
  ASSIGN_OR_RETURN(manifest.spec_sha256, GetSha256(json, "spec_sha256", ""));
  ASSIGN_OR_RETURN(const Json tokenizer, GetMember(json, "tokenizer"));
  ASSIGN_OR_RETURN(manifest.tokenizer_fingerprint,
                   GetSha256(tokenizer, "fingerprint", "tokenizer"));
  ASSIGN_OR_RETURN(manifest.tokenizer_sha256, GetSha256(tokenizer, "sha256", "tokenizer"));
  ASSIGN_OR_RETURN(const Json splits, GetArray(json, "splits", ""));
  std::vector<SplitIdentity> identities;
  for (const std::string_view name : kSplitNames) {
    for (std::size_t i = 0; i < splits.size(); ++i) {
      ASSIGN_OR_RETURN(ManifestSplit split, ParseSplit(splits[i], Str("splits[", i, "]")));
      if (split.identity.name != name) continue;
      identities.push_back(split.identity);
      manifest.splits.push_back(std::move(split));
    }
  }
  if (manifest.splits.size() != splits.size()) {
    return Status(Code::kDataLoss, "splits: a name is none of train, validation, test");
  }
  const std::string digest = DatasetDigest(manifest.tokenizer_fingerprint, identities);
  if (digest != manifest.digest) {
    return Status(Code::kDataLoss,
                  Str("digest is ", manifest.digest, ", its splits and tokenizer give ", digest));
  }
  return manifest;
}

// ---- a split, opened ---------------------------------------------------------------------------

class ShardedSplit final : public TokenSplit {
 public:
  static Result<std::unique_ptr<ShardedSplit>> Open(const std::string& folder,
                                                    const Manifest& manifest,
                                                    const ManifestSplit& split,
                                                    std::int64_t vocab_size) {
    auto opened = std::make_unique<ShardedSplit>();
    opened->manifest_ = split;
    for (std::size_t i = 0; i < split.shards.size(); ++i) {
      const ManifestShard& listed = split.shards[i];
      ASSIGN_OR_RETURN(ShardReader shard, ShardReader::Open(JoinPath(folder, listed.file)));
      const ShardHeader& header = shard.header();
      const auto disagrees = [&](std::string_view field, std::uint64_t found,
                                 std::uint64_t expected) {
        return DataLoss(shard.path(), Str(field, " is ", found, ", dataset.json says ", expected));
      };
      if (shard.file_bytes() != listed.bytes) {
        return disagrees("file size", static_cast<std::uint64_t>(shard.file_bytes()),
                         static_cast<std::uint64_t>(listed.bytes));
      }
      if (header.n_tokens != static_cast<std::uint64_t>(listed.n_tokens)) {
        return disagrees("n_tokens", header.n_tokens, static_cast<std::uint64_t>(listed.n_tokens));
      }
      if (header.n_documents != static_cast<std::uint64_t>(listed.n_documents)) {
        return disagrees("n_docs", header.n_documents,
                         static_cast<std::uint64_t>(listed.n_documents));
      }
      if (header.shard_index != i) return disagrees("shard_index", header.shard_index, i);
      if (header.n_shards != split.shards.size())
        return disagrees("n_shards", header.n_shards, split.shards.size());
      if (header.vocab_size != static_cast<std::uint64_t>(vocab_size)) {
        return disagrees("vocab_size", header.vocab_size, static_cast<std::uint64_t>(vocab_size));
      }
      if (header.tokenizer_fingerprint != BytesOfHex(manifest.tokenizer_fingerprint)) {
        return DataLoss(shard.path(), "its tokenizer fingerprint is not that of dataset.json");
      }
      if (header.spec_sha256 != BytesOfHex(manifest.spec_sha256)) {
        return DataLoss(shard.path(), "its dataset spec is not that of dataset.json");
      }
      opened->Append(std::move(shard));
    }
    opened->document_starts_.push_back(opened->n_tokens());
    const SplitIdentity& identity = split.identity;
    if (static_cast<std::int64_t>(opened->document_starts_.size()) - 1 != identity.n_documents ||
        DocumentsSha256(opened->document_starts_) != identity.documents_sha256) {
      return DataLoss(folder, Str("the document table of split ", identity.name,
                                  " is not that of dataset.json"));
    }
    return opened;
  }

  std::int64_t n_tokens() const override { return shard_begins_.back(); }
  std::span<const std::int64_t> document_starts() const override { return document_starts_; }

  Status Read(std::int64_t begin, std::span<std::int32_t> out) const override {
    LR_CHECK(begin >= 0 && begin <= n_tokens() &&
             static_cast<std::int64_t>(out.size()) <= n_tokens() - begin);
    const auto after = std::upper_bound(shard_begins_.begin(), shard_begins_.end(), begin);
    for (auto shard = static_cast<std::size_t>(after - shard_begins_.begin()) - 1; !out.empty();
         ++shard) {
      const auto n = static_cast<std::size_t>(
          std::min(static_cast<std::int64_t>(out.size()), shard_begins_[shard + 1] - begin));
      RETURN_IF_ERROR(shards_[shard].Read(begin - shard_begins_[shard], out.first(n)));
      begin += static_cast<std::int64_t>(n);
      out = out.subspan(n);
    }
    return Status();
  }

  Status Verify() const {
    for (std::size_t i = 0; i < shards_.size(); ++i) {
      RETURN_IF_ERROR(shards_[i].Verify());
      ASSIGN_OR_RETURN(const std::string sha256, Sha256OfFile(shards_[i].path()));
      if (sha256 != manifest_.shards[i].sha256) {
        return DataLoss(shards_[i].path(), Str("SHA-256 is ", sha256, ", dataset.json says ",
                                               manifest_.shards[i].sha256));
      }
    }
    Sha256 hash;
    std::vector<std::int32_t> tokens;
    for (std::int64_t begin = 0; begin < n_tokens(); begin += kVerifyTokens) {
      tokens.resize(static_cast<std::size_t>(std::min(kVerifyTokens, n_tokens() - begin)));
      RETURN_IF_ERROR(Read(begin, tokens));
      HashTokens(hash, tokens);
    }
    if (const std::string sha256 = hash.FinishHex(); sha256 != manifest_.identity.tokens_sha256) {
      return DataLoss(FolderOf(shards_[0].path()),
                      Str("the tokens of split ", manifest_.identity.name, " have SHA-256 ", sha256,
                          ", dataset.json says ", manifest_.identity.tokens_sha256));
    }
    return Status();
  }

 private:
  void Append(ShardReader shard) {
    const std::int64_t begin = n_tokens();
    for (std::size_t i = 0; i < shard.documents().size(); ++i) {
      const bool continued = (shard.documents()[i].flags & kShardDocumentContinued) != 0;
      if (!continued)
        document_starts_.push_back(begin + static_cast<std::int64_t>(shard.document_starts()[i]));
    }
    shard_begins_.push_back(begin + static_cast<std::int64_t>(shard.header().n_tokens));
    shards_.push_back(std::move(shard));
  }

  ManifestSplit manifest_;
  std::vector<ShardReader> shards_;
  std::vector<std::int64_t> shard_begins_ = {0};  // one more than shards: the last is n_tokens
  std::vector<std::int64_t> document_starts_;
};

}  // namespace

// ---- the dataset -------------------------------------------------------------------------------

struct Dataset::Impl {
  std::string folder;
  Manifest manifest;
  std::int64_t vocab_size = 0;
  std::int32_t eot_id = -1;
  std::vector<std::int32_t> token_bytes;
  std::vector<std::unique_ptr<ShardedSplit>> splits;  // beside manifest.splits
};

Dataset::Dataset(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Dataset::~Dataset() = default;
Dataset::Dataset(Dataset&&) noexcept = default;
Dataset& Dataset::operator=(Dataset&&) noexcept = default;

namespace {

// tokenizer.json: what a reader of the tokens must know, without the tokenizer itself.
struct TokenizerFacts {
  std::int64_t vocab_size = 0;
  std::int32_t eot_id = -1;
  std::vector<std::int32_t> token_bytes;
};

Result<TokenizerFacts> ReadTokenizer(const std::string& folder, const Manifest& manifest) {
  const std::string path = JoinPath(folder, kTokenizerFile);
  ASSIGN_OR_RETURN(const std::string text, ReadPlainFile(path));
  if (Sha256Hex(text) != manifest.tokenizer_sha256) {
    return DataLoss(path, Str("SHA-256 is ", Sha256Hex(text), ", dataset.json says ",
                              manifest.tokenizer_sha256));
  }
  Result<Json> json = ParseJson(text);
  if (!json) return std::move(json).status().In(path);
  TokenizerFacts facts;
  const auto in_file = [&](Status status) { return std::move(status).In(path); };
  Result<std::int64_t> rows = GetPositive(*json, "n_rows", "tokenizer");
  if (!rows) return in_file(std::move(rows).status());
  facts.vocab_size = *rows;
  Result<std::int64_t> eot = GetInt(*json, "eot_id");
  if (!eot) return in_file(std::move(eot).status());
  if (*eot < -1 || *eot >= facts.vocab_size) {
    return DataLoss(path, Str("eot_id is ", *eot, ", expected -1 to ", facts.vocab_size - 1));
  }
  facts.eot_id = static_cast<std::int32_t>(*eot);
  Result<Json> list = GetArray(*json, "token_bytes", "");
  if (!list) return in_file(std::move(list).status());
  if (static_cast<std::int64_t>(list->size()) != facts.vocab_size) {
    return DataLoss(
        path, Str("token_bytes has ", list->size(), " entries, n_rows is ", facts.vocab_size));
  }
  for (std::size_t id = 0; id < list->size(); ++id) {
    const Json& entry = (*list)[id];
    if (!entry.is_number_unsigned() || entry.get<std::uint64_t>() > 65536) {
      return DataLoss(
          path, Str("token_bytes[", id, "] is ", CanonicalJson(entry), ", expected 0 to 65536"));
    }
    facts.token_bytes.push_back(entry.get<std::int32_t>());
  }
  return facts;
}

}  // namespace

Result<Dataset> Dataset::Open(const std::string& folder) {
  const std::string path = JoinPath(folder, kManifestName);
  if (!PathExists(path)) {
    return Status(Code::kNotFound,
                  Str(folder, " holds no ", kManifestName,
                      ": it is no dataset, or its import did not finish; import it again"));
  }
  ASSIGN_OR_RETURN(const std::string text, ReadPlainFile(path));
  Result<Json> json = ParseJson(text);
  if (!json) return Status(Code::kDataLoss, Str(path, ": ", json.status().message()));
  Result<Manifest> manifest = ParseManifest(*json);
  if (!manifest) return Status(Code::kDataLoss, Str(path, ": ", manifest.status().message()));

  auto impl = std::make_unique<Impl>();
  impl->folder = folder;
  impl->manifest = std::move(manifest).value();
  ASSIGN_OR_RETURN(TokenizerFacts facts, ReadTokenizer(folder, impl->manifest));
  impl->vocab_size = facts.vocab_size;
  impl->eot_id = facts.eot_id;
  impl->token_bytes = std::move(facts.token_bytes);
  for (const ManifestSplit& split : impl->manifest.splits) {
    ASSIGN_OR_RETURN(auto opened,
                     ShardedSplit::Open(folder, impl->manifest, split, impl->vocab_size));
    impl->splits.push_back(std::move(opened));
  }
  return Dataset(std::move(impl));
}

const std::string& Dataset::digest() const { return impl_->manifest.digest; }
const std::string& Dataset::tokenizer_fingerprint() const {
  return impl_->manifest.tokenizer_fingerprint;
}
std::int64_t Dataset::vocab_size() const { return impl_->vocab_size; }
std::int32_t Dataset::eot_id() const { return impl_->eot_id; }
std::span<const std::int32_t> Dataset::token_bytes() const { return impl_->token_bytes; }

std::vector<std::string> Dataset::split_names() const {
  std::vector<std::string> names;
  for (const ManifestSplit& split : impl_->manifest.splits) names.push_back(split.identity.name);
  return names;
}

Result<const TokenSplit*> Dataset::Split(std::string_view name) const {
  for (std::size_t i = 0; i < impl_->splits.size(); ++i) {
    if (impl_->manifest.splits[i].identity.name == name) return impl_->splits[i].get();
  }
  return Status(Code::kNotFound, Str("the dataset in ", impl_->folder, " has no split \"", name,
                                     "\"; it has ", Join(split_names(), ", ")));
}

Status Dataset::Verify() const {
  for (const auto& split : impl_->splits) RETURN_IF_ERROR(split->Verify());
  return Status();
}

// ---- import ------------------------------------------------------------------------------------

namespace {

struct Source {
  std::string path;
  std::int64_t bytes = 0;
  std::string sha256;
};

struct SourceSplit {
  std::string name;
  std::vector<Source> sources;
};

Status Invalid(const std::string& message) { return Status(Code::kInvalidArgument, message); }

Status CheckSplitNames(const ImportSpec& spec) {
  if (spec.splits.empty())
    return Invalid("there is no split to import: name at least one of train, validation, test");
  std::set<std::string> seen;
  for (const auto& [name, files] : spec.splits) {
    if (std::ranges::find(kSplitNames, name) == kSplitNames.end()) {
      return Invalid(Str("unknown split \"", name, "\": choose train, validation or test"));
    }
    if (!seen.insert(name).second) return Invalid(Str("split ", name, " is given twice"));
    if (files.empty())
      return Invalid(
          Str("split ", name, " has no files: list at least one, or leave the split out"));
  }
  return Status();
}

Result<Source> ReadSource(const std::string& path, std::string_view split, std::string& text) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    return ErrnoStatus(errno, Str("cannot read ", path, " (split ", split, ")"));
  }
  if (!S_ISREG(info.st_mode)) {
    return Invalid(
        Str(path, " (split ", split, ") is no regular file: list the text files themselves"));
  }
  ASSIGN_OR_RETURN(text, ReadFile(path));
  if (text.empty())
    return Invalid(Str(path, " (split ", split, ") is empty: a document needs text"));
  return Source{
      .path = path, .bytes = static_cast<std::int64_t>(text.size()), .sha256 = Sha256Hex(text)};
}

// Reads every file once before anything is written: what is wrong with the lists shows at once.
Result<std::vector<SourceSplit>> CheckSources(const ImportSpec& spec) {
  std::vector<SourceSplit> splits;
  std::map<std::string, std::string> split_of_path;  // by absolute path
  std::map<std::string, std::pair<std::string, std::string>>
      split_of_bytes;  // by SHA-256: split, path
  for (const std::string_view name : kSplitNames) {
    for (const auto& [split, files] : spec.splits) {
      if (split != name) continue;
      SourceSplit sources{.name = split, .sources = {}};
      for (const std::string& file : files) {
        std::string text;
        ASSIGN_OR_RETURN(Source source, ReadSource(file, split, text));
        ASSIGN_OR_RETURN(const std::string absolute, AbsolutePath(file));
        if (const auto [at, fresh] = split_of_path.emplace(absolute, split); !fresh) {
          return Invalid(Str(file, " is listed twice, in split ", at->second, " and in split ",
                             split, ": a document belongs in one place"));
        }
        const auto [at, fresh] = split_of_bytes.emplace(source.sha256, std::pair(split, file));
        if (!fresh && at->second.first != split) {
          return Invalid(Str(file, " (split ", split, ") has the same bytes as ", at->second.second,
                             " (split ", at->second.first,
                             "): what a model is measured on must not be what it is trained on"));
        }
        sources.sources.push_back(std::move(source));
      }
      splits.push_back(std::move(sources));
    }
  }
  return splits;
}

Json SourcesJson(const SourceSplit& split) {
  Json list = Json::array();
  for (const Source& source : split.sources) {
    list.push_back(
        {{"file", BaseName(source.path)}, {"bytes", source.bytes}, {"sha256", source.sha256}});
  }
  return list;
}

const Json& Packing() {
  static const Json packing = {
      {"eot", "after"}, {"join", ""}, {"newline", "keep"}, {"order", "given"}};
  return packing;
}

// What was asked for, without how it is cut into files.
std::string SpecSha256(const std::string& tokenizer_fingerprint,
                       const std::vector<SourceSplit>& splits) {
  Json list = Json::array();
  for (const SourceSplit& split : splits) {
    Json hashes = Json::array();
    for (const Source& source : split.sources) hashes.push_back(source.sha256);
    list.push_back({{"name", split.name}, {"sources", std::move(hashes)}});
  }
  return Sha256Hex(CanonicalJson(
      {{"tokenizer", tokenizer_fingerprint}, {"packing", Packing()}, {"splits", std::move(list)}}));
}

// Shards of an import that did not finish; they would lie there for ever.
Status RemoveUnfinished(const std::string& folder) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFolder(folder));
  for (const std::string& name : names) {
    const bool ours = std::ranges::any_of(kSplitNames, [&](std::string_view split) {
      return name.starts_with(Str(split, "-")) &&
             (name.ends_with(".lrtk") || name.ends_with(".lrtk.tmp"));
    });
    if (ours) RETURN_IF_ERROR(RemoveAll(JoinPath(folder, name)));
  }
  return Status();
}

struct ImportedSplit {
  SplitIdentity identity;
  std::vector<ShardWriter::ShardFile> shards;
};

Result<ImportedSplit> ImportSplit(const SourceSplit& split, const Tokenizer& tokenizer,
                                  ShardWriter& writer) {
  Sha256 tokens_hash;
  std::vector<std::int64_t> starts = {0};
  for (const Source& source : split.sources) {
    std::string text;
    ASSIGN_OR_RETURN(const Source now, ReadSource(source.path, split.name, text));
    if (now.sha256 != source.sha256) {
      return Status(Code::kFailedPrecondition,
                    Str(source.path, " changed while it was imported: import again"));
    }
    std::vector<std::int32_t> ids;
    tokenizer.Encode(text, ids);
    if (tokenizer.vocabulary().eot_id >= 0) ids.push_back(tokenizer.vocabulary().eot_id);
    HashTokens(tokens_hash, ids);
    starts.push_back(starts.back() + static_cast<std::int64_t>(ids.size()));
    RETURN_IF_ERROR(writer.Add(ids));
  }
  ImportedSplit imported;
  ASSIGN_OR_RETURN(imported.shards, writer.Finish());
  imported.identity = {.name = split.name,
                       .n_tokens = starts.back(),
                       .n_documents = static_cast<std::int64_t>(starts.size()) - 1,
                       .tokens_sha256 = tokens_hash.FinishHex(),
                       .documents_sha256 = DocumentsSha256(starts)};
  return imported;
}

Result<Json> SplitJson(const std::string& folder, const ImportedSplit& split,
                       const SourceSplit& sources) {
  Json shards = Json::array();
  for (const ShardWriter::ShardFile& shard : split.shards) {
    const std::string path = JoinPath(folder, shard.name);
    ASSIGN_OR_RETURN(const std::string sha256, Sha256OfFile(path));
    ASSIGN_OR_RETURN(const std::int64_t n_bytes, FileBytes(path));
    shards.push_back({{"file", shard.name},
                      {"n_tokens", shard.n_tokens},
                      {"n_documents", shard.n_documents},
                      {"bytes", n_bytes},
                      {"sha256", sha256}});
  }
  return Json{{"name", split.identity.name},
              {"n_tokens", split.identity.n_tokens},
              {"n_documents", split.identity.n_documents},
              {"tokens_sha256", split.identity.tokens_sha256},
              {"documents_sha256", split.identity.documents_sha256},
              {"shards", std::move(shards)},
              {"sources", SourcesJson(sources)}};
}

std::string TokenizerJson(const Vocabulary& vocabulary) {
  return CanonicalJson({{"name", vocabulary.name},
                        {"fingerprint", vocabulary.Fingerprint()},
                        {"n_rows", vocabulary.n_rows},
                        {"n_tokens", vocabulary.tokens.size()},
                        {"eot_id", vocabulary.eot_id},
                        {"bos_id", vocabulary.bos_id},
                        {"pad_id", vocabulary.pad_id},
                        {"token_bytes", vocabulary.TokenBytes()}});
}

ShardHeader ShardIdentity(const Vocabulary& vocabulary, const std::string& spec_sha256) {
  const auto special = [](std::int32_t id) {
    return id < 0 ? kShardNoId : static_cast<std::uint32_t>(id);
  };
  ShardHeader identity;
  identity.flags = vocabulary.eot_id >= 0 ? kShardEotAfter : std::uint8_t{0};
  identity.vocab_size = static_cast<std::uint32_t>(vocabulary.n_rows);
  identity.eot_id = special(vocabulary.eot_id);
  identity.bos_id = special(vocabulary.bos_id);
  identity.pad_id = special(vocabulary.pad_id);
  identity.tokenizer_fingerprint = BytesOfHex(vocabulary.Fingerprint());
  identity.spec_sha256 = BytesOfHex(spec_sha256);
  return identity;
}

}  // namespace

Status ImportText(const ImportSpec& spec, const std::string& folder) {
  if (spec.shard_tokens <= 0)
    return Invalid(Str("shard_tokens ", spec.shard_tokens, " must be positive"));
  RETURN_IF_ERROR(CheckSplitNames(spec));
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, MakeTokenizer(spec.tokenizer));
  const Vocabulary& vocabulary = tokenizer->vocabulary();
  if (PathExists(JoinPath(folder, kManifestName))) {
    return Status(
        Code::kAlreadyExists,
        Str(folder,
            " already holds a finished dataset: remove it first, or choose another folder"));
  }
  ASSIGN_OR_RETURN(const std::vector<SourceSplit> sources, CheckSources(spec));
  RETURN_IF_ERROR(MakeFolders(folder));
  RETURN_IF_ERROR(RemoveUnfinished(folder));

  const std::string fingerprint = vocabulary.Fingerprint();
  const std::string spec_sha256 = SpecSha256(fingerprint, sources);
  std::vector<SplitIdentity> identities;
  Json splits = Json::array();
  for (const SourceSplit& split : sources) {
    ShardWriter writer({.folder = folder,
                        .split = split.name,
                        .shard_tokens = spec.shard_tokens,
                        .identity = ShardIdentity(vocabulary, spec_sha256),
                        .bytes_of_id = vocabulary.TokenBytes()});
    ASSIGN_OR_RETURN(const ImportedSplit imported, ImportSplit(split, *tokenizer, writer));
    identities.push_back(imported.identity);
    ASSIGN_OR_RETURN(Json json, SplitJson(folder, imported, split));
    splits.push_back(std::move(json));
  }

  const std::string tokenizer_json = TokenizerJson(vocabulary);
  RETURN_IF_ERROR(WriteFileAtomic(JoinPath(folder, kTokenizerFile), tokenizer_json));
  const Json manifest = {{"format", kManifestFormat},
                         {"digest", DatasetDigest(fingerprint, identities)},
                         {"packing", Packing()},
                         {"spec_sha256", spec_sha256},
                         {"splits", std::move(splits)},
                         {"tokenizer",
                          {{"file", kTokenizerFile},
                           {"fingerprint", fingerprint},
                           {"name", vocabulary.name},
                           {"sha256", Sha256Hex(tokenizer_json)}}},
                         {"tool", {{"version", kVersion}, {"commit", BuildCommit()}}}};
  return WriteFileAtomic(JoinPath(folder, kManifestName), CanonicalJson(manifest));
}

}  // namespace longrun
