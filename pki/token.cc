// See token.h.
#include "pki/token.h"

#include <openssl/crypto.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/hash.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr std::string_view kPrefix = "lr_";
constexpr std::size_t kIdBytes = 8;
constexpr std::size_t kSecretBytes = 32;

bool IsHex(std::string_view text) {
  return std::ranges::all_of(
      text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace

Result<std::string> RandomHex(std::size_t n_bytes) {
  std::vector<unsigned char> bytes(n_bytes);
  std::size_t n_filled = 0;
  while (n_filled < n_bytes) {
    const ssize_t n = getrandom(bytes.data() + n_filled, n_bytes - n_filled, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "the kernel gives no random bytes");
    n_filled += static_cast<std::size_t>(n);
  }
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

Result<NewToken> MakeToken() {
  ASSIGN_OR_RETURN(const std::string id, RandomHex(kIdBytes));
  ASSIGN_OR_RETURN(const std::string secret, RandomHex(kSecretBytes));
  NewToken token{.text = Str(kPrefix, id, "_", secret), .id = id, .hash = ""};
  token.hash = TokenHash(token.text);
  return token;
}

std::string TokenId(std::string_view text) {
  constexpr std::size_t kIdEnd = kPrefix.size() + 2 * kIdBytes;
  if (text.size() != kIdEnd + 1 + 2 * kSecretBytes || !text.starts_with(kPrefix)) return "";
  const std::string_view id = text.substr(kPrefix.size(), 2 * kIdBytes);
  const bool is_token = text[kIdEnd] == '_' && IsHex(id) && IsHex(text.substr(kIdEnd + 1));
  return is_token ? std::string(id) : "";
}

std::string TokenHash(std::string_view text) { return Sha256Hex(text); }

bool IsEqualInConstantTime(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace longrun
