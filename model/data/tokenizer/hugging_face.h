// Hugging Face's tokenizer.json (github.com/huggingface/tokenizers), of the GPT-2 kind: byte-level BPE
// behind the GPT-2 rule. Anything else that such a file can say is refused by its key and value.
//
//   model          type "BPE", vocab, merges as "a b" or ["a", "b"]; no dropout, prefixes, fallback
//   pre_tokenizer  type "ByteLevel", with its regular expression; add_prefix_space is kept
//   normalizer     none
//   added_tokens   each becomes a control token: it is never recognised inside a text
//   post_processor, decoder, truncation, padding    say nothing about the ids of a text
//
// vocab and merges write bytes as printable characters (gpt-2, src/encoder.py, bytes_to_unicode):
// bytes 33..126, 161..172 and 174..255 are the code points of the same number, the other 68 in
// increasing order U+0100, U+0101, ...
//
// Our merging goes by id (bpe.h), theirs by a list of pairs. Both give the same ids of every text when
//
//   each merge makes a token that no other makes, of ids that increase along the list,
//   and each token's bytes, by the merges before its own, become the two halves of its own.
//
// A list that training made is so; each is examined, and another is refused. A vocabulary's entry that
// is more than a byte, and that no merge makes, is never given by them: it becomes a control token.
//
// The end of text is the added token "<|endoftext|>", else "</s>"; the beginning "<s>", else the end of
// text; padding "<|pad|>", "<pad>" or "[PAD]".
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "model/data/tokenizer.h"

namespace longrun {

// `text` is the file; `name` becomes the vocabulary's. kInvalidArgument names the key and the value.
Result<Vocabulary> ParseHuggingFace(std::string_view text, std::string name);
// The same as such a file. kInvalidArgument for what no list of merges says: a token that merging its
// bytes does not give.
Result<std::string> HuggingFaceText(const Vocabulary& vocabulary);

// Bytes as printable characters, UTF-8; and back: kInvalidArgument for a character that is none.
std::string PrintableOfBytes(std::string_view bytes);
Result<std::string> BytesOfPrintable(std::string_view text);

}  // namespace longrun
