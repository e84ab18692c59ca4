// A description of a dataset for people and programs: from its manifest, its document tables, and a
// sample of its text.
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
// Lengths count the end-of-text token. Quantiles are by nearest rank: the ceil(q n)-th of the
// sorted lengths. text_bytes counts the bytes that the text tokens stand for. The sample is the
// beginning of the first document, with invalid UTF-8 replaced; it is null, with "sample_error", if
// the tokenizer cannot be opened.
Result<Json> InspectDataset(const std::string& folder);

}  // namespace longrun
