#include "model/net/model_folder.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "model/net/tensor_file.h"
#include "tests/model/net/small_model.h"

namespace longrun {
namespace {

Json SmallJson() { return ModelConfigJson(SmallConfig("learned", 8)); }

std::string ErrorOf(const Json& config) { return ParseModelConfig(config).status().message(); }

class ModelFolderTest : public testing::Test {
 protected:
  void Write(const Json& config, const std::map<std::string, at::Tensor>& tensors) {
    const std::string text = config.dump();
    ASSERT_TRUE(WriteFileAtomic(JoinPath(folder_.path(), "config.json"), text).ok());
    ASSERT_TRUE(WriteTensors(JoinPath(folder_.path(), "model.safetensors"), tensors).ok());
  }
  std::map<std::string, at::Tensor> Tensors() const {
    return InitialParameters(ParametersOf(SmallConfig("learned", 8).model).value(), 1);
  }
  std::string Error() const { return LoadModelFolder(folder_.path()).status().message(); }
  static bool Has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  }

  TempFolder folder_;
};

TEST_F(ModelFolderTest, AConfigurationReadsBackAsItWasWritten) {
  NetConfig config = SmallConfig({{"method", "cable"}, {"variant", "scaled"}});
  config.model.activation = MlpActivation::kRelu;
  config.model.d_ff = 20;
  config.scale_attn_by_inverse_layer_idx = true;
  const NetConfig read = ParseModelConfig(ModelConfigJson(config)).value();
  EXPECT_EQ(ModelConfigJson(read), ModelConfigJson(config));
  EXPECT_EQ(read.model.position.params["variant"], "scaled");
}

TEST_F(ModelFolderTest, MissingKeysHaveTheDefaultsOfTransformers) {
  const NetConfig gpt2 = ParseModelConfig({{"model_type", "gpt2"}}).value();
  EXPECT_EQ(gpt2.model.n_layer, 12);
  EXPECT_EQ(gpt2.model.d_model, 768);
  EXPECT_EQ(gpt2.model.d_ff, 3072);
  EXPECT_EQ(gpt2.model.vocab_size, 50257);
  EXPECT_EQ(gpt2.model.n_positions, 1024);
  EXPECT_EQ(gpt2.model.position.method, "learned");
  EXPECT_TRUE(gpt2.model.causal);
}

TEST_F(ModelFolderTest, KeysThatChangeTheMathematicsAreHonouredOrRefusedByName) {
  Json config = SmallJson();
  const auto with = [&](const char* key, Json value) {
    Json changed = config;
    changed[key] = std::move(value);
    return changed;
  };
  EXPECT_TRUE(Has(ErrorOf(with("n_hidden", 3)), "\"n_hidden\" is unknown"));
  EXPECT_TRUE(Has(ErrorOf(with("n_laier", 3)), "did you mean \"n_layer\"?"));
  EXPECT_TRUE(Has(ErrorOf(with("rope_theta", 1e4)), "\"rope_theta\" is unknown"));
  EXPECT_TRUE(Has(ErrorOf(with("model_type", "opt")), "model_type \"opt\" is not supported"));
  EXPECT_TRUE(Has(ErrorOf(with("add_cross_attention", true)), "add_cross_attention"));
  EXPECT_TRUE(Has(ErrorOf(with("activation_function", "mish")), "\"mish\" is not supported"));
  EXPECT_TRUE(Has(ErrorOf(with("quantization_config", {{"bits", 4}})), "quantization_config"));
  EXPECT_TRUE(Has(ErrorOf(with("position", "cabel")), "cable"));
  EXPECT_TRUE(Has(ErrorOf(with("n_head", 3)), "n_head"));
  EXPECT_TRUE(Has(ErrorOf(with("n_layer", "2")), "n_layer"));
  EXPECT_TRUE(Has(ErrorOf(with("n_embd", -8)), "config.json: n_embd: expected 1"));
  EXPECT_TRUE(Has(ErrorOf(with("n_inner", 0)), "config.json: n_inner: expected 1"));
  EXPECT_TRUE(Has(ErrorOf(with("vocab_size", 1)), "config.json: vocab_size: expected 2"));
  EXPECT_TRUE(ParseModelConfig(with("pruned_heads", Json::object())).ok());
  EXPECT_TRUE(ParseModelConfig(with("attn_pdrop", 0.1)).ok());  // no dropout at inference
  EXPECT_EQ(ParseModelConfig(with("activation_function", "gelu_pytorch_tanh"))->model.activation,
            MlpActivation::kGeluNew);
  EXPECT_EQ(ParseModelConfig(with("activation_function", "swish"))->model.activation,
            MlpActivation::kSilu);
  EXPECT_FALSE(ParseModelConfig(with("scale_attn_weights", false))->scale_attn_weights);
}

// A missing file is kNotFound; the caller must not take a wrong name for one.
TEST_F(ModelFolderTest, AWrongPositionMethodIsAWrongValue) {
  Json config = SmallJson();
  for (const Json& position : {Json("ropes"), Json::object(), Json({{"method", "sandwich"}})}) {
    config["position"] = position;
    EXPECT_EQ(ParseModelConfig(config).status().code(), Code::kInvalidArgument) << position.dump();
  }
}

// config.json of distilgpt2, gpt2-medium and older checkpoints.
TEST_F(ModelFolderTest, KeysOfWellKnownCheckpointsThatChangeNothingAreAccepted) {
  for (const char* key : {"n_special", "predict_special_tokens", "output_past", "_num_labels",
                          "cls_token_id", "mask_token_id", "unk_token_id", "xla_device"}) {
    Json config = SmallJson();
    config[key] = 0;
    EXPECT_TRUE(ParseModelConfig(config).ok()) << key;
  }
}

TEST_F(ModelFolderTest, MissingSurplusAndMisshapenTensorsAreNamed) {
  auto tensors = Tensors();
  tensors.erase("transformer.h.1.ln_2.bias");
  Write(SmallJson(), tensors);
  EXPECT_TRUE(Has(Error(), "\"transformer.h.1.ln_2.bias\" of shape [8] is missing"));

  tensors = Tensors();
  tensors["transformer.h.0.attn.position.weight"] = at::zeros({2, 8});
  Write(SmallJson(), tensors);
  EXPECT_TRUE(Has(Error(), "\"transformer.h.0.attn.position.weight\" is not part of a model"));

  tensors = Tensors();
  tensors["transformer.h.0.mlp.c_fc.weight"] = at::zeros({32, 8});
  Write(SmallJson(), tensors);
  EXPECT_TRUE(Has(Error(), "\"transformer.h.0.mlp.c_fc.weight\" has the shape [32, 8]"));

  tensors = Tensors();
  tensors["transformer.ln_f.bias"] = at::zeros({8}, at::kLong);
  Write(SmallJson(), tensors);
  EXPECT_TRUE(Has(Error(), "holds I64"));
}

TEST_F(ModelFolderTest, ABaseModelsNamesMaskBuffersAndATiedHeadAreAccepted) {
  std::map<std::string, at::Tensor> tensors;
  const auto initial = Tensors();
  for (const auto& [name, tensor] : initial) {
    tensors[name.substr(std::string("transformer.").size())] = tensor;
  }
  tensors["h.0.attn.bias"] = at::zeros({1, 1, 8, 8});
  tensors["h.0.attn.masked_bias"] = at::zeros({});
  tensors["lm_head.weight"] = initial.at("transformer.wte.weight");
  Write(SmallJson(), tensors);
  const auto folder = LoadModelFolder(folder_.path());
  ASSERT_TRUE(folder.ok()) << folder.status().message();
  EXPECT_TRUE(
      folder->parameters.at("transformer.wte.weight").equal(initial.at("transformer.wte.weight")));

  tensors["lm_head.weight"] = initial.at("transformer.wte.weight") + 1;
  Write(SmallJson(), tensors);
  EXPECT_TRUE(Has(Error(), "lm_head.weight differs"));
}

// torch.tril of booleans or bytes, as transformers before 4.30 saved it.
TEST_F(ModelFolderTest, MaskBuffersOfBooleansAndBytesAreAccepted) {
  for (const at::ScalarType type : {at::kBool, at::kByte}) {
    std::map<std::string, at::Tensor> tensors = Tensors();
    tensors["transformer.h.0.attn.bias"] = at::zeros({1, 1, 8, 8}, type);
    Write(SmallJson(), tensors);
    EXPECT_EQ(Error(), "");
  }
  std::map<std::string, at::Tensor> tensors = Tensors();
  tensors["transformer.ln_f.bias"] = at::zeros({8}, at::kByte);
  Write(SmallJson(), tensors);
  EXPECT_TRUE(Has(Error(), "holds U8, not floating point"));
}

// safetensors.torch.save_model drops one of two tensors that share memory: transformer.wte.weight.
TEST_F(ModelFolderTest, ATiedPairMayBeStoredUnderTheHeadsName) {
  std::map<std::string, at::Tensor> tensors = Tensors();
  const at::Tensor embedding = tensors.at("transformer.wte.weight");
  tensors.erase("transformer.wte.weight");
  tensors["lm_head.weight"] = embedding;
  Write(SmallJson(), tensors);
  const auto folder = LoadModelFolder(folder_.path());
  ASSERT_TRUE(folder.ok()) << folder.status().message();
  EXPECT_TRUE(folder->parameters.at("transformer.wte.weight").equal(embedding));
  EXPECT_FALSE(folder->parameters.contains("lm_head.weight"));
}

// Shards: body_test.cc.
TEST_F(ModelFolderTest, AnIndexIsReadWhereTheOneFileIsNot) {
  Write(SmallJson(), Tensors());
  const std::string path = JoinPath(folder_.path(), "model.safetensors");
  ASSERT_TRUE(WriteFileAtomic(path + ".index.json", "{}").ok());
  EXPECT_EQ(Error(), "");  // the one file is there
  ASSERT_TRUE(RemoveAll(path).ok());
  EXPECT_TRUE(Has(Error(), "index.json: expected a map \"weight_map\""));
}

TEST_F(ModelFolderTest, APickleIsRefusedWithTheRemedy) {
  Write(SmallJson(), Tensors());
  ASSERT_TRUE(RemoveAll(JoinPath(folder_.path(), "model.safetensors")).ok());
  for (const char* name : {"pytorch_model.bin.index.json", "pytorch_model.bin"}) {
    ASSERT_TRUE(WriteFileAtomic(JoinPath(folder_.path(), name), "{}").ok());
    EXPECT_TRUE(Has(Error(), name) && Has(Error(), "safe_serialization=True"));
  }
}

TEST_F(ModelFolderTest, WhatIsNoJsonOrNotThereIsNamed) {
  EXPECT_TRUE(Has(Error(), "config.json"));
  ASSERT_TRUE(WriteFileAtomic(JoinPath(folder_.path(), "config.json"), "{").ok());
  EXPECT_TRUE(Has(Error(), "config.json"));
  ASSERT_TRUE(WriteFileAtomic(JoinPath(folder_.path(), "config.json"), SmallJson().dump()).ok());
  EXPECT_TRUE(Has(Error(), "model.safetensors"));
}

}  // namespace
}  // namespace longrun
