// Hugging Face's tokenizer.json (github.com/huggingface/tokenizers) of the GPT-2 kind: byte-level
// BPE after the GPT-2 rule. Anything else in such a file is refused by its key and value.
//
//   model          type "BPE", vocab, merges as "a b" or ["a", "b"]; no dropout, prefixes, fallback
//   pre_tokenizer  type "ByteLevel", with its regular expression; add_prefix_space is kept
//   normalizer     none
//   added_tokens   a special one becomes a control token, which is never recognised inside a text;
//                  the others are found in a text before it is cut (added_tokens.h), and options
//                  that change how are refused
//   post_processor, decoder, truncation, padding    ignored: they do not affect the ids of a text
//
// vocab and merges write bytes as printable characters (gpt-2, src/encoder.py, bytes_to_unicode):
// bytes 33..126, 161..172 and 174..255 are the code points of the same number, the other 68 in
// increasing order U+0100, U+0101, ...
//
// Our merging goes by id (bpe.h), theirs by a list of pairs.
// Both give the same ids for every text if
//
//   each merge forms a token that no other merge forms,
//   the ids of these tokens increase along the list,
//   and for each merge, the merges before it turn the bytes of its token into the two halves that
//   it joins.
//
// A list from training has these properties; each list is checked, and others are refused. An entry
// of the vocabulary that is longer than a byte and that no merge forms can never occur, so it
// becomes a control token.
//
// The end of text is the added token "<|endoftext|>", else "</s>"; the begin of text is "<s>", else
// the end of text; padding is "<|pad|>", "<pad>" or "[PAD]".
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "model/data/tokenizer.h"

namespace longrun {

// `text` is the content of the file; `name` becomes the vocabulary's name. kInvalidArgument names
// the key and the value.
Result<Vocabulary> ParseHuggingFace(std::string_view text, std::string name);
// The text of such a file for a vocabulary. kInvalidArgument if no list of merges can express it,
// because merging a token's bytes does not give the token.
Result<std::string> HuggingFaceText(const Vocabulary& vocabulary);

// Bytes as printable UTF-8 characters, and back: kInvalidArgument for a character that
// stands for no byte.
std::string PrintableOfBytes(std::string_view bytes);
Result<std::string> BytesOfPrintable(std::string_view text);

}  // namespace longrun
