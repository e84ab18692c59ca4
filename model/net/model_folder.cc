#include "model/net/model_folder.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "base/files.h"
#include "base/str.h"
#include "model/net/tensor_file.h"

namespace longrun {
namespace {

constexpr const char* kEmbedding = "transformer.wte.weight";
constexpr const char* kHead = "lm_head.weight";

// transformers' GPT2Config defaults, for keys that are absent.
constexpr std::int64_t kDefaultVocab = 50257;
constexpr std::int64_t kDefaultPositions = 1024;
constexpr std::int64_t kDefaultWidth = 768;
constexpr std::int64_t kDefaultLayers = 12;
constexpr std::int64_t kDefaultHeads = 12;

// Keys that change the mathematics; ParseModelConfig reads each.
constexpr std::array<std::string_view, 19> kHonoured = {"model_type",
                                                        "vocab_size",
                                                        "n_positions",
                                                        "n_ctx",
                                                        "n_embd",
                                                        "n_layer",
                                                        "n_head",
                                                        "n_inner",
                                                        "activation_function",
                                                        "layer_norm_epsilon",
                                                        "tie_word_embeddings",
                                                        "scale_attn_weights",
                                                        "scale_attn_by_inverse_layer_idx",
                                                        "add_cross_attention",
                                                        "is_encoder_decoder",
                                                        "quantization_config",
                                                        "pruned_heads",
                                                        "position",
                                                        "causal"};

// Keys that change nothing in a forward pass without dropout: where the weights come from, how they
// were initialised and trained, how text is generated from the logits, what is returned beside them.
constexpr std::array<std::string_view, 86> kHarmless = {"_name_or_path",
                                                        "_commit_hash",
                                                        "_attn_implementation",
                                                        "_attn_implementation_autoset",
                                                        "_attn_implementation_internal",
                                                        "attn_implementation",
                                                        "architectures",
                                                        "transformers_version",
                                                        "torch_dtype",
                                                        "dtype",
                                                        "torchscript",
                                                        "xla_device",
                                                        "use_bfloat16",
                                                        "tf_legacy_loss",
                                                        "use_cache",
                                                        "output_past",
                                                        "n_special",
                                                        "predict_special_tokens",
                                                        "gradient_checkpointing",
                                                        "initializer_range",
                                                        "attn_pdrop",
                                                        "embd_pdrop",
                                                        "resid_pdrop",
                                                        "reorder_and_upcast_attn",
                                                        "summary_activation",
                                                        "summary_first_dropout",
                                                        "summary_proj_to_labels",
                                                        "summary_type",
                                                        "summary_use_proj",
                                                        "task_specific_params",
                                                        "bos_token_id",
                                                        "eos_token_id",
                                                        "pad_token_id",
                                                        "cls_token_id",
                                                        "mask_token_id",
                                                        "unk_token_id",
                                                        "sep_token_id",
                                                        "decoder_start_token_id",
                                                        "forced_bos_token_id",
                                                        "forced_eos_token_id",
                                                        "suppress_tokens",
                                                        "begin_suppress_tokens",
                                                        "bad_words_ids",
                                                        "output_attentions",
                                                        "output_hidden_states",
                                                        "output_scores",
                                                        "return_dict",
                                                        "return_dict_in_generate",
                                                        "use_return_dict",
                                                        "id2label",
                                                        "label2id",
                                                        "num_labels",
                                                        "_num_labels",
                                                        "problem_type",
                                                        "finetuning_task",
                                                        "prefix",
                                                        "tokenizer_class",
                                                        "chunk_size_feed_forward",
                                                        "cross_attention_hidden_size",
                                                        "is_decoder",
                                                        "tie_encoder_decoder",
                                                        "do_sample",
                                                        "early_stopping",
                                                        "diversity_penalty",
                                                        "encoder_no_repeat_ngram_size",
                                                        "length_penalty",
                                                        "max_length",
                                                        "min_length",
                                                        "no_repeat_ngram_size",
                                                        "num_beam_groups",
                                                        "num_beams",
                                                        "num_return_sequences",
                                                        "remove_invalid_values",
                                                        "repetition_penalty",
                                                        "temperature",
                                                        "top_k",
                                                        "top_p",
                                                        "typical_p",
                                                        "exponential_decay_length_penalty",
                                                        "low_memory",
                                                        "penalty_alpha",
                                                        "renormalize_logits",
                                                        "max_new_tokens",
                                                        "min_new_tokens",
                                                        "pretraining_tp",
                                                        "max_time"};

// Reads members with transformers' defaults; a null is an absent key, as in transformers.
class Reader {
 public:
  explicit Reader(const Json& config) : config_(config) {}

