// Which models transformers has under their own names, and what an exported folder says.
#include "model/hugging_face/export.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <vector>

#include "base/files.h"
#include "base/str.h"
#include "model/architecture/parameters.h"
#include "model/hugging_face/config_file.h"
#include "model/hugging_face/manifest.h"
#include "model/position/method.h"

namespace longrun {
namespace {

NetConfig Net(const std::string& architecture, const Json& position) {
  NetConfig net;
  net.model = {.n_layer = 1, .n_head = 2, .d_model = 16, .d_ff = 32, .vocab_size = 11};
  EXPECT_TRUE(net.model.SetArchitecture(architecture).ok());
  net.model.d_ff = 32;
  net.model.position = ResolvePosition(position).value();
  if (net.model.position.method == "learned") net.model.n_positions = 8;
  EXPECT_TRUE(net.model.Check().ok()) << net.model.Check().message();
  return net;
}

TEST(ExportTest, TransformersHasAModelWhoseConfigurationNeedsNoKeyOfOurs) {
  const Json interleaved = {{"method", "rope"}, {"layout", "interleaved"}};
  EXPECT_TRUE(IsInTransformers(Net("gpt2", "learned")));
  EXPECT_TRUE(IsInTransformers(Net("gptj", interleaved)));
  EXPECT_TRUE(IsInTransformers(Net("gpt_neox", {{"method", "rope"}, {"partial", 0.5}})));
  for (const char* llama : {"llama", "mistral", "qwen2"}) {
    EXPECT_TRUE(IsInTransformers(Net(llama, {{"method", "rope"}, {"base", 500.0}}))) << llama;
    EXPECT_FALSE(IsInTransformers(Net(llama, {{"method", "rope"}, {"partial", 0.5}}))) << llama;
    EXPECT_FALSE(IsInTransformers(Net(llama, interleaved))) << llama;
    EXPECT_FALSE(IsInTransformers(Net(llama, "cable"))) << llama;
  }
  EXPECT_FALSE(IsInTransformers(Net("gpt2", {{"method", "learned"}, {"beyond", "wrap"}})));
  EXPECT_FALSE(IsInTransformers(Net("gpt2", "rope")));
  EXPECT_FALSE(IsInTransformers(Net("gptj", {{"method", "rope"}, {"base", 500.0}})));
  NetConfig encoder = Net("gpt2", "learned");
  encoder.model.causal = false;
  EXPECT_FALSE(IsInTransformers(encoder));
}

class ExportFolderTest : public testing::Test {
 protected:
  // A folder with numbered weights, as the trainer writes one.
  WeightFolder Opened(const NetConfig& net) {
    const std::string folder = JoinPath(temporary_.path(), "in");
    EXPECT_TRUE(MakeFolders(folder).ok());
    EXPECT_TRUE(WriteFileAtomic(JoinPath(folder, "config.json"), ModelConfigJson(net).dump()).ok());
    std::map<std::string, std::vector<float>> values;
    std::map<std::string, StoredTensor> tensors;
    const std::vector<ParameterSpec> specs = ParametersOf(net.model).value();
    for (const ParameterSpec& spec : specs) {
      std::size_t n = 1;
      for (const std::int64_t size : spec.shape) n *= static_cast<std::size_t>(size);
      std::vector<float>& of_tensor = values[spec.name];
      for (std::size_t i = 0; i < n; ++i) {
        of_tensor.push_back(static_cast<float>(i) * 0.25f + static_cast<float>(values.size()));
      }
      tensors[spec.name] = {.type = StoredType::kF32,
                            .shape = spec.shape,
                            .bytes = std::as_bytes(std::span(of_tensor))};
    }
    EXPECT_TRUE(WriteSafetensors(JoinPath(folder, "model.safetensors"), tensors).ok());
    return OpenWeightFolder(folder).value();
  }
  std::string Out() {
    std::string out = JoinPath(temporary_.path(), "out");
    EXPECT_TRUE(MakeFolders(out).ok());
    return out;
  }

  TempFolder temporary_;
};

TEST_F(ExportFolderTest, WhatIsWrittenIsReadBackAsTheSameModelAndBytesInShardsToo) {
  for (const auto& [architecture, position] :
       {std::pair("gpt2", "cable"), std::pair("gpt2", "learned"), std::pair("llama", "rope")}) {
    const NetConfig net = Net(architecture, position);
    const WeightFolder model = Opened(net);
    const std::string out = Out();
    const Result<ExportedFolder> written = WriteModelFolder(
        model, {.trained_length = 8, .eos_id = 3, .type = {}, .shard_bytes_max = 2000}, out);
    ASSERT_TRUE(written.ok()) << written.status().message();
    const Result<WeightFolder> read = OpenWeightFolder(out);
    ASSERT_TRUE(read.ok()) << read.status().message();
    EXPECT_GT(read->files.paths().size(), 3u);
    EXPECT_EQ(ModelConfigJson(read->config), ModelConfigJson(net));
    for (const auto& [name, tensor] : model.tensors) {
      const StoredTensor& back = *read->tensors.at(name);
      ASSERT_EQ(back.bytes.size(), tensor->bytes.size());
      EXPECT_EQ(std::memcmp(back.bytes.data(), tensor->bytes.data(), back.bytes.size()), 0);
    }
    EXPECT_EQ(TrainedLength(ReadConfigFile(out).value()), 8);
    EXPECT_EQ(written->has_code, std::string(position) == "cable");
    EXPECT_EQ(PathExists(JoinPath(out, "modeling_longrun.py")), written->has_code);
    ASSERT_TRUE(RemoveAll(out).ok());
  }
}

// transformers 5 refuses a list; 4 takes the keys of either.
TEST(ModelingTest, TiedWeightsAreNamedAsTransformers5ReadsThem) {
  EXPECT_NE(std::string(ModelingFile())
                .find(R"(_tied_weights_keys = {"lm_head.weight": "transformer.wte.weight"})"),
            std::string::npos);
}

TEST_F(ExportFolderTest, ABodyThatNothingCarriesIsRefusedByName) {
  const Result<ExportedFolder> written = WriteModelFolder(Opened(Net("llama", "fox")), {}, Out());
  EXPECT_EQ(written.status().message(),
            "this model cannot be exported: transformers has no llama with position method \"fox\" "
            "and parameters {}, and modeling_longrun.py supports only the architecture gpt2");
}

TEST(ManifestTest, WhatIsNoManifestIsRefused) {
  const std::string digest(64, 'a');
  const std::vector<FolderFile> files = {{.name = "config.json", .sha256 = digest, .n_bytes = 2}};
  const std::string text = FolderManifest(files);
  ASSERT_TRUE(ParseFolderManifest(text).ok());
  EXPECT_EQ(ParseFolderManifest(text)->at(0).name, "config.json");
  for (const std::string& bad :
       {std::string("{}"), std::string("["), Str(R"({"files":[],"format":2})"),
        Str(R"({"files":[{"bytes":2,"name":"../x","sha256":")", digest, R"("}],"format":1})"),
        Str(R"({"files":[{"bytes":-1,"name":"x","sha256":")", digest, R"("}],"format":1})"),
        Str(R"({"files":[{"bytes":2,"name":"x","sha256":"ab"}],"format":1})")}) {
    EXPECT_EQ(ParseFolderManifest(bad).status().code(), Code::kDataLoss) << bad;
  }
}

}  // namespace
}  // namespace longrun
