// A dataset file, the input of `longrun data prepare`. Strict: every key must be known and every
// value must have its type. All mistakes of a file are reported together, with line, column, path,
// and the nearest name.
//
//   name: books
//   source: {format: jsonl, files: ["books/*.jsonl.zst"], field: text, filter: meta.kind==novel}
//   tokenizer: gpt2                          # or a file, or {kind: hf_json, file: tokenizer.json}
//   packing: {eot: after, newline: keep, order: sorted, min_doc_tokens: 0}
//   mix: {rules: [passkey=0.4, {rule: copy, share: 0.1, span: 8}], seed: 1}
//   split: {by: document, validation: 0.05, test: 0.05, seed: 7}
//   shard_tokens: 128Mi
//
// split: {by: files, train: [..], validation: [..], test: [..]} replaces source.files, and is the
// only one that goes with mix.
// {by: first_tokens, validation: 100M} holds out the beginning of the row of tokens,
// {by: last_tokens, ..} its end.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "model/data/prepare.h"

namespace longrun {

struct DatasetFile {
  std::string name;
  PrepareSpec spec;
};

// Relative paths in the file start at `base_folder`, the folder of the file itself.
// kInvalidArgument has all mistakes, one per line: "books.yaml:2:18: source.format: unknown ..."
Result<DatasetFile> ParseDatasetFile(std::string_view yaml, std::string_view file_name,
                                     const std::string& base_folder);

}  // namespace longrun
