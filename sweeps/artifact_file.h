// One file of a checkpoint or an imported model, in the artifact store.
#pragma once

#include <cstdint>
#include <string>

namespace longrun {

struct ArtifactFile {
  std::string name;  // inside the checkpoint folder
  std::string sha256;
  std::int64_t n_bytes = 0;
};

}  // namespace longrun
