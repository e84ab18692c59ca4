// What a dataset is, for people and programs: of its manifest, its document tables, and a sample of
// its text.
#pragma once

#include <string>

#include "base/json.h"
#include "base/status.h"

namespace longrun {

// {"digest", "folder", "tokenizer": {...}, "vocab_size", "packing", "source", "split", "sources",
//  "spec_sha256", "tool",
//  "splits": [{"name", "n_tokens", "n_documents", "n_shards", "text_bytes", "file_bytes",
//              "document_tokens": {"min", "p10", "median", "p90", "p99", "max", "mean"},
//              "documents_of_at_least": [{"tokens": 256, "documents", "share_of_tokens"}, ...],
//              "sample": text}]}
//
// Lengths count the end-of-text token. Quantiles are those of the sorted lengths at index
// floor(q (n - 1)). text_bytes counts what the text tokens stand for. The sample is the beginning of
// the first document, with what is no UTF-8 replaced; null where the tokenizer is not to be had,
// with "sample_error".
Result<Json> InspectDataset(const std::string& folder);

}  // namespace longrun
