#include "model/data/tokenizer/tiktoken.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>

#include "base/files.h"
#include "base/str.h"
#include "model/data/tokenizer/bpe.h"
#include "model/data/tokenizer/kinds.h"

namespace longrun {
namespace {

constexpr std::size_t kFileBytesMax = std::size_t{64} << 20;
constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

Status Invalid(std::string_view message) { return {Code::kInvalidArgument, message}; }

// Returns false if `text` is not base64 as an encoder writes it.
bool DecodeBase64(std::string_view text, std::string& bytes) {
  static const std::array<std::int8_t, 256> kValues = [] {
    std::array<std::int8_t, 256> values{};
    values.fill(-1);
    for (std::size_t i = 0; i < kBase64.size(); ++i) {
      values[static_cast<unsigned char>(kBase64[i])] = static_cast<std::int8_t>(i);
    }
    return values;
  }();
  if (text.size() % 4 != 0) return false;
  const std::size_t n_padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  std::uint32_t bits = 0;
  unsigned n_bits = 0;
  for (const char c : text.substr(0, text.size() - n_padding)) {
    const std::int8_t value = kValues[static_cast<unsigned char>(c)];
    if (value < 0) return false;
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    n_bits += 6;
    if (n_bits >= 8) {
      n_bits -= 8;
      bytes += static_cast<char>(bits >> n_bits & 0xff);
    }
  }
  return (bits & ((1u << n_bits) - 1)) == 0;
}

void AppendBase64(std::string_view bytes, std::string& text) {
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t bits = 0;
    const std::size_t n = std::min<std::size_t>(3, bytes.size() - i);
    for (std::size_t k = 0; k < 3; ++k) {
      bits = bits << 8 | (k < n ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      text += k <= n ? kBase64[bits >> (18 - 6 * k) & 63] : '=';
    }
  }
}

Result<RankedBytes> ParseLine(std::string_view line) {
  const std::size_t blank = line.find(' ');
  if (blank == std::string_view::npos) {
    return Invalid(Str("expected the base64 of a token, a space and its rank, found \"",
                       ToUtf8(line.substr(0, 40)), "\""));
  }
  const std::string_view base64 = line.substr(0, blank), digits = line.substr(blank + 1);
  RankedBytes token;
  if (base64.empty() || !DecodeBase64(base64, token.bytes)) {
    return Invalid(Str("\"", ToUtf8(base64.substr(0, 40)), "\" is not base64"));
  }
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), token.rank);
  if (error == std::errc::invalid_argument || end != digits.data() + digits.size()) {
    return Invalid(Str("\"", ToUtf8(digits.substr(0, 40)), "\" is not a rank: expected a number"));
  }
  if (error != std::errc() || token.rank >= kVocabularyMax) {
    return Invalid(
        Str("rank ", digits.substr(0, 40), ": at most ", kVocabularyMax - 1, " is supported"));
  }
  return token;
}

}  // namespace

Result<std::vector<RankedBytes>> ParseTiktoken(std::string_view text) {
  std::vector<RankedBytes> tokens;
  std::size_t line_number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, end - begin);
    begin = end + 1;
    ++line_number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    Result<RankedBytes> token = ParseLine(line);
    if (!token) return std::move(token).status().In(Str("line ", line_number));
    tokens.push_back(std::move(token).value());
  }
  return tokens;
}

Result<std::vector<std::string>> BytesOfRanks(std::vector<RankedBytes> tokens) {
  std::ranges::stable_sort(tokens, {}, &RankedBytes::rank);
  std::vector<std::string> bytes_of_rank;
  bytes_of_rank.reserve(tokens.size());
  for (RankedBytes& token : tokens) {
    if (token.rank < bytes_of_rank.size()) {
      return Invalid(Str("rank ", token.rank, " occurs twice: a rank is the id of one token"));
    }
    if (token.rank > bytes_of_rank.size()) {
      return Invalid(Str("rank ", bytes_of_rank.size(), " is missing: the highest rank is ",
                         tokens.back().rank, ", so every rank from 0 to ", tokens.back().rank,
                         " must be in the file"));
    }
    bytes_of_rank.push_back(std::move(token.bytes));
  }
  return bytes_of_rank;
}

std::string TiktokenText(const std::vector<RankedBytes>& tokens) {
  std::string text;
  for (const RankedBytes& token : tokens) {
    AppendBase64(token.bytes, text);
    StrAppend(text, ' ');
    StrAppend(text, token.rank);
    StrAppend(text, '\n');
  }
  return text;
}

Result<std::string> ReadVocabularyFile(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, Str("cannot read ", path));
  if (!S_ISREG(info.st_mode)) return Invalid(Str(path, " is not a regular file"));
  return ReadFile(path, kFileBytesMax);
}

Result<std::unique_ptr<Tokenizer>> MakeTiktokenTokenizer(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadVocabularyFile(path));
  Result<std::vector<RankedBytes>> tokens = ParseTiktoken(text);
  if (!tokens) return std::move(tokens).status().In(path);
  Result<std::vector<std::string>> bytes = BytesOfRanks(std::move(tokens).value());
  if (!bytes) return std::move(bytes).status().In(path);
  Result<std::unique_ptr<Tokenizer>> tokenizer =
      MakeBpeTokenizer(RanksWithEndOfText(BaseName(path), std::move(bytes).value()));
  if (!tokenizer) return std::move(tokenizer).status().In(path);
  return tokenizer;
}

}  // namespace longrun
