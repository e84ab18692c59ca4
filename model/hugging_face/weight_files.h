// The weights of a model folder: model.safetensors, or the files named in
// model.safetensors.index.json, which transformers writes above its max_shard_size:
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
  // kNotFound if there are no weights; kInvalidArgument if there is only a pickle, which is never
  // opened; kDataLoss, naming file and tensor, if index and files do not match.
  static Result<WeightFiles> Open(const std::string& folder);

  // The path of the file or of the index, for messages.
  const std::string& path() const { return path_; }
  // All files: the single one, or the index and the files that it names.
  std::vector<std::string> paths() const;
  // Tensors by their names in the files; views, valid as long as this object.
  const std::map<std::string, const StoredTensor*>& tensors() const { return tensors_; }
  // The file that has one of tensors().
  const std::string& PathOf(const StoredTensor& tensor) const;

 private:
  Status AddFile(const std::string& path);
  Status OpenIndexed(const std::string& folder);

  std::string path_;
  std::map<std::string, SafetensorsFile> files_;  // by name; map nodes do not move
  std::map<std::string, const StoredTensor*> tensors_;
};

}  // namespace longrun
