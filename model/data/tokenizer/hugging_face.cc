#include "model/data/tokenizer/hugging_face.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "base/str.h"
#include "base/utf8.h"
#include "model/data/tokenizer/bpe.h"
#include "model/data/tokenizer/gpt2_scanner.h"
#include "model/data/tokenizer/kinds.h"
#include "model/data/tokenizer/tiktoken.h"

namespace longrun {
namespace {

Status Invalid(std::string_view message) { return {Code::kInvalidArgument, message}; }

// ---- bytes as printable characters --------------------------------------------------------------

constexpr std::uint32_t kShiftedFirst = 0x100;  // code points for bytes that are not printable
constexpr std::uint32_t kShiftedLast = 0x143;

constexpr bool IsPrintable(unsigned byte) {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

// Maps each byte to its code point, and each code point to its byte or -1.
struct ByteMap {
  std::array<std::uint32_t, 256> code_of{};
  std::array<std::int16_t, kShiftedLast + 1> byte_of{};
};

const ByteMap& Bytes() {
  static const ByteMap map = [] {
    ByteMap made;
    made.byte_of.fill(-1);
    std::uint32_t shifted = kShiftedFirst;
    for (unsigned byte = 0; byte < 256; ++byte) {
      made.code_of[byte] = IsPrintable(byte) ? byte : shifted++;
      made.byte_of[made.code_of[byte]] = static_cast<std::int16_t>(byte);
    }
    return made;
  }();
  return map;
}

// ---- what the file may say ----------------------------------------------------------------------

// A key and the values that we understand; an empty list: any value,
// since it does not affect the ids.
struct KeyRule {
  std::string_view key;
  std::vector<Json> values;
};

std::string Named(std::string_view path, std::string_view key) {
  return path.empty() ? std::string(key) : Str(path, ".", key);
}

std::string Shown(const Json& json) {
  const std::string text = CanonicalJson(json);
  return text.size() <= 60 ? text : Str(CutAt(text, 57), "...");
}

Status CheckKeys(const Json& object, std::string_view path, const std::vector<KeyRule>& rules) {
  if (!object.is_object()) {
    return Invalid(
        Str(path.empty() ? "the file" : path, " is ", Shown(object), ": expected an object"));
  }
  for (const auto& [key, value] : object.items()) {
    const auto rule = std::ranges::find(rules, key, &KeyRule::key);
    if (rule == rules.end()) {
      return Invalid(Str(Named(path, ToUtf8(key)), ": unknown key, which may change the ids"));
    }
    if (rule->values.empty() || std::ranges::find(rule->values, value) != rule->values.end()) {
      continue;
    }
    std::vector<std::string> values;
    values.reserve(rule->values.size());
    for (const Json& supported : rule->values) values.push_back(Shown(supported));
    return Invalid(Str(Named(path, key), " is ", Shown(value), ", but only ", Join(values, " or "),
                       " is supported"));
  }
  return {};
}

const std::vector<KeyRule>& FileRules() {
  static const std::vector<KeyRule> rules = {
      {"version", {"1.0"}},   {"truncation", {}},        {"padding", {}},
      {"added_tokens", {}},   {"normalizer", {nullptr}}, {"pre_tokenizer", {}},
      {"post_processor", {}}, {"decoder", {}},           {"model", {}}};
  return rules;
}

const std::vector<KeyRule>& ModelRules() {
  static const std::vector<KeyRule> rules = {{"type", {"BPE"}},
                                             {"dropout", {nullptr}},
                                             {"unk_token", {}},  // no byte is unknown
                                             {"continuing_subword_prefix", {nullptr, ""}},
                                             {"end_of_word_suffix", {nullptr, ""}},
                                             {"fuse_unk", {}},
                                             {"byte_fallback", {false}},
                                             {"ignore_merges", {false}},
                                             {"vocab", {}},
                                             {"merges", {}}};
  return rules;
}

const std::vector<KeyRule>& PreTokenizerRules() {
  static const std::vector<KeyRule> rules = {{"type", {"ByteLevel"}},
                                             {"add_prefix_space", {true, false}},
                                             {"trim_offsets", {}},
                                             {"use_regex", {true}}};
  return rules;
}

Result<const Json*> Member(const Json& object, std::string_view path, std::string_view key,
                           Json::value_t type, std::string_view expected) {
  const auto at = object.find(key);
  if (at == object.end()) return Invalid(Str(Named(path, key), " is missing"));
  if (at->type() != type) {
    return Invalid(Str(Named(path, key), " is ", Shown(*at), ": expected ", expected));
  }
  return &*at;
}

Result<bool> Flag(const Json& object, std::string_view path, std::string_view key, bool otherwise) {
  const auto at = object.find(key);
  if (at == object.end()) return otherwise;
  if (!at->is_boolean()) {
    return Invalid(Str(Named(path, key), " is ", Shown(*at), ": expected true or false"));
  }
  return at->get<bool>();
}

Result<std::uint32_t> Id(const Json& json, const std::string& path) {
  if (!json.is_number_unsigned() || json.get<std::uint64_t>() >= kVocabularyMax) {
    return Invalid(Str(path, " is ", Shown(json), ": expected an id of 0 to ", kVocabularyMax - 1));
  }
  return json.get<std::uint32_t>();
}

// ---- the tokens ---------------------------------------------------------------------------------

struct Slot {
  bool is_there = false;
  bool is_made = false;  // a single byte, or made by a merge
  Token token;
};

class Builder {
 public:
  Status AddControl(const Json& added) {
    for (std::size_t i = 0; i < added.size(); ++i) {
      const std::string path = Str("added_tokens[", i, "]");
      if (!added[i].is_object()) {
        return Invalid(Str(path, " is ", Shown(added[i]), ": expected an object"));
      }
      ASSIGN_OR_RETURN(const Json* content,
                       Member(added[i], path, "content", Json::value_t::string, "a text"));
      ASSIGN_OR_RETURN(const Json* number,
                       Member(added[i], path, "id", Json::value_t::number_unsigned, "an id"));
      ASSIGN_OR_RETURN(const std::uint32_t id, Id(*number, Named(path, "id")));
      ASSIGN_OR_RETURN(const bool is_special, Flag(added[i], path, "special", true));
      if (!is_special) RETURN_IF_ERROR(CheckAdded(added[i], path));
      RETURN_IF_ERROR(Put(id, path,
                          {.bytes = content->get<std::string>(),
                           .kind = is_special ? Token::Kind::kControl : Token::Kind::kAdded}));
    }
    return {};
  }

  Status AddVocabulary(const Json& vocab) {
    for (const auto& [text, number] : vocab.items()) {
      const std::string path = Str("model.vocab[", Shown(text), "]");
      ASSIGN_OR_RETURN(const std::uint32_t id, Id(number, path));
      if (id < slots_.size() && slots_[id].is_there && slots_[id].token.bytes == text) continue;
      Result<std::string> bytes = BytesOfPrintable(text);
      if (!bytes) return std::move(bytes).status().In(path);
      const bool is_byte = bytes->size() == 1;
      RETURN_IF_ERROR(Put(id, path, {.bytes = std::move(bytes).value()}));
      slots_[id].is_made = is_byte;
    }
    return {};
  }

  Status CheckNoneMissing() const {
    const auto missing = std::ranges::find(slots_, false, &Slot::is_there);
    if (missing == slots_.end()) return {};
    return Invalid(Str("model.vocab: id ", missing - slots_.begin(),
                       " is missing: the highest id is ", slots_.size() - 1,
                       ", so every id from 0 to ", slots_.size() - 1,
                       " must be in the vocabulary"));
  }

  std::vector<Slot>& slots() { return slots_; }

 private:
  // Of a token that is found in texts, in the way of AddedTokens.
  Status CheckAdded(const Json& added, const std::string& path) {
    for (const std::string_view key : {"single_word", "lstrip", "rstrip"}) {
      ASSIGN_OR_RETURN(const bool is_set, Flag(added, path, key, false));
      if (!is_set) continue;
      return Invalid(Str(Named(path, key),
                         " is true, but for a token that is not special only false is supported"));
    }
    // Theirs looks for these two kinds one after the other.
    ASSIGN_OR_RETURN(const bool is_normalized, Flag(added, path, "normalized", false));
    if (is_normalized_.value_or(is_normalized) != is_normalized) {
      return Invalid(Str(Named(path, "normalized"), " is ", is_normalized ? "true" : "false",
                         ", unlike that of an earlier token that is not special: this is not "
                         "supported"));
    }
    is_normalized_ = is_normalized;
    // A long text is tokenised in pieces that begin at such a place.
    const std::string content = added.at("content");
    if (content.empty() || LastGpt2Cut(content) != 0) {
      return Invalid(Str(Named(path, "content"), " is ", Shown(added.at("content")),
                         ": for a token that is not special, neither an empty text nor one with a "
                         "blank after a letter or digit is supported"));
    }
    return {};
  }

  Status Put(std::uint32_t id, const std::string& path, Token token) {
    if (id >= slots_.size()) slots_.resize(id + 1);
    if (slots_[id].is_there) return Invalid(Str(path, ": id ", id, " occurs twice"));
    slots_[id] = {.is_there = true, .token = std::move(token)};
    return {};
  }

  std::vector<Slot> slots_;
  std::optional<bool> is_normalized_;  // of the tokens that are found in texts
};

struct Merge {
  std::uint32_t left = 0, right = 0, whole = 0;
};

Result<std::pair<std::string, std::string>> HalvesOf(const Json& merge, const std::string& path) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return std::pair(merge[0].get<std::string>(), merge[1].get<std::string>());
  }
  if (merge.is_string()) {
    const auto& text = merge.get_ref<const std::string&>();
    const std::size_t blank = text.find(' ');
    if (blank != std::string::npos && text.find(' ', blank + 1) == std::string::npos) {
      return std::pair(text.substr(0, blank), text.substr(blank + 1));
    }
  }
  return Invalid(Str(path, " is ", Shown(merge), ": expected \"a b\" or [\"a\", \"b\"]"));
}

// The list of merges as ids. Each merge must make a new token with a higher id than all before.
Result<std::vector<Merge>> ReadMerges(const Json& list, const Json& vocab,
                                      std::vector<Slot>& slots) {
  std::vector<Merge> merges;
  merges.reserve(list.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string path = Str("model.merges[", i, "]");
    ASSIGN_OR_RETURN(const auto halves, HalvesOf(list[i], path));
    const auto& [left, right] = halves;
    const auto id_of = [&](const std::string& text, std::uint32_t& id) {
      const auto at = vocab.find(text);
      if (at == vocab.end()) return Invalid(Str(path, ": ", Shown(text), " is not in model.vocab"));
      id = at->get<std::uint32_t>();
      return Status();
    };
    Merge merge;
    RETURN_IF_ERROR(id_of(left, merge.left));
    RETURN_IF_ERROR(id_of(right, merge.right));
    RETURN_IF_ERROR(id_of(left + right, merge.whole));
    if (!slots[merge.left].is_made || !slots[merge.right].is_made) {
      return Invalid(Str(path, ": ", Shown(slots[merge.left].is_made ? right : left),
                         " is neither a byte nor the result of an earlier merge"));
    }
    if (slots[merge.whole].token.kind != Token::Kind::kText) {
      return Invalid(Str(path, " makes ", Shown(left + right), ", which is an added token"));
    }
    if (slots[merge.whole].is_made || (!merges.empty() && merge.whole < merges.back().whole)) {
      return Invalid(Str(path, " makes token ", merge.whole, " after token ",
                         merges.empty() ? 0 : merges.back().whole,
                         ": merges must be in the order of the ids that they make"));
    }
    slots[merge.whole].is_made = true;
    merges.push_back(merge);
  }
  return merges;
}

// Checks that merging by id gives the same result as the list of merges (see the header).
Status CheckHalves(const std::vector<Merge>& merges, const std::vector<Token>& tokens) {
  ASSIGN_OR_RETURN(const BpeMerger merger, BpeMerger::Make(tokens));
  std::vector<std::int32_t> ids;
  for (std::size_t i = 0; i < merges.size(); ++i) {
    const Merge& merge = merges[i];
    ids.clear();
    merger.Merge(tokens[merge.whole].bytes, merge.whole, ids);
    const std::vector<std::int32_t> halves = {static_cast<std::int32_t>(merge.left),
                                              static_cast<std::int32_t>(merge.right)};
    if (ids != halves) {
      return Invalid(
          Str("model.merges[", i, "] joins tokens ", merge.left, " and ", merge.right,
              ", but the merges before it never leave these two next to each other in token ",
              merge.whole, ": no training gives such a list, and it is not supported"));
    }
  }
  return {};
}

// The id of the first of `names` among the control tokens, or `otherwise`.
std::int32_t IdOfControl(const std::vector<Token>& tokens,
                         std::initializer_list<std::string_view> names, std::int32_t otherwise) {
  for (const std::string_view name : names) {
    for (std::size_t id = 0; id < tokens.size(); ++id) {
      if (tokens[id].kind == Token::Kind::kControl && tokens[id].bytes == name) {
        return static_cast<std::int32_t>(id);
      }
    }
  }
  return otherwise;
}

}  // namespace

