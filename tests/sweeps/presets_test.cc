// sweeps/presets/: each sweep is one that the language takes,
// over datasets whose files it takes too.
#include <gtest/gtest.h>

#include <map>

#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "sweeps/dataset_file.h"
#include "sweeps/evaluated_dataset.h"
#include "sweeps/sweep.h"
#include "tests/sweeps/overrides.h"

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
                        .digest = Sha256Hex(dataset),
                        .tokenizer_fingerprint = std::string(64, 'b'),
                        .vocab_size = 50304,
                        .split_tokens = {}};
    for (const auto& [split, patterns] : file->second.spec.files) {
      const bool is_shard = split == "train" || file->second.spec.source.format == "npy";
      info.split_tokens[split] = is_shard ? 100'000'000 : 287'645;
    }
    return info;
  };
  const std::string yaml = ReadFile(JoinPath(kPresets, name)).value();
  Result<Sweep> sweep = ParseSweep(yaml, name, WithQuestions(yaml), catalogue);
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
// warm-up, AdamW as below, validation every 250 steps on 20 batches of 16 windows.
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
                       {"validate", {{"every", 250 * 524288}}}};
  struct Body {
    const char* sweep;
    std::vector<std::int64_t> layers_heads_width, lengths;
  };
  const Body bodies[] = {{"cable-wikitext103.yaml", {6, 8, 512}, {512, 1024, 2048, 4096, 8192}},
                         {"cable-fineweb.yaml", {24, 16, 1024}, {1024, 2048, 4096, 8192, 16384}}};
  for (const Body& body : bodies) {
    const Sweep sweep = PresetSweep(body.sweep);
    for (const PlannedRun& planned : sweep.runs) {
      Json train = planned.run.train.ToJson();
      const auto train_length = train.at("train_length").get<std::int64_t>();
      EXPECT_EQ(train.at("validate").at("tokens"), 20 * 16 * train_length) << body.sweep;
      train.erase("train_length");
      train.at("validate").erase("tokens");
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

// The authors' script loads FineWeb, although the paper and the script's folder say FineWeb-Edu.
TEST(PresetsTest, TheFineWebSweepTrainsOnTheScriptsTextAndTellsThePapersApart) {
  const std::map<std::string, DatasetFile> files = PresetDatasets();
  for (const PlannedRun& planned : PresetSweep("cable-fineweb.yaml").runs) {
    EXPECT_EQ(planned.axes.at("dataset"), "fineweb-10bt");
  }
  for (const char* const name : {"fineweb-10bt", "fineweb-edu-10bt"}) {
    EXPECT_EQ(files.at(name).spec.packing.eot, Packing::Eot::kBefore);
    EXPECT_EQ(files.at(name).spec.packing.order, Packing::Order::kSorted);
  }
  // Cable's last shard has another name than its others; all sort by the full name.
  EXPECT_EQ(files.at("fineweb-10bt").spec.files[0].second[0], "fineweb10B/*train*.npy");
}

TEST(PresetsTest, NoPresetScoresAWholeSplitOfFineWeb) {
  for (const PlannedRun& planned : PresetSweep("cable-fineweb.yaml").runs) {
    const Json& perplexity = planned.evaluations.at(0).evaluation.at("perplexity");
    EXPECT_EQ(perplexity.at("score_tokens"), 640 * 16384);  // of 100 million
  }
}

// dataset_preparation.py writes [eot] + BPE(row) for each row; the notebook's test split is one
// text.
TEST(PresetsTest, WikiTextHasAnEndOfTextBeforeEachRowAndIsMeasuredOnTheNotebooksText) {
  const std::map<std::string, DatasetFile> files = PresetDatasets();
  const Packing& rows = files.at("wikitext103").spec.packing;
  EXPECT_EQ(rows.eot, Packing::Eot::kBefore);
  EXPECT_FALSE(rows.join);
  EXPECT_TRUE(rows.keep_empty);
  EXPECT_EQ(files.at("wikitext103-joined").spec.packing.join, "\n\n");
  for (const char* const sweep : {"cable-wikitext103.yaml", "alibi-wikitext103.yaml"}) {
    for (const PlannedRun& planned : PresetSweep(sweep).runs) {
      EXPECT_EQ(planned.axes.at("dataset"), "wikitext103");
      const auto read = EvaluatedDatasetOf(planned.evaluations.at(0).evaluation);
      ASSERT_TRUE(read);
      EXPECT_EQ(read->name, "wikitext103-joined");
    }
  }
}

TEST(PresetsTest, CablesSweepsMeasureHellaSwagAndSpeedToo) {
  for (const char* const name : {"cable-wikitext103.yaml", "cable-fineweb.yaml"}) {
    for (const PlannedRun& planned : PresetSweep(name).runs) {
      std::vector<std::string> evaluations;
      for (const PlannedEvaluation& evaluation : planned.evaluations) {
        evaluations.push_back(evaluation.evaluation.begin().key());
      }
      EXPECT_EQ(Join(evaluations, " "), "perplexity multiple_choice throughput throughput");
      const Json& choices = planned.evaluations.at(1).evaluation.at("multiple_choice");
      EXPECT_EQ(choices.at("protocol"), "nanogpt");
    }
  }
}

// "The official model builds one module and passes it to every layer": 2 numbers for each head.
TEST(PresetsTest, KerpleHasOneSetOfParametersForAllLayers) {
  std::int64_t n_kerple = 0;
  for (const PlannedRun& planned : PresetSweep("cable-wikitext103.yaml").runs) {
    const PositionConfig& position = planned.run.model.position;
    if (position.method != "kerple") continue;
    ++n_kerple;
    EXPECT_EQ(position.params.at("share_layers"), true);
  }
  EXPECT_EQ(n_kerple, 2);  // a train length each
}

}  // namespace
}  // namespace longrun
