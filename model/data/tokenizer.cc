// The tokenizers. `bytes`: ids 0..255 are the byte values, 256 ends a text (and begins one), 257
// pads, 258 is the landmark; 320 rows, a multiple of 64, so that the output matrix tiles well.
#include "model/data/tokenizer.h"

#include <utility>

#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr std::int64_t kBytesRows = 320;

Vocabulary BytesVocabulary() {
  Vocabulary vocabulary = {
      .name = "bytes", .pre_tokenizer = "none", .tokens = {}, .n_rows = kBytesRows};
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary.tokens.push_back({.bytes = std::string(1, static_cast<char>(byte))});
  }
  vocabulary.tokens.push_back({.bytes = "<|endoftext|>", .kind = Token::Kind::kControl});
  vocabulary.tokens.push_back({.bytes = "<|pad|>", .kind = Token::Kind::kControl});
  vocabulary.tokens.push_back({.bytes = "<|landmark|>", .kind = Token::Kind::kControl});
  vocabulary.eot_id = 256;
  vocabulary.bos_id = 256;
  vocabulary.pad_id = 257;
  return vocabulary;
}

class BytesTokenizer final : public Tokenizer {
 public:
  BytesTokenizer() : Tokenizer(BytesVocabulary()) {}

  void Encode(std::string_view text, std::vector<std::int32_t>& ids) const override {
    ids.reserve(ids.size() + text.size());
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  }
};

struct Entry {
  std::string_view name;
  std::unique_ptr<Tokenizer> (*make)();
};

// One line for each tokenizer.
constexpr Entry kTokenizers[] = {
    {"bytes", [] { return std::unique_ptr<Tokenizer>(std::make_unique<BytesTokenizer>()); }},
};

std::string Hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

}  // namespace

std::vector<std::int32_t> Vocabulary::TokenBytes() const {
  std::vector<std::int32_t> n_bytes(static_cast<std::size_t>(n_rows), 0);
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    if (tokens[id].kind == Token::Kind::kText) {
      n_bytes[id] = static_cast<std::int32_t>(tokens[id].bytes.size());
    }
  }
  return n_bytes;
}

std::string Vocabulary::Fingerprint() const {
  Json list = Json::array();
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    list.push_back(
        {Hex(tokens[id].bytes), id, tokens[id].kind == Token::Kind::kText ? "text" : "control"});
  }
  return Sha256Hex(CanonicalJson({{"pre_tokenizer", pre_tokenizer},
                                  {"tokens", std::move(list)},
                                  {"eot_id", eot_id},
                                  {"bos_id", bos_id},
                                  {"pad_id", pad_id}}));
}

Result<std::string> Tokenizer::Decode(std::span<const std::int32_t> ids) const {
  std::string text;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || static_cast<std::size_t>(ids[i]) >= vocabulary_.tokens.size()) {
      return Status(Code::kOutOfRange,
                    Str("token ", i, " has id ", ids[i], ": tokenizer \"", vocabulary_.name,
                        "\" has ids 0 to ", vocabulary_.tokens.size() - 1));
    }
    const Token& token = vocabulary_.tokens[static_cast<std::size_t>(ids[i])];
    if (token.kind == Token::Kind::kText) text += token.bytes;
  }
  return text;
}

Result<std::unique_ptr<Tokenizer>> MakeTokenizer(std::string_view name) {
  for (const Entry& entry : kTokenizers) {
    if (entry.name == name) return entry.make();
  }
  return Status(Code::kNotFound, Str("unknown tokenizer \"", name, "\": choose one of ",
                                     Join(TokenizerNames(), ", ")));
}

std::vector<std::string> TokenizerNames() {
  std::vector<std::string> names;
  for (const Entry& entry : kTokenizers) names.emplace_back(entry.name);
  return names;
}

}  // namespace longrun
