#include "model/data/assemble.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <memory>
#include <utility>

#include "base/check.h"
#include "base/failpoint.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/version.h"
#include "model/data/manifest.h"
#include "model/data/shard.h"
#include "model/data/tokenizer_file.h"

namespace longrun {
namespace {

constexpr std::size_t kCopyTokens = std::size_t{1} << 16;

std::string Hex(std::span<const std::uint8_t> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  hex.reserve(2 * bytes.size());
  for (const std::uint8_t byte : bytes) {
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

// Tokens [begin, begin + n) of a part, for one split.
struct Piece {
  std::string_view split;
  std::int64_t begin = 0;
  std::int64_t n = 0;
};

std::int64_t TokensOf(const Assembly& assembly) {
  std::int64_t n_tokens = 0;
  for (const PartFacts& part : assembly.parts) n_tokens += part.n_tokens;
  return n_tokens;
}

// Decides for each document, in order, to which split its tokens belong.
class Placer {
 public:
  explicit Placer(const Assembly& assembly)
      : rule_(assembly.spec.split), n_tokens_(TokensOf(assembly)) {}

  // `begin` is relative to the part; the pieces are adjacent.
  std::vector<Piece> Place(const PartDocument& document, std::int64_t begin,
                           std::string_view split_of_file) {
    const auto n = static_cast<std::int64_t>(document.n_tokens);
    switch (rule_.by) {
      case SplitRule::By::kFiles:
        return {{.split = split_of_file, .begin = begin, .n = n}};
      case SplitRule::By::kDocument:
        return {{.split = rule_.SplitOf(Hex(document.sha256)), .begin = begin, .n = n}};
      case SplitRule::By::kFirstTokens:
        return PlaceByPosition(begin, n,
                               {{{"validation", rule_.validation_tokens},
                                 {"test", rule_.validation_tokens + rule_.test_tokens},
                                 {"train", INT64_MAX}}});
      case SplitRule::By::kLastTokens: {
        const std::int64_t n_before_test = n_tokens_ - rule_.test_tokens;
        return PlaceByPosition(begin, n,
                               {{{"train", n_before_test - rule_.validation_tokens},
                                 {"validation", n_before_test},
                                 {"test", INT64_MAX}}});
      }
    }
    LR_CHECK(false);
  }

 private:
  struct Border {
    std::string_view split;
    std::int64_t until = 0;  // in the sequence of all tokens
  };

  std::vector<Piece> PlaceByPosition(std::int64_t begin, std::int64_t n,
                                     const std::array<Border, 3>& borders) {
    std::vector<Piece> pieces;
    pieces.reserve(borders.size());
    for (const auto& [split, until] : borders) {
      const std::int64_t taken = std::clamp<std::int64_t>(until - position_, 0, n);
      if (taken == 0) continue;
      pieces.push_back({.split = split, .begin = begin, .n = taken});
      begin += taken;
      n -= taken;
      position_ += taken;
    }
    return pieces;
  }

  const SplitRule& rule_;
  const std::int64_t n_tokens_;  // of all documents
  std::int64_t position_ = 0;    // in the sequence of all tokens
};

// A split that is being written.
class SplitBuilder {
 public:
  SplitBuilder(std::string name, ShardWriter::Options options)
      : name_(std::move(name)), writer_(std::move(options)) {}

  bool in_document() const { return in_document_; }
  bool is_empty() const { return n_documents_ == 0; }

  Status Begin() {
    RETURN_IF_ERROR(End());
    documents_hash_.Update(&n_tokens_, sizeof n_tokens_);
    n_documents_ += 1;
    in_document_ = true;
    return Status();
  }

  Status Append(std::span<const std::int32_t> ids) {
    HashTokens(tokens_hash_, ids);
    n_tokens_ += static_cast<std::int64_t>(ids.size());
    return writer_.Append(ids);
  }

  Status End() {
    if (in_document_) writer_.EndDocument();
    in_document_ = false;
    return Status();
  }

  Result<SplitIdentity> Finish(std::vector<ShardWriter::ShardFile>& shards) {
    RETURN_IF_ERROR(End());
    ASSIGN_OR_RETURN(shards, writer_.Finish());
    documents_hash_.Update(&n_tokens_, sizeof n_tokens_);
    return SplitIdentity{.name = name_,
                         .n_tokens = n_tokens_,
                         .n_documents = n_documents_,
                         .tokens_sha256 = tokens_hash_.FinishHex(),
                         .documents_sha256 = documents_hash_.FinishHex()};
  }

 private:
  std::string name_;
  ShardWriter writer_;
  Sha256 tokens_hash_;
  Sha256 documents_hash_;
  std::int64_t n_tokens_ = 0;
  std::int64_t n_documents_ = 0;
  bool in_document_ = false;
};

ShardHeader ShardIdentity(const Vocabulary& vocabulary, const Packing& packing,
                          const std::string& spec_sha256) {
  const auto special = [](std::int32_t id) {
    return id < 0 ? kShardNoId : static_cast<std::uint32_t>(id);
  };
  ShardHeader identity;
  identity.flags =
      static_cast<std::uint8_t>((packing.EotBefore() ? kShardEotBefore : std::uint8_t{0}) |
                                (packing.EotAfter() ? kShardEotAfter : std::uint8_t{0}));
  identity.vocab_size = static_cast<std::uint32_t>(vocabulary.n_rows);
  identity.eot_id = special(vocabulary.eot_id);
  identity.bos_id = special(vocabulary.bos_id);
  identity.pad_id = special(vocabulary.pad_id);
  identity.tokenizer_fingerprint = BytesOfSha256Hex(vocabulary.Fingerprint());
  identity.spec_sha256 = BytesOfSha256Hex(spec_sha256);
  return identity;
}

std::vector<std::string_view> WantedSplits(const PrepareSpec& spec) {
  std::vector<std::string_view> wanted;
  const SplitRule& rule = spec.split;
  for (const std::string_view name : kSplitNames) {
    const bool listed =
        std::ranges::any_of(spec.files, [&](const auto& entry) { return entry.first == name; });
    const bool held_out = name == "train"        ? true
                          : name == "validation" ? rule.validation > 0 || rule.validation_tokens > 0
                                                 : rule.test > 0 || rule.test_tokens > 0;
    if (rule.by == SplitRule::By::kFiles ? listed : held_out) wanted.push_back(name);
  }
  return wanted;
}

class Assembler {
 public:
  Assembler(const Assembly& assembly, const std::string& spec_sha256)
      : assembly_(assembly), placer_(assembly) {
    const Vocabulary& vocabulary = assembly.tokenizer.vocabulary();
    for (const std::string_view name : WantedSplits(assembly.spec)) {
      builders_.emplace(
          name, std::make_unique<SplitBuilder>(
                    std::string(name),
                    ShardWriter::Options{
                        .folder = assembly.folder,
                        .split = std::string(name),
                        .shard_tokens = assembly.spec.shard_tokens,
                        .identity = ShardIdentity(vocabulary, assembly.spec.packing, spec_sha256),
                        .bytes_of_id = vocabulary.TokenBytes()}));
    }
  }

  Status AddPart(const ListedSource& source) {
    ASSIGN_OR_RETURN(const PartReader part,
                     PartReader::Open(assembly_.part_folder, source.key,
                                      TokenWidth(assembly_.tokenizer.vocabulary().n_rows)));
    std::int64_t begin = 0;
    for (const PartDocument& document : part.documents()) {
      const bool first_of_file = begin == 0;
      for (const Piece& piece : placer_.Place(document, begin, source.split)) {
        const bool first = piece.begin == begin;
        RETURN_IF_ERROR(
            AddPiece(part, piece, first && first_of_file && ContinuesDocument(document, piece)));
      }
      begin += static_cast<std::int64_t>(document.n_tokens);
      flags_before_ = document.flags;
    }
    return Status();
  }

  Result<std::pair<SplitIdentity, std::vector<ShardWriter::ShardFile>>> Finish(
      std::string_view split) {
    std::vector<ShardWriter::ShardFile> shards;
    SplitBuilder& builder = *builders_.find(split)->second;
    if (builder.is_empty() && assembly_.spec.split.by == SplitRule::By::kDocument) {
      return NoDocumentDrawn(split);
    }
    if (builder.is_empty() && assembly_.spec.source.filter &&
        assembly_.spec.packing.min_doc_tokens == 0 &&
        assembly_.spec.split.by == SplitRule::By::kFiles) {
      return NothingToSplit(split);
    }
    const SplitRule& rule = assembly_.spec.split;
    const std::int64_t n_held_out = rule.validation_tokens + rule.test_tokens;
    if (builder.is_empty() && rule.IsByTokens() && n_held_out >= TokensOf(assembly_)) {
      return AllHeldOut(split, n_held_out);
    }
    ASSIGN_OR_RETURN(SplitIdentity identity, builder.Finish(shards));
    return std::pair(std::move(identity), std::move(shards));
  }

 private:
  Status NothingToSplit(std::string_view split) const {
    const std::optional<std::string>& filter = assembly_.spec.source.filter;
    return {Code::kInvalidArgument,
            Str("split ", split, " has no documents: ",
                filter ? Str("no document of its files has ", *filter, " and a text")
                       : "its files have no text")};
  }

  // Of few documents, the hash may put none into a split.
  Status NoDocumentDrawn(std::string_view split) const {
    std::int64_t n_documents = 0;
    for (const PartFacts& part : assembly_.parts) n_documents += part.n_documents;
    if (n_documents == 0) return NothingToSplit(split);
    const SplitRule& rule = assembly_.spec.split;
    std::vector<std::string> options, members;
    for (const auto& [held_out, share] :
         {std::pair("validation", rule.validation), std::pair("test", rule.test)}) {
      if (share <= 0) continue;
      const auto n_tokens =
          std::max<std::int64_t>(1, std::llround(share * static_cast<double>(TokensOf(assembly_))));
      options.push_back(Str("--", held_out, " ", n_tokens));
      members.push_back(Str(held_out, ": ", n_tokens));
    }
    return {Code::kInvalidArgument,
            Str("split ", split, " has no documents: none of ", n_documents,
                n_documents == 1 ? " document" : " documents",
                " was chosen for it by its SHA-256; hold out a number of tokens instead, which may "
                "be part of a document (",
                Join(options, " "), ", or in a dataset file `split: {by: last_tokens, ",
                Join(members, ", "), "}`)")};
  }

  Status AllHeldOut(std::string_view split, std::int64_t n_held_out) const {
    const std::int64_t n_tokens = TokensOf(assembly_);
    if (n_tokens == 0) return NothingToSplit(split);
    return {Code::kInvalidArgument,
            Str("split ", split, " has no documents: ", n_held_out,
                " tokens are to be held out, but the text has only ", n_tokens,
                "; hold out fewer (--validation ", std::max<std::int64_t>(1, n_tokens / 10),
                ", or in a dataset file `split: {by: last_tokens, validation: ",
                std::max<std::int64_t>(1, n_tokens / 10), "}`)")};
  }

  // A stream of tokens may be split into files within a document (shards with a fixed
  // number of tokens).
  bool ContinuesDocument(const PartDocument& document, const Piece& piece) const {
    if (assembly_.gives != SourceFormat::Gives::kTokenStream || piece.split != split_before_) {
      return false;
    }
    const Packing& packing = assembly_.spec.packing;
    return (packing.EotBefore() && (document.flags & kPartHeadless) != 0) ||
           (packing.EotAfter() && (flags_before_ & kPartOpen) != 0);
  }

  Status AddPiece(const PartReader& part, const Piece& piece, bool continues) {
    SplitBuilder& builder = *builders_.find(piece.split)->second;
    if (!continues || !builder.in_document()) RETURN_IF_ERROR(builder.Begin());
    for (std::int64_t at = 0; at < piece.n;) {
      ids_.resize(std::min(kCopyTokens, static_cast<std::size_t>(piece.n - at)));
      part.Read(piece.begin + at, ids_);
      RETURN_IF_ERROR(builder.Append(ids_));
      at += static_cast<std::int64_t>(ids_.size());
      n_tokens_ += static_cast<std::int64_t>(ids_.size());
      if (n_tokens_ >= n_told_ + kTellTokens) {
        n_told_ = n_tokens_;
        assembly_.progress(n_tokens_);
      }
    }
    split_before_ = piece.split;
    return Status();
  }

  static constexpr std::int64_t kTellTokens = std::int64_t{1} << 22;

  const Assembly& assembly_;
  Placer placer_;
  std::map<std::string, std::unique_ptr<SplitBuilder>, std::less<>> builders_;
  std::vector<std::int32_t> ids_;
  std::string_view split_before_;
  std::uint64_t flags_before_ = 0;
  std::int64_t n_tokens_ = 0;
  std::int64_t n_told_ = 0;
};

Result<Json> SplitJson(const std::string& folder, const SplitIdentity& identity,
                       const std::vector<ShardWriter::ShardFile>& shards) {
  Json list = Json::array();
  for (const ShardWriter::ShardFile& shard : shards) {
    const std::string path = JoinPath(folder, shard.name);
    ASSIGN_OR_RETURN(const std::string sha256, Sha256OfFile(path));
    ASSIGN_OR_RETURN(const std::int64_t n_bytes, FileBytes(path));
    list.push_back({{"file", shard.name},
                    {"n_tokens", shard.n_tokens},
                    {"n_documents", shard.n_documents},
                    {"bytes", n_bytes},
                    {"sha256", sha256}});
  }
  return Json{{"name", identity.name},
              {"n_tokens", identity.n_tokens},
              {"n_documents", identity.n_documents},
              {"tokens_sha256", identity.tokens_sha256},
              {"documents_sha256", identity.documents_sha256},
              {"shards", std::move(list)}};
}

Json SourcesJson(const Assembly& assembly) {
  Json list = Json::array();
  for (std::size_t i = 0; i < assembly.sources.size(); ++i) {
    const ListedSource& source = assembly.sources[i];
    const PartFacts& part = assembly.parts[i];
    Json json = {{"file", ToUtf8(source.shown)},      {"bytes", part.files.at(0).bytes},
                 {"sha256", part.files.at(0).sha256}, {"n_documents", part.n_documents},
                 {"n_tokens", part.n_tokens},         {"n_empty", part.n_empty},
                 {"n_short", part.n_short},           {"n_cut", part.n_cut}};
    if (!source.split.empty()) json["split"] = source.split;
    for (std::size_t k = 1; k < part.files.size(); ++k) {
      json["sisters"].push_back({{"file", ToUtf8(BaseName(part.files[k].path))},
                                 {"bytes", part.files[k].bytes},
                                 {"sha256", part.files[k].sha256}});
    }
    list.push_back(std::move(json));
  }
  return list;
}

// ---- overlap -----------------------------------------------------------------------------------

struct Fingerprint {
  std::array<std::uint8_t, 24> hash{};  // 192 bits of the document's SHA-256
  std::uint32_t source = 0;
  std::uint32_t split = 0;  // index in kSplitNames
  std::uint64_t document = 0;
};

std::uint32_t SplitIndex(std::string_view name) {
  return static_cast<std::uint32_t>(std::ranges::find(kSplitNames, name) - kSplitNames.begin());
}

// Calls visit(Fingerprint) for each document and each split that has some of its tokens (a document
// that the border of first_tokens or last_tokens cuts has two or three); stops at an error.
template <typename Visit>
Status ForEachDocument(const Assembly& assembly, const Visit& visit) {
  Placer placer(assembly);
  for (std::size_t i = 0; i < assembly.sources.size(); ++i) {
    ASSIGN_OR_RETURN(const PartReader part,
                     PartReader::Open(assembly.part_folder, assembly.sources[i].key,
                                      TokenWidth(assembly.tokenizer.vocabulary().n_rows)));
    for (std::size_t d = 0; d < part.documents().size(); ++d) {
      const PartDocument& document = part.documents()[d];
      Fingerprint print = {.source = static_cast<std::uint32_t>(i), .document = d};
      std::copy_n(document.sha256.begin(), print.hash.size(), print.hash.begin());
      for (const Piece& piece : placer.Place(document, 0, assembly.sources[i].split)) {
        print.split = SplitIndex(piece.split);
        RETURN_IF_ERROR(visit(print));
      }
    }
  }
  return Status();
}

std::string NameOf(const Assembly& assembly, const Fingerprint& print) {
  const ListedSource& source = assembly.sources[print.source];
  const bool single = assembly.parts[print.source].n_documents == 1;
  return Str(single ? "" : Str("document ", print.document, " of "), source.shown, " (split ",
             kSplitNames[print.split], ")");
}

}  // namespace

Result<Overlap> FindOverlap(const Assembly& assembly) {
  Overlap overlap;
  if (assembly.spec.split.by == SplitRule::By::kDocument) return overlap;  // equal bytes, one split
  std::array<std::int64_t, kSplitNames.size()> n_of_split{};
  RETURN_IF_ERROR(ForEachDocument(assembly, [&](const Fingerprint& print) {
    n_of_split[print.split] += 1;
    return Status();
  }));
  const auto largest =
      static_cast<std::uint32_t>(std::ranges::max_element(n_of_split) - n_of_split.begin());
  std::vector<Fingerprint> held;
  RETURN_IF_ERROR(ForEachDocument(assembly, [&](const Fingerprint& print) {
    if (print.split != largest) held.push_back(print);
    return Status();
  }));
  std::ranges::stable_sort(held, std::less<>(), &Fingerprint::hash);
  std::vector<bool> is_shared(held.size());
  RETURN_IF_ERROR(ForEachDocument(assembly, [&](const Fingerprint& print) {
    const auto first =
        std::ranges::lower_bound(held, print.hash, std::less<>(), &Fingerprint::hash);
    for (auto same = first; same != held.end() && same->hash == print.hash; ++same) {
      const Fingerprint& other = *same;
      // The parts of a document that the border cuts are not copies of each other.
      const bool is_itself = other.source == print.source && other.document == print.document;
      const bool seen_from_there = other.split < print.split && print.split != largest;
      if (is_itself || other.split == print.split) continue;
      is_shared[static_cast<std::size_t>(same - held.begin())] = true;
      if (seen_from_there) continue;
      overlap.n_pairs += 1;
      if (overlap.n_pairs > 1) continue;
      const bool other_first = other.split < print.split;
      overlap.first = Str(NameOf(assembly, other_first ? print : other), " has the same bytes as ",
                          NameOf(assembly, other_first ? other : print));
    }
    return Status();
  }));
  std::array<std::int64_t, kSplitNames.size()> n_shared{};
  for (std::size_t i = 0; i < held.size(); ++i) n_shared[held[i].split] += is_shared[i] ? 1 : 0;
  for (std::size_t split = 0; split < n_shared.size(); ++split) {
    if (n_shared[split] == 0) continue;
    overlap.shares.push_back(Str(n_shared[split], " of ", n_of_split[split], " documents of split ",
                                 kSplitNames[split]));
  }
  return overlap;
}

std::string PreparationSha256(const PrepareSpec& spec, const std::string& tokenizer_fingerprint,
                              const std::vector<ListedSource>& sources,
                              const std::vector<std::vector<SourceFile>>& files) {
  Json list = Json::array();
  for (std::size_t i = 0; i < sources.size(); ++i) {
    Json hashes = Json::array();
    for (const SourceFile& file : files[i]) hashes.push_back(file.sha256);
    list.push_back({{"split", sources[i].split}, {"sha256", std::move(hashes)}});
  }
  Json json = {{"tokenizer", tokenizer_fingerprint},
               {"source", spec.source.ToJson()},
               {"separator", Sha256Hex(spec.source.separator.value_or(""))},
               {"packing", spec.packing.ToJson()},
               {"split", spec.split.ToJson()},
               {"sources", std::move(list)}};
  if (!spec.mix.empty()) json["mix"] = spec.mix.ToJson();
  return Sha256Hex(CanonicalJson(json));
}

Status WriteDataset(const Assembly& assembly) {
  const Vocabulary& vocabulary = assembly.tokenizer.vocabulary();
  const std::string fingerprint = vocabulary.Fingerprint();
  std::vector<std::vector<SourceFile>> files;
  files.reserve(assembly.parts.size());
  for (const PartFacts& part : assembly.parts) files.push_back(part.files);
  const std::string spec_sha256 =
      PreparationSha256(assembly.spec, fingerprint, assembly.sources, files);

  Assembler assembler(assembly, spec_sha256);
  for (const ListedSource& source : assembly.sources) RETURN_IF_ERROR(assembler.AddPart(source));
  std::vector<SplitIdentity> identities;
  Json splits = Json::array();
  for (const std::string_view name : WantedSplits(assembly.spec)) {
    ASSIGN_OR_RETURN(const auto finished, assembler.Finish(name));
    identities.emplace_back(finished.first);
    ASSIGN_OR_RETURN(Json json, SplitJson(assembly.folder, finished.first, finished.second));
    splits.push_back(std::move(json));
    Failpoint("data_split_done");
  }
  ASSIGN_OR_RETURN(const std::string tokenizer_sha256, SaveTokenizer(vocabulary, assembly.folder));
  Json manifest = {{"format", kManifestFormat},
                   {"digest", DatasetDigest(fingerprint, identities)},
                   {"packing", assembly.spec.packing.ToJson()},
                   {"source", assembly.spec.source.ToJson()},
                   {"sources", SourcesJson(assembly)},
                   {"spec_sha256", spec_sha256},
                   {"split", assembly.spec.split.ToJson()},
                   {"splits", std::move(splits)},
                   {"tokenizer",
                    {{"file", kTokenizerFile},
                     {"fingerprint", fingerprint},
                     {"name", vocabulary.name},
                     {"sha256", tokenizer_sha256}}},
                   {"tool", {{"version", kVersion}, {"commit", BuildCommit()}}}};
  if (!assembly.spec.mix.empty()) manifest["mix"] = assembly.spec.mix.ToJson();
  Failpoint("data_before_manifest");
  RETURN_IF_ERROR(
      WriteFileAtomic(JoinPath(assembly.folder, kManifestName), SealedManifest(manifest)));
  Failpoint("data_after_manifest");
  return Status();
}

}  // namespace longrun
