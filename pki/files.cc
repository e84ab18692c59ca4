// See files.h.
#include "pki/files.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <optional>

#include "base/clock.h"
#include "base/files.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr std::int64_t kDayMs = 86'400'000;
constexpr std::int64_t kAuthorityMs = 3650 * kDayMs;
constexpr std::int64_t kCoordinatorMs = 397 * kDayMs;  // the longest that browsers accept, too
constexpr std::size_t kPemBytesMax = 64 << 10;
constexpr const char* kAuthorityName = "longrun authority";

Status WithRemedy(const Status& status, const PkiPaths& paths) {
  return Status(Code::kFailedPrecondition,
                Str(status.message(), " (", paths.folder,
                    "): `longrun admin pki init` makes an authority and a certificate, "
                    "`longrun admin pki renew` another certificate of the same authority"));
}

// Of the authority's own files: with another authority, nobody trusts the coordinator any more.
Status LostAuthority(const Status& status, const PkiPaths& paths) {
  return Status(Code::kFailedPrecondition,
                Str(status.message(),
                    ": take it from a backup (`longrun admin backup --with-keys`)"
                    ", or remove ",
                    paths.folder,
                    " and make a new authority by `longrun admin pki init`, which every worker and "
                    "every laptop must then trust (join and login)"));
}

// To which the link points. Somebody who has copied the folder may have made one of the link.
std::string FolderInUse(const PkiPaths& paths) {
  const std::string link = FolderOf(paths.chain);
  char name[256];
  const ssize_t n_bytes = readlink(link.c_str(), name, sizeof name);
  if (n_bytes < 0) return link;
  return JoinPath(paths.folder, std::string_view(name, static_cast<std::size_t>(n_bytes)));
}

// Puts the coordinator's key and certificate into use.
Status PutInUse(const PkiPaths& paths, const std::string& key, const std::string& chain) {
  ASSIGN_OR_RETURN(const CertificateFacts facts, ReadCertificate(chain));
  const std::string name = Str("coordinator-", facts.serial);
  const std::string folder = JoinPath(paths.folder, name);
  RETURN_IF_ERROR(MakeFolder(folder, 0700));
  RETURN_IF_ERROR(WriteFileAtomic(JoinPath(folder, "key.pem"), key, 0600));
  RETURN_IF_ERROR(WriteFileAtomic(JoinPath(folder, "chain.pem"), chain, 0600));
  const std::string link = JoinPath(paths.folder, "coordinator");
  const std::string next = link + ".next";
  RETURN_IF_ERROR(RemoveAll(next));
  if (symlink(name.c_str(), next.c_str()) != 0) {
    return ErrnoStatus(errno, Str("cannot make the link ", next));
  }
  return RenameSync(next, link);
}

Status Install(const PkiPaths& paths, const Authority& authority,
               const std::vector<std::string>& names, std::int64_t now_ms) {
  ASSIGN_OR_RETURN(const std::string key, NewPrivateKey());
  ASSIGN_OR_RETURN(
      const std::string certificate,
      IssueForCoordinator(authority, key, names, {.now_ms = now_ms, .valid_ms = kCoordinatorMs}));
  return PutInUse(paths, key, certificate + authority.certificate);
}

// The authority whose certificate's file is gone, from its key and the coordinator's chain. Workers
// may trust it, so no other one may take its place. nullopt if there was none.
std::optional<Authority> EarlierAuthority(const PkiPaths& paths) {
  const Result<std::string> key = ReadFile(paths.authority_key, kPemBytesMax);
  const Result<std::string> chain = ReadFile(paths.chain, kPemBytesMax);
  if (!key.ok() || !chain.ok()) return std::nullopt;
  const std::vector<std::string> certificates = SplitCertificates(*chain);
  if (certificates.size() != 2 || !CheckKeyOf(*key, certificates[1]).ok()) return std::nullopt;
  return Authority{.key = *key, .certificate = certificates[1]};
}

Status CheckTogether(const PkiFiles& files, const PkiPaths& paths) {
  if (Status fits = CheckKeyOf(files.authority_key, files.authority); !fits.ok()) {
    return std::move(fits).In(paths.authority);
  }
  if (Status fits = CheckKeyOf(files.key, files.chain); !fits.ok()) {
    return std::move(fits).In(paths.chain);
  }
  return CheckSignedBy(files.chain, files.authority).In(paths.chain);
}

}  // namespace

PkiPaths PkiPathsOf(const std::string& state_folder) {
  const std::string folder = JoinPath(state_folder, "pki");
  const std::string in_use = JoinPath(folder, "coordinator");
  return {.folder = folder,
          .authority_key = JoinPath(folder, "authority.key"),
          .authority = JoinPath(folder, "authority.pem"),
          .key = JoinPath(in_use, "key.pem"),
          .chain = JoinPath(in_use, "chain.pem")};
}

