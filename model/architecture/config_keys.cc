#include "model/architecture/config_keys.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>
#include <vector>

#include "base/str.h"
#include "model/position/method.h"

namespace longrun {
namespace {

// Keys of all architectures that change the mathematics: read here or by every architecture.
constexpr std::array<std::string_view, 10> kCommon = {
    "model_type",          "vocab_size",         "tie_word_embeddings",
    "add_cross_attention", "is_encoder_decoder", "quantization_config",
    "pruned_heads",        "position",           "causal",
    "n_positions"};

// Keys that change nothing in a forward pass without dropout: where the weights come from, how they
// were initialised and trained, how text is generated from the logits, what else is returned.
// auto_map names Python files beside the weights; transformers ignores it for a model_type
// that it has itself.
constexpr std::array<std::string_view, 96> kHarmless = {"_name_or_path",
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
                                                        "max_time",
                                                        "attention_dropout",
                                                        "hidden_dropout",
                                                        "classifier_dropout",
                                                        "attention_probs_dropout_prob",
                                                        "hidden_dropout_prob",
                                                        "max_sequence_length",
                                                        "auto_map",
                                                        "transformers.js_config",
                                                        "unsloth_version",
                                                        "unsloth_fixed"};

// Keys that an architecture does not support, but that published files contain with the one value
// that changes nothing.
struct OnlyAs {
  std::string_view key;
  const char* value;  // JSON
};
constexpr OnlyAs kOnlyAs[] = {
    {"use_mrope", "false"},         // Qwen2.5
    {"rope_interleaved", "false"},  // SmolLM
    {"is_llama_config", "true"},    // SmolLM
    {"attention_bias", "false"},   {"mlp_bias", "false"}, {"sliding_window", "null"},
};

// Checks one key that the architecture does not support.
Status CheckForeignKey(const std::string& key, const Json& value,
                       const std::vector<std::string>& known) {
  for (const OnlyAs& only : kOnlyAs) {
    if (key != only.key) continue;
    if (value.is_null() || value.dump() == only.value) return Status();
    return Status(Code::kUnimplemented,
                  Str("config.json: ", key, ": ", value.dump(), " is not supported; only ",
                      only.value, " is supported"));
  }
  if (std::find(kHarmless.begin(), kHarmless.end(), key) != kHarmless.end()) return Status();
  if (key == "dual_chunk_attention_config" && !value.is_null()) {
    return Status(
        Code::kUnimplemented,
        "config.json: dual_chunk_attention_config is not supported; remove it to read the "
        "model with plain attention, as transformers does");
  }
  const std::string near = Nearest(key, known);
  return Status(
      Code::kInvalidArgument,
      Str("config.json: key \"", key, "\" is unknown, and could change the mathematics",
          near.empty() ? ": remove it if it does not" : Str("; did you mean \"", near, "\"?")));
}

}  // namespace

Result<std::int64_t> ConfigReader::Int(std::string_view key, std::int64_t absent) const {
  if (!Has(key)) return absent;
  return GetInt(config_, key, "config.json");
}

Result<double> ConfigReader::Double(std::string_view key, double absent) const {
  if (!Has(key)) return absent;
  return GetDouble(config_, key, "config.json");
}

Result<bool> ConfigReader::Bool(std::string_view key, bool absent) const {
  if (!Has(key)) return absent;
  return GetBool(config_, key, "config.json");
}

Result<std::string> ConfigReader::String(std::string_view key, std::string_view absent) const {
  if (!Has(key)) return std::string(absent);
  return GetString(config_, key, "config.json");
}

Status CheckConfigKeys(const Json& config, std::span<const std::string_view> honoured) {
  std::vector<std::string> known(honoured.begin(), honoured.end());
  known.insert(known.end(), kCommon.begin(), kCommon.end());
  for (const auto& [key, value] : config.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    RETURN_IF_ERROR(CheckForeignKey(key, value, known));
  }
  const ConfigReader read(config);
  for (const std::string_view key : {"add_cross_attention", "is_encoder_decoder"}) {
    ASSIGN_OR_RETURN(const bool wanted, read.Bool(key, false));
    if (wanted) {
      return Status(Code::kUnimplemented, Str("config.json: ", key, ": true is not supported"));
    }
  }
  for (const std::string_view key : {"quantization_config", "pruned_heads"}) {
    if (read.Has(key) && !config[key].empty()) {
      return Status(Code::kUnimplemented, Str("config.json: ", key, " is not supported"));
    }
  }
  return Status();
}

Result<MlpActivation> ReadActivation(const ConfigReader& read, std::string_view key,
                                     MlpActivation absent) {
  using enum MlpActivation;
  static const std::map<std::string, MlpActivation> kOurs = {
      {"gelu_new", kGeluNew},    {"gelu_pytorch_tanh", kGeluNew},
      {"gelu_fast", kGeluNew},   {"gelu_accurate", kGeluNew},
      {"gelu", kGelu},           {"gelu_python", kGelu},
      {"relu", kRelu},           {"silu", kSilu},
      {"swish", kSilu},          {"tanh", kTanh},
      {"quick_gelu", kQuickGelu}};
  ASSIGN_OR_RETURN(const std::string name, read.String(key, EnumName(absent)));
  if (const auto it = kOurs.find(name); it != kOurs.end()) return it->second;
  std::vector<std::string> known;
  known.reserve(kOurs.size());
  for (const auto& [theirs, ours] : kOurs) known.push_back(theirs);
  return Status(Code::kUnimplemented,
                Str("config.json: ", key, " \"", name, "\" is not supported; expected one of ",
                    Join(known, ", ")));
}

Status ReadCommon(const ConfigReader& read, bool tied_where_absent, ModelConfig& model) {
  ASSIGN_OR_RETURN(model.tie_embeddings, read.Bool("tie_word_embeddings", tied_where_absent));
  ASSIGN_OR_RETURN(model.causal, read.Bool("causal", true));
  // It has no effect on a forward pass, but our own checkpoints are compared with their run.
  ASSIGN_OR_RETURN(const double init_std, read.Double("initializer_range", model.init_std));
  if (init_std >= 1e-6 && init_std <= 10.0) model.init_std = init_std;
  return Status();
}

Status ReadPosition(const ConfigReader& read, const Json& rope,
                    std::initializer_list<RopeKey> rope_keys, ModelConfig& model) {
  ASSIGN_OR_RETURN(const PositionConfig own, ResolvePosition(rope));
  model.position = own;
  if (read.Has("position")) {
    ASSIGN_OR_RETURN(model.position, ResolvePosition(read["position"]));
    for (const RopeKey& given : rope_keys) {
      if (model.position.method != own.method || !read.Has(given.key)) continue;
      const Json& asked = model.position.params.at(std::string(given.param));
      if (asked == own.params.at(std::string(given.param))) continue;
      return Status(
          Code::kInvalidArgument,
          Str("config.json: ", given.key, " ", read[given.key].dump(), " contradicts position.",
              given.param, " ", asked.dump(), "; leave one of the two out"));
    }
  }
  ASSIGN_OR_RETURN(const PositionMethod* method, FindPositionMethod(model.position.method));
  if (!method->has_position_table) return Status();
  ASSIGN_OR_RETURN(const std::int64_t longest, read.Int("max_position_embeddings", 0));
  ASSIGN_OR_RETURN(model.n_positions, read.Int("n_positions", longest));
  return Status();
}

Json CommonConfigJson(const ModelConfig& model, std::string_view class_name) {
  Json json = {{"architectures", Json::array({class_name})},
               {"model_type", model.architecture},
               {"vocab_size", model.vocab_size},
               {"tie_word_embeddings", model.tie_embeddings},
               {"initializer_range", model.init_std},
               {"position", model.position.ToJson()},
               {"causal", model.causal}};
  if (model.n_positions > 0) json["n_positions"] = model.n_positions;
  return json;
}

}  // namespace longrun
