// Checks a backup (backup_file.h) or a state folder: everything in it is read. Also what taking and
// restoring a backup need of this.
#pragma once

#include <set>
#include <string>

#include "base/json.h"
#include "base/status.h"
#include "coordinator/store/deep_check.h"

namespace longrun::coordinator {

class BackupFile;
class Connection;

// What a backup or a state folder contains. `facts` is for people and for the manifest: versions,
// counts and sizes.
struct CheckedState {
  Json facts;
  DeepCheck found;
};

// Reads every byte of a backup, and checks the database in it as CheckDeep does. Errors: those of
// BackupFile::Open; kFailedPrecondition if a newer release wrote it.
Result<CheckedState> CheckBackup(const std::string& path);

// The same for a state folder.
Result<CheckedState> CheckState(const std::string& state_folder);

// Versions and counts of a database, for the manifest and for people.
Result<Json> FactsOf(Connection& connection);

// The SHA-256 of every file of artifacts/ to which the database refers.
Result<std::set<std::string>> ArtifactsNamedIn(Connection& connection);

// kNotFound, with the remedy, if the state folder has no database.
Status CheckStateDatabase(const std::string& state_folder);
// If no coordinator runs: kDataLoss if the database's log lost commits, which a copy would lack.
Status CheckLogOfStopped(const std::string& state_folder);

// CheckBackup, with `work` as the folder for the extracted database; it is made, and removed.
Result<CheckedState> CheckBackupIn(const std::string& path, const std::string& work);
// The same, but leaves the database and its id in `work` if nothing is damaged.
Result<CheckedState> CheckAndExtract(const BackupFile& backup, const std::string& work);

}  // namespace longrun::coordinator
