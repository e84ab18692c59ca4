// The certificates that a TLS server presents, before anybody trusts them: `longrun login` and a
// worker that joins compare the authority's fingerprint with what the operator told them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/host_port.h"
#include "base/status.h"

namespace longrun {

// The chain in PEM form, the server's own certificate first. Trusts nothing and sends nothing.
// kNotFound if the name resolves nowhere; kUnavailable if nobody listens there, or not in time, or
// the connection is cut; kFailedPrecondition if what listens there does not speak TLS 1.3.
Result<std::vector<std::string>> PresentedCertificates(const HostPort& place,
                                                       std::int64_t timeout_ms);

// The authority (CA) among them, which must have signed the first. kFailedPrecondition if there is
// none.
Result<std::string> AuthorityOf(const std::vector<std::string>& chain, const HostPort& place);

// Whether the server's own certificate is valid at `now_ms` and for the host: kFailedPrecondition
// with the remedy.
Status CheckServer(const std::vector<std::string>& chain, const HostPort& place,
                   std::int64_t now_ms);

// An authority (PEM) that a program trusts, and how it came to, as errors say it.
struct TrustedAuthority {
  std::string_view pem;
  std::string_view trusted_by;     // "X presents the authority A, but <trusted_by> B"
  std::string_view trust_another;  // what to do if the coordinator's operator has replaced it
};

// Whether a client that trusts only `authority` can trust what listens there now. Also
// kFailedPrecondition with the remedy if that has another authority, or a certificate that
// CheckServer refuses.
Status CheckPresented(const HostPort& place, const TrustedAuthority& authority,
                      std::int64_t timeout_ms);

}  // namespace longrun
