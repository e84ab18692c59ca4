// Access tokens and join tokens: secrets that a person or a new worker shows once per call.
//
//   lr_3f2a91c0d4e5b6a7_9b…   "lr_", 16 hex digits that name the token, "_", 64 of the secret
//
// The name is public: it stands in lists and in the audit log. The secret has 256 random bits, so a
// plain SHA-256 of it cannot be reversed by guessing, and no slow hash is needed.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace longrun {

// The metadata in which a worker that joins shows its token to whoever counts the calls, before the
// coordinator reads the request.
inline constexpr const char* kJoinTokenMetadata = "longrun-join-token";

struct NewToken {
  std::string text;  // shown to its owner, and stored nowhere
  std::string id;
  std::string hash;  // what is stored
};

Result<NewToken> MakeToken();

// The id of a token's text, or "" if the text is not a token.
std::string TokenId(std::string_view text);
std::string TokenHash(std::string_view text);  // 64 hex digits

// Compares in a time that does not depend on where the texts differ.
bool IsEqualInConstantTime(std::string_view a, std::string_view b);

// `n_bytes` from the kernel's generator, as hex digits.
Result<std::string> RandomHex(std::size_t n_bytes);

}  // namespace longrun
