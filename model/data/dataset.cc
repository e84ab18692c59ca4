#include "model/data/dataset.h"

#include <algorithm>

#include "base/check.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "model/data/manifest.h"
#include "model/data/shard.h"
#include "model/data/tokenizer_file.h"

namespace longrun {
namespace {

// Number of tokens that Verify widens at a time.
constexpr std::int64_t kVerifyTokens = std::int64_t{1} << 20;
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
      const std::string path = JoinPath(folder, listed.file);
      if (IsMissing(path)) return DatasetDamaged(path, "the file is missing");
      ASSIGN_OR_RETURN(ShardReader shard, ShardReader::Open(path));
      const ShardHeader& header = shard.header();
      const auto disagrees = [&](std::string_view field, std::uint64_t found,
                                 std::uint64_t expected) {
        return DatasetDamaged(shard.path(),
                              Str(field, " is ", found, ", but dataset.json says ", expected));
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
      if (header.tokenizer_fingerprint != BytesOfSha256Hex(manifest.tokenizer_fingerprint)) {
        return DatasetDamaged(shard.path(),
                              "its tokenizer fingerprint differs from the one in dataset.json");
      }
      if (header.spec_sha256 != BytesOfSha256Hex(manifest.spec_sha256)) {
        return DatasetDamaged(shard.path(),
                              "its dataset spec differs from the one in dataset.json");
      }
      opened->Append(std::move(shard));
    }
    opened->document_starts_.push_back(opened->n_tokens());
    const SplitIdentity& identity = split.identity;
    if (static_cast<std::int64_t>(opened->document_starts_.size()) - 1 != identity.n_documents ||
        DocumentsSha256(opened->document_starts_) != identity.documents_sha256) {
      return DatasetDamaged(folder, Str("the document table of split ", identity.name,
                                        " differs from the one in dataset.json"));
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

  Status Verify(const std::function<Status()>& go_on) const {
    for (std::size_t i = 0; i < shards_.size(); ++i) {
      RETURN_IF_ERROR(go_on());
      RETURN_IF_ERROR(shards_[i].Verify());
      RETURN_IF_ERROR(go_on());
      ASSIGN_OR_RETURN(const std::string sha256, Sha256OfFile(shards_[i].path()));
      if (sha256 != manifest_.shards[i].sha256) {
        return DatasetDamaged(
            shards_[i].path(),
            Str("SHA-256 is ", sha256, ", but dataset.json says ", manifest_.shards[i].sha256));
      }
    }
    Sha256 hash;
    std::vector<std::int32_t> tokens;
    for (std::int64_t begin = 0; begin < n_tokens(); begin += kVerifyTokens) {
      RETURN_IF_ERROR(go_on());
      tokens.resize(static_cast<std::size_t>(std::min(kVerifyTokens, n_tokens() - begin)));
      RETURN_IF_ERROR(Read(begin, tokens));
      HashTokens(hash, tokens);
    }
    if (const std::string sha256 = hash.FinishHex(); sha256 != manifest_.identity.tokens_sha256) {
      return DatasetDamaged(
          FolderOf(shards_[0].path()),
          Str("the tokens of split ", manifest_.identity.name, " have SHA-256 ", sha256,
              ", but dataset.json says ", manifest_.identity.tokens_sha256));
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
    shard.ForgetDocuments();
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
  std::int64_t n_tokens = 0;
  std::int32_t eot_id = -1;
  std::int32_t bos_id = -1;
  std::int32_t mask_id = -1;
  std::vector<std::int32_t> token_bytes;
  std::vector<std::unique_ptr<ShardedSplit>> splits;  // in the order of manifest.splits

  Status VerifyTokenizer() const;
};

Dataset::Dataset(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Dataset::~Dataset() = default;
Dataset::Dataset(Dataset&&) noexcept = default;
Dataset& Dataset::operator=(Dataset&&) noexcept = default;

Result<Dataset> Dataset::Open(const std::string& folder) {
  auto impl = std::make_unique<Impl>();
  impl->folder = folder;
  ASSIGN_OR_RETURN(impl->manifest, ReadManifest(folder));
  ASSIGN_OR_RETURN(TokenizerFacts facts,
                   ReadTokenizerFacts(folder, impl->manifest.tokenizer_sha256));
  impl->vocab_size = facts.vocab_size;
  impl->n_tokens = facts.n_tokens;
  impl->eot_id = facts.eot_id;
  impl->bos_id = facts.bos_id;
  impl->mask_id = facts.mask_id;
  impl->token_bytes = std::move(facts.token_bytes);
  for (const ManifestSplit& split : impl->manifest.splits) {
    ASSIGN_OR_RETURN(auto opened,
                     ShardedSplit::Open(folder, impl->manifest, split, impl->vocab_size));
    impl->splits.push_back(std::move(opened));
  }
  return Dataset(std::move(impl));
}

// The digest covers the fingerprint of the tokenizer, but not what tokenizer.json says about its
// tokens: that must follow from the vocabulary.
Status Dataset::Impl::VerifyTokenizer() const {
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, OpenTokenizerOf(folder));
  const Vocabulary& vocabulary = tokenizer->vocabulary();
  const std::string path = JoinPath(folder, kTokenizerFile);
  if (const std::string found = vocabulary.Fingerprint(); found != manifest.tokenizer_fingerprint) {
    return DatasetDamaged(path, Str("its tokenizer has fingerprint ", found,
                                    ", but dataset.json says ", manifest.tokenizer_fingerprint));
  }
  std::vector<std::int32_t> of_tokens = vocabulary.TokenBytes();
  of_tokens.resize(token_bytes.size());  // rows of padding stand for no text
  if (n_tokens != std::ssize(vocabulary.tokens) || eot_id != vocabulary.eot_id ||
      bos_id != vocabulary.bos_id || mask_id != vocabulary.MaskId() || token_bytes != of_tokens) {
    return DatasetDamaged(path, "its facts about the tokens do not fit its tokens");
  }
  return Status();
}

const std::string& Dataset::digest() const { return impl_->manifest.digest; }
const std::string& Dataset::tokenizer_fingerprint() const {
  return impl_->manifest.tokenizer_fingerprint;
}
std::int64_t Dataset::vocab_size() const { return impl_->vocab_size; }
std::int64_t Dataset::n_tokens() const { return impl_->n_tokens; }
std::int32_t Dataset::mask_id() const { return impl_->mask_id; }
std::int32_t Dataset::bos_id() const { return impl_->bos_id >= 0 ? impl_->bos_id : impl_->eot_id; }
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

Status Dataset::Verify(const std::function<Status()>& go_on) const {
  for (const auto& split : impl_->splits) RETURN_IF_ERROR(split->Verify(go_on));
  return impl_->VerifyTokenizer();
}

std::vector<std::int32_t> IdsOfText(const Dataset& dataset) {
  std::vector<std::int32_t> ids;
  ids.reserve(dataset.token_bytes().size());
  for (std::size_t id = 0; id < dataset.token_bytes().size(); ++id) {
    const auto as_id = static_cast<std::int32_t>(id);
    if (dataset.token_bytes()[id] > 0 || as_id == dataset.eot_id()) ids.push_back(as_id);
  }
  return ids;
}

}  // namespace longrun
