// sweeps/presets/: each sweep is one that the language takes, over datasets whose files it takes too.
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

TEST(PresetsTest, EachSweepIsTakenWithTheDatasetsBesideIt) {
  const std::map<std::string, DatasetFile> files = PresetDatasets();
  ASSERT_GE(files.size(), 2u);
  DatasetCatalogue catalogue;
  for (const auto& [name, file] : files) catalogue.names.push_back(name);
  catalogue.find = [&](const std::string& name) -> std::optional<DatasetInfo> {
    const auto file = files.find(name);
    if (file == files.end()) return std::nullopt;
    DatasetInfo info = {.name = name,
                        .digest = std::string(64, 'a'),
                        .tokenizer_fingerprint = std::string(64, 'b'),
                        .vocab_size = 50304,
                        .split_tokens = {}};
    for (const auto& [split, patterns] : file->second.spec.files) {
      info.split_tokens[split] = split == "train" ? 100'000'000 : 287'645;
    }
    return info;
  };
  const std::vector<std::string> sweeps = YamlFiles(kPresets);
  ASSERT_GE(sweeps.size(), 2u);
  for (const std::string& name : sweeps) {
    const std::string yaml = ReadFile(JoinPath(kPresets, name)).value();
    const Result<Sweep> sweep = ParseSweep(yaml, name, {}, catalogue);
    ASSERT_TRUE(sweep.ok()) << sweep.status().message();
    EXPECT_EQ(Str(sweep->name, ".yaml"), name);
    EXPECT_FALSE(sweep->runs.empty());
  }
}

// Cable's numbers: 19073 steps of 524288 tokens, 715 of warm-up.
TEST(PresetsTest, CablesRecipeHasItsNumbersOfSteps) {
  for (const std::string& name : YamlFiles(kPresets)) {
    const std::string yaml = ReadFile(JoinPath(kPresets, name)).value();
    EXPECT_NE(yaml.find(Str("tokens: ", std::int64_t{19073} * 524288)), std::string::npos) << name;
    EXPECT_NE(yaml.find(Str("warmup_tokens: ", 715 * 524288)), std::string::npos) << name;
  }
}

TEST(PresetsTest, FineWebShardsAreFoundByTheNamesThatCableGivesThem) {
  const DatasetFile file = PresetDatasets().at("fineweb-edu-10bt");
  EXPECT_EQ(file.spec.packing.eot, Packing::Eot::kBefore);
  EXPECT_EQ(file.spec.packing.order, Packing::Order::kSorted);
  EXPECT_EQ(file.spec.files[0].second[0], "edu_fineweb10B/*train*.npy");
}

}  // namespace
}  // namespace longrun
