#include "model/data/tokenizer_file.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"
#include "model/data/manifest.h"
#include "model/data/tokenizer/bpe.h"
#include "model/data/tokenizer/tiktoken.h"

namespace longrun {
namespace {

// Adds the facts that make the text tokens of vocabulary.tiktoken a vocabulary again.
void AddVocabularyFacts(const Vocabulary& vocabulary, Json& facts) {
  facts["vocabulary"] = kVocabularyFile;
  facts["pre_tokenizer"] = vocabulary.pre_tokenizer;
  facts["add_prefix_space"] = vocabulary.add_prefix_space;
  Json control = Json::array(), added = Json::array();
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const Token& token = vocabulary.tokens[id];
    if (token.kind == Token::Kind::kControl) control.push_back({id, token.bytes});
    if (token.kind == Token::Kind::kAdded) added.push_back({id, token.bytes});
  }
  facts["control"] = std::move(control);
  if (!added.empty()) facts["added"] = std::move(added);
}

std::string VocabularyText(const Vocabulary& vocabulary) {
  std::vector<RankedBytes> ranked;
  ranked.reserve(vocabulary.tokens.size());
  for (std::uint32_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const Token& token = vocabulary.tokens[id];
    if (token.kind == Token::Kind::kText) ranked.push_back({.rank = id, .bytes = token.bytes});
  }
  return TiktokenText(ranked);
}

// Reads a token for each id from both files; kDataLoss if they do not fit together.
Result<std::vector<Token>> ReadTokens(const std::string& folder, const Json& facts) {
  ASSIGN_OR_RETURN(const std::int64_t n_tokens, GetInt(facts, "n_tokens"));
  if (n_tokens < 1 || n_tokens > static_cast<std::int64_t>(kVocabularyMax)) {
    return Status(Code::kDataLoss, Str("n_tokens is ", n_tokens));
  }
  std::vector<Token> tokens(static_cast<std::size_t>(n_tokens));
  std::vector<bool> is_there(tokens.size());
  const auto put = [&](std::uint64_t id, Token token) {
    if (id >= tokens.size() || is_there[id]) {
      return Status(Code::kDataLoss, Str("id ", id, " occurs twice, or is not below n_tokens"));
    }
    is_there[id] = true;
    tokens[id] = std::move(token);
    return Status();
  };
  const auto put_all = [&](std::string_view key, Token::Kind kind) -> Status {
    ASSIGN_OR_RETURN(const Json list, GetMember(facts, key));
    if (!list.is_array()) return Status(Code::kDataLoss, Str(key, " is not a list"));
    for (const Json& entry : list) {
      if (!entry.is_array() || entry.size() != 2 || !entry[0].is_number_unsigned() ||
          !entry[1].is_string()) {
        return Status(Code::kDataLoss, Str(key, " is not a list of [id, name]"));
      }
      RETURN_IF_ERROR(
          put(entry[0].get<std::uint64_t>(), {.bytes = entry[1].get<std::string>(), .kind = kind}));
    }
    return {};
  };
  RETURN_IF_ERROR(put_all("control", Token::Kind::kControl));
  if (facts.contains("added")) RETURN_IF_ERROR(put_all("added", Token::Kind::kAdded));
  ASSIGN_OR_RETURN(const std::string text, ReadVocabularyFile(JoinPath(folder, kVocabularyFile)));
  ASSIGN_OR_RETURN(std::vector<RankedBytes> ranked, ParseTiktoken(text));
  for (RankedBytes& token : ranked) {
    RETURN_IF_ERROR(put(token.rank, {.bytes = std::move(token.bytes)}));
  }
  const auto missing = std::ranges::find(is_there, false);
  if (missing != is_there.end()) {
    return Status(Code::kDataLoss, Str("id ", missing - is_there.begin(), " is missing"));
  }
  return tokens;
}

Result<std::unique_ptr<Tokenizer>> FromVocabulary(const std::string& folder, const Json& facts) {
  Vocabulary vocabulary;
  ASSIGN_OR_RETURN(vocabulary.name, GetString(facts, "name"));
  ASSIGN_OR_RETURN(vocabulary.pre_tokenizer, GetString(facts, "pre_tokenizer"));
  ASSIGN_OR_RETURN(vocabulary.add_prefix_space, GetBool(facts, "add_prefix_space"));
  ASSIGN_OR_RETURN(vocabulary.n_rows, GetInt(facts, "n_rows"));
  ASSIGN_OR_RETURN(vocabulary.tokens, ReadTokens(folder, facts));
  const auto n_tokens = static_cast<std::int64_t>(vocabulary.tokens.size());
  if (vocabulary.n_rows < n_tokens || vocabulary.n_rows > 2 * n_tokens + 64) {
    return Status(Code::kDataLoss,
                  Str("n_rows is ", vocabulary.n_rows, ", but n_tokens is ", n_tokens));
  }
  const auto special = [&](std::string_view key, std::int32_t& id) {
    ASSIGN_OR_RETURN(const std::int64_t given, GetInt(facts, key));
    if (given < -1 || given >= n_tokens) {
      return Status(Code::kDataLoss, Str(key, " is ", given, ", but n_tokens is ", n_tokens));
    }
    id = static_cast<std::int32_t>(given);
    return Status();
  };
  RETURN_IF_ERROR(special("eot_id", vocabulary.eot_id));
  RETURN_IF_ERROR(special("bos_id", vocabulary.bos_id));
  RETURN_IF_ERROR(special("pad_id", vocabulary.pad_id));
  return MakeBpeTokenizer(std::move(vocabulary));
}

// The mask token among the control tokens that AddVocabularyFacts wrote;
// single bytes have no such list.
Result<std::int32_t> MaskIdOf(const Json& facts, std::int64_t n_tokens) {
  if (!facts.contains("control")) return -1;
  std::map<std::string, std::int32_t> ids;
  const Json& control = facts.at("control");
  const auto is_entry = [&](const Json& entry) {
    return entry.is_array() && entry.size() == 2 && entry[0].is_number_unsigned() &&
           entry[0].get<std::uint64_t>() < static_cast<std::uint64_t>(n_tokens) &&
           entry[1].is_string();
  };
  if (!control.is_array() || !std::ranges::all_of(control, is_entry)) {
    return Status(Code::kDataLoss, "control is not a list of [id, name]");
  }
  for (const Json& entry : control) {
    ids.emplace(entry[1].get<std::string>(), entry[0].get<std::int32_t>());
  }
  for (const std::string_view name : MaskTokenNames()) {
    const auto found = ids.find(std::string(name));
    if (found != ids.end()) return found->second;
  }
  return -1;
}

Status CheckSha256(const std::string& path, const std::string& text, const std::string& sha256) {
  const std::string found = Sha256Hex(text);
  if (found == sha256) return Status();
  return DatasetDamaged(path, Str("SHA-256 is ", found, ", but dataset.json says ", sha256));
}

bool NeedsVocabularyFile(const Json& facts) {
  return facts.is_object() && facts.contains("vocabulary");
}

// Opens a tokenizer that SaveTokenizer wrote.
Result<std::unique_ptr<Tokenizer>> FromFacts(const std::string& folder, const Json& facts) {
  if (NeedsVocabularyFile(facts)) return FromVocabulary(folder, facts);
  ASSIGN_OR_RETURN(const std::string name, GetString(facts, "name"));
  // Whoever wrote this file must not choose another one that we open.
  if (const std::vector<std::string> names = TokenizerNames();
      name.starts_with('*') || std::ranges::find(names, name) == names.end()) {
    return Status(Code::kDataLoss, Str("\"", name, "\" is not a tokenizer without a file"));
  }
  return MakeTokenizer(name);
}

}  // namespace