Status InitPki(const std::string& state_folder, const std::vector<std::string>& names,
               std::int64_t now_ms) {
  const PkiPaths paths = PkiPathsOf(state_folder);
  if (PathExists(paths.authority)) {
    return Status(Code::kAlreadyExists,
                  Str(paths.authority,
                      " exists: every worker and every laptop trusts it; `longrun "
                      "admin pki renew` gives the coordinator another certificate of it"));
  }
  RETURN_IF_ERROR(MakeFolders(paths.folder, 0700));
  if (const std::optional<Authority> earlier = EarlierAuthority(paths)) {
    RETURN_IF_ERROR(Install(paths, *earlier, names, now_ms));
    return WriteFileAtomic(paths.authority, earlier->certificate, 0600);
  }
  Authority authority;
  ASSIGN_OR_RETURN(authority.key, NewPrivateKey());
  ASSIGN_OR_RETURN(
      authority.certificate,
      NewAuthority(authority.key, kAuthorityName, {.now_ms = now_ms, .valid_ms = kAuthorityMs}));
  RETURN_IF_ERROR(WriteFileAtomic(paths.authority_key, authority.key, 0600));
  RETURN_IF_ERROR(Install(paths, authority, names, now_ms));
  // Last: this file says that all the others are there.
  return WriteFileAtomic(paths.authority, authority.certificate, 0600);
}

Status RenewCoordinator(const std::string& state_folder, std::vector<std::string> names,
                        std::int64_t now_ms) {
  const PkiPaths paths = PkiPathsOf(state_folder);
  ASSIGN_OR_RETURN(const Authority authority, ReadAuthority(state_folder));
  if (names.empty()) {
    ASSIGN_OR_RETURN(const std::string chain, ReadFile(paths.chain, kPemBytesMax));
    ASSIGN_OR_RETURN(const CertificateFacts facts, ReadCertificate(chain));
    names = facts.names;
  }
  return Install(paths, authority, names, now_ms);
}

Result<Authority> ReadAuthority(const std::string& state_folder) {
  const PkiPaths paths = PkiPathsOf(state_folder);
  Authority authority;
  const Result<std::string> certificate = ReadFile(paths.authority, kPemBytesMax);
  if (certificate.status().code() == Code::kNotFound) {
    return Status(Code::kFailedPrecondition,
                  Str("there are no keys and certificates yet: `longrun admin pki init` makes them "
                      "(in ",
                      paths.folder, ")"));
  }
  if (!certificate.ok()) return LostAuthority(certificate.status(), paths);
  if (Status fits = ReadCertificate(*certificate).status(); !fits.ok()) {
    return LostAuthority(std::move(fits).In(paths.authority), paths);
  }
  const Result<std::string> key = ReadFile(paths.authority_key, kPemBytesMax);
  if (!key.ok()) return LostAuthority(key.status(), paths);
  authority.certificate = *certificate;
  authority.key = *key;
  if (Status fits = CheckKeyOf(authority.key, authority.certificate); !fits.ok()) {
    return LostAuthority(std::move(fits).In(paths.authority_key), paths);
  }
  return authority;
}

Result<PkiFiles> ReadPki(const std::string& state_folder) {
  const PkiPaths paths = PkiPathsOf(state_folder);
  PkiFiles files;
  ASSIGN_OR_RETURN(Authority authority, ReadAuthority(state_folder));
  files.authority_key = std::move(authority.key);
  files.authority = std::move(authority.certificate);
  // One folder for both, even if another certificate is put into use meanwhile.
  const std::string in_use = FolderInUse(paths);
  for (const auto& [name, text] :
       {std::pair("chain.pem", &files.chain), std::pair("key.pem", &files.key)}) {
    Result<std::string> read = ReadFile(JoinPath(in_use, name), kPemBytesMax);
    if (!read.ok()) return WithRemedy(read.status(), paths);
    *text = std::move(read).value();
  }
  if (const Status fits = CheckTogether(files, paths); !fits.ok()) return WithRemedy(fits, paths);
  return files;
}

Status WritePki(const std::string& state_folder, const PkiFiles& files) {
  const PkiPaths paths = PkiPathsOf(state_folder);
  if (const Status fits = CheckTogether(files, paths); !fits.ok()) {
    return Status(Code::kDataLoss, fits.message());
  }
  RETURN_IF_ERROR(MakeFolders(paths.folder, 0700));
  RETURN_IF_ERROR(WriteFileAtomic(paths.authority_key, files.authority_key, 0600));
  RETURN_IF_ERROR(PutInUse(paths, files.key, files.chain));
  // Last: this file says that all the others are there.
  return WriteFileAtomic(paths.authority, files.authority, 0600);
}

Status CheckPki(const std::string& state_folder, std::int64_t now_ms) {
  const PkiPaths paths = PkiPathsOf(state_folder);
  ASSIGN_OR_RETURN(const PkiFiles files, ReadPki(state_folder));
  for (const std::string& pem : {files.chain, files.authority}) {
    ASSIGN_OR_RETURN(const CertificateFacts facts, ReadCertificate(pem));
    const Status in_time = CheckTime(facts, facts.common_name, now_ms);
    if (!in_time.ok()) return WithRemedy(in_time, paths);
  }
  return Status();
}

}  // namespace longrun
