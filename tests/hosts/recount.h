// tools/recount.py, the second checker, over the journals of all hosts of a cluster.
#pragma once

#include <string>

#include "tests/hosts/cluster.h"

namespace longrun {

// code 0: the table of `sweep` is that of the journals. `said`: what the script prints.
struct Recount {
  int code = -1;
  std::string said;
};
// `folder` is the test's. `table`: what `longrun table SWEEP -o json` prints.
Recount RecountSweep(Cluster& cluster, const std::string& folder, const std::string& sweep,
                     const std::string& table);

}  // namespace longrun