Result<std::string> SaveTokenizer(const Vocabulary& vocabulary, const std::string& folder) {
  Json facts = {{"name", vocabulary.name},     {"fingerprint", vocabulary.Fingerprint()},
                {"n_rows", vocabulary.n_rows}, {"n_tokens", vocabulary.tokens.size()},
                {"eot_id", vocabulary.eot_id}, {"bos_id", vocabulary.bos_id},
                {"pad_id", vocabulary.pad_id}, {"token_bytes", vocabulary.TokenBytes()}};
  if (vocabulary.pre_tokenizer != "none") {
    AddVocabularyFacts(vocabulary, facts);
    RETURN_IF_ERROR(WriteFileAtomic(JoinPath(folder, kVocabularyFile), VocabularyText(vocabulary)));
  }
  const std::string text = CanonicalJson(facts);
  RETURN_IF_ERROR(WriteFileAtomic(JoinPath(folder, kTokenizerFile), text));
  return Sha256Hex(text);
}

bool IsSavedTokenizer(const std::string& folder) {
  const Result<std::string> text = ReadPlainFile(JoinPath(folder, kTokenizerFile));
  if (!text.ok()) return false;
  const Result<Json> facts = ParseJson(*text);
  return facts.ok() && facts->is_object() && facts->contains("fingerprint") &&
         facts->contains("token_bytes");
}

