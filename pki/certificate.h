// Keys and X.509 certificates by OpenSSL 3, as PEM texts: no type of OpenSSL leaves this folder.
//
//   authority (CA)          signs everything below; P-256, pathlen 0
//   coordinator             serverAuth; its names are in subjectAltName
//   worker                  clientAuth; CN = worker id; lives for days and renews itself
//
// All keys are P-256, which every TLS library knows. From a signing request we take only the public
// key, after its signature has shown that the sender has the private one: the name and the lifetime
// are the signer's decision.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace longrun {

// A day before "now", so that a machine whose clock is a little slow accepts a new certificate.
inline constexpr std::int64_t kClockSkewMs = 86'400'000;

Result<std::string> NewPrivateKey();

struct Validity {
  std::int64_t now_ms = 0;  // wall clock; the certificate is valid from kClockSkewMs before
  std::int64_t valid_ms = 0;
};

Result<std::string> NewAuthority(const std::string& key, const std::string& name,
                                 const Validity& validity);
Result<std::string> NewSigningRequest(const std::string& key, const std::string& name);

struct Authority {
  std::string key;
  std::string certificate;
};

// `names`: DNS names and IP addresses under which clients reach the coordinator.
Result<std::string> IssueForCoordinator(const Authority& authority, const std::string& key,
                                        const std::vector<std::string>& names,
                                        const Validity& validity);
// The SHA-256 of the request's public key. kInvalidArgument if `request` is no signing request, or
// not signed by its own key.
Result<std::string> KeyOfRequest(const std::string& request);
// The same errors.
Result<std::string> IssueForWorker(const Authority& authority, const std::string& request,
                                   const std::string& worker_id, const Validity& validity);

struct CertificateFacts {
  std::string common_name;
  std::string serial;       // hex digits
  std::string fingerprint;  // SHA-256 of its DER form, 64 hex digits
  std::string key;          // SHA-256 of its public key, 64 hex digits
  std::int64_t not_before_ms = 0;
  std::int64_t not_after_ms = 0;
  std::vector<std::string> names;  // of subjectAltName: DNS names and IP addresses
  bool is_authority = false;
};

// kFailedPrecondition, which names the clock, unless the certificate is valid at `now_ms`. `of`
// says whose certificate it is.
Status CheckTime(const CertificateFacts& facts, std::string_view of, std::int64_t now_ms);
// Whether one of its names is the host's; "*.example.org" stands for any one label.
bool IsForHost(const CertificateFacts& facts, std::string_view host);

// The first certificate of `pem`.
Result<CertificateFacts> ReadCertificate(const std::string& pem);
// Each certificate of `pem` as a text of its own.
std::vector<std::string> SplitCertificates(std::string_view pem);
// kFailedPrecondition unless the key belongs to the first certificate of `pem`.
Status CheckKeyOf(const std::string& key, const std::string& pem);
// kFailedPrecondition unless the authority has signed the first certificate of `pem`. Looks at no
// clock.
Status CheckSignedBy(const std::string& pem, const std::string& authority);

// "3F:2A:…" as openssl prints a fingerprint, or plain hex digits in any case, with or without
// "sha256:"; "" if it is not one. Returns 64 lower-case digits.
std::string PlainFingerprint(std::string_view text);

}  // namespace longrun
