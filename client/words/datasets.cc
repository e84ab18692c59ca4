#include "client/words/datasets.h"

#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "base/str.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/wire/embedded.h"
#include "client/words/render.h"
#include "model/data/manifest.h"

namespace longrun::client {

std::string DatasetFolder(const std::string& state, const std::string& name) {
  return JoinPath(JoinPath(state, "datasets"), name);
}

namespace {

// What a registration changed, compared with the datasets known before it.
const char* NewsOf(const std::string& name, const v1::ListDatasetsResponse& before,
                   const v1::RegisterDatasetResponse& answer) {
  if (answer.changed()) return "changed";  // other content under a known name
  for (const v1::DatasetInfo& dataset : before.datasets()) {
    if (dataset.name() == name) return "same";
  }
  return "new";
}

// [{"name": "train", "documents": 3, "tokens": 1024}, ...]
Json SplitsJson(const Manifest& manifest) {
  Json splits = Json::array();
  for (const ManifestSplit& split : manifest.splits) {
    splits.push_back({{"name", split.identity.name},
                      {"documents", split.identity.n_documents},
                      {"tokens", split.identity.n_tokens}});
  }
  return splits;
}

std::string SplitsText(const Manifest& manifest) {
  std::vector<std::string> parts;
  parts.reserve(manifest.splits.size());
  for (const ManifestSplit& split : manifest.splits) {
    parts.push_back(Str(split.identity.name, " ", Counted(split.identity.n_documents, "document"),
                        ", ", Counted(split.identity.n_tokens, "token")));
  }
  return Join(parts, "; ");
}

}  // namespace

int RegisterDataset(const std::string& name, const std::string& folder, const std::string& state,
                    const std::string& output) {
  const Result<std::string> absolute = AbsolutePath(folder);
  if (!absolute.ok()) return Report(absolute.status());
  const auto coordinator = Coordinator::Reach(state);
  if (!coordinator.ok()) return Report(coordinator.status());
  CoordinatorConnection& connection = (*coordinator)->connection();
  const Result<v1::ListDatasetsResponse> before = connection.ListDatasets();
  if (!before.ok()) return Report(before.status());
  const Result<v1::RegisterDatasetResponse> answer = connection.RegisterDataset(name, *absolute);
  if (!answer.ok()) return Report(answer.status());
  const Result<Manifest> manifest = ReadManifest(*absolute);
  if (!manifest.ok()) return Report(manifest.status());
  if (output == "json") {
    Print(RenderJson({{"name", name},
                      {"folder", *absolute},
                      {"digest", answer->digest()},
                      {"splits", SplitsJson(*manifest)},
                      {"status", NewsOf(name, *before, *answer)}}));
    return kExitOk;
  }
  Print(Str(name, ": ", answer->digest(),
            answer->changed() ? " (other content than before)\n" : "\n", SplitsText(*manifest),
            "\n"));
  return kExitOk;
}

Result<std::string> FindDataset(const std::string& name_or_folder, const std::string& state) {
  if (HoldsManifest(name_or_folder)) return name_or_folder;
  if (IsSafeName(name_or_folder)) {
    const std::string folder = DatasetFolder(state, name_or_folder);
    if (HoldsManifest(folder)) return folder;
    ASSIGN_OR_RETURN(const auto coordinator, Coordinator::Reach(state));
    ASSIGN_OR_RETURN(const v1::ListDatasetsResponse answer,
                     coordinator->connection().ListDatasets());
    for (const v1::DatasetInfo& dataset : answer.datasets()) {
      if (dataset.name() == name_or_folder) return dataset.folder();
    }
  }
  return Status(Code::kNotFound,
                Str("\"", name_or_folder, "\" is neither a folder that holds ", kManifestName,
                    " nor a registered dataset; `longrun data ls` lists the registered ones"));
}

}  // namespace longrun::client
