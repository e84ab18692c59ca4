#include "model/data/tokenizer_file.h"

#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"
#include "model/data/manifest.h"

namespace longrun {

Result<std::string> SaveTokenizer(const Vocabulary& vocabulary, const std::string& folder) {
  const std::string facts = CanonicalJson({{"name", vocabulary.name},
                                           {"fingerprint", vocabulary.Fingerprint()},
                                           {"n_rows", vocabulary.n_rows},
                                           {"n_tokens", vocabulary.tokens.size()},
                                           {"eot_id", vocabulary.eot_id},
                                           {"bos_id", vocabulary.bos_id},
                                           {"pad_id", vocabulary.pad_id},
                                           {"token_bytes", vocabulary.TokenBytes()}});
  RETURN_IF_ERROR(WriteFileAtomic(JoinPath(folder, kTokenizerFile), facts));
  return Sha256Hex(facts);
}

Result<TokenizerFacts> ReadTokenizerFacts(const std::string& folder, const std::string& sha256) {
  const std::string path = JoinPath(folder, kTokenizerFile);
  ASSIGN_OR_RETURN(const std::string text, ReadPlainFile(path));
  if (Sha256Hex(text) != sha256) {
    return DatasetDamaged(path,
                          Str("SHA-256 is ", Sha256Hex(text), ", dataset.json says ", sha256));
  }
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
  Result<std::int64_t> eot = GetInt(*json, "eot_id");
  if (!eot) return in_file(std::move(eot).status());
  if (*eot < -1 || *eot >= facts.vocab_size) {
    return DatasetDamaged(path, Str("eot_id is ", *eot, ", expected -1 to ", facts.vocab_size - 1));
  }
  facts.eot_id = static_cast<std::int32_t>(*eot);
  Result<Json> list = GetMember(*json, "token_bytes");
  if (!list) return in_file(std::move(list).status());
  if (!list->is_array()) return DatasetDamaged(path, "token_bytes is no list");
  if (static_cast<std::int64_t>(list->size()) != facts.vocab_size) {
    return DatasetDamaged(
        path, Str("token_bytes has ", list->size(), " entries, n_rows is ", facts.vocab_size));
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
  Result<Json> facts = ParseJson(text);
  if (!facts) return std::move(facts).status().In(path);
  Result<std::string> name = GetString(*facts, "name");
  if (!name) return std::move(name).status().In(path);
  Result<std::string> fingerprint = GetString(*facts, "fingerprint");
  if (!fingerprint) return std::move(fingerprint).status().In(path);
  Result<std::unique_ptr<Tokenizer>> tokenizer = MakeTokenizer(*name);
  if (!tokenizer) return std::move(tokenizer).status().In(path);
  if (const std::string found = (*tokenizer)->vocabulary().Fingerprint(); found != *fingerprint) {
    return DatasetDamaged(path, Str("tokenizer \"", *name, "\" has fingerprint ", found,
                                    ", the file says ", *fingerprint));
  }
  return tokenizer;
}

}  // namespace longrun
