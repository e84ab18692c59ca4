// A tokenizer: text bytes to ids and back. Lossless: Decode(Encode(text)) == text for any bytes,
// valid UTF-8 or not (with add_prefix_space spaces may be added, in front and after added tokens).
// Control tokens are never recognised inside a text: the characters "<|endoftext|>" in a document
// are plain characters.
//
// A tokenizer is defined by its vocabulary: the bytes and the kind of each id, and the name of the
// rule that cuts a text before the lookup. The fingerprint is SHA-256 over exactly these, so two
// tokenizers with one fingerprint give the same ids, whichever file they came from.
// The bytes hashed are the canonical JSON
//
//   {"bos_id","eot_id","pad_id","pre_tokenizer","tokens":[[hex of the bytes, id, kind], ...]}
//
// and "add_prefix_space":true if that is set. The kinds and their files: model/data/tokenizer/.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace longrun {

struct Token {
  enum class Kind {
    kText,     // stands for its bytes
    kAdded,    // the same; wherever they occur in a text, before the text is cut into words
    kControl,  // stands for no text: end of text, padding, landmark
  };
  std::string bytes;  // a control token's name, for people
  Kind kind = Kind::kText;
};

struct Vocabulary {
  std::string name;           // for people: "bytes", "gpt2", the name of a file
  std::string pre_tokenizer;  // the rule that cuts the text; "none": into single bytes
  std::vector<Token> tokens;  // the index is the id
  std::int64_t n_rows = 0;    // rows of an embedding: tokens.size() rounded up; the rest is padding
  std::int32_t eot_id = -1;   // end of text; -1 if there is none
  std::int32_t bos_id = -1;
  std::int32_t pad_id = -1;
  bool add_prefix_space = false;  // a space is added to a text that begins without one

  // The number of text bytes of each id, 0 for control tokens and padding; n_rows entries.
  std::vector<std::int32_t> TokenBytes() const;
  // The control token that replaces hidden tokens; -1: none.
  std::int32_t MaskId() const;
  std::string Fingerprint() const;  // 64 hex digits
};

// The names that make a control token the mask token; the first that exists is taken: "<|mask|>",
// "<mask>", "[MASK]".
std::span<const std::string_view> MaskTokenNames();

class Tokenizer {
 public:
  explicit Tokenizer(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}
  virtual ~Tokenizer() = default;
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  const Vocabulary& vocabulary() const { return vocabulary_; }
  // Appends the ids of `text` to `ids`. Thread-safe. At most 2^32 - 2 bytes.
  virtual void Encode(std::string_view text, std::vector<std::int32_t>& ids) const = 0;
  // The bytes of the text tokens; control tokens contribute none.
  // kOutOfRange names an id that is not a token.
  Result<std::string> Decode(std::span<const std::int32_t> ids) const;

 private:
  Vocabulary vocabulary_;
};

// `spec` is a name or the path of a file; model/data/tokenizer.cc lists the kinds. kNotFound says
// how to get the file; kInvalidArgument lists the kinds, or names what in the file is wrong
// or not supported.
Result<std::unique_ptr<Tokenizer>> MakeTokenizer(std::string_view spec);
// Whether this kind exists; the file need not exist.
bool IsTokenizerSpec(std::string_view spec);
// For messages and help: "bytes", "*.tiktoken", ...
std::vector<std::string> TokenizerNames();

}  // namespace longrun