std::string PrintableOfBytes(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    const std::uint32_t code = Bytes().code_of[static_cast<unsigned char>(c)];
    if (code < 0x80) {
      text += static_cast<char>(code);
    } else {
      text += static_cast<char>(0xc0 | code >> 6);
      text += static_cast<char>(0x80 | (code & 0x3f));
    }
  }
  return text;
}

Result<std::string> BytesOfPrintable(std::string_view text) {
  std::string bytes;
  for (std::size_t i = 0; i < text.size();) {
    const auto first = static_cast<unsigned char>(text[i]);
    std::uint32_t code = first;
    std::size_t n = 1;
    bool is_known = first < 0x80;
    if (first >= 0xc0 && first < 0xe0 && i + 1 < text.size()) {
      code = (first & 0x1fu) << 6 | (static_cast<unsigned char>(text[i + 1]) & 0x3fu);
      n = 2;
      is_known = code <= kShiftedLast;
    }
    is_known = is_known && Bytes().byte_of[code] >= 0;
    if (!is_known) {
      return Invalid(Str("\"", ToUtf8(text.substr(0, 40)),
                         "\" has a character that does not stand for a ",
                         "byte: only byte-level vocabularies are supported"));
    }
    bytes += static_cast<char>(Bytes().byte_of[code]);
    i += n;
  }
  return bytes;
}

