// See datasets.h.
#include "coordinator/rpc/datasets.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "base/failpoint.h"
#include "base/files.h"
#include "base/folder_size.h"
#include "base/str.h"
#include "base/utf8.h"
#include "coordinator/plan.h"
#include "coordinator/rpc/caller.h"
#include "coordinator/rpc/names.h"
#include "coordinator/rpc/owners.h"
#include "coordinator/store/received_dataset.h"
#include "model/data/dataset.h"
#include "model/data/prepare.h"
#include "sweeps/evaluated_dataset.h"

namespace longrun::coordinator {
namespace {

constexpr std::size_t kDigitsShown = 8;

// `caller`: the owner of what the caller stores.
void FillDataset(const DatasetRow& row, const std::string& caller, v1::DatasetInfo* message) {
  message->set_name(row.info.name);
  message->set_digest(row.info.digest);
  message->set_folder(row.folder);
  message->set_tokenizer(row.info.tokenizer_fingerprint);
  message->set_vocab_size(row.info.vocab_size);
  message->set_owner(row.owner);
  message->set_own(row.owner == caller);
  message->set_bytes(row.n_bytes);
  for (const auto& [split, n_tokens] : row.info.split_tokens) {
    (*message->mutable_split_tokens())[split] = n_tokens;
  }
}

// The dataset in a folder.
Result<DatasetRow> DatasetIn(const std::string& folder, const std::string& name) {
  ASSIGN_OR_RETURN(const Dataset dataset, Dataset::Open(folder));
  DatasetRow row{.info = {.name = name,
                          .digest = dataset.digest(),
                          .tokenizer_fingerprint = dataset.tokenizer_fingerprint(),
                          .vocab_size = dataset.vocab_size(),
                          .split_tokens = {},
                          .n_tokens = dataset.n_tokens(),
                          .mask_token = dataset.mask_id()},
                 .folder = folder};
  for (const std::string& split_name : dataset.split_names()) {
    ASSIGN_OR_RETURN(const TokenSplit* split, dataset.Split(split_name));
    row.info.split_tokens[split_name] = split->n_tokens();
  }
  // Has no listing if it has too many files to be sent to another machine.
  const Result<DatasetListing> listing = ListDataset(folder);
  row.n_bytes = listing.ok() ? BytesOf(listing->files) : BytesBelow(folder);
  return row;
}

Result<DatasetRow> DatasetOf(const v1::RegisterDatasetRequest& request) {
  RETURN_IF_ERROR(CheckName(request.name(), "dataset"));
  if (!request.folder().starts_with('/')) {
    return Status(Code::kInvalidArgument,
                  Str("the folder \"", request.folder(), "\" is not an absolute path"));
  }
  return DatasetIn(request.folder(), request.name());
}

const DatasetRow* FindDataset(const std::vector<DatasetRow>& datasets, const std::string& name) {
  const auto found =
      std::ranges::find_if(datasets, [&](const DatasetRow& row) { return row.info.name == name; });
  return found == datasets.end() ? nullptr : &*found;
}

std::string RemovalFirst(const DatasetRow& row) {
  return Str("remove that dataset first with `longrun data rm ", row.info.name,
             "`, as its owner or an operator may do");
}

// Other content under a name would change what existing sweep files mean.
Status CheckSame(const DatasetRow& row, const std::string& digest) {
  if (row.info.digest == digest) return Status();
  return Status(
      Code::kAlreadyExists,
      Str("dataset \"", row.info.name, "\" already exists with other content (digest ",
          row.info.digest.substr(0, kDigitsShown), ", not ", digest.substr(0, kDigitsShown),
          "): choose another name, or ", RemovalFirst(row)));
}

// Whoever may remove a damaged dataset may also replace its files.
Status CheckMayRepair(const Call& call, const DatasetRow& row) {
  ASSIGN_OR_RETURN(const Principal caller, CallerOf(call.parts.access, *call.context));
  if (MayChange(caller, row.owner)) return Status();
  const std::string owner = row.owner.empty() ? "" : Str("by its owner, ", row.owner, ", or ");
  return Status(Code::kDataLoss, Str("dataset \"", row.info.name,
                                     "\" is damaged on the coordinator's machine: have it imported "
                                     "again ",
                                     owner, "by an operator"));
}

bool IsSameFolder(const std::string& a, const std::string& b) {
  std::error_code error;
  return std::filesystem::equivalent(a, b, error);
}

DatasetListing ListingOf(const v1::StoreDatasetRequest& request) {
  DatasetListing listing{.digest = request.digest(), .files = {}};
  for (const v1::DatasetFileInfo& file : request.files()) {
    listing.files.push_back(
        {.name = file.name(), .sha256 = file.sha256(), .n_bytes = file.bytes()});
  }
  return listing;
}

// kResourceExhausted if its owner would have too much with the dataset.
Status CheckRoom(Call& call, const std::string& name, const DatasetListing& listing,
                 const Storing& storing) {
  ASSIGN_OR_RETURN(const OwnedBytes before, call.reader.Owned(storing.owner));
  return CheckOwned(
      {.what = "dataset", .name = name, .owner = storing.owner, .n_bytes = BytesOf(listing.files)},
      before, storing.bytes_max);
}

// The dataset, if it is registered already. If not, it may be stored.
Result<std::optional<DatasetRow>> FindRegistered(CoordinatorParts& parts,
                                                 const v1::StoreDatasetRequest& request,
                                                 const DatasetListing& listing) {
  RETURN_IF_ERROR(CheckName(request.name(), "dataset"));
  RETURN_IF_ERROR(CheckListing(listing));
  const std::vector<DatasetRow> before = parts.core.datasets();
  const DatasetRow* const known = FindDataset(before, request.name());
  if (known == nullptr) return std::optional<DatasetRow>();
  RETURN_IF_ERROR(CheckSame(*known, listing.digest));
  return std::optional(*known);
}

Status InUse(const std::string& name, Code code) {
  return Status(code, Str("another call is storing or removing the dataset \"", name,
                          "\" just now: try again when it has ended"));
}

struct Stored {
  bool created = false;
  bool repaired = false;
};

Result<Stored> StoreSent(Call& call, const v1::StoreDatasetRequest& request) {
  CoordinatorParts& parts = call.parts;
  const DatasetListing listing = ListingOf(request);
  ASSIGN_OR_RETURN(const Storing storing, StoringOf(call));
  const auto hold = parts.dataset_names.Take(request.name());
  if (!hold) return InUse(request.name(), Code::kUnavailable);
  ASSIGN_OR_RETURN(const std::optional<DatasetRow> known, FindRegistered(parts, request, listing));
  const auto go_on = [&]() -> Status {
    if (parts.stopping) {
      return Status(Code::kUnavailable, "the coordinator is stopping: send the dataset again");
    }
    if (!call.context->IsCancelled()) return Status();
    return Status(Code::kCancelled, "the client disconnected, or waited for too long");
  };
  if (known) {
    Status stored = CheckStored(known->folder, listing.digest, go_on);
    if (stored.ok()) return Stored();
    if (stored.code() != Code::kDataLoss) {
      return std::move(stored).In(
          Str("checking the coordinator's copy of dataset \"", request.name(), "\""));
    }
    RETURN_IF_ERROR(CheckMayRepair(call, *known));
  } else {
    RETURN_IF_ERROR(CheckRoom(call, request.name(), listing, storing));
  }
  // A folder that a user has registered stays as it is: the name then refers to another one.
  const std::string& state = parts.core.store().folder();
  const std::string own = JoinPath(JoinPath(state, "datasets"), request.name());
  const bool is_ours = known && (known->folder == own || IsSameFolder(known->folder, own));
  ASSIGN_OR_RETURN(const ReceivedDataset received,
                   is_ours
                       ? ReceiveAgain(parts.artifacts, state, request.name(), listing, go_on)
                       : ReceiveDataset(parts.artifacts, state, request.name(), listing, go_on));
  std::vector<std::string> digests;
  for (const ArtifactFile& file : listing.files) digests.push_back(file.sha256);
  parts.core.NoteUnreferenced(digests);  // the dataset has names of its own for the bytes
  Failpoint("dataset_before_register");
  ASSIGN_OR_RETURN(DatasetRow row, DatasetIn(received.folder, request.name()));
  // A repair changes neither the owner nor what counts for the owner.
  row.owner = known ? known->owner : storing.owner;
  row.owner_bytes = known ? known->owner_bytes : BytesOf(listing.files);
  // Other calls may have stored something for the same owner meanwhile.
  const Status registered =
      parts.core.RegisterDataset(row, known ? kNoOwnedLimit : storing.bytes_max).status();
  if (!registered.ok() && received.is_new) RETURN_IF_ERROR(RemoveAll(received.folder));
  RETURN_IF_ERROR(registered);
  return Stored{.created = !known, .repaired = known.has_value()};
}

// kFailedPrecondition while a task that has not ended reads the dataset: as the one of its run, or
// as the one that its evaluation names.
Status CheckUnused(Core& core, StoreReader& reader, const DatasetRow& dataset) {
  const std::string& name = dataset.info.name;
  ASSIGN_OR_RETURN(const std::vector<SweepRow> sweeps, reader.Sweeps());
  std::vector<std::string> users, stopping;
  RETURN_IF_ERROR(core.LookAndWait([&](const State& state) {
    std::set<std::string> of_sweeps, to_come;  // to_come: not all that is left is stopping
    for (const auto& [id, task] : state.tasks) {
      if (IsTerminal(task.state)) continue;
      const bool is_of_run = state.runs.at(task.run_key).dataset_name == name;
      if (!is_of_run && DigestOfText(task.evaluation, "") != dataset.info.digest) continue;
      const auto asking = state.index.task_sweeps.find(id);
      if (asking == state.index.task_sweeps.end() || asking->second.empty()) {
        users.push_back(Str("task ", id.substr(0, kDigitsShown), ", which no sweep has"));
      } else {
        of_sweeps.insert(asking->second.begin(), asking->second.end());
        if (!task.cancel_wanted) to_come.insert(asking->second.begin(), asking->second.end());
      }
    }
    for (const SweepRow& sweep : sweeps) {
      if (!of_sweeps.contains(sweep.id)) continue;
      if (!to_come.contains(sweep.id)) {
        stopping.push_back(Str(sweep.name, " (`longrun get ", sweep.id, "`)"));
        continue;
      }
      users.push_back(Str(sweep.name, " (`longrun cancel ", sweep.id, "`)"));
    }
  }));
  if (!users.empty()) {
    return Status(Code::kFailedPrecondition,
                  Str("dataset \"", name, "\" is needed by unfinished tasks of ", Join(users, ", "),
                      ": wait until these tasks have ended, or cancel them"));
  }
  if (!stopping.empty()) {
    return Status(
        Code::kFailedPrecondition,
        Str("dataset \"", name, "\" is still used by stopping trainers of ", Join(stopping, ", "),
            ": try again once they have ended; if no service is running, `longrun up` "
            "ends them"));
  }
  return Status();
}

}  // namespace

Status RegisterDataset(Call& call, const v1::RegisterDatasetRequest& request,
                       v1::RegisterDatasetResponse* response) {
  call.error.subject = request.name();
  ASSIGN_OR_RETURN(DatasetRow row, call.WithReason("DATASET_INVALID", DatasetOf(request)));
  ASSIGN_OR_RETURN(Storing storing, StoringOf(call));
  row.owner = std::move(storing.owner);  // only local callers come here: they have no limit
  ASSIGN_OR_RETURN(const bool changed, call.parts.core.RegisterDataset(row));
  response->set_digest(row.info.digest);
  response->set_changed(changed);
  return Status();
}

std::optional<Status> CheckStoreDataset(Call& call, const v1::StoreDatasetRequest& request,
                                        v1::StoreDatasetResponse*) {
  call.error.subject = request.name();
  const DatasetListing listing = ListingOf(request);
  const Result<std::optional<DatasetRow>> known =
      call.WithReason("DATASET_INVALID", FindRegistered(call.parts, request, listing));
  if (!known.ok()) return known.status();
  if (*known) return std::nullopt;
  // Before anything is sent.
  const Result<Storing> storing = StoringOf(call);
  if (!storing.ok()) return storing.status();
  Status room =
      call.WithReason("DATASET_INVALID", CheckRoom(call, request.name(), listing, *storing));
  if (!room.ok()) return room;
  Status sent = call.WithReason(
      "DATASET_INVALID",
      CheckSent(call.parts.artifacts, call.parts.core.store().folder(), request.name(), listing));
  if (sent.ok()) return std::nullopt;
  return sent;
}

Status StoreDataset(Call& call, const v1::StoreDatasetRequest& request,
                    v1::StoreDatasetResponse* response) {
  call.error.subject = request.name();
  ASSIGN_OR_RETURN(const Stored stored,
                   call.WithReason("DATASET_INVALID", StoreSent(call, request)));
  response->set_created(stored.created);
  response->set_repaired(stored.repaired);
  return Status();
}

Status ListDatasets(Call& call, const v1::ListDatasetsRequest& request,
                    v1::ListDatasetsResponse* response) {
  ASSIGN_OR_RETURN(const bool is_remote, IsRemote(call));
  ASSIGN_OR_RETURN(const Storing caller, StoringOf(call));
  // A look at a folder that does not answer would never end.
  std::set<std::string> silent;
  RETURN_IF_ERROR(
      call.parts.core.LookAndWait([&](const State& state) { silent = state.silent_datasets; }));
  for (const DatasetRow& row : call.parts.core.datasets()) {
    v1::DatasetInfo* const message = response->add_datasets();
    FillDataset(row, caller.owner, message);
    if (is_remote) message->clear_folder();
    if (!request.looks() || silent.contains(row.info.digest)) continue;
    message->set_problem(DatasetProblem(row, is_remote));
  }
  return Status();
}

Status RemoveDataset(Call& call, const v1::RemoveDatasetRequest& request,
                     v1::RemoveDatasetResponse* response) {
  call.error.subject = request.name();
  ASSIGN_OR_RETURN(const Principal caller, CallerOf(call.parts.access, *call.context));
  const bool is_remote = caller.kind != Principal::Kind::kLocal;
  const auto hold = call.parts.dataset_names.Take(request.name());
  if (!hold) {
    return call.WithReason("DATASET_IN_USE", InUse(request.name(), Code::kFailedPrecondition));
  }
  const std::vector<DatasetRow> datasets = call.parts.core.datasets();
  const DatasetRow* const dataset = FindDataset(datasets, request.name());
  if (dataset != nullptr) {
    RETURN_IF_ERROR(call.WithReason(
        "NOT_OWNER", CheckMayRemove(caller, "dataset", request.name(), dataset->owner)));
  }
  // What an import of this name has made. Held until it is removed, so that no other import begins.
  const std::string own =
      JoinPath(JoinPath(call.parts.core.store().folder(), "datasets"), request.name());
  std::optional<Removal> removal;
  if (is_remote && IsSafeName(request.name())) {
    Result<Removal> begun = Removal::Begin(own);
    if (begun.status().code() == Code::kFailedPrecondition) {
      return Status(Code::kFailedPrecondition,
                    Str("an import of \"", request.name(),
                        "\" is running on the coordinator's machine: wait until it ends"));
    }
    RETURN_IF_ERROR(begun.status());
    removal.emplace(std::move(begun).value());
  }
  const std::string& folder = dataset == nullptr ? own : dataset->folder;
  const bool is_shared = std::ranges::any_of(datasets, [&](const DatasetRow& row) {
    return &row != dataset && (row.folder == folder || IsSameFolder(row.folder, folder));
  });
  if (dataset == nullptr) {
    // The remains of an import, of which nobody knows the owner.
    const bool may_go = removal && removal->has_anything() && !removal->is_users_own();
    if (may_go && !is_shared && IsOperator(caller)) {
      RETURN_IF_ERROR(removal->Finish());
      response->set_removed(true);
      return Status();
    }
    return call.WithReason(
        "DATASET_NOT_FOUND",
        Status(Code::kNotFound, Str("there is no dataset ", Quoted(request.name()),
                                    "; `longrun data ls` lists the datasets")));
  }
  RETURN_IF_ERROR(call.WithReason("DAMAGED", call.reader.CheckBeforeRemoval()));
  RETURN_IF_ERROR(
      call.WithReason("DATASET_IN_USE", CheckUnused(call.parts.core, call.reader, *dataset)));
  response->set_folder_is_named(is_shared);
  if (!is_remote) response->set_folder(dataset->folder);
  RETURN_IF_ERROR(call.parts.core.RemoveDataset(request.name()));
  // Never a folder that a user has registered, wherever it is.
  if (!removal || is_shared || !IsSameFolder(dataset->folder, own)) return Status();
  if (!removal->foreign().empty()) return Status();  // nor one that also has files of a user's
  RETURN_IF_ERROR(removal->Finish());
  response->set_removed(true);
  return Status();
}

}  // namespace longrun::coordinator
