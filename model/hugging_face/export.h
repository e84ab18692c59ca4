// Writes a model folder that transformers and lm-evaluation-harness can load:
// the inverse of folder.h.
//
// If transformers has the model, config.json has only the keys of transformers. If it does not (a
// position method of our own), modeling_longrun.py implements a gpt2 body; this file is written
// beside config.json and named in its auto_map (trust_remote_code). Other bodies are refused by
// name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/json.h"
#include "base/status.h"
#include "model/hugging_face/folder.h"

namespace longrun {

struct ExportFacts {
  std::int64_t trained_length = 0;  // tokens; 0: unknown
  std::int32_t bos_id = -1, eos_id = -1;
  std::int64_t mask_token_id = -1;
  std::optional<StoredType> type;  // nullopt: the stored type
  std::int64_t shard_bytes_max = 5'000'000'000;
};

struct ExportedFolder {
  std::vector<std::string> files;  // names
  bool has_code = false;           // modeling_longrun.py is one of them
};

// Whether transformers supports this model under its own model_type.
bool IsInTransformers(const NetConfig& net);

// Writes config.json, generation_config.json, the weights (one file, or shards with their index)
// and, if needed, modeling_longrun.py, into an existing folder. kUnimplemented for a body that is
// refused (see above).
Result<ExportedFolder> WriteModelFolder(const WeightFolder& model, const ExportFacts& facts,
                                        const std::string& folder);

// The text of modeling_longrun.py.
std::string_view ModelingFile();

}  // namespace longrun