Result<Vocabulary> ParseHuggingFace(std::string_view text, std::string name) {
  ASSIGN_OR_RETURN(const Json file, ParseJson(text));
  if (file.is_object() && file.contains("fingerprint")) {
    return Invalid(
        "this is the tokenizer.json of a dataset's folder: name the file it was imported with");
  }
  RETURN_IF_ERROR(CheckKeys(file, "", FileRules()));
  ASSIGN_OR_RETURN(const Json* model,
                   Member(file, "", "model", Json::value_t::object, "an object"));
  ASSIGN_OR_RETURN(const Json* cut,
                   Member(file, "", "pre_tokenizer", Json::value_t::object, "an object"));
  for (const auto& [object, path] : {std::pair(model, "model"), std::pair(cut, "pre_tokenizer")}) {
    if (!object->contains("type")) return Invalid(Str(path, ".type is missing"));
  }
  RETURN_IF_ERROR(CheckKeys({{"type", model->at("type")}}, "model", ModelRules()));
  RETURN_IF_ERROR(CheckKeys({{"type", cut->at("type")}}, "pre_tokenizer", PreTokenizerRules()));
  RETURN_IF_ERROR(CheckKeys(*model, "model", ModelRules()));
  RETURN_IF_ERROR(CheckKeys(*cut, "pre_tokenizer", PreTokenizerRules()));
  ASSIGN_OR_RETURN(const Json* vocab,
                   Member(*model, "model", "vocab", Json::value_t::object, "an object"));
  ASSIGN_OR_RETURN(const Json* list,
                   Member(*model, "model", "merges", Json::value_t::array, "a list"));
  Builder builder;
  if (const auto added = file.find("added_tokens"); added != file.end() && !added->is_null()) {
    if (!added->is_array()) {
      return Invalid(Str("added_tokens is ", Shown(*added), ": expected a list"));
    }
    RETURN_IF_ERROR(builder.AddControl(*added));
  }
  RETURN_IF_ERROR(builder.AddVocabulary(*vocab));
  RETURN_IF_ERROR(builder.CheckNoneMissing());
  ASSIGN_OR_RETURN(const std::vector<Merge> merges, ReadMerges(*list, *vocab, builder.slots()));

  Vocabulary vocabulary = {
      .name = std::move(name), .pre_tokenizer = std::string(kGpt2Rule), .tokens = {}};
  vocabulary.tokens.reserve(builder.slots().size());
  for (Slot& slot : builder.slots()) {
    if (!slot.is_made && slot.token.kind == Token::Kind::kText) {
      slot.token.kind = Token::Kind::kControl;
    }
    vocabulary.tokens.push_back(std::move(slot.token));
  }
  RETURN_IF_ERROR(CheckHalves(merges, vocabulary.tokens));
  vocabulary.n_rows = EmbeddingRows(vocabulary.tokens.size());
  vocabulary.eot_id = IdOfControl(vocabulary.tokens, {"<|endoftext|>", "</s>"}, -1);
  vocabulary.bos_id = IdOfControl(vocabulary.tokens, {"<s>"}, vocabulary.eot_id);
  vocabulary.pad_id = IdOfControl(vocabulary.tokens, {"<|pad|>", "<pad>", "[PAD]"}, -1);
  vocabulary.add_prefix_space = cut->value("add_prefix_space", true);  // the default of tokenizers
  return vocabulary;
}

