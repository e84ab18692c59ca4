#include "client/console/version_text.h"

#include "base/str.h"
#include "base/version.h"

namespace longrun::client {

std::string VersionText() {
  return Str("longrun ", kVersion, " (", BuildCommit(), "), protocol ", kProtocolNewest,
             ", numerics ", kNumericsVersion);
}

}  // namespace longrun::client
