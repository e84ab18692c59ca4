#include "model/net/model_folder.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/files.h"
#include "base/str.h"
#include "model/architecture/architecture.h"
#include "model/net/tensor_file.h"
#include "model/net/weight_files.h"

namespace longrun {
namespace {

constexpr std::string_view kPrefix = "config.json: ";

// An error about our model, in the words of the file: "model.d_ff: ..." is GPT-2's n_inner.
Status InWordsOfTheFile(const Status& status, const Architecture& architecture) {
  std::string text(status.message());
  const auto replace = [&](std::string_view ours, std::string_view theirs) {
    for (std::size_t at = text.find(ours); at != std::string::npos; at = text.find(ours, at)) {
      text.replace(at, ours.size(), theirs);
    }
  };
  for (const auto& [ours, theirs] : architecture.words) replace(ours, theirs);
  replace("model.", "");
  // An unknown name in a configuration is a wrong value, no missing file.
  const bool not_found = status.code() == Code::kNotFound;
  return Status(not_found ? Code::kInvalidArgument : status.code(),
                text.starts_with(kPrefix) ? text : Str(kPrefix, text));
}

// The architecture of a file; without a model_type it is GPT-2's.
Result<const Architecture*> ArchitectureOf(const Json& config) {
  std::string type = "gpt2";
  if (config.contains("model_type") && !config["model_type"].is_null()) {
    ASSIGN_OR_RETURN(type, GetString(config, "model_type", "config.json"));
  }
  const auto found = FindArchitecture(type);
  if (found.ok()) return *found;
  return Status(Code::kUnimplemented, Str("config.json: model_type \"", type, "\" is not built; ",
                                          Join(ArchitectureNames(), ", "), " are"));
}

// A folder's name of a tensor as ours.
std::string CanonicalName(const TensorNames& names, const std::string& name) {
  const bool whole = name.starts_with(names.base_prefix) ||
                     name.starts_with("transformer.") ||  // what position methods learn
                     name.starts_with(Str(names.head, "."));
  return whole ? name : Str(names.base_prefix, name);
}

// Buffers that older versions of transformers saved: masks, their fill value, rotary tables.
bool IsBuffer(const TensorNames& names, const std::string& name) {
  return std::any_of(names.buffers.begin(), names.buffers.end(),
                     [&](std::string_view end) { return name.ends_with(end); });
}

bool SameBytes(const StoredTensor& a, const StoredTensor& b) {
  return a.type == b.type && a.shape == b.shape &&
         std::equal(a.bytes.begin(), a.bytes.end(), b.bytes.begin(), b.bytes.end());
}

Result<at::Tensor> ParameterTensor(const ParameterSpec& spec, const StoredTensor& stored) {
  if (stored.shape != spec.shape) {
    return Status(Code::kDataLoss,
                  Str("tensor \"", spec.name, "\" has the shape ", ShapeText(stored.shape),
                      ", config.json asks for ", ShapeText(spec.shape)));
  }
  at::Tensor tensor = ToTensor(stored);
  if (!tensor.is_floating_point()) {
    return Status(Code::kDataLoss, Str("tensor \"", spec.name, "\" holds ",
                                       StoredTypeName(stored.type), ", not floating point"));
  }
  return tensor;
}

using StoredTensors = std::map<std::string, const StoredTensor*>;

Result<StoredTensors> UnderOurNames(const WeightFiles& files, const ModelConfig& model,
                                    const TensorNames& names) {
  const std::string embedding_name = Str(names.embedding, ".weight");
  const std::string head_name = Str(names.head, ".weight");
  StoredTensors given;
  for (const auto& [stored_name, tensor] : files.tensors()) {
    const std::string name = CanonicalName(names, stored_name);
    if (given.emplace(name, tensor).second) continue;
    return Status(Code::kDataLoss, Str("tensor \"", name, "\" is there twice, with and without \"",
                                       names.base_prefix, "\""));
  }
  if (!model.tie_embeddings) return given;
  auto head = given.find(head_name);
  if (head == given.end()) return given;
  const auto embedding = given.find(embedding_name);
  if (embedding == given.end()) {
    // safetensors' save_model keeps one name of a tied pair, the first of the alphabet.
    auto node = given.extract(head);
    node.key() = embedding_name;
    given.insert(std::move(node));
    return given;
  }
  if (!SameBytes(*head->second, *embedding->second)) {
    return Status(Code::kDataLoss,
                  Str(head_name, " differs from ", embedding_name,
                      ", but config.json ties them: set tie_word_embeddings to false, or leave ",
                      head_name, " out"));
  }
  given.erase(head);
  return given;
}

Result<ParameterMap> CollectParameters(const WeightFiles& files, const ModelConfig& model,
                                       const TensorNames& names) {
  ASSIGN_OR_RETURN(const std::vector<ParameterSpec> specs, ParametersOf(model));
  ASSIGN_OR_RETURN(StoredTensors given, UnderOurNames(files, model, names));
  ParameterMap parameters;
  for (const ParameterSpec& spec : specs) {
    const auto it = given.find(spec.name);
    if (it == given.end()) {
      return Status(Code::kDataLoss, Str("tensor \"", spec.name, "\" of shape ",
                                         ShapeText(spec.shape), " is missing"));
    }
    ASSIGN_OR_RETURN(parameters[spec.name], ParameterTensor(spec, *it->second));
    given.erase(it);
  }
  for (const auto& [name, stored] : given) {
    if (IsBuffer(names, name)) continue;
    return Status(Code::kDataLoss,
                  Str("tensor \"", name, "\" is not part of a model with position method \"",
                      model.position.method, "\""));
  }
  return parameters;
}

}  // namespace

Result<NetConfig> ParseModelConfig(const Json& config) {
  if (!config.is_object()) return Status(Code::kInvalidArgument, "config.json is no JSON object");
  ASSIGN_OR_RETURN(const Architecture* const architecture, ArchitectureOf(config));
  Result<NetConfig> net = architecture->read(config);
  if (!net) return InWordsOfTheFile(net.status(), *architecture);
  if (const Status status = net->model.Check(); !status.ok()) {
    return InWordsOfTheFile(status, *architecture);
  }
  return net;
}

Json ModelConfigJson(const NetConfig& net) {
  const auto architecture = FindArchitecture(net.model.architecture);
  LR_CHECK(architecture.ok());
  return (*architecture)->write(net);
}

Result<ModelFolder> LoadModelFolder(const std::string& folder) {
  const std::string config_path = JoinPath(folder, "config.json");
  if (!PathExists(config_path)) {
    return Status(Code::kNotFound, Str(config_path,
                                       " is missing: expected a model folder, with config.json "
                                       "and model.safetensors"));
  }
  ASSIGN_OR_RETURN(const std::string text, ReadFile(config_path, std::size_t{1} << 20));
  Result<Json> config = ParseJson(text);
  if (!config) return std::move(config).status().In(config_path);
  Result<NetConfig> net = ParseModelConfig(*config);
  if (!net) return std::move(net).status().In(folder);

  ASSIGN_OR_RETURN(const Architecture* const architecture,
                   FindArchitecture(net->model.architecture));
  ASSIGN_OR_RETURN(const WeightFiles files, WeightFiles::Open(folder));
  Result<ParameterMap> parameters = CollectParameters(files, net->model, architecture->names);
  if (!parameters) return std::move(parameters).status().In(files.path());
  return ModelFolder{.config = std::move(net).value(), .parameters = std::move(parameters).value()};
}

}  // namespace longrun
