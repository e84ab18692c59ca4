#include "client/words/datasets.h"

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "base/str.h"
#include "base/user_folders.h"
#include "base/utf8.h"
#include "client/console/output.h"
#include "client/wire/embedded.h"
#include "client/wire/retrying_client.h"
#include "client/words/progress_line.h"
#include "client/words/render.h"
#include "client/words/sending.h"
#include "model/data/dataset_files.h"
#include "model/data/manifest.h"

namespace longrun::client {

std::string DatasetFolder(const std::string& state, const std::string& name) {
  return JoinPath(JoinPath(state, "datasets"), name);
}

namespace {

constexpr std::int64_t kAskMs = 5'000;

constexpr const char* kNew = "new";
constexpr const char* kSame = "same";
constexpr const char* kChanged = "changed";    // other content under a known name
constexpr const char* kRepaired = "repaired";  // the same content, which was damaged

// What a registration changed, compared with the datasets known before it.
const char* NewsOf(const std::string& name, const v1::ListDatasetsResponse& before,
                   const v1::RegisterDatasetResponse& answer) {
  if (answer.changed()) return kChanged;
  for (const v1::DatasetInfo& dataset : before.datasets()) {
    if (dataset.name() == name) return kSame;
  }
  return kNew;
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

namespace {

// What the coordinator has already, and whose it is, if that is not the caller's.
std::string OthersText(const std::string& name, const v1::DatasetInfo& dataset) {
  return Str("the coordinator ", dataset.name() == name ? "already" : "also",
             " has this dataset as \"", dataset.name(), "\", ",
             dataset.owner().empty() ? "whose owner is not known"
                                     : Str("which belongs to ", dataset.owner()));
}

std::string_view NewsText(std::string_view news) {
  if (news == kChanged) return " (other content than before)";
  return news == kRepaired ? " (the coordinator's copy was damaged, and has been replaced)" : "";
}

// The coordinator answers first whether it may be, and whether it lacks anything.
Result<v1::StoreDatasetResponse> SendDataset(const std::string& name, const std::string& folder,
                                             const std::string& context, SweepCalls& calls) {
  ASSIGN_OR_RETURN(const DatasetListing listing, ListDataset(folder));
  v1::StoreDatasetRequest request;
  request.set_name(name);
  request.set_digest(listing.digest);
  std::vector<LocalArtifact> files;
  for (const ArtifactFile& file : listing.files) {
    v1::DatasetFileInfo& info = *request.add_files();
    info.set_name(file.name);
    info.set_sha256(file.sha256);
    info.set_bytes(file.n_bytes);
    files.push_back(
        {.path = JoinPath(folder, file.name), .sha256 = file.sha256, .n_bytes = file.n_bytes});
  }
  Result<v1::StoreDatasetResponse> answer = calls.StoreDataset(request);
  if (answer.ok() || answer.status().code() != Code::kFailedPrecondition) return answer;
  ProgressLine line;
  const auto store = [&]() -> Status {
    answer = calls.StoreDataset(request);
    return answer.status();
  };
  RETURN_IF_ERROR(SendAndName(context, files, line, store));
  return answer;
}

// The news, and the digest, of a registration.
struct Registered {
  std::string digest;
  const char* news = "";
  std::vector<v1::DatasetInfo> names;  // of this content; empty if the coordinator does not answer
};

std::vector<v1::DatasetInfo> NamesOf(const std::string& digest, SweepCalls& calls) {
  std::vector<v1::DatasetInfo> names;
  const Result<v1::ListDatasetsResponse> known = calls.ListDatasets();
  if (!known.ok()) return names;
  for (const v1::DatasetInfo& dataset : known->datasets()) {
    if (dataset.digest() != digest) continue;
    // An earlier release does not say whose it is.
    if (dataset.owner().empty() && dataset.bytes() == 0) continue;
    names.push_back(dataset);
  }
  return names;
}

const char* NewsOf(const v1::StoreDatasetResponse& answer) {
  if (answer.repaired()) return kRepaired;
  return answer.created() ? kNew : kSame;
}

Result<v1::ListDatasetsResponse> KnownDatasets(const std::string& state) {
  ASSIGN_OR_RETURN(const auto coordinator, Coordinator::ReachToRead(state));
  return coordinator->connection().ListDatasets();
}

bool IsListed(const v1::ListDatasetsResponse& known, const std::string& name,
              const std::string& folder) {
  return std::ranges::any_of(known.datasets(), [&](const v1::DatasetInfo& dataset) {
    return dataset.name() == name || dataset.folder() == folder;
  });
}

Result<Registered> Register(const std::string& name, const std::string& folder,
                            const std::string& state, bool& may_be_known) {
  may_be_known = true;  // until somebody answers that it is not
  // Registering again changes nothing.
  RetryingClient client(state, RetryingClient::NoDatabase::kIsMade);
  if (IsContext(state)) {
    ASSIGN_OR_RETURN(const v1::StoreDatasetResponse answer,
                     SendDataset(name, folder, state, client));
    ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(folder));
    return Registered{.digest = manifest.digest,
                      .news = NewsOf(answer),
                      .names = NamesOf(manifest.digest, client)};
  }
  ASSIGN_OR_RETURN(const v1::ListDatasetsResponse before, client.ListDatasets());
  const Result<v1::RegisterDatasetResponse> registered = client.RegisterDataset(name, folder);
  if (!registered.ok()) {
    const Result<v1::ListDatasetsResponse> known = client.ListDatasets();
    may_be_known = !known.ok() || IsListed(*known, name, folder);
    return registered.status();
  }
  const v1::RegisterDatasetResponse& answer = *registered;
  return Registered{.digest = answer.digest(),
                    .news = NewsOf(name, before, answer),
                    .names = NamesOf(answer.digest(), client)};
}

}  // namespace

Result<std::string> MakingFolder(const std::string& state) {
  if (!IsContext(state)) return state;
  ASSIGN_OR_RETURN(const std::string cache, CacheHome());
  if (cache.empty()) {
    return Status(Code::kInvalidArgument,
                  "there is no folder to make a dataset in: set HOME or XDG_CACHE_HOME");
  }
  return JoinPath(JoinPath(cache, "longrun/contexts"), BaseName(state));
}

Status RegisterDataset(const std::string& name, const std::string& folder, const std::string& state,
                       const std::string& output, bool* may_be_known) {
  bool may_be = true;
  bool& known = may_be_known == nullptr ? may_be : *may_be_known;
  known = true;
  ASSIGN_OR_RETURN(const std::string absolute, AbsolutePath(folder));
  ASSIGN_OR_RETURN(const Registered registered, Register(name, absolute, state, known));
  ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(absolute));
  for (const v1::DatasetInfo& dataset : registered.names) {
    if (!dataset.own()) SayLine(OthersText(name, dataset));
  }
  if (output == "json") {
    Json json = {{"name", name},
                 {"digest", registered.digest},
                 {"splits", SplitsJson(manifest)},
                 {"status", registered.news}};
    if (!IsContext(state)) json["folder"] = absolute;  // elsewhere, it is not needed any more
    Print(RenderJson(json));
    return Status();
  }
  Print(Str(name, ": ", registered.digest, NewsText(registered.news), "\n", SplitsText(manifest),
            "\n"));
  return Status();
}

Result<std::string> RegisteredDigest(const std::string& name, const std::string& state) {
  ASSIGN_OR_RETURN(const v1::ListDatasetsResponse known, KnownDatasets(state));
  for (const v1::DatasetInfo& dataset : known.datasets()) {
    if (dataset.name() == name) return dataset.digest();
  }
  return std::string();
}

Status MaySendDataset(const std::string& state) {
  if (!IsContext(state)) return Status();
  ASSIGN_OR_RETURN(const auto coordinator, Coordinator::Reach(state));
  v1::GetCallerRequest request;
  request.set_method("StoreDataset");
  v1::GetCallerResponse caller;
  const Status known = coordinator->connection().Send(request, kAskMs, &caller);
  if (known.code() == Code::kPermissionDenied) return known;
  if (!known.ok() || caller.refusal().empty()) return Status();
  return Status(Code::kPermissionDenied, caller.refusal());
}

bool IsRefusal(const Status& status) {
  constexpr Code kFinal[] = {Code::kInvalidArgument, Code::kAlreadyExists, Code::kOutOfRange};
  return std::ranges::find(kFinal, status.code()) != std::end(kFinal);
}

Result<std::string> FindDataset(const std::string& name_or_folder, const std::string& state) {
  if (HoldsManifest(name_or_folder)) return name_or_folder;
  std::string nearest;
  if (IsSafeName(name_or_folder)) {
    const Result<v1::ListDatasetsResponse> known = KnownDatasets(state);
    if (known.ok()) {
      std::vector<std::string> names;
      for (const v1::DatasetInfo& dataset : known->datasets()) {
        if (dataset.name() == name_or_folder) return dataset.folder();
        names.push_back(dataset.name());
      }
      nearest = Nearest(name_or_folder, names);
    }
    // Made, but not registered; or nobody can say.
    const std::string folder = DatasetFolder(state, name_or_folder);
    if (HoldsManifest(folder)) return folder;
    if (!known.ok()) return known.status();
  }
  return Status(Code::kNotFound,
                Str(Quoted(name_or_folder), " is neither a folder that holds ", kManifestName,
                    " nor a registered dataset; ",
                    nearest.empty() ? std::string() : Str("did you mean ", Quoted(nearest), "? "),
                    "`longrun data ls` lists the registered ones"));
}

}  // namespace longrun::client
