#include "model/architecture/architecture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/str.h"
#include "model/architecture/rope_keys.h"
#include "model/extension/extension.h"
#include "model/position/method.h"

namespace longrun {
namespace {

NetConfig Read(const Json& config) {
  const std::string name = config.at("model_type");
  return FindArchitecture(name).value()->read(config).value();
}

std::string ErrorOf(const Json& config) {
  const std::string name = config.at("model_type");
  const auto net = FindArchitecture(name).value()->read(config);
  return net.ok() ? net->model.Check().message() : net.status().message();
}

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// ---- published models --------------------------------------------------------------------------

struct Published {
  const char* name;
  Json config;
  std::int64_t n_parameters;
};

// What differs from transformers' defaults in the model's config.json; the number of elements in
// its safetensors files, as its page on the Hugging Face hub gives it.
const Published kPublished[] = {
    {"Llama-2-7b", {{"model_type", "llama"}}, 6'738'415'616},
    {"Meta-Llama-3-8B",
     {{"model_type", "llama"},
      {"vocab_size", 128256},
      {"intermediate_size", 14336},
      {"num_key_value_heads", 8},
      {"rope_theta", 500000.0}},
     8'030'261'248},
    {"Mistral-7B-v0.1", {{"model_type", "mistral"}}, 7'241'732'096},
    {"Qwen2-7B",
     {{"model_type", "qwen2"},
      {"vocab_size", 152064},
      {"hidden_size", 3584},
      {"intermediate_size", 18944},
      {"num_hidden_layers", 28},
      {"num_attention_heads", 28},
      {"num_key_value_heads", 4}},
     7'615'616'512},
    {"gpt-j-6b", {{"model_type", "gptj"}}, 6'050'882'784},
    {"gpt-neox-20b", {{"model_type", "gpt_neox"}}, 20'554'567'680},
    {"pythia-70m",
     {{"model_type", "gpt_neox"},
      {"vocab_size", 50304},
      {"hidden_size", 512},
      {"intermediate_size", 2048},
      {"num_hidden_layers", 6},
      {"num_attention_heads", 8}},
     70'426'624},
    {"Baichuan-7B", {{"model_type", "baichuan"}}, 7'000'559'616},
    {"gpt2", {{"model_type", "gpt2"}}, 124'439'808},
    // sum(p.numel() for p in ALiBiTransformer(ALiBiConfig()).parameters()) = 1,975,296,
    // and our embedding.
    {"jaketae/alibi", {{"model_type", "jaketae"}, {"vocab_size", 1000}}, 1'975'296 + 1000 * 256},
};

TEST(ArchitectureTest, PublishedModelsHaveTheirNumbersOfParameters) {
  for (const Published& published : kPublished) {
    const ModelConfig model = Read(published.config).model;
    ASSERT_TRUE(model.Check().ok()) << published.name << ": " << model.Check().message();
    EXPECT_EQ(model.ParameterCount(), published.n_parameters) << published.name;
  }
}

// The keys of these models' config.json as they are published, tokens and dtypes left out.
TEST(ArchitectureTest, PublishedConfigurationsAreReadAsTheyAre) {
  const auto parameters = [](const char* text) {
    const NetConfig net = Read(ParseJson(text).value());
    EXPECT_TRUE(net.model.Check().ok()) << net.model.Check().message();
    return net.model.ParameterCount();
  };
  EXPECT_EQ(parameters(/* Llama-3.1-8B */ R"({
      "attention_bias": false, "hidden_act": "silu", "hidden_size": 4096,
      "intermediate_size": 14336, "max_position_embeddings": 131072, "mlp_bias": false,
      "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 32,
      "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
      "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                       "original_max_position_embeddings": 8192, "rope_type": "llama3"},
      "rope_theta": 500000.0, "tie_word_embeddings": false, "vocab_size": 128256})"),
            8'030'261'248);
  EXPECT_EQ(parameters(/* Mistral-7B-v0.3 */ R"({
      "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 14336,
      "max_position_embeddings": 32768, "model_type": "mistral", "num_attention_heads": 32,
      "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
      "rope_theta": 1000000.0, "sliding_window": null, "tie_word_embeddings": false,
      "vocab_size": 32768})"),
            7'248'023'552);
  EXPECT_EQ(parameters(/* Qwen2.5-0.5B */ R"({
      "hidden_act": "silu", "hidden_size": 896, "intermediate_size": 4864,
      "max_position_embeddings": 32768, "max_window_layers": 24, "model_type": "qwen2",
      "num_attention_heads": 14, "num_hidden_layers": 24, "num_key_value_heads": 2,
      "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 32768,
      "tie_word_embeddings": true, "use_mrope": false, "use_sliding_window": false,
      "vocab_size": 151936})"),
            494'032'768);
  EXPECT_EQ(parameters(/* SmolLM2-135M */ R"({
      "attention_bias": false, "hidden_act": "silu", "hidden_size": 576,
      "intermediate_size": 1536, "is_llama_config": true, "max_position_embeddings": 8192,
      "model_type": "llama", "num_attention_heads": 9, "num_hidden_layers": 30,
      "num_key_value_heads": 3, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
      "rope_interleaved": false, "rope_scaling": null, "rope_theta": 100000,
      "tie_word_embeddings": true, "vocab_size": 49152})"),
            134'515'008);
  EXPECT_EQ(parameters(/* TinyLlama-1.1B */ R"({
      "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 5632,
      "max_position_embeddings": 2048, "model_type": "llama", "num_attention_heads": 32,
      "num_hidden_layers": 22, "num_key_value_heads": 4, "rms_norm_eps": 1e-05,
      "rope_scaling": null, "tie_word_embeddings": false, "vocab_size": 32000})"),
            1'100'048'384);
  EXPECT_EQ(parameters(/* Yarn-Llama-2-7b-64k */ R"({
      "auto_map": {"AutoModelForCausalLM": "modeling_llama_together_yarn.LlamaForCausalLM"},
      "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 11008,
      "max_position_embeddings": 65536, "model_type": "llama", "num_attention_heads": 32,
      "num_hidden_layers": 32, "num_key_value_heads": 32, "pretraining_tp": 1,
      "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 16.0, "finetuned": true,
      "original_max_position_embeddings": 4096, "type": "yarn"}, "tie_word_embeddings": false,
      "vocab_size": 32000})"),
            6'738'415'616);
  EXPECT_EQ(parameters(/* deepseek-coder-6.7b-base */ R"({
      "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 11008,
      "max_position_embeddings": 16384, "model_type": "llama", "num_attention_heads": 32,
      "num_hidden_layers": 32, "num_key_value_heads": 32, "pretraining_tp": 1,
      "rms_norm_eps": 1e-06, "rope_scaling": {"factor": 4.0, "type": "linear"},
      "rope_theta": 100000, "tie_word_embeddings": false, "vocab_size": 32256})"),
            6'740'512'768);
}

// ---- config.json -------------------------------------------------------------------------------

TEST(ArchitectureTest, AConfigurationReadsBackAsItWasWritten) {
  for (const Architecture* architecture : Architectures()) {
    for (const char* method : {"rope", "cable"}) {
      NetConfig net;
      net.model.n_layer = 2;
      net.model.n_head = 6;
      net.model.d_model = 48;
      net.model.vocab_size = 40;
      ASSERT_TRUE(net.model.SetArchitecture(std::string(architecture->name)).ok());
      net.model.init_std = 0.03;
      net.model.position = ResolvePosition(method).value();
      const Status status = net.model.Check();
      ASSERT_TRUE(status.ok()) << architecture->name << ": " << status.message();
      const auto read = architecture->read(architecture->write(net));
      ASSERT_TRUE(read.ok()) << architecture->name << ": " << read.status().message();
      EXPECT_EQ(CanonicalJson(read->model.ToJson()), CanonicalJson(net.model.ToJson()));
      EXPECT_EQ(read->model.position.ToJson(), net.model.position.ToJson());
    }
  }
}

// What a model's heads turn by, its file's scaling included.
ExtendedRotation RotationOf(const NetConfig& net, std::int64_t n_tokens) {
  const Json& rope = net.model.position.params;
  const auto method = FindPositionMethod("rope").value();
  const TermSpec terms = method->terms(rope, net.model.attention_shape()).value();
  const RopeShape shape = {
      .base = rope.at("base").get<double>(),
      .n_rotary = 2 * static_cast<std::int64_t>(terms.rotation->frequency.size())};
  if (net.extension.is_null()) return {.frequency = RopeFrequencies(shape)};
  const Extension* const extension =
      FindExtension(net.extension.at("method").get<std::string>()).value();
  return extension->rotation(net.extension, shape, n_tokens).value();
}

// Files know neither ntk, nor ntk_by_parts, nor yarn's revised ramp; what they know says the same.
TEST(ArchitectureTest, EachExtensionTurnsAsBeforeWhenItIsReadBack) {
  const Json extensions[] = {
      {{"method", "pi"}, {"factor", 4}},
      {{"method", "ntk"}, {"factor", 4}},
      {{"method", "dynamic_ntk"}, {"factor", 2}, {"original_length", 64}},
      {{"method", "ntk_by_parts"},
       {"factor", 8},
       {"original_length", 64},
       {"beta_fast", 4},
       {"truncate", false}},
      {{"method", "ntk_by_parts"}, {"factor", 8}, {"original_length", 64}, {"variant", "revised"}},
      {{"method", "yarn"}, {"factor", 8}, {"original_length", 64}},
      {{"method", "yarn"}, {"factor", 8}, {"original_length", 64}, {"variant", "revised"}},
      {{"method", "llama3"}, {"factor", 8}, {"original_length", 64}},
      {{"method", "longrope"},
       {"factor", 4},
       {"original_length", 64},
       {"short_factor", {1, 1.5, 2, 3}},
       {"long_factor", {2, 3, 4, 5}}}};
  for (const Extension* const known : Extensions()) {
    const auto is_known = [&](const Json& one) { return one.at("method") == known->name; };
    EXPECT_TRUE(!known->trains || std::ranges::any_of(extensions, is_known))
        << known->name << " trains, so a checkpoint has to say it";
  }
  for (const char* const name : {"llama", "gpt_neox"}) {
    const Architecture* const architecture = FindArchitecture(name).value();
    for (const Json& extension : extensions) {
      Json config = {{"model_type", name},
                     {"hidden_size", 16},
                     {"num_attention_heads", 2},
                     {"max_position_embeddings", 64}};
      if (architecture->name == "gpt_neox") config["rotary_pct"] = 1.0;
      NetConfig net = Read(config);
      net.extension = ResolveExtension(extension).value();
      const auto again = architecture->read(architecture->write(net));
      ASSERT_TRUE(again.ok()) << name << " " << extension << ": " << again.status().message();
      for (const std::int64_t n_tokens : {32, 200}) {
        const ExtendedRotation before = RotationOf(net, n_tokens);
        const ExtendedRotation after = RotationOf(*again, n_tokens);
        ASSERT_EQ(after.frequency.size(), 4u);
        for (std::size_t c = 0; c < 4; ++c) {
          EXPECT_NEAR(after.frequency[c] / before.frequency[c], 1.0, 1e-12)
              << name << " " << extension << " pair " << c;
        }
        EXPECT_EQ(after.magnitude, before.magnitude) << name << " " << extension;
      }
    }
  }
}

// transformers (modeling_rope_utils.py, _compute_yarn_parameters) takes the ratio of the lengths
// for a factor of null.
TEST(ArchitectureTest, YarnWithoutAFactorTakesTheRatioOfTheLengths) {
  Json config = {
      {"model_type", "llama"},
      {"max_position_embeddings", 16384},
      {"rope_scaling",
       {{"rope_type", "yarn"}, {"factor", nullptr}, {"original_max_position_embeddings", 4096}}}};
  EXPECT_EQ(ErrorOf(config), "");
  EXPECT_EQ(FindArchitecture("llama").value()->read(config).value().extension.at("factor"), 4.0);
  config["rope_scaling"].erase("original_max_position_embeddings");
  EXPECT_TRUE(Has(ErrorOf(config), "config.json: rope_scaling.factor: "));
}

// PoSE's files say "yarn" and mean the revised form, in the words of files of the paper's form.
TEST(ArchitectureTest, AYarnThatCanBeTwoThingsIsAskedAboutAndTheAnswerIsTaken) {
  Json config = {{"model_type", "llama"},
                 {"max_position_embeddings", 64},
                 {"rope_scaling", {{"type", "yarn"}, {"factor", 8}}}};
  EXPECT_EQ(CheckYarnIsTold(config).message(),
            "config.json: rope_scaling of type \"yarn\" may mean the revised form of YaRN (PoSE's "
            "models) or the paper's (others); add \"variant\": \"revised\" or \"variant\": "
            "\"paper\" to rope_scaling");
  EXPECT_EQ(Read(config).extension.at("variant"), "paper");  // as it was imported before
  config["rope_scaling"]["variant"] = "revised";
  EXPECT_TRUE(CheckYarnIsTold(config).ok());
  EXPECT_EQ(Read(config).extension.at("variant"), "revised");
  config["rope_scaling"]["variant"] = "other";
  EXPECT_TRUE(Has(ErrorOf(config), "config.json: rope_scaling.variant: expected one of"))
      << ErrorOf(config);
  // As PoSE's code writes it, then Qwen2.5's, Yarn-Llama-2's, and what transformers writes itself.
  config["rope_scaling"] = {
      {"type", "yarn"}, {"factor", 4}, {"original_max_position_embeddings", 32768}};
  EXPECT_TRUE(Has(CheckYarnIsTold(config).message(), "PoSE's models"));
  config["model_type"] = "qwen2";
  EXPECT_TRUE(CheckYarnIsTold(config).ok());
  config["model_type"] = "llama";
  config["rope_scaling"]["finetuned"] = true;
  EXPECT_TRUE(CheckYarnIsTold(config).ok());
  EXPECT_TRUE(CheckYarnIsTold({{"rope_scaling", {{"rope_type", "yarn"}, {"factor", 4}}}}).ok());
  EXPECT_TRUE(CheckYarnIsTold({{"model_type", "llama"}}).ok());
}

TEST(ArchitectureTest, APartOfTheBodyThatTheArchitectureHasNotIsRefusedByName) {
  const auto message = [](const char* name, const std::function<void(ModelConfig&)>& spoil) {
    ModelConfig model = ModelConfig::Preset("micro").value();
    model.vocab_size = 256;
    model.position = ResolvePosition("rope").value();
    EXPECT_TRUE(model.SetArchitecture(name).ok());
    EXPECT_TRUE(model.Check().ok()) << model.Check().message();
    spoil(model);
    return model.Check().message();
  };
  EXPECT_EQ(message("gpt2", [](ModelConfig& m) { m.body.n_kv_head = 2; }),
            "model.n_kv_head: architecture \"gpt2\" has 4, found 2; choose another architecture, "
            "or leave this key out");
  EXPECT_TRUE(Has(message("gpt2", [](ModelConfig& m) { m.body.window = 8; }),
                  "model.sliding_window: architecture \"gpt2\" has 0, found 8"));
  EXPECT_TRUE(Has(message("llama", [](ModelConfig& m) { m.body.norm = NormKind::kLayerNorm; }),
                  "model.norm: architecture \"llama\" has \"rms_norm\""));
  EXPECT_TRUE(
      Has(message("llama", [](ModelConfig& m) { m.body.out_bias = true; }), "model.out_bias"));
  EXPECT_TRUE(
      Has(message("mistral", [](ModelConfig& m) { m.SetAttentionBias(true); }), "model.qkv_bias"));
  EXPECT_TRUE(Has(message("gptj", [](ModelConfig& m) { m.body.head_dim = 8; }), "model.head_dim"));
  EXPECT_TRUE(Has(
      message("gpt_neox", [](ModelConfig& m) { m.body.block = BlockKind::kParallelSharedNorm; }),
      "model.block"));
  EXPECT_EQ(message("llama", [](ModelConfig& m) { m.body.n_kv_head = 3; }),
            "model.n_kv_head: 3 does not divide model.n_head 4; choose a divisor");
  EXPECT_TRUE(Has(message("mistral", [](ModelConfig& m) { m.causal = false; }),
                  "needs model.causal: true"));
  EXPECT_EQ(message("llama", [](ModelConfig& m) { m.body.n_kv_head = 2; }), "");
  EXPECT_EQ(message("llama", [](ModelConfig& m) { m.SetAttentionBias(true); }), "");
  EXPECT_EQ(message("gpt_neox", [](ModelConfig& m) { m.body.block = BlockKind::kSequential; }), "");
}

TEST(ArchitectureTest, KeysThatChangeTheMathematicsAreHonouredOrRefusedByName) {
  const auto with = [](const char* type, const char* key, Json value) {
    return Json{{"model_type", type}, {key, std::move(value)}};
  };
  const std::pair<const char*, const char*> unknown[] = {
      {"gptj", "rope_theta"}, {"gpt_neox", "num_key_value_heads"}, {"llama", "n_embd"}};
  for (const auto& [type, key] : unknown) {
    EXPECT_TRUE(Has(ErrorOf(with(type, key, 1)), "is unknown, and could change")) << key;
  }
  EXPECT_TRUE(
      Has(ErrorOf(with("llama", "hidden_act", "mish")), "hidden_act \"mish\" is not supported"));
  EXPECT_TRUE(
      Has(ErrorOf(with("gptj", "rotary_dim", Json())), "\"rotary_dim\": null is not supported"));
  EXPECT_TRUE(Has(ErrorOf(with("gptj", "rotary_dim", 257)), "rotary_dim: expected 2 to the 256"));
  EXPECT_TRUE(Has(ErrorOf(with("gptj", "n_head", 0)), "model.n_head: expected 1"));
  for (const char* key : {"head_dim", "num_key_value_heads"}) {
    for (const int wrong : {0, -2}) {
      EXPECT_TRUE(Has(ErrorOf(with("llama", key, wrong)),
                      key + Str(": expected at least 1, found ", wrong)));
    }
  }
  EXPECT_TRUE(Has(ErrorOf(with("llama", "num_key_value_heads", 5)), "5 does not divide"));
  EXPECT_TRUE(Has(ErrorOf(with("qwen2", "layer_types", {"full_attention"})), "layer_types"));
  EXPECT_TRUE(Has(ErrorOf(with("mistral", "sliding_window", 0)), "sliding_window: expected at"));
  EXPECT_TRUE(Has(ErrorOf(with("baichuan", "model_max_length", 4096)), "Baichuan-13B and Baic"));

  EXPECT_EQ(Read(with("mistral", "head_dim", 64)).model.head_dim(), 64);
  EXPECT_EQ(Read({{"model_type", "mistral"}}).model.body.window, 4096);
  EXPECT_EQ(Read(with("mistral", "sliding_window", Json())).model.body.window, 0);
  EXPECT_EQ(Read(with("mistral", "num_key_value_heads", Json())).model.n_kv_head(), 32);
  EXPECT_EQ(Read(with("qwen2", "sliding_window", 77)).model.body.window, 0);  // not in use
  EXPECT_EQ(Read(with("gpt_neox", "use_parallel_residual", false)).model.body.block,
            BlockKind::kSequential);
  EXPECT_TRUE(Read(with("llama", "attention_bias", true)).model.body.out_bias);
}

// transformers' Qwen2Config: the first max_window_layers layers see all keys;
// layer_types says it one by one.
TEST(ArchitectureTest, TheLayersOfQwen2HaveTheWindowThatTheFileGivesThem) {
  using Layers = std::vector<std::int64_t>;
  const auto read = [](const Json& changes) {
    Json config = {{"model_type", "qwen2"}, {"num_hidden_layers", 3}, {"sliding_window", 9}};
    config.update(changes);
    const NetConfig net = Read(config);
    const auto again = FindArchitecture("qwen2").value()->write(net);
    EXPECT_EQ(CanonicalJson(Read(again).model.ToJson()), CanonicalJson(net.model.ToJson()));
    EXPECT_EQ(Read(again).full_layers, net.full_layers);
    return std::pair(net.model.body.window, net.full_layers);
  };
  const Json sliding = "sliding_attention", full = "full_attention";
  EXPECT_EQ(read({{"max_window_layers", 1}}), std::pair(0L, Layers{}));
  EXPECT_EQ(read({{"use_sliding_window", true}}), std::pair(0L, Layers{}));  // from layer 28 on
  Json windowed = {{"use_sliding_window", true}, {"max_window_layers", 0}};
  EXPECT_EQ(read(windowed), std::pair(9L, Layers{}));
  windowed["max_window_layers"] = 2;
  EXPECT_EQ(read(windowed), std::pair(9L, Layers{0, 1}));
  windowed["layer_types"] = {sliding, full, sliding};
  EXPECT_EQ(read(windowed), std::pair(9L, Layers{1}));
  windowed["layer_types"] = {full, full, full};
  EXPECT_EQ(read(windowed), std::pair(0L, Layers{}));
  EXPECT_TRUE(Has(ErrorOf({{"model_type", "qwen2"},
                           {"num_hidden_layers", 1},
                           {"layer_types", Json::array({sliding})}}),
                  "needs use_sliding_window true"));
}

// torch.nn.Embedding's padding_idx, which transformers makes of it in these models.
TEST(ArchitectureTest, TheRowOfPaddingIsReadWhereTheModelHasOne) {
  const auto padding = [](const char* type, Json id) {
    return Read({{"model_type", type}, {"vocab_size", 11}, {"pad_token_id", std::move(id)}})
        .padding_id;
  };
  for (const char* type : {"llama", "mistral", "qwen2", "baichuan"}) {
    EXPECT_EQ(padding(type, 3), 3);
    EXPECT_EQ(padding(type, -1), 10);
    EXPECT_EQ(padding(type, Json()), -1);
    EXPECT_TRUE(Has(ErrorOf({{"model_type", type}, {"vocab_size", 11}, {"pad_token_id", 11}}),
                    "pad_token_id: expected null or one of the 11 rows"));
  }
  EXPECT_EQ(padding("gpt_neox", 3), -1);
  EXPECT_EQ(Read({{"model_type", "llama"}}).padding_id, -1);
  EXPECT_EQ(Read({{"model_type", "baichuan"}}).padding_id, 0);
}

// Of EleutherAI/gpt-j-6b, gpt-neox-20b, huggyllama/llama-7b.
TEST(ArchitectureTest, KeysOfWellKnownCheckpointsThatChangeNothingAreAccepted) {
  EXPECT_EQ(ErrorOf({{"model_type", "gptj"}, {"rotary", true}, {"scale_attn_weights", true}}), "");
  EXPECT_EQ(ErrorOf({{"model_type", "gpt_neox"},
                     {"hidden_act", "gelu_fast"},
                     {"attention_probs_dropout_prob", 0},
                     {"hidden_dropout_prob", 0}}),
            "");
  EXPECT_EQ(ErrorOf({{"model_type", "llama"}, {"max_sequence_length", 2048}}), "");
  EXPECT_EQ(ErrorOf({{"model_type", "gptj"}, {"rotary", false}}),
            "config.json: rotary: false is not supported");
  // At any other value they are refused.
  EXPECT_EQ(ErrorOf({{"model_type", "mistral"}, {"attention_bias", false}}), "");
  const std::pair<const char*, std::pair<const char*, Json>> refused[] = {
      {"mistral", {"attention_bias", true}}, {"qwen2", {"mlp_bias", true}},
      {"llama", {"sliding_window", 4096}},   {"qwen2", {"use_mrope", true}},
      {"llama", {"rope_interleaved", true}}, {"llama", {"is_llama_config", false}}};
  for (const auto& [type, key] : refused) {
    EXPECT_TRUE(Has(ErrorOf({{"model_type", type}, {key.first, key.second}}),
                    key.first + std::string(": ") + key.second.dump() + " is not supported; only"));
  }
  EXPECT_TRUE(Has(ErrorOf({{"model_type", "qwen2"}, {"dual_chunk_attention_config", {{"a", 1}}}}),
                  "remove it to read the model with plain attention"));
}

// int(head_dim * partial) must be rotary_dim again: 49 * (1 / 49) is below 1.
TEST(ArchitectureTest, GptjTurnsExactlyRotaryDimChannels) {
  for (const std::int64_t rotary_dim : {2, 6, 34, 98}) {
    const ModelConfig model =
        Read({{"model_type", "gptj"}, {"n_embd", 98}, {"n_head", 1}, {"rotary_dim", rotary_dim}})
            .model;
    const PositionMethod* method = FindPositionMethod("rope").value();
    const TermSpec terms = method->terms(model.position.params, model.attention_shape()).value();
    EXPECT_EQ(2 * static_cast<std::int64_t>(terms.rotation->frequency.size()), rotary_dim);
    EXPECT_EQ(terms.rotation->layout, Rotation::Layout::kInterleaved);
  }
}

// ---- rotary positions --------------------------------------------------------------------------

TEST(ArchitectureTest, TheBaseOfRopeMayBeSpelledInThreeWaysThatAgree) {
  const auto base = [](Json config) {
    config["model_type"] = "gpt_neox";
    return Read(config).model.position.params.at("base").get<double>();
  };
  EXPECT_EQ(base(Json::object()), 10000.0);
  EXPECT_EQ(base({{"rotary_emb_base", 500}}), 500.0);
  EXPECT_EQ(base({{"rotary_emb_base", 500}, {"rope_theta", 500.0}}), 500.0);
  EXPECT_EQ(base({{"rope_parameters", {{"rope_theta", 2e6}, {"rope_type", "default"}}}}), 2e6);
  EXPECT_EQ(ErrorOf({{"model_type", "gpt_neox"}, {"rotary_emb_base", 500}, {"rope_theta", 10000}}),
            "config.json: rope_theta 10000 contradicts rotary_emb_base 500; leave one of the two "
            "out");
  // Alone, transformers 4.57 and 5.23 pass over it.
  EXPECT_EQ(base({{"rope_theta", 10000}}), 10000.0);
  EXPECT_EQ(ErrorOf({{"model_type", "gpt_neox"}, {"rope_theta", 500}}),
            "config.json: rope_theta 500 has no effect without rotary_emb_base: transformers uses "
            "10000; give "
            "rotary_emb_base");
  EXPECT_TRUE(Has(ErrorOf({{"model_type", "gpt_neox"}, {"partial_rotary_factor", 0.5}}),
                  "partial_rotary_factor 0.5 has no effect without rotary_pct"));
}

TEST(ArchitectureTest, TheBaseOfRopeInsideAScalingCounts) {
  const Json scaling = {{"rope_type", "linear"}, {"factor", 2}, {"rope_theta", 5000}};
  Json config = {{"model_type", "llama"}, {"rope_scaling", scaling}};
  EXPECT_EQ(Read(config).model.position.params.at("base").get<double>(), 5000);
  config["rope_theta"] = 10000;
  EXPECT_TRUE(Has(ErrorOf(config), "rope_scaling.rope_theta 5000 contradicts rope_theta 10000"));
}

// What a scaling cannot carry is refused where it is read, in the file's own words.
TEST(ArchitectureTest, AScalingThatCannotBeCarriedOutIsRefusedByTheFilesOwnKeys) {
  const auto error = [](const Json& scaling) {
    return ErrorOf({{"model_type", "llama"}, {"rope_scaling", scaling}});
  };
  EXPECT_EQ(error({{"rope_type", "llama3"},
                   {"factor", 8},
                   {"low_freq_factor", 4},
                   {"high_freq_factor", 4},
                   {"original_max_position_embeddings", 8192}}),
            "config.json: rope_scaling.high_freq_factor: expected more than low_freq_factor 4, "
            "found 4");
  const Json lambdas = std::vector<double>(64, 1.5);
  Json longrope = {
      {"model_type", "llama"},
      {"max_position_embeddings", 16384},
      {"original_max_position_embeddings", 4096},
      {"rope_scaling",
       {{"rope_type", "longrope"}, {"short_factor", lambdas}, {"long_factor", {1.0, 2.0}}}}};
  EXPECT_EQ(ErrorOf(longrope),
            "config.json: rope_scaling.long_factor: expected a number for each of the 64 pairs of "
            "rotary channels, found 2");
  longrope["rope_scaling"]["long_factor"] = lambdas;
  EXPECT_EQ(ErrorOf(longrope), "");
  EXPECT_EQ(error({{"type", "linear"}, {"factor", 0.5}}),
            "config.json: rope_scaling.factor: expected a number from 1 to 1000000, found 0.5");
  EXPECT_EQ(error({{"type", "yarn"}, {"factor", 2}, {"original_max_position_embeddings", 1}}),
            "config.json: rope_scaling.original_max_position_embeddings: expected an integer from "
            "2 to 67108864, found 1");
  EXPECT_EQ(
      ErrorOf({{"model_type", "llama"},
               {"max_position_embeddings", 1},
               {"rope_scaling", {{"type", "dynamic"}, {"factor", 2}}}}),
      "config.json: max_position_embeddings: expected an integer from 2 to 67108864, found 1");
}

// A file has keys of its own for some of the extension's parameters, and makes others of two keys.
TEST(ArchitectureTest, AScalingIsRefusedByKeysThatTheFileHas) {
  Json yarn = {{"model_type", "llama"},
               {"rope_theta", 1},
               {"rope_scaling",
                {{"rope_type", "yarn"}, {"factor", 2}, {"original_max_position_embeddings", 64}}}};
  EXPECT_EQ(ErrorOf(yarn),
            "config.json: rope_scaling.rope_type: yarn needs a base above 1, and the model's is 1");
  yarn["rope_theta"] = 10000;
  yarn["rope_scaling"]["mscale"] = 1e9;
  yarn["rope_scaling"]["mscale_all_dim"] = 1;
  EXPECT_TRUE(Has(ErrorOf(yarn), "config.json: rope_scaling.mscale: expected a number from "));

  const Json lambdas = std::vector<double>(64, 1.5);
  Json longrope = {
      {"model_type", "llama"},
      {"max_position_embeddings", 2048},
      {"original_max_position_embeddings", 4096},
      {"rope_scaling",
       {{"rope_type", "longrope"}, {"short_factor", lambdas}, {"long_factor", lambdas}}}};
  EXPECT_EQ(ErrorOf(longrope),
            "config.json: max_position_embeddings / original_max_position_embeddings: expected a "
            "number from 1 to 1000000, found 0.5");
  longrope["rope_scaling"]["factor"] = 2;
  longrope["rope_scaling"]["attention_factor"] = 1;
  longrope["original_max_position_embeddings"] = 1;
  EXPECT_EQ(ErrorOf(longrope),
            "config.json: original_max_position_embeddings: expected an integer from 2 to "
            "67108864, found 1");
}

TEST(ArchitectureTest, AnErrorOfRopeNamesTheFilesOwnKeys) {
  EXPECT_EQ(ErrorOf({{"model_type", "gpt_neox"}, {"rotary_pct", 1.5}}),
            "config.json: rotary_pct: expected a number from 0 to 1, found 1.5");
  EXPECT_EQ(ErrorOf({{"model_type", "gpt_neox"}, {"rotary_pct", 0.001}}),
            "config.json: rotary_pct: 0.001 of head_dim 96 gives 0 rotary channels; expected an "
            "even number of at least 2");
  EXPECT_EQ(
      ErrorOf({{"model_type", "gpt_neox"}, {"rope_parameters", {{"partial_rotary_factor", -0.5}}}}),
      "config.json: rope_parameters.partial_rotary_factor: expected a number from 0 to 1, "
      "found -0.5");
  EXPECT_EQ(ErrorOf({{"model_type", "llama"}, {"rope_theta", 0.5}}),
            "config.json: rope_theta: expected a number from 1 to 1000000000000, found 0.5");
  EXPECT_TRUE(Has(
      ErrorOf({{"model_type", "llama"}, {"position", {{"method", "rope"}, {"partial", 0.001}}}}),
      "config.json: position.partial: 0.001 of head_dim 128 gives 0"));
}

// 0.3 of 12 channels are 3: transformers turns the pairs (0, 2) and (1, 3), by base^(-2c/3).
TEST(ArchitectureTest, AnOddNumberOfRotaryChannelsIsRoundedUpAsInTransformers) {
  Json config = {{"model_type", "gpt_neox"},
                 {"hidden_size", 24},
                 {"num_attention_heads", 2},
                 {"intermediate_size", 48},
                 {"rotary_pct", 0.3}};
  const ModelConfig model = Read(config).model;
  const auto method = FindPositionMethod("rope");
  const TermSpec terms = (*method)->terms(model.position.params, model.attention_shape()).value();
  ASSERT_EQ(terms.rotation->frequency.size(), 2u);
  EXPECT_EQ(terms.rotation->frequency[0], 1.0);
  EXPECT_NEAR(terms.rotation->frequency[1], std::pow(10000.0, -2.0 / 3.0), 1e-15);
  config["rope_scaling"] = {{"type", "linear"}, {"factor", 2}};
  EXPECT_EQ(ErrorOf(config),
            "config.json: rotary_pct 0.3 of 12 channels rotates an odd number of them; scaling of "
            "rotary positions is not supported for an odd number");
}

// transformers 4.57 fails on it, 5.23 passes over it.
TEST(ArchitectureTest, APartOfTheChannelsTurnsWhereTransformersCanDoIt) {
  Json config = {{"model_type", "llama"}, {"rope_parameters", {{"partial_rotary_factor", 0.5}}}};
  EXPECT_TRUE(Has(ErrorOf(config), "partial_rotary_factor 0.5: transformers' llama rotates all"));
  config["position"] = {{"method", "rope"}, {"partial", 0.5}};
  EXPECT_EQ(ErrorOf(config), "");
  config.erase("position");
  config["rope_parameters"]["partial_rotary_factor"] = 1;
  EXPECT_EQ(ErrorOf(config), "");
}

TEST(ArchitectureTest, OurPositionKeyIsWhatTheModelDoes) {
  const Json alibi = {{"model_type", "llama"}, {"position", "alibi"}, {"rope_theta", 5e5}};
  EXPECT_EQ(Read(alibi).model.position.method, "alibi");
  EXPECT_EQ(ErrorOf({{"model_type", "llama"}, {"position", "rope"}, {"rope_theta", 5e5}}),
            "config.json: rope_theta 500000.0 contradicts position.base 10000.0; leave one of the "
            "two out");
}

}  // namespace
}  // namespace longrun