Result<bool> HasVocabularyFile(const std::string& folder) {
  const std::string path = JoinPath(folder, kTokenizerFile);
  ASSIGN_OR_RETURN(const std::string text, ReadPlainFile(path));
  Result<Json> facts = ParseJson(text);
  if (!facts) return DatasetDamaged(path, facts.status().message());
  return NeedsVocabularyFile(*facts);
}

Result<TokenizerFacts> ReadTokenizerFacts(const std::string& folder, const std::string& sha256) {
  const std::string path = JoinPath(folder, kTokenizerFile);
  if (IsMissing(path)) return DatasetDamaged(path, "the file is missing");
  ASSIGN_OR_RETURN(const std::string text, ReadPlainFile(path));
  RETURN_IF_ERROR(CheckSha256(path, text, sha256));
  Result<Json> json = ParseJson(text);
  if (!json) return std::move(json).status().In(path);
  TokenizerFacts facts;
  const auto in_file = [&](Status status) { return std::move(status).In(path); };
  Result<std::int64_t> rows = GetInt(*json, "n_rows");
  if (!rows) return in_file(std::move(rows).status());
  if (*rows < 1 || *rows > INT32_MAX) {
    return DatasetDamaged(path, Str("n_rows is ", *rows, ", expected 1 to ", INT32_MAX));
  }
  facts.vocab_size = *rows;
  Result<std::int64_t> n_tokens = GetInt(*json, "n_tokens");
  if (!n_tokens) return in_file(std::move(n_tokens).status());
  if (*n_tokens < 1 || *n_tokens > *rows) {
    return DatasetDamaged(path, Str("n_tokens is ", *n_tokens, ", expected 1 to ", *rows));
  }
  facts.n_tokens = *n_tokens;
  const Result<std::int32_t> mask_id = MaskIdOf(*json, *n_tokens);
  if (!mask_id) return DatasetDamaged(path, mask_id.status().message());
  facts.mask_id = *mask_id;
  for (const auto& [key, field] :
       {std::pair{"eot_id", &facts.eot_id}, std::pair{"bos_id", &facts.bos_id}}) {
    Result<std::int64_t> id = GetInt(*json, key);
    if (!id) return in_file(std::move(id).status());
    if (*id < -1 || *id >= facts.vocab_size) {
      return DatasetDamaged(path, Str(key, " is ", *id, ", expected -1 to ", facts.vocab_size - 1));
    }
    *field = static_cast<std::int32_t>(*id);
  }
  Result<Json> list = GetMember(*json, "token_bytes");
  if (!list) return in_file(std::move(list).status());
  if (!list->is_array()) return DatasetDamaged(path, "token_bytes is not a list");
  if (static_cast<std::int64_t>(list->size()) != facts.vocab_size) {
    return DatasetDamaged(
        path, Str("token_bytes has ", list->size(), " entries, but n_rows is ", facts.vocab_size));
  }
  for (std::size_t id = 0; id < list->size(); ++id) {
    const Json& entry = (*list)[id];
    if (!entry.is_number_unsigned() || entry.get<std::uint64_t>() > 65536) {
      return DatasetDamaged(
          path, Str("token_bytes[", id, "] is ", CanonicalJson(entry), ", expected 0 to 65536"));
    }
    facts.token_bytes.push_back(entry.get<std::int32_t>());
  }
  return facts;
}

Result<std::unique_ptr<Tokenizer>> OpenTokenizerOf(const std::string& folder) {
  const std::string path = JoinPath(folder, kTokenizerFile);
  ASSIGN_OR_RETURN(const std::string text, ReadPlainFile(path));
  // The fingerprint does not cover the name and the rows of padding.
  if (HoldsManifest(folder)) {
    ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(folder));
    RETURN_IF_ERROR(CheckSha256(path, text, manifest.tokenizer_sha256));
  }
  Result<Json> facts = ParseJson(text);
  if (!facts) return std::move(facts).status().In(path);
  Result<std::string> fingerprint = GetString(*facts, "fingerprint");
  if (!fingerprint) return std::move(fingerprint).status().In(path);
  Result<std::unique_ptr<Tokenizer>> tokenizer = FromFacts(folder, *facts);
  if (!tokenizer) return DatasetDamaged(path, tokenizer.status().message());
  if (const std::string found = (*tokenizer)->vocabulary().Fingerprint(); found != *fingerprint) {
    return DatasetDamaged(
        path, Str("its tokenizer has fingerprint ", found, ", but the file says ", *fingerprint));
  }
  return tokenizer;
}

}  // namespace longrun
