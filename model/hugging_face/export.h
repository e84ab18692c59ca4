// A model folder as transformers and lm-evaluation-harness load it: the inverse of folder.h.
//
// Where transformers has the model, config.json has its keys alone. Where it does not (a position method
// that is ours), a gpt2 body is carried by modeling_longrun.py, which is written beside it and named in
// config.json's auto_map (trust_remote_code); other bodies are refused by name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/json.h"
#include "base/status.h"
#include "model/hugging_face/folder.h"

namespace longrun {

struct ExportFacts {
  std::int64_t trained_length = 0;  // tokens; 0: not known
  std::int32_t bos_id = -1, eos_id = -1;
  std::int64_t mask_token_id = -1;
  std::optional<StoredType> type;  // nothing: as it is stored
  std::int64_t shard_bytes_max = 5'000'000'000;
};

struct ExportedFolder {
  std::vector<std::string> files;  // names
  bool has_code = false;           // modeling_longrun.py is one of them
};

// Whether transformers has this model under its own model_type.
bool IsInTransformers(const NetConfig& net);

// Writes config.json, generation_config.json, the weights in one file or in shards with their index, and
// where it is needed modeling_longrun.py, into a folder that is there. kUnimplemented as above.
Result<ExportedFolder> WriteModelFolder(const WeightFolder& model, const ExportFacts& facts,
                                        const std::string& folder);

// The text of modeling_longrun.py.
std::string_view ModelingFile();

}  // namespace longrun