  bool Has(std::string_view key) const { return config_.contains(key) && !config_[key].is_null(); }
  Result<std::int64_t> Int(std::string_view key, std::int64_t absent) const {
    if (!Has(key)) return absent;
    return GetInt(config_, key, "config.json");
  }
  Result<double> Double(std::string_view key, double absent) const {
    if (!Has(key)) return absent;
    return GetDouble(config_, key, "config.json");
  }
  Result<bool> Bool(std::string_view key, bool absent) const {
    if (!Has(key)) return absent;
    return GetBool(config_, key, "config.json");
  }
  Result<std::string> String(std::string_view key, std::string_view absent) const {
    if (!Has(key)) return std::string(absent);
    return GetString(config_, key, "config.json");
  }

 private:
  const Json& config_;
};

Status RefuseUnknownKeys(const Json& config) {
  for (const auto& [key, value] : config.items()) {
    if (std::find(kHonoured.begin(), kHonoured.end(), key) != kHonoured.end()) continue;
    if (std::find(kHarmless.begin(), kHarmless.end(), key) != kHarmless.end()) continue;
    const std::vector<std::string> known(kHonoured.begin(), kHonoured.end());
    const std::string near = Nearest(key, known);
    return Status(Code::kInvalidArgument,
                  Str("config.json: key \"", key, "\" is unknown, and could change the mathematics",
                      near.empty() ? "" : Str("; did you mean \"", near, "\"?")));
  }
  return Status();
}

// What GPT-2's configuration can ask for and this network does not do.
Status RefuseUnbuilt(const Json& config, const Reader& read) {
  ASSIGN_OR_RETURN(const std::string type, read.String("model_type", "gpt2"));
  if (type != "gpt2") {
    return Status(Code::kUnimplemented,
                  Str("config.json: model_type \"", type, "\" is not built; \"gpt2\" is"));
  }
  for (const std::string_view key : {"add_cross_attention", "is_encoder_decoder"}) {
    ASSIGN_OR_RETURN(const bool wanted, read.Bool(key, false));
    if (wanted)
      return Status(Code::kUnimplemented, Str("config.json: ", key, ": true is not built"));
  }
  for (const std::string_view key : {"quantization_config", "pruned_heads"}) {
    if (read.Has(key) && !config[key].empty()) {
      return Status(Code::kUnimplemented, Str("config.json: ", key, " is not built"));
    }
  }
  return Status();
}

// transformers has several names for the same functions.
Result<std::string> ParseActivation(const std::string& name) {
  static const std::map<std::string, std::string> kOurs = {{"gelu_new", "gelu_new"},
                                                           {"gelu_pytorch_tanh", "gelu_new"},
                                                           {"gelu_fast", "gelu_new"},
                                                           {"gelu_accurate", "gelu_new"},
                                                           {"gelu", "gelu"},
                                                           {"gelu_python", "gelu"},
                                                           {"relu", "relu"},
                                                           {"silu", "silu"},
                                                           {"swish", "silu"},
                                                           {"tanh", "tanh"},
                                                           {"quick_gelu", "quick_gelu"}};
  if (const auto it = kOurs.find(name); it != kOurs.end()) return it->second;
  std::vector<std::string> known;
  known.reserve(kOurs.size());
  for (const auto& [theirs, ours] : kOurs) known.push_back(theirs);
  return Status(Code::kUnimplemented, Str("config.json: activation_function \"", name,
                                          "\" is not built; there are ", Join(known, ", ")));
}

// An error about our model, in the words of the file: "model.d_ff: ..." is its n_inner.
Status InWordsOfTheFile(const Status& status) {
  static constexpr std::pair<std::string_view, std::string_view> kWords[] = {
      {"model.d_model", "n_embd"},
      {"model.d_ff", "n_inner"},
      {"model.activation", "activation_function"},
      {"model.", ""}};
  std::string text(status.message());
  for (const auto& [ours, theirs] : kWords) {
    for (std::size_t at = text.find(ours); at != std::string::npos; at = text.find(ours, at)) {
      text.replace(at, ours.size(), theirs);
    }
  }
  // An unknown name in a configuration is a wrong value, no missing file.
  const bool not_found = status.code() == Code::kNotFound;
  return Status(not_found ? Code::kInvalidArgument : status.code(), Str("config.json: ", text));
}

// The folder's tensors under our names.
std::string CanonicalName(const std::string& name) {
  if (name.starts_with("transformer.") || name == kHead) return name;
  return "transformer." + name;
}

// Buffers that older versions of transformers saved: the causal mask and its fill value.
bool IsMaskBuffer(const std::string& name) {
  return name.starts_with("transformer.h.") &&
         (name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias"));
}

Result<ParameterMap> CollectParameters(const SafetensorsFile& file, const ModelConfig& model) {
  ASSIGN_OR_RETURN(const std::vector<ParameterSpec> specs, ParametersOf(model));
  std::map<std::string, const StoredTensor*> given;
  for (const auto& [stored_name, tensor] : file.tensors()) {
    const std::string name = CanonicalName(stored_name);
    if (!given.emplace(name, &tensor).second) {
      return Status(Code::kDataLoss, Str("tensor \"", name,
                                         "\" is there twice, with and without "
                                         "\"transformer.\""));
    }
  }
  // safetensors' save_model keeps one name of a tied pair, the first of the alphabet.
  if (model.tie_embeddings && !given.contains(kEmbedding)) {
    if (auto head = given.extract(std::string(kHead)); !head.empty()) {
      head.key() = kEmbedding;
      given.insert(std::move(head));
    }
  }
  ParameterMap parameters;
  for (const ParameterSpec& spec : specs) {
    const auto it = given.find(spec.name);
    if (it == given.end()) {
      return Status(Code::kDataLoss, Str("tensor \"", spec.name, "\" of shape ",
                                         ShapeText(spec.shape), " is missing"));
    }
    if (it->second->shape != spec.shape) {
      return Status(Code::kDataLoss,
                    Str("tensor \"", spec.name, "\" has the shape ", ShapeText(it->second->shape),
                        ", config.json asks for ", ShapeText(spec.shape)));
    }
    at::Tensor tensor = ToTensor(*it->second);
    if (!tensor.is_floating_point()) {
      return Status(Code::kDataLoss, Str("tensor \"", spec.name, "\" holds ",
                                         StoredTypeName(it->second->type), ", not floating point"));
    }
    parameters[spec.name] = std::move(tensor);
    given.erase(it);
  }
  for (const auto& [name, stored] : given) {
    if (IsMaskBuffer(name)) continue;
    if (name == kHead) {
      const StoredTensor* wte = file.Find(kEmbedding);
      if (wte == nullptr) wte = file.Find("wte.weight");
      const bool same = stored->type == wte->type && stored->shape == wte->shape &&
                        std::equal(stored->bytes.begin(), stored->bytes.end(), wte->bytes.begin());
      if (same) continue;
      return Status(
          Code::kDataLoss,
          "lm_head.weight differs from transformer.wte.weight, but config.json ties them: "
          "set tie_word_embeddings to false, or leave lm_head.weight out");
    }
    return Status(Code::kDataLoss, Str("tensor \"", name,
                                       "\" is not part of a model with position "
                                       "method \"",
                                       model.position.method, "\""));
  }
  return parameters;
}

}  // namespace

Result<NetConfig> ParseModelConfig(const Json& config) {
  if (!config.is_object()) return Status(Code::kInvalidArgument, "config.json is no JSON object");
  const Reader read(config);
  RETURN_IF_ERROR(RefuseUnbuilt(config, read));
  RETURN_IF_ERROR(RefuseUnknownKeys(config));

  NetConfig net;
  ModelConfig& model = net.model;
  ASSIGN_OR_RETURN(model.vocab_size, read.Int("vocab_size", kDefaultVocab));
  ASSIGN_OR_RETURN(model.d_model, read.Int("n_embd", kDefaultWidth));
  ASSIGN_OR_RETURN(model.n_layer, read.Int("n_layer", kDefaultLayers));
  ASSIGN_OR_RETURN(model.n_head, read.Int("n_head", kDefaultHeads));
  ASSIGN_OR_RETURN(model.d_ff, read.Int("n_inner", 0));
  if (!read.Has("n_inner")) model.d_ff = 4 * model.d_model;
  ASSIGN_OR_RETURN(const std::string activation, read.String("activation_function", "gelu_new"));
  ASSIGN_OR_RETURN(model.activation, ParseActivation(activation));
  ASSIGN_OR_RETURN(model.layer_norm_epsilon, read.Double("layer_norm_epsilon", 1e-5));
  ASSIGN_OR_RETURN(model.tie_embeddings, read.Bool("tie_word_embeddings", true));
  ASSIGN_OR_RETURN(model.causal, read.Bool("causal", true));
  ASSIGN_OR_RETURN(net.scale_attn_weights, read.Bool("scale_attn_weights", true));
  ASSIGN_OR_RETURN(net.scale_attn_by_inverse_layer_idx,
                   read.Bool("scale_attn_by_inverse_layer_idx", false));
  // Nothing of a forward pass, but our own checkpoints are compared with their run.
  ASSIGN_OR_RETURN(const double init_std, read.Double("initializer_range", model.init_std));
  if (init_std >= 1e-6 && init_std <= 10.0) model.init_std = init_std;
  const Json position = read.Has("position") ? config["position"] : Json("learned");
  Result<PositionConfig> resolved = ResolvePosition(position);
  if (!resolved) return InWordsOfTheFile(resolved.status());
  model.position = std::move(resolved).value();

  // n_ctx is the older name of n_positions.
  ASSIGN_OR_RETURN(const std::int64_t n_ctx, read.Int("n_ctx", kDefaultPositions));
  ASSIGN_OR_RETURN(const std::int64_t n_positions, read.Int("n_positions", n_ctx));
  ASSIGN_OR_RETURN(const PositionMethod* method, FindPositionMethod(model.position.method));
  if (method->has_position_table) model.n_positions = n_positions;
  if (const Status status = model.Check(); !status.ok()) return InWordsOfTheFile(status);
  return net;
}

Json ModelConfigJson(const NetConfig& net) {
  const ModelConfig& model = net.model;
  Json json = {{"architectures", {"GPT2LMHeadModel"}},
               {"model_type", "gpt2"},
               {"vocab_size", model.vocab_size},
               {"n_embd", model.d_model},
               {"n_layer", model.n_layer},
               {"n_head", model.n_head},
               {"n_inner", model.d_ff},
               {"activation_function", model.activation},
               {"layer_norm_epsilon", model.layer_norm_epsilon},
               {"tie_word_embeddings", model.tie_embeddings},
               {"scale_attn_weights", net.scale_attn_weights},
               {"scale_attn_by_inverse_layer_idx", net.scale_attn_by_inverse_layer_idx},
               {"initializer_range", model.init_std},
               {"embd_pdrop", 0},
               {"attn_pdrop", 0},
               {"resid_pdrop", 0},
               {"position", model.position.ToJson()},
               {"causal", model.causal}};
  if (model.n_positions > 0) json["n_positions"] = model.n_positions;
  return json;
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

  const std::string tensors_path = JoinPath(folder, "model.safetensors");
  const std::string index_path = tensors_path + ".index.json";
  if (!PathExists(tensors_path) && PathExists(index_path)) {
    return Status(Code::kUnimplemented,
                  Str(index_path,
                      ": weights in several files are not read; save the model with a "
                      "max_shard_size above its size, as one model.safetensors"));
  }
  const std::string pickle_path = JoinPath(folder, "pytorch_model.bin");
  if (!PathExists(tensors_path) && PathExists(pickle_path)) {
    return Status(Code::kInvalidArgument,
                  Str(pickle_path,
                      ": a pickle is never opened, since it can run code; save the model with "
                      "safe_serialization=True, as model.safetensors"));
  }
  if (!PathExists(tensors_path)) {
    return Status(Code::kNotFound,
                  Str(tensors_path, " is missing: save the model's weights there, as safetensors"));
  }
  ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Open(tensors_path));
  Result<ParameterMap> parameters = CollectParameters(file, net->model);
  if (!parameters) return std::move(parameters).status().In(tensors_path);
  return ModelFolder{.config = std::move(net).value(), .parameters = std::move(parameters).value()};
}

}  // namespace longrun
