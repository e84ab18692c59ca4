// A file of a checkpoint; its bytes are in the artifact store.
#pragma once

#include <cstdint>
#include <string>

namespace longrun {

struct ArtifactFileRow {
  std::string name;  // inside the checkpoint folder
  std::string sha256;
  std::int64_t n_bytes = 0;
};

}  // namespace longrun
