#include "model/hugging_face/export.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/str.h"
#include "model/hugging_face/config_file.h"
#include "model/hugging_face/convert.h"
#include "model/position/method.h"

namespace longrun {
namespace {

constexpr const char* kModeling = "modeling_longrun.py";

Status WriteJson(const std::string& folder, const char* name, const Json& json,
                 ExportedFolder& written) {
  written.files.emplace_back(name);
  return WriteFileAtomic(JoinPath(folder, name), json.dump(2) + "\n");
}

// config.json without our two keys: what transformers itself can read.
Json TransformersJson(const NetConfig& net) {
  Json config = ModelConfigJson(net);
  config.erase("position");
  config.erase("causal");
  return config;
}

Result<Json> ConfigOf(const NetConfig& net, const ExportFacts& facts, StoredType type) {
  Json config;
  if (IsInTransformers(net)) {
    config = TransformersJson(net);
    const char* const length = net.model.architecture == "gpt2" || net.model.architecture == "gptj"
                                   ? "n_positions"
                                   : "max_position_embeddings";
    if (!config.contains(length) && facts.trained_length > 0) config[length] = facts.trained_length;
  } else if (net.model.architecture == "gpt2") {
    config = ModelConfigJson(net);
    config["model_type"] = kOurModelType;
    config["architecture"] = net.model.architecture;
    config["architectures"] = {"LongrunForCausalLM"};
    config["auto_map"] = {{"AutoConfig", "modeling_longrun.LongrunConfig"},
                          {"AutoModelForCausalLM", "modeling_longrun.LongrunForCausalLM"}};
    if (!config.contains("n_positions") && facts.trained_length > 0) {
      config["n_positions"] = facts.trained_length;
    }
  } else {
    return Status(Code::kUnimplemented,
                  Str("this model cannot be exported: transformers has no ", net.model.architecture,
                      " with position method \"", net.model.position.method, "\" and parameters ",
                      CanonicalJson(net.model.position.params),
                      ", and modeling_longrun.py supports only the architecture gpt2"));
  }
  if (facts.mask_token_id >= 0) config["mask_token_id"] = facts.mask_token_id;
  config["torch_dtype"] = TorchDtypeName(type);
  config["bos_token_id"] = facts.bos_id >= 0 ? Json(facts.bos_id) : Json();
  config["eos_token_id"] = facts.eos_id >= 0 ? Json(facts.eos_id) : Json();
  return config;
}

// Divides the tensors into files, in the order of their names, each file as full as possible.
std::vector<std::map<std::string, TensorForm>> Shards(
    const std::map<std::string, TensorForm>& forms, std::int64_t bytes_max) {
  std::vector<std::map<std::string, TensorForm>> shards(1);
  std::int64_t n_bytes = 0;
  for (const auto& [name, form] : forms) {
    if (!shards.back().empty() && n_bytes + form.n_bytes() > bytes_max) {
      shards.emplace_back();
      n_bytes = 0;
    }
    n_bytes += form.n_bytes();
    shards.back()[name] = form;
  }
  return shards;
}

// "00003"
std::string FiveDigits(std::size_t n) {
  std::string digits = Str(n);
  digits.insert(0, digits.size() < 5 ? 5 - digits.size() : 0, '0');
  return digits;
}

Status WriteWeights(const WeightFolder& model, const ExportFacts& facts, const std::string& folder,
                    ExportedFolder& written) {
  std::map<std::string, TensorForm> forms;
  std::int64_t n_bytes = 0;
  for (const auto& [name, tensor] : model.tensors) {
    forms[name] = {.type = facts.type.value_or(tensor->type), .shape = tensor->shape};
    n_bytes += forms[name].n_bytes();
  }
  std::vector<std::byte> converted;
  const auto bytes_of = [&](const std::string& name) -> Result<std::span<const std::byte>> {
    const StoredTensor& tensor = *model.tensors.at(name);
    if (!facts.type || *facts.type == tensor.type) return tensor.bytes;
    Status status = Convert(tensor, *facts.type, converted);
    if (!status.ok()) return std::move(status).In(Str("tensor \"", name, "\""));
    return std::span<const std::byte>(converted);
  };
  const auto shards = Shards(forms, facts.shard_bytes_max);
  Json weight_map = Json::object();
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const std::string name = shards.size() == 1 ? std::string("model.safetensors")
                                                : Str("model-", FiveDigits(i + 1), "-of-",
                                                      FiveDigits(shards.size()), ".safetensors");
    RETURN_IF_ERROR(
        WriteSafetensorsInTurn(JoinPath(folder, name), shards[i], {{"format", "pt"}}, bytes_of)
            .status());
    written.files.push_back(name);
    for (const auto& [tensor, form] : shards[i]) weight_map[tensor] = name;
  }
  if (shards.size() == 1) return Status();
  return WriteJson(folder, "model.safetensors.index.json",
                   {{"metadata", {{"total_size", n_bytes}}}, {"weight_map", weight_map}}, written);
}

}  // namespace

bool IsInTransformers(const NetConfig& net) {
  if (net.model.architecture == "baichuan") return false;  // its code comes with its folders
  if (net.model.architecture == "jaketae")
    return false;  // a module of its own, without a vocabulary
  // transformers' llama, mistral and qwen2 rotate all channels of a head, whatever the key says.
  const bool turns_all = net.model.body.norm == NormKind::kRmsNorm;
  if (turns_all && net.model.position.method == "rope" &&
      net.model.position.params.at("partial") != 1.0) {
    return false;
  }
  const Result<NetConfig> read = ParseModelConfig(TransformersJson(net));
  return read.ok() && ModelConfigJson(*read) == ModelConfigJson(net);
}

Result<ExportedFolder> WriteModelFolder(const WeightFolder& model, const ExportFacts& facts,
                                        const std::string& folder) {
  // One dtype for the whole model: the embedding's, if types are kept.
  const auto largest = std::ranges::max_element(
      model.tensors, {}, [](const auto& entry) { return entry.second->bytes.size(); });
  LR_CHECK(largest != model.tensors.end());
  ASSIGN_OR_RETURN(const Json config,
                   ConfigOf(model.config, facts, facts.type.value_or(largest->second->type)));
  ExportedFolder written;
  RETURN_IF_ERROR(WriteJson(folder, "config.json", config, written));
  RETURN_IF_ERROR(WriteJson(folder, "generation_config.json",
                            {{"_from_model_config", true},
                             {"bos_token_id", config["bos_token_id"]},
                             {"eos_token_id", config["eos_token_id"]}},
                            written));
  written.has_code = config["model_type"] == kOurModelType;
  if (written.has_code) {
    RETURN_IF_ERROR(WriteFileAtomic(JoinPath(folder, kModeling), ModelingFile()));
    written.files.emplace_back(kModeling);
  }
  RETURN_IF_ERROR(WriteWeights(model, facts, folder, written));
  return written;
}

}  // namespace longrun
