// Takes backups of a state folder, while a coordinator runs or after it has stopped. The format is
// in backup_file.h.
//
// A backup contains what cannot be made again: the database, the artifacts to which it refers
// (checkpoints, imported models, sums by document), and the files that sweeps named. Only if it is
// asked for, it also contains pki/, the coordinator's keys: whoever can read such a backup can pass
// for the coordinator. It does not contain logs/, which are copies, or datasets/, which are made
// again from their texts.
#pragma once

#include <string>

#include "base/status.h"
#include "coordinator/store/backup_check.h"

namespace longrun::coordinator {

struct BackupOptions {
  std::string state_folder = {};
  std::string path = {};       // of the backup
  bool with_artifacts = true;  // false: artifacts/ is backed up by other means
  bool with_keys = false;      // pki/
  bool replaces = false;       // an existing file at `path`
};

// Writes a backup of the state as of one moment. It appears at `path` only after it was synced and
// read back, and everything in it was checked. Until then it is in the folder PATH.partial, which
// is removed in the end; the next backup to the same path removes the one of a killed process.
//
// Runs beside a coordinator, which goes on: it only reads the database, and asks the artifact store
// to keep what it will copy (ArtifactStore::Has). Errors: kAlreadyExists (`path`), kNotFound (no
// database, or no folder for the backup), kInvalidArgument (a path inside the state folder),
// kUnavailable (another process is writing the same backup), kResourceExhausted, kDataLoss
// (something in the state folder is damaged; the message names it), kFailedPrecondition (there are
// no keys, or others could read the file with them).
Result<CheckedState> WriteBackup(const BackupOptions& options);

}  // namespace longrun::coordinator
