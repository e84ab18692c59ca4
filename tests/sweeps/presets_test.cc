// sweeps/presets/: each sweep is one that the language takes,
// over datasets whose files it takes too.
#include <gtest/gtest.h>

#include <map>

#include "base/files.h"
#include "base/str.h"
#include "sweeps/dataset_file.h"
#include "sweeps/sweep.h"

namespace longrun {
namespace {

const std::string kPresets = LONGRUN_SOURCE_DIR "/sweeps/presets";

std::vector<std::string> YamlFiles(const std::string& folder) {
  const std::vector<std::string> names = ListFolder(folder).value();
  std::vector<std::string> files;
  for (const std::string& name : names) {
    if (name.ends_with(".yaml")) files.push_back(name);
  }
  return files;
}

std::map<std::string, DatasetFile> PresetDatasets() {
  const std::string folder = JoinPath(kPresets, "data");
  std::map<std::string, DatasetFile> datasets;
  for (const std::string& name : YamlFiles(folder)) {
    const std::string path = JoinPath(folder, name);
    Result<DatasetFile> file = ParseDatasetFile(ReadFile(path).value(), name, folder);
    EXPECT_TRUE(file.ok()) << file.status().message();
    if (file.ok()) datasets.emplace(file->name, *file);
  }
  return datasets;
}

// As it is taken over the datasets beside it.
Sweep PresetSweep(const std::string& name) {
  static const std::map<std::string, DatasetFile> files = PresetDatasets();
  DatasetCatalogue catalogue;
  for (const auto& [dataset, file] : files) catalogue.names.push_back(dataset);
  catalogue.find = [&](const std::string& dataset) -> std::optional<DatasetInfo> {
    const auto file = files.find(dataset);
    if (file == files.end()) return std::nullopt;
    DatasetInfo info = {.name = dataset,
                        .digest = std::string(64, 'a'),
                        .tokenizer_fingerprint = std::string(64, 'b'),
                        .vocab_size = 50304,
                        .split_tokens = {}};
    for (const auto& [split, patterns] : file->second.spec.files) {
      info.split_tokens[split] = split == "train" ? 100'000'000 : 287'645;
    }
    return info;
  };
  const std::string yaml = ReadFile(JoinPath(kPresets, name)).value();
  Result<Sweep> sweep = ParseSweep(yaml, name, {}, catalogue);
  EXPECT_TRUE(sweep.ok()) << sweep.status().message();
  return sweep.ok() ? *std::move(sweep) : Sweep();
}

TEST(PresetsTest, EachSweepIsTakenWithTheDatasetsBesideIt) {
  const std::vector<std::string> sweeps = YamlFiles(kPresets);
  ASSERT_GE(sweeps.size(), 2u);
  for (const std::string& name : sweeps) {
    const Sweep sweep = PresetSweep(name);
    EXPECT_EQ(Str(sweep.name, ".yaml"), name);
    EXPECT_FALSE(sweep.runs.empty());
  }
}

// axiomlab/Cable, src/train.py and src/data_loader.py: 19073 steps of 524288 tokens, 715 of them of
// warm-up, AdamW as below, validation every 250 steps on 20 batches of 16 windows of 1024.
TEST(PresetsTest, CablesRecipeHasItsValues) {
  const Json recipe = {{"tokens", std::int64_t{19073} * 524288},
                       {"batch_tokens", 524288},
                       {"precision", "bf16"},
                       {"order", "stream"},
                       {"optimizer",
                        {{"name", "adamw"},
                         {"lr", 6e-4},
                         {"min_lr", 6e-5},
                         {"betas", {0.9, 0.95}},
                         {"eps", 1e-8},
                         {"weight_decay", 0.1},
                         {"grad_clip", 1.0}}},
                       {"schedule", {{"name", "cosine"}, {"warmup_tokens", 715 * 524288}}},
                       {"validate", {{"every", 250 * 524288}, {"tokens", 20 * 16 * 1024}}}};
  struct Body {
    const char* sweep;
    std::vector<std::int64_t> layers_heads_width, lengths;
  };
  const Body bodies[] = {
      {"cable-wikitext103.yaml", {6, 8, 512}, {512, 1024, 2048, 4096, 8192}},
      {"cable-fineweb-edu.yaml", {24, 16, 1024}, {1024, 2048, 4096, 8192, 16384}}};
  for (const Body& body : bodies) {
    const Sweep sweep = PresetSweep(body.sweep);
    for (const PlannedRun& planned : sweep.runs) {
      Json train = planned.run.train.ToJson();
      train.erase("train_length");
      EXPECT_EQ(train, recipe) << body.sweep;
      const ModelConfig& model = planned.run.model;
      EXPECT_EQ((std::vector{model.n_layer, model.n_head, model.d_model}), body.layers_heads_width);
      EXPECT_EQ(model.vocab_size, 50304);
      EXPECT_TRUE(model.tie_embeddings);
      EXPECT_EQ(model.activation, MlpActivation::kGeluNew);
      EXPECT_EQ(model.init_std, 0.02);
      EXPECT_EQ(planned.run.seed, 1337);
      std::vector<std::int64_t> lengths;
      for (const ExpectedCell& cell : planned.evaluations.at(0).cells) {
        lengths.push_back(cell.context_length);
      }
      EXPECT_EQ(lengths, body.lengths);
    }
  }
  // The notebook's 287645 tokens hold 35 windows of 8192.
  const Json evaluation =
      PresetSweep("cable-wikitext103.yaml").runs.at(0).evaluations.at(0).evaluation;
  EXPECT_EQ(evaluation.at("perplexity").at("score_tokens"), 287645 / 8192 * 8192);
}

TEST(PresetsTest, FineWebShardsAreFoundByTheNamesThatCableGivesThem) {
  const DatasetFile file = PresetDatasets().at("fineweb-edu-10bt");
  EXPECT_EQ(file.spec.packing.eot, Packing::Eot::kBefore);
  EXPECT_EQ(file.spec.packing.order, Packing::Order::kSorted);
  EXPECT_EQ(file.spec.files[0].second[0], "edu_fineweb10B/*train*.npy");
}

}  // namespace
}  // namespace longrun
