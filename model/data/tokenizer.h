// A tokenizer: text bytes to ids and back. Lossless: Decode(Encode(text)) == text for any bytes,
// valid UTF-8 or not. Special tokens are never recognised inside a text.
//
// What a tokenizer is, is its vocabulary: the bytes and the kind of each id, and the name of the
// rule that cuts a text before it is looked up. The fingerprint is SHA-256 over exactly these, so
// two tokenizers with one fingerprint give the same ids (data.md section 3).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace longrun {

struct Token {
  enum class Kind {
    kText,     // stands for its bytes
    kControl,  // stands for no text: end of text, padding, landmark
  };
  std::string bytes;  // of a control token: its name, for people
  Kind kind = Kind::kText;
};

struct Vocabulary {
  std::string name;           // of the tokenizer: "bytes"
  std::string pre_tokenizer;  // the rule that cuts the text: "none" for single bytes
  std::vector<Token> tokens;  // the index is the id
  std::int64_t n_rows = 0;    // rows of an embedding: tokens.size() rounded up; the rest is padding
  std::int32_t eot_id = -1;   // end of text; -1 where there is none
  std::int32_t bos_id = -1;
  std::int32_t pad_id = -1;

  // Bytes of text that each id stands for: 0 for control tokens and padding; n_rows entries.
  std::vector<std::int32_t> TokenBytes() const;
  std::string Fingerprint() const;  // 64 hex digits
};

class Tokenizer {
 public:
  explicit Tokenizer(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}
  virtual ~Tokenizer() = default;
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  const Vocabulary& vocabulary() const { return vocabulary_; }
  // Appends the ids of `text` to `ids`.
  virtual void Encode(std::string_view text, std::vector<std::int32_t>& ids) const = 0;
  // The bytes of the text tokens; control tokens give none. kOutOfRange names an id that is no
  // token.
  Result<std::string> Decode(std::span<const std::int32_t> ids) const;

 private:
  Vocabulary vocabulary_;
};

// kNotFound with the list of names.
Result<std::unique_ptr<Tokenizer>> MakeTokenizer(std::string_view name);
std::vector<std::string> TokenizerNames();

}  // namespace longrun
