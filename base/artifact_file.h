// One file of a folder that travels by digest: of a checkpoint, an imported model, or a dataset.
#pragma once

#include <cstdint>
#include <string>

namespace longrun {

struct ArtifactFile {
  std::string name;  // inside the folder
  std::string sha256;
  std::int64_t n_bytes = 0;

  bool operator==(const ArtifactFile&) const = default;
};

}  // namespace longrun
