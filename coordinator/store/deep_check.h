// Reads everything that the coordinator stores and checks it: the database's pages, indexes and
// rows, the digests inside rows, and the bytes in `artifacts/` and `files/`. CheckDeep changes
// nothing (SQLite may leave its empty log beside the database), and may run beside a coordinator.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"

namespace longrun::coordinator {

struct DamagedObject {
  std::string object;  // for people: what, and where
  std::string remedy;
};

struct DeepCheck {
  std::vector<DamagedObject> damaged;
  std::int64_t n_rows = 0;
  std::int64_t n_files = 0;
  std::vector<std::pair<std::string, std::string>> datasets;  // name and folder, as registered
};

// kNotFound: there is no database; kPermissionDenied: this user may not read it; kDataLoss: it
// cannot be read at all.
Result<DeepCheck> CheckDeep(const std::string& state_folder);

// A database by itself, such as the one in a backup.
struct DatabaseCheck {
  DeepCheck found;
  std::map<std::string, std::string> named;  // SHA-256 of a file -> what a row calls the file
};
// The same for the database in `folder`, without the files that it names.
Result<DatabaseCheck> CheckDatabaseDeep(const std::string& folder);

// Repairs a database of any size as far as possible, as each start does for a small one. Returns
// descriptions of the repairs. Errors: kNotFound as above, or those of Store::Open (kUnavailable
// while a coordinator is running).
Result<std::vector<std::string>> RepairDatabase(const std::string& state_folder);

}  // namespace longrun::coordinator
