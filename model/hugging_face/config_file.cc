#include "model/hugging_face/config_file.h"

#include <utility>

#include "base/files.h"
#include "base/str.h"
#include "model/hugging_face/mask_token.h"

namespace longrun {
namespace {

constexpr std::string_view kPrefix = "config.json: ";

// An error about our model in the file's words: "model.d_ff: ..." is GPT-2's n_inner.
Status InWordsOfTheFile(const Status& status, const Architecture& architecture) {
  std::string text(status.message());
  const auto replace = [&](std::string_view ours, std::string_view theirs) {
    for (std::size_t at = text.find(ours); at != std::string::npos; at = text.find(ours, at)) {
      text.replace(at, ours.size(), theirs);
    }
  };
  for (const auto& [ours, theirs] : architecture.words) replace(ours, theirs);
  replace("model.", "");
  // An unknown name in a configuration is a wrong value, not a missing file.
  const bool not_found = status.code() == Code::kNotFound;
  return Status(not_found ? Code::kInvalidArgument : status.code(),
                text.starts_with(kPrefix) ? text : Str(kPrefix, text));
}

// The architecture of a file; GPT-2's if there is no model_type.
Result<const Architecture*> ArchitectureOf(const Json& config) {
  std::string type = "gpt2";
  if (config.contains("model_type") && !config["model_type"].is_null()) {
    ASSIGN_OR_RETURN(type, GetString(config, "model_type", "config.json"));
  }
  const auto found = FindArchitecture(type);
  if (found.ok()) return *found;
  return Status(Code::kUnimplemented,
                Str("config.json: model_type \"", type, "\" is not supported; expected one of ",
                    Join(ArchitectureNames(), ", ")));
}

}  // namespace

Result<NetConfig> ParseModelConfig(const Json& config) {
  if (!config.is_object()) {
    return Status(Code::kInvalidArgument, "config.json is not a JSON object");
  }
  // An export for modeling_longrun.py names its architecture separately.
  if (config.value("model_type", Json()) == kOurModelType) {
    Json own = config;
    ASSIGN_OR_RETURN(own["model_type"], GetString(config, "architecture", "config.json"));
    own.erase("architecture");
    own.erase("auto_map");
    if (own["model_type"] != kOurModelType) return ParseModelConfig(own);
  }
  ASSIGN_OR_RETURN(const Architecture* const architecture, ArchitectureOf(config));
  Result<NetConfig> net = architecture->read(config);
  if (!net) return InWordsOfTheFile(net.status(), *architecture);
  if (const Status status = net->model.Check(); !status.ok()) {
    return InWordsOfTheFile(status, *architecture);
  }
  RETURN_IF_ERROR(MaskTokenOf(config, net->model).status());
  return net;
}

Json ModelConfigJson(const NetConfig& net) {
  const auto architecture = FindArchitecture(net.model.architecture);
  LR_CHECK(architecture.ok());
  return (*architecture)->write(net);
}

std::int64_t TrainedLength(const Json& config) {
  for (const char* key : {"n_positions", "n_ctx", "max_position_embeddings"}) {
    if (config.contains(key) && config[key].is_number_integer() && config[key] > 0) {
      return config[key].get<std::int64_t>();
    }
  }
  return 0;
}

Result<Json> ReadConfigFile(const std::string& folder) {
  const std::string path = JoinPath(folder, "config.json");
  if (!PathExists(path)) {
    return Status(Code::kNotFound, Str(path,
                                       " is missing: expected a model folder, with config.json "
                                       "and model.safetensors"));
  }
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, std::size_t{1} << 20));
  Result<Json> config = ParseJson(text);
  if (!config) return std::move(config).status().In(path);
  return config;
}

}  // namespace longrun
