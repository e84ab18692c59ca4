// A sweep file: whatever it holds, it is refused with a place, or gives runs whose keys are theirs.
#include "base/check.h"
#include "base/hash.h"
#include "base/str.h"
#include "sweeps/sweep.h"
#include "tests/fuzz/target.h"

namespace longrun {
namespace {

constexpr std::size_t kRunsChecked = 8;

DatasetCatalogue OneDataset() {
  const auto find = [](const std::string& name) -> std::optional<DatasetInfo> {
    if (name != "austen") return std::nullopt;
    return DatasetInfo{.name = name,
                       .digest = Sha256Hex("austen"),
                       .tokenizer_fingerprint = Sha256Hex("bytes"),
                       .vocab_size = 256,
                       .split_tokens = {{"train", 4'000'000}, {"validation", 20'000}}};
  };
  return {.find = find, .names = {"austen"}};
}

}  // namespace
}  // namespace longrun

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace longrun;
  const Result<Sweep> sweep = ParseSweep(AsText(data, size), "sweep.yaml", {}, OneDataset());
  if (!sweep.ok()) {
    CheckRefusal(sweep.status());
    for (const std::string& line : Split(sweep.status().message(), '\n')) {
      LR_CHECK(line.starts_with("sweep.yaml:") || line == "and more: the first 50 are shown");
    }
    return 0;
  }
  for (std::size_t i = 0; i < sweep->runs.size() && i < kRunsChecked; ++i) {
    const PlannedRun& run = sweep->runs[i];
    LR_CHECK(run.run.Key() == run.run_key);
    const Result<Run> again = Run::FromJson(run.run.ToJson());
    LR_CHECK(again.ok() && again->Key() == run.run_key);
  }
  return 0;
}
