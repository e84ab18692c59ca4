// The weights of a model folder: model.safetensors, or the files that model.safetensors.index.json
// names, as transformers writes them above its max_shard_size:
//
//   {"metadata": {…}, "weight_map": {"model.norm.weight": "model-00002-of-00002.safetensors", …}}
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/safetensors.h"

namespace longrun {

class WeightFiles {
 public:
  // kNotFound where there are none; kInvalidArgument where there is only a pickle, which is never
  // opened; kDataLoss, which names file and tensor, where index and files do not fit together.
  static Result<WeightFiles> Open(const std::string& folder);

  // The file, or the index: for messages.
  const std::string& path() const { return path_; }
  // All files: the one, or the index and what it names.
  std::vector<std::string> paths() const;
  // By the names in the files; views, valid as long as this object.
  const std::map<std::string, const StoredTensor*>& tensors() const { return tensors_; }
  // The file that has one of tensors().
  const std::string& PathOf(const StoredTensor& tensor) const;

 private:
  Status AddFile(const std::string& path);
  Status OpenIndexed(const std::string& folder);

  std::string path_;
  std::map<std::string, SafetensorsFile> files_;  // by name; nodes stay where they are
  std::map<std::string, const StoredTensor*> tensors_;
};

}  // namespace longrun
