// Datasets by name: the folder of one, and its registration with the coordinator, to which it is
// sent if that is on another machine.
#pragma once

#include <string>

#include "base/status.h"

namespace longrun::client {

// STATE/datasets/NAME
std::string DatasetFolder(const std::string& state, const std::string& name);

// The folder in which datasets for `state` are made: `state` itself. For a context, a folder among
// the user's caches, where an interrupted import goes on.
Result<std::string> MakingFolder(const std::string& state);

// Registers the folder, after sending its files if `state` is a context. Prints name, digest and
// the contents of its splits (as JSON for "json"), and says if the dataset belongs to somebody else
// or is also registered by somebody else under another name.
// `may_be_known`, if not null: after an error, whether the coordinator may have registered the
// folder all the same, or had done so before.
Status RegisterDataset(const std::string& name, const std::string& folder, const std::string& state,
                       const std::string& output, bool* may_be_known = nullptr);

// The digest of the dataset that the coordinator has registered under this name; "": none.
Result<std::string> RegisteredDigest(const std::string& name, const std::string& state);

// For a context, before a dataset is made: kPermissionDenied if the coordinator would not take it
// from this caller. Ok as well if nobody answers: the dataset is made, and can be sent later.
Status MaySendDataset(const std::string& state);

// Whether an error of RegisterDataset is about the dataset and its name, so that the coordinator
// would refuse both again. All other errors can be mended: a connection, a token, a full disk, an
// older release.
bool IsRefusal(const Status& status);

// The folder of NAME|FOLDER: a folder that holds a dataset; else the one that the coordinator has
// registered under that name; else the one in the state folder. kNotFound if there is none.
Result<std::string> FindDataset(const std::string& name_or_folder, const std::string& state);

}  // namespace longrun::client
