// The files that a sweep's evaluations name (model/evaluation/input_file.h), in STATE/files. A
// client on this machine has put them there; one on another machine has sent them to the artifact
// store.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "base/status.h"
#include "coordinator/rpc/call.h"
#include "sweeps/sweep.h"

namespace longrun::coordinator {

// Files that were kept for a submission: unless it succeeds, they are removed again.
class NewlyKept {
 public:
  NewlyKept() = default;
  ~NewlyKept();
  NewlyKept(const NewlyKept&) = delete;
  NewlyKept& operator=(const NewlyKept&) = delete;
  void Add(std::string path) { paths_.push_back(std::move(path)); }
  void Stay() { paths_.clear(); }

 private:
  std::vector<std::string> paths_;
};

// Takes those that STATE/files lacks from the artifact store, after checking digest and content.
// kNotFound if a file is in neither. kResourceExhausted if the files that tasks of `owner` read,
// and these, would have more than parts.kept_file_bytes_max; "": the owner has no limit.
Status KeepNamedFiles(const Call& call, const Sweep& sweep, const std::string& owner,
                      NewlyKept& kept);

struct UnneededFile {
  std::string sha256;
  std::string path;
  std::int64_t n_bytes = 0;
};
// Kept files that no task reads any more, not counting the tasks in `left`. Leaves out young files:
// their sweep may be about to be submitted.
Result<std::vector<UnneededFile>> UnneededFiles(const CoordinatorParts& parts, StoreReader& reader,
                                                const std::set<std::string>& left);

}  // namespace longrun::coordinator
