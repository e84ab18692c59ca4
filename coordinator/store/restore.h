// Installs a backup (backup.h) in a state folder.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "coordinator/store/restored_access.h"

namespace longrun::coordinator {

struct RestoreOptions {
  std::string state_folder = {};
  std::string path = {};  // of the backup
  bool replaces = false;  // a database in the state folder, which is moved aside
};

struct Restored {
  Json facts;  // of the backup
  std::int64_t restore_count = 0;
  std::int64_t n_files_new = 0;           // artifacts and files that the state folder did not have
  std::string moved_to;                   // folder of the replaced database; "" if there was none
  bool replaced_is_read = false;          // whether the next two could be read from it
  std::vector<std::string> sweeps_since;  // in the replaced database, but not in the backup
  std::int64_t n_attempts_since = 0;      // likewise
  std::vector<std::string> workers;       // that the restored database knows and accepts
  AccessSince access;                     // of other machines
  std::int64_t n_attempts_live = 0;       // at work when the backup was taken
  // Registered datasets whose folder is not there: name and folder.
  std::vector<std::pair<std::string, std::string>> datasets_missing;
  std::int64_t n_artifacts_missing = 0;  // a backup without artifacts: files that are not there
  // Of the coordinator's keys (pki/): "restored"; "kept", since the state folder had them;
  // "missing" if neither it nor the backup has any.
  std::string keys;
  std::vector<std::string> names;    // of the certificate, if keys were restored
  std::vector<std::string> members;  // workers of other machines, which trust the authority
};

// Verifies the backup as CheckBackup does, then installs it. Artifacts and files that the state
// folder already has stay, since their names are their SHA-256; only a database is replaced. Until
// the new database is in place, no coordinator starts on the folder, and the same call may be
// repeated.
//
// The restored database gets a larger restore count than the backup and the replaced database, so
// that the epochs of new attempts are larger than those of all attempts that workers may hold. It
// also gets a larger number of starts, by which workers tell it from a coordinator that still runs
// on the earlier database. The next start waits for the length of a lease before it places any
// task, so that workers report first. Errors: those of CheckBackup; kUnavailable (a coordinator
// runs), kAlreadyExists (there is a database, or there are keys of another authority), kDataLoss
// (the backup is damaged).
//
// Access that ended after the backup stays ended if the replaced database can be read
// (restored_access.h).
//
// Keys in the backup are written into a state folder that has none. Keys of the same authority
// stay: its certificate may be newer. Those of another authority are moved aside with the database
// that is replaced.
Result<Restored> RestoreBackup(const RestoreOptions& options);

}  // namespace longrun::coordinator
