// The coordinator's keys and certificates in its state folder, all of mode 0600:
//
//   STATE/pki/authority.key, authority.pem    the authority (CA)
//   STATE/pki/coordinator                     a link to the folder in use, below
//   STATE/pki/coordinator-SERIAL/key.pem      the coordinator's private key
//   STATE/pki/coordinator-SERIAL/chain.pem    its certificate, followed by the authority's
//
// The link is replaced in one step, so that nobody ever reads the key of one certificate beside
// another: a running coordinator takes the new pair within seconds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "pki/certificate.h"

namespace longrun {

struct PkiPaths {
  std::string folder;
  std::string authority_key;
  std::string authority;
  std::string key;
  std::string chain;
};
PkiPaths PkiPathsOf(const std::string& state_folder);

// Makes the authority and the coordinator's first certificate. kAlreadyExists if there is one.
Status InitPki(const std::string& state_folder, const std::vector<std::string>& names,
               std::int64_t now_ms);
// Gives the coordinator a new key and certificate of the same authority. No `names`: the old ones.
Status RenewCoordinator(const std::string& state_folder, std::vector<std::string> names,
                        std::int64_t now_ms);

Result<Authority> ReadAuthority(const std::string& state_folder);

// The contents of these files: what a coordinator on another machine needs to be the same one for
// its workers and for people.
struct PkiFiles {
  std::string authority_key;
  std::string authority;
  std::string key;
  std::string chain;
};
// kFailedPrecondition with the remedy if they are missing, or do not belong together. Those of a
// certificate that has expired are read as well.
Result<PkiFiles> ReadPki(const std::string& state_folder);
// Writes them into a state folder that has none. kDataLoss if they do not belong together.
Status WritePki(const std::string& state_folder, const PkiFiles& files);

// Whether a coordinator can listen with these files now: kFailedPrecondition with the remedy if
// they are missing, do not belong together, or are not valid at `now_ms`.
Status CheckPki(const std::string& state_folder, std::int64_t now_ms);

}  // namespace longrun
