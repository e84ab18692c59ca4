#include "model/data/tokenizer.h"

#include <algorithm>

#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"
#include "model/data/tokenizer/kinds.h"

namespace longrun {
namespace {

struct Entry {
  std::string_view name;  // a leading '*' stands for the rest of a path
  Result<std::unique_ptr<Tokenizer>> (*make)(const std::string& spec);
};

// One line for each kind.
constexpr Entry kTokenizers[] = {
    {"bytes", &MakeBytesTokenizer},
    {"gpt2", &MakeGpt2Tokenizer},
    {"*.tiktoken", &MakeTiktokenTokenizer},
    {"*.json", &MakeHuggingFaceTokenizer},
};

bool IsMeant(const Entry& entry, std::string_view spec) {
  if (!entry.name.starts_with('*')) return spec == entry.name;
  return spec.size() > entry.name.size() - 1 && spec.ends_with(entry.name.substr(1));
}

std::string Hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

std::string_view NameOf(Token::Kind kind) {
  switch (kind) {
    case Token::Kind::kText:
      return "text";
    case Token::Kind::kAdded:
      return "added";
    case Token::Kind::kControl:
      break;
  }
  return "control";
}

}  // namespace

std::vector<std::int32_t> Vocabulary::TokenBytes() const {
  std::vector<std::int32_t> n_bytes(static_cast<std::size_t>(n_rows), 0);
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    if (tokens[id].kind != Token::Kind::kControl) {
      n_bytes[id] = static_cast<std::int32_t>(tokens[id].bytes.size());
    }
  }
  return n_bytes;
}

std::span<const std::string_view> MaskTokenNames() {
  static constexpr std::string_view kNames[] = {"<|mask|>", "<mask>", "[MASK]"};
  return kNames;
}

std::int32_t Vocabulary::MaskId() const {
  for (const std::string_view wanted : MaskTokenNames()) {
    const auto is_it = [&](const Token& token) {
      return token.kind == Token::Kind::kControl && token.bytes == wanted;
    };
    const auto found = std::ranges::find_if(tokens, is_it);
    if (found != tokens.end()) return static_cast<std::int32_t>(found - tokens.begin());
  }
  return -1;
}

std::string Vocabulary::Fingerprint() const {
  Json list = Json::array();
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    list.push_back({Hex(tokens[id].bytes), id, NameOf(tokens[id].kind)});
  }
  Json identity = {{"pre_tokenizer", pre_tokenizer},
                   {"tokens", std::move(list)},
                   {"eot_id", eot_id},
                   {"bos_id", bos_id},
                   {"pad_id", pad_id}};
  if (add_prefix_space) identity["add_prefix_space"] = true;
  return Sha256Hex(CanonicalJson(identity));
}

Result<std::string> Tokenizer::Decode(std::span<const std::int32_t> ids) const {
  std::string text;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || static_cast<std::size_t>(ids[i]) >= vocabulary_.tokens.size()) {
      return Status(Code::kOutOfRange,
                    Str("token ", i, " has id ", ids[i], ", but tokenizer \"", vocabulary_.name,
                        "\" has the ids 0 to ", vocabulary_.tokens.size() - 1));
    }
    const Token& token = vocabulary_.tokens[static_cast<std::size_t>(ids[i])];
    if (token.kind != Token::Kind::kControl) text += token.bytes;
  }
  return text;
}

Result<std::unique_ptr<Tokenizer>> MakeTokenizer(std::string_view spec) {
  for (const Entry& entry : kTokenizers) {
    if (IsMeant(entry, spec)) return entry.make(std::string(spec));
  }
  std::vector<std::string> names;
  for (const Entry& entry : kTokenizers) {
    if (!entry.name.starts_with('*')) names.emplace_back(entry.name);
  }
  const std::string nearest = Nearest(spec, names);
  return Status(
      Code::kInvalidArgument,
      Str("unknown tokenizer \"", spec, "\": choose one of ", Join(TokenizerNames(), ", "),
          nearest.empty() ? "" : Str("; did you mean \"", nearest, "\"?")));
}

bool IsTokenizerSpec(std::string_view spec) {
  return std::ranges::any_of(kTokenizers, [&](const Entry& entry) { return IsMeant(entry, spec); });
}

std::vector<std::string> TokenizerNames() {
  std::vector<std::string> names;
  for (const Entry& entry : kTokenizers) names.emplace_back(entry.name);
  return names;
}

}  // namespace longrun
