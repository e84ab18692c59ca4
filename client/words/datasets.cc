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

namespace longrun {

std::string DatasetFolder(const std::string& state, const std::string& name) {
  return JoinPath(JoinPath(state, "datasets"), name);
}

namespace {

// What a registration changed, compared with the datasets known before it.
const char* NewsOf(const std::string& name, const Json& before, const Json& answer) {
  if (answer.at("changed").get<bool>()) return "changed";  // other content under a known name
  for (const Json& dataset : before.at("datasets")) {
    if (dataset.at("name") == name) return "same";
  }
  return "new";
}

// [{"name": "train", "documents": 3, "tokens": 1024}, ...], as the folder's manifest says.
Result<Json> SplitsOf(const std::string& folder) {
  ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(folder));
  Json splits = Json::array();
  for (const ManifestSplit& split : manifest.splits) {
    splits.push_back({{"name", split.identity.name},
                      {"documents", split.identity.n_documents},
                      {"tokens", split.identity.n_tokens}});
  }
  return splits;
}

std::string SplitsText(const Json& splits) {
  std::vector<std::string> parts;
  for (const Json& split : splits) {
    parts.push_back(Str(split.at("name").get<std::string>(), " ",
                        Counted(split.at("documents").get<std::int64_t>(), "document"), ", ",
                        Counted(split.at("tokens").get<std::int64_t>(), "token")));
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
  const Result<Json> before = connection.Call("ListDatasets", Json::object());
  if (!before.ok()) return Report(before.status());
  const Result<Json> answer =
      connection.Call("RegisterDataset", {{"name", name}, {"folder", *absolute}});
  if (!answer.ok()) return Report(answer.status());
  const Result<Json> splits = SplitsOf(*absolute);
  if (!splits.ok()) return Report(splits.status());
  if (output == "json") {
    Print(RenderJson({{"name", name},
                      {"folder", *absolute},
                      {"digest", answer->at("digest")},
                      {"splits", *splits},
                      {"status", NewsOf(name, *before, *answer)}}));
    return kExitOk;
  }
  Print(Str(name, ": ", answer->at("digest").get<std::string>(),
            answer->at("changed").get<bool>() ? " (other content than before)\n" : "\n",
            SplitsText(*splits), "\n"));
  return kExitOk;
}

Result<std::string> FindDataset(const std::string& name_or_folder, const std::string& state) {
  if (HoldsManifest(name_or_folder)) return name_or_folder;
  if (IsSafeName(name_or_folder)) {
    const std::string folder = DatasetFolder(state, name_or_folder);
    if (HoldsManifest(folder)) return folder;
    ASSIGN_OR_RETURN(const auto coordinator, Coordinator::Reach(state));
    ASSIGN_OR_RETURN(const Json answer,
                     coordinator->connection().Call("ListDatasets", Json::object()));
    for (const Json& dataset : answer.at("datasets")) {
      if (dataset.at("name") == name_or_folder) return dataset.at("folder").get<std::string>();
    }
  }
  return Status(Code::kNotFound,
                Str("\"", name_or_folder, "\" is neither a folder that holds ", kManifestName,
                    " nor a registered dataset; `longrun data ls` lists those"));
}

}  // namespace longrun
