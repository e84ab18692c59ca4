// A dataset whose files were sent from another machine, and are in the artifact store. It becomes
// STATE/datasets/NAME, where `longrun data import` on this machine would make it too:
//
//   1. STATE/datasets/.NAME.receiving   links to the artifacts
//   2. every byte is checked, as `longrun data verify` does
//   3. the folder gets its name; that of a damaged dataset is exchanged for it
//
// Nothing that a client says is believed: the listing has only plain names, and the digest of the
// dataset is computed from its tokens. One caller at a time.
#pragma once

#include <functional>
#include <string>

#include "base/status.h"
#include "coordinator/store/artifacts.h"
#include "model/data/dataset_files.h"

namespace longrun::coordinator {

struct ReceivedDataset {
  std::string folder;
  bool is_new = false;  // false: a folder of this name was there already
};

// kFailedPrecondition if a file must be sent first, kInvalidArgument if one has another size. Takes
// only a moment.
Status CheckSent(ArtifactStore& artifacts, const std::string& state, const std::string& name,
                 const DatasetListing& listing);

// kFailedPrecondition if a file is not in the store, kAlreadyExists if the folder of this name has
// other files. An error of `go_on`, which is asked now and then, ends the work. After any error,
// nothing new is left. A folder that has exactly the files of the listing already (after a crash
// between 3 and the registration) is checked and used. No message has a path of this machine.
Result<ReceivedDataset> ReceiveDataset(
    ArtifactStore& artifacts, const std::string& state, const std::string& name,
    const DatasetListing& listing, const std::function<Status()>& go_on = [] { return Status(); });

// kDataLoss unless every byte of the dataset in `folder` is as its import wrote it, and the dataset
// has this digest. Any other error, such as one of `go_on`, means that this could not be checked.
// No message has the path of the folder.
Status CheckStored(const std::string& folder, const std::string& digest,
                   const std::function<Status()>& go_on);

// ReceiveDataset for a dataset whose folder of this name is damaged or missing: what is received
// replaces the folder in one step. kUnavailable while an import on this machine uses the folder.
// After any error, the folder is as it was.
Result<ReceivedDataset> ReceiveAgain(ArtifactStore& artifacts, const std::string& state,
                                     const std::string& name, const DatasetListing& listing,
                                     const std::function<Status()>& go_on);

}  // namespace longrun::coordinator
