// `bytes`: ids 0..255 are the byte values, 256 ends a text (and begins one), 257 is padding, 258 is
// the landmark; 320 rows, a multiple of 64, so that the output matrix divides well into tiles.
#include "model/data/tokenizer/kinds.h"

namespace longrun {
namespace {

constexpr std::int64_t kBytesRows = 320;

Vocabulary BytesVocabulary() {
  Vocabulary vocabulary = {
      .name = "bytes", .pre_tokenizer = "none", .tokens = {}, .n_rows = kBytesRows};
  vocabulary.tokens.reserve(259);
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

}  // namespace

Result<std::unique_ptr<Tokenizer>> MakeBytesTokenizer(const std::string&) {
  return std::unique_ptr<Tokenizer>(std::make_unique<BytesTokenizer>());
}

}  // namespace longrun
