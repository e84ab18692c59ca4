// Texts of the evaluations `passkey` and `needle` with their answers (passkey_prompt.h), for a
// training that should teach retrieval:
//
//   TASK  filler  INFO with the key  filler  QUEST KEY "."
//
// Lengths are in tokens of the dataset's tokenizer. A document has at most u tokens and nearly as
// many, u uniform between `longest` and the larger of `shortest` and the document's length without
// filler. The key's place is uniform in the filler.
//
// filler   prompt   the sentences of the evaluations: repetitions without a space between them
//                   (PoSE) or with one (Landmark), equally likely
//          text     real text from a random place
//          mixed    one or the other, equally likely; `prompt` if there is no real text
//
// A key is a number of 3 to 7 digits, each number of digits equally likely. Nearly all keys of the
// evaluations, 1 to 500000, are such numbers: a model that has only seen longer keys copies a
// shorter one and goes on writing digits. But no document is a prompt of an evaluation. There,
// filler begins with the first sentence. Here it begins at a random place whose letter is not the
// T of that sentence, and a document has at least 16 bytes of filler.
#include <algorithm>
#include <string>

#include "base/str.h"
#include "model/data/synthetic/passkey_prompt.h"
#include "model/data/synthetic/rules.h"

namespace longrun {
namespace {

constexpr std::uint64_t kDigitsMin = 3, kDigitsMax = 7;
// More than a token usually has, so that the first filler tried is long enough.
constexpr std::int64_t kBytesPerToken = 8;
constexpr std::int64_t kFillerBytesMin = 16;

std::string DrawKey(SeededRandom& random) {
  std::string key(kDigitsMin + random.Below(kDigitsMax - kDigitsMin + 1), '0');
  for (char& digit : key) digit = static_cast<char>('0' + random.Below(10));
  key.front() = static_cast<char>('1' + random.Below(9));
  return key;
}

enum class Filler { kRepeated, kCharacters, kText };

Filler DrawFiller(const Json& params, bool has_text, SeededRandom& random) {
  const Json& kind = params.at("filler");
  const bool is_text = kind == "text" || (kind == "mixed" && has_text && random.Chance(0.5));
  if (is_text) return Filler::kText;
  return random.Chance(0.5) ? Filler::kRepeated : Filler::kCharacters;
}

// n bytes of real text as one line. A character is not cut.
std::string Excerpt(std::string_view text, std::int64_t n, SeededRandom& random) {
  const std::size_t n_bytes = std::min(static_cast<std::size_t>(n), text.size());
  const auto is_inside = [&](std::size_t at) {
    return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0U) == 0x80U;
  };
  std::size_t begin = random.Below(text.size() - n_bytes + 1), end = begin + n_bytes;
  while (begin < end && is_inside(begin)) ++begin;
  while (begin < end && is_inside(end)) --end;
  std::string excerpt(text.substr(begin, end - begin));
  std::ranges::replace(excerpt, '\n', ' ');
  std::erase(excerpt, '\r');
  return excerpt;
}

// n bytes of the sentences of the evaluations, from a place where those never begin.
std::string Sentences(Filler filler, std::int64_t n, SeededRandom& random) {
  const std::int64_t period =
      std::ssize(RepeatedFiller(1)) + (filler == Filler::kCharacters ? 1 : 0);
  const std::string text =
      filler == Filler::kCharacters ? FillerCharacters(n + period) : RepeatedFiller(n / period + 2);
  std::size_t begin = 0;
  while (text[begin] == text.front()) begin = random.Below(static_cast<std::uint64_t>(period));
  return text.substr(begin, static_cast<std::size_t>(n));
}

// A document with `n_filler` bytes of filler, `share` of them before the key.
std::string Written(Filler filler, std::string_view text, std::int64_t n_filler, double share,
                    const std::string& key, SeededRandom random) {
  const auto n_before = static_cast<std::int64_t>(share * static_cast<double>(n_filler + 1));
  const auto make = [&](std::int64_t n) {
    return filler == Filler::kText ? Excerpt(text, n, random) : Sentences(filler, n, random);
  };
  const std::string before = make(n_before), after = make(n_filler - n_before);
  return Str(PasskeyPrompt(before, after, key), " ", key, ".");
}

Result<std::string> WritePasskey(const Json& params, const RuleSetting& setting,
                                 SeededRandom& random) {
  const auto shortest = params.at("shortest").get<std::int64_t>();
  const auto longest = params.at("longest").get<std::int64_t>();
  if (params.at("filler") == "text" && setting.text.empty()) {
    return Status(Code::kInvalidArgument,
                  "passkey.filler: \"text\" needs real text, and here is none: choose \"prompt\"");
  }
  const std::string key = DrawKey(random);
  const Filler filler = DrawFiller(params, !setting.text.empty(), random);
  const double share = random.Uniform();
  const auto write = [&](std::int64_t n_filler) {
    return Written(filler, setting.text, n_filler, share, key, random);
  };
  std::string text = write(kFillerBytesMin);
  const std::int64_t n_least = setting.n_tokens(text);
  if (n_least > longest) {
    return Status(Code::kInvalidArgument,
                  Str("passkey.longest is ", longest, ", but the shortest document has ", n_least,
                      " tokens with this tokenizer: raise longest, or use a tokenizer with longer "
                      "tokens"));
  }
  const std::int64_t n_shortest = std::max(shortest, n_least);
  const std::int64_t n_tokens =
      n_shortest +
      static_cast<std::int64_t>(random.Below(static_cast<std::uint64_t>(longest - n_shortest) + 1));
  // Shortens the filler until it fits: in proportion to its excess, at least by a twentieth.
  std::int64_t n_filler = (n_tokens - n_least) * kBytesPerToken + kFillerBytesMin;
  while (n_filler > kFillerBytesMin) {
    text = write(n_filler);
    const std::int64_t n = setting.n_tokens(text);
    if (n <= n_tokens) break;
    const std::int64_t fitting = n_filler * (n_tokens - n_least) / (n - n_least);
    n_filler = std::min(fitting, n_filler - n_filler / 20 - 1);
    if (n_filler <= kFillerBytesMin) text = write(kFillerBytesMin);
  }
  return text;
}

std::optional<ParamError> CheckPasskey(const Json& params) {
  const auto shortest = params.at("shortest").get<std::int64_t>();
  const auto longest = params.at("longest").get<std::int64_t>();
  if (shortest <= longest) return std::nullopt;
  return ParamError{.key = "shortest",
                    .message = Str("expected at most longest = ", longest, ", found ", shortest)};
}

}  // namespace

const SyntheticRule& PasskeyRule() {
  static const SyntheticRule rule = {
      .name = "passkey",
      .source = "docs/evaluation.md",
      .meaning = "prompts of the evaluations passkey and needle, with their answers",
      .params = {LengthParam("shortest", 1,
                             "fewest tokens of a document, as far as filler can reach them"),
                 LengthParam("longest", 512,
                             "most tokens of a document; less than train_length, so that question "
                             "and key are often in one training sequence"),
                 {.name = "filler",
                  .type = ParamSpec::Type::kChoice,
                  .default_value = "mixed",
                  .choices = {"mixed", "prompt", "text"},
                  .meaning = "what surrounds the key: the sentences of the evaluations, real text, "
                             "or one of these for each document"}},
      .check = &CheckPasskey,
      .write = &WritePasskey,
  };
  return rule;
}

}  // namespace longrun
