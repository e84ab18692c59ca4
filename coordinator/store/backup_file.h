// The file of a backup. It is a tar archive (ustar), so `tar` lists and unpacks it without longrun:
//
//   longrun.db               a consistent snapshot of the database
//   database.id              the database's id
//   artifacts/ab/abcdef...   the files that the snapshot refers to, named by their SHA-256
//   files/abcdef...          the files that sweeps named, likewise
//   pki/...                  the coordinator's keys (kBackupKeys), if they were asked for
//   backup.json              the manifest: facts about the backup, and the name, size and SHA-256
//                            of each file above
//   backup.end               where backup.json begins, with its size and SHA-256
//   1024 zero bytes
//
// Every byte is checked: contents by their SHA-256, and everything else (headers, padding, the end)
// because it must be exactly what this code writes. A file that ends early has no backup.end, so it
// cannot be mistaken for a backup.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/open_file.h"
#include "base/status.h"

namespace longrun::coordinator {

inline constexpr std::string_view kBackupDatabase = "longrun.db";
inline constexpr std::string_view kBackupId = "database.id";
// Unpacked with tar, they are where a coordinator reads them.
inline constexpr std::string_view kBackupKeys[] = {"pki/authority.key", "pki/authority.pem",
                                                   "pki/coordinator/key.pem",
                                                   "pki/coordinator/chain.pem"};
bool IsBackupKey(std::string_view member);
// The bits of a file's mode that let others read or change it: the keys must not be in such a file.
Result<int> ModeForOthers(const std::string& path);

struct BackupMember {
  std::string name;  // its path in a state folder
  std::int64_t n_bytes = 0;
  std::string sha256;
};

// "artifacts/ab/abcdef..." and "files/abcdef...", for a SHA-256.
std::string BackupArtifactName(const std::string& sha256);
std::string BackupKeptFileName(const std::string& sha256);
// The SHA-256 in such a name; "" for other members.
std::string DigestInName(std::string_view member);

// The header of a file in the archive: one block of 512 bytes.
std::string BackupHeader(std::string_view name, std::int64_t n_bytes, std::int64_t wall_ms);

class BackupWriter {
 public:
  // Creates the file with mode 0600.
  static Result<BackupWriter> Create(const std::string& path, std::int64_t created_wall_ms);

  // kDataLoss if the file does not have the SHA-256 that its name in the backup says, or becomes
  // shorter meanwhile. kNotFound if it does not exist; nothing is then written.
  Status AddFile(const std::string& name, const std::string& from);
  Status AddText(const std::string& name, std::string_view text);
  // Writes the manifest and the end, then syncs the file.
  Status Finish(const Json& facts);

  const std::vector<BackupMember>& members() const { return members_; }

 private:
  BackupWriter(OpenFile file, std::int64_t created_wall_ms)
      : file_(std::move(file)), created_wall_ms_(created_wall_ms) {}
  Status Write(std::string_view bytes);
  Status WriteMember(const std::string& name, std::string_view text);
  Status Pad();

  OpenFile file_;
  std::int64_t created_wall_ms_;
  std::int64_t n_bytes_ = 0;
  std::vector<BackupMember> members_;
};

class BackupFile {
 public:
  // Reads the manifest. kNotFound; kInvalidArgument if the file is not a backup; kDataLoss if it
  // was cut short, or its manifest is damaged; kFailedPrecondition for a newer format.
  static Result<BackupFile> Open(const std::string& path);

  const std::string& path() const { return file_.path(); }
  // Those of the manifest, with `created_wall_ms`, `backup_bytes` and, if it has keys that others
  // can read, `keys_exposed`.
  const Json& facts() const { return facts_; }
  const std::vector<BackupMember>& members() const { return members_; }

  // Reads the whole file. Calls `damaged` with a description of each damaged part: "longrun.db",
  // "the header of database.id". `extract_to` returns the path to which a member is also written,
  // whether it is damaged or not; "" for none. An error is one of reading or writing files.
  Status Read(const std::function<std::string(const BackupMember&)>& extract_to,
              const std::function<void(const BackupMember*, std::string)>& damaged) const;
  // Writes a member to a new file and syncs it. kDataLoss if it is damaged; the file is then gone.
  Status Extract(const BackupMember& member, const std::string& to) const;
  bool has_keys() const;

 private:
  BackupFile(OpenFile file, Json facts, std::int64_t manifest_at, std::int64_t manifest_bytes)
      : file_(std::move(file)),
        facts_(std::move(facts)),
        manifest_at_(manifest_at),
        manifest_bytes_(manifest_bytes) {}
  Status ReadMembers(const Json& listed);
  Result<std::string> CopyOut(const BackupMember& member, std::int64_t at,
                              const std::string& to) const;  // returns its SHA-256
  Result<bool> IsZero(std::int64_t begin, std::int64_t end) const;

  OpenFile file_;
  Json facts_;
  std::int64_t created_wall_ms_ = 0;
  std::int64_t manifest_at_;  // of its header
  std::int64_t manifest_bytes_;
  std::vector<BackupMember> members_;
  std::vector<std::int64_t> at_;  // of each member's header
};

}  // namespace longrun::coordinator