Result<std::string> HuggingFaceText(const Vocabulary& vocabulary) {
  ASSIGN_OR_RETURN(const BpeMerger merger, BpeMerger::Make(vocabulary.tokens));
  Json vocab = Json::object(), merges = Json::array(), added = Json::array();
  std::vector<std::int32_t> ids;
  for (std::uint32_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const Token& token = vocabulary.tokens[id];
    const bool is_added = token.kind != Token::Kind::kText;
    const std::string text = is_added ? token.bytes : PrintableOfBytes(token.bytes);
    if (!vocab.emplace(text, id).second) {
      return Invalid(Str("token ", id, " would be written as ", Shown(text), ", like token ",
                         Shown(vocab.at(text))));
    }
    if (is_added) {
      added.push_back({{"id", id},
                       {"content", text},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false},
                       {"special", token.kind == Token::Kind::kControl}});
      continue;
    }
    if (token.bytes.size() == 1) continue;
    ids.clear();
    merger.Merge(token.bytes, id, ids);
    if (ids.size() != 2) {
      return Invalid(
          Str("token ", id, " (", Shown(text), ") is not the result of merging two tokens"));
    }
    const auto half = [&](std::size_t i) {
      return PrintableOfBytes(vocabulary.tokens[static_cast<std::size_t>(ids[i])].bytes);
    };
    merges.push_back({half(0), half(1)});
  }
  const Json byte_level = {{"type", "ByteLevel"},
                           {"add_prefix_space", vocabulary.add_prefix_space},
                           {"trim_offsets", true},
                           {"use_regex", true}};
  return CanonicalJson({{"version", "1.0"},
                        {"truncation", nullptr},
                        {"padding", nullptr},
                        {"added_tokens", std::move(added)},
                        {"normalizer", nullptr},
                        {"pre_tokenizer", byte_level},
                        {"post_processor", nullptr},
                        {"decoder", byte_level},
                        {"model",
                         {{"type", "BPE"},
                          {"dropout", nullptr},
                          {"unk_token", nullptr},
                          {"continuing_subword_prefix", nullptr},
                          {"end_of_word_suffix", nullptr},
                          {"fuse_unk", false},
                          {"byte_fallback", false},
                          {"ignore_merges", false},
                          {"vocab", std::move(vocab)},
                          {"merges", std::move(merges)}}}});
}

Result<std::unique_ptr<Tokenizer>> MakeHuggingFaceTokenizer(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadVocabularyFile(path));
  Result<Vocabulary> vocabulary = ParseHuggingFace(text, BaseName(path));
  if (!vocabulary) return std::move(vocabulary).status().In(path);
  Result<std::unique_ptr<Tokenizer>> tokenizer = MakeBpeTokenizer(std::move(vocabulary).value());
  if (!tokenizer) return std::move(tokenizer).status().In(path);
  return tokenizer;
}

}  // namespace longrun
