#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>

#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/version.h"
#include "model/data/dataset.h"
#include "model/data/manifest.h"
#include "model/data/shard.h"
#include "model/data/tokenizer.h"
#include "model/data/tokenizer_file.h"

namespace longrun {
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
  identity.tokenizer_fingerprint = BytesOfSha256Hex(vocabulary.Fingerprint());
  identity.spec_sha256 = BytesOfSha256Hex(spec_sha256);
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

  ASSIGN_OR_RETURN(const std::string tokenizer_sha256, SaveTokenizer(vocabulary, folder));
  const Json manifest = {{"format", kManifestFormat},
                         {"digest", DatasetDigest(fingerprint, identities)},
                         {"packing", Packing()},
                         {"spec_sha256", spec_sha256},
                         {"splits", std::move(splits)},
                         {"tokenizer",
                          {{"file", kTokenizerFile},
                           {"fingerprint", fingerprint},
                           {"name", vocabulary.name},
                           {"sha256", tokenizer_sha256}}},
                         {"tool", {{"version", kVersion}, {"commit", BuildCommit()}}}};
  return WriteFileAtomic(JoinPath(folder, kManifestName), CanonicalJson(manifest));
}

}  // namespace longrun
