#include "model/hugging_face/folder.h"

#include <algorithm>
#include <utility>

#include "base/files.h"
#include "base/str.h"
#include "model/architecture/parameters.h"
#include "model/hugging_face/config_file.h"

namespace longrun {
namespace {

// Our name for a tensor of the folder.
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

using StoredTensors = std::map<std::string, const StoredTensor*>;

Result<StoredTensors> UnderOurNames(const WeightFiles& files, const ModelConfig& model,
                                    const TensorNames& names) {
  const std::string embedding_name = Str(names.embedding, ".weight");
  const std::string head_name = Str(names.head, ".weight");
  StoredTensors given;
  for (const auto& [stored_name, tensor] : files.tensors()) {
    const std::string name = CanonicalName(names, stored_name);
    if (given.emplace(name, tensor).second) continue;
    return Status(Code::kDataLoss,
                  Str("tensor \"", name, "\" occurs twice: with and without the prefix \"",
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

// `has_vocabulary`: whether config.json has vocab_size, which is a default otherwise.
Status CheckTensor(const ParameterSpec& spec, const StoredTensor& stored, const ModelConfig& model,
                   bool has_vocabulary) {
  const bool is_default = !has_vocabulary && !spec.shape.empty() && !stored.shape.empty() &&
                          spec.shape[0] == model.vocab_size && stored.shape[0] != spec.shape[0];
  if (stored.shape != spec.shape) {
    return Status(
        Code::kDataLoss,
        Str("tensor \"", spec.name, "\" has the shape ", ShapeText(stored.shape),
            ", but config.json asks for ", ShapeText(spec.shape),
            is_default ? Str(" (it has no vocab_size, and ", model.vocab_size, " is the default)")
                       : ""));
  }
  if (IsFloatingPoint(stored.type)) return Status();
  return Status(Code::kDataLoss, Str("tensor \"", spec.name, "\" holds ",
                                     StoredTypeName(stored.type), ", not floating point"));
}

Result<StoredTensors> ModelsOwn(const WeightFiles& files, const ModelConfig& model,
                                const TensorNames& names, bool has_vocabulary) {
  ASSIGN_OR_RETURN(const std::vector<ParameterSpec> specs, ParametersOf(model));
  ASSIGN_OR_RETURN(StoredTensors given, UnderOurNames(files, model, names));
  StoredTensors tensors;
  for (const ParameterSpec& spec : specs) {
    const auto it = given.find(spec.name);
    if (it == given.end()) {
      return Status(Code::kDataLoss, Str("tensor \"", spec.name, "\" of shape ",
                                         ShapeText(spec.shape), " is missing"));
    }
    RETURN_IF_ERROR(CheckTensor(spec, *it->second, model, has_vocabulary));
    tensors.insert(given.extract(it));
  }
  for (const auto& [name, stored] : given) {
    if (IsBuffer(names, name)) continue;
    return Status(Code::kDataLoss,
                  Str("tensor \"", name, "\" is not part of a model with position method \"",
                      model.position.method, "\""));
  }
  return tensors;
}

}  // namespace

Result<WeightFolder> OpenWeightFolder(const std::string& folder) {
  ASSIGN_OR_RETURN(const Json config, ReadConfigFile(folder));
  Result<NetConfig> net = ParseModelConfig(config);
  if (!net) return std::move(net).status().In(folder);
  ASSIGN_OR_RETURN(const Architecture* const architecture,
                   FindArchitecture(net->model.architecture));
  ASSIGN_OR_RETURN(WeightFiles files, WeightFiles::Open(folder));
  Result<StoredTensors> tensors = ModelsOwn(files, net->model, architecture->names,
                                            !config.value("vocab_size", Json()).is_null());
  if (!tensors) return std::move(tensors).status().In(files.path());
  return WeightFolder{.config = std::move(net).value(),
                      .files = std::move(files),
                      .tensors = std::move(tensors).value()};
}

}  // namespace longrun
