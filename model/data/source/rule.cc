// A file that describes documents by rule (model/data/synthetic/rule.h), in JSON:
//
//   {"rule": {"rule": "copy", "span": 16}, "seed": 1, "first": 0, "tokens": 1000000}
//
// It stands for documents first, first + 1, .. until they have at least `tokens` tokens. A byte is
// a token, and so is the end of each document: it is the number of tokens with the tokenizer
// `bytes`. Lengths of a rule are in bytes too.
#include "model/data/synthetic/rule.h"

#include <algorithm>
#include <utility>

#include "base/str.h"
#include "model/data/source/formats.h"
#include "model/limits.h"

namespace longrun {
namespace {

constexpr std::size_t kFileBytesMax = std::size_t{1} << 16;

Status CheckRule(const SourceOptions&) { return Status(); }

Result<std::string> ReadAll(ByteStream& stream) {
  std::string text;
  std::vector<char> chunk(kSourceChunkBytes);
  while (true) {
    ASSIGN_OR_RETURN(const std::size_t n, stream.Read(chunk));
    if (n == 0) return text;
    text.append(chunk.data(), n);
    if (text.size() > kFileBytesMax) {
      return Status(Code::kInvalidArgument,
                    Str("a rule has at most ", kFileBytesMax, " bytes; is this a text?"));
    }
  }
}

std::vector<ParamSpec> FileKeys() {
  return {{.name = "seed", .type = ParamSpec::Type::kCount, .default_value = 1, .max = 9e15},
          {.name = "first", .type = ParamSpec::Type::kCount, .default_value = 0, .max = 9e15},
          {.name = "tokens", .type = ParamSpec::Type::kCount, .min = 1, .max = kTokensMax}};
}

struct RuleFile {
  ResolvedRule rule;
  std::uint64_t seed = 0;
  std::uint64_t first = 0;
  std::int64_t n_tokens = 0;
};

Result<RuleFile> ParseRuleFile(SourceInput& input) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ByteStream> stream, input.Open());
  ASSIGN_OR_RETURN(const std::string text, ReadAll(*stream));
  ASSIGN_OR_RETURN(Json file, ParseJson(text));
  if (!file.is_object() || !file.contains("rule")) {
    return Status(Code::kInvalidArgument,
                  "expected an object like {\"rule\": {\"rule\": \"uniform\"}, \"seed\": 1, "
                  "\"tokens\": 100000}");
  }
  ASSIGN_OR_RETURN(ResolvedRule rule, ResolvedRule::Resolve(file.at("rule")));
  file.erase("rule");
  ASSIGN_OR_RETURN(const Json keys, ResolveParams(FileKeys(), file, "file"));
  return RuleFile{.rule = std::move(rule),
                  .seed = keys.at("seed").get<std::uint64_t>(),
                  .first = keys.at("first").get<std::uint64_t>(),
                  .n_tokens = keys.at("tokens").get<std::int64_t>()};
}

// Reading the file reports its mistakes.
std::int64_t MadeBytes(const std::string& path) {
  SourceInput input(path, [](std::int64_t) { return Status(); });
  const Result<RuleFile> file = ParseRuleFile(input);
  return file.ok() ? file->n_tokens : 0;
}

Status ReadRule(SourceInput& input, const SourceOptions&, DocumentSink& sink) {
  ASSIGN_OR_RETURN(const RuleFile file, ParseRuleFile(input));
  const RuleSetting setting = {.seed = file.seed, .n_tokens = [](std::string_view document) {
                                 return std::ssize(document);
                               }};
  std::int64_t n_tokens = 0;
  for (std::uint64_t g = file.first; n_tokens < file.n_tokens; ++g) {
    ASSIGN_OR_RETURN(const std::string document, file.rule.Document(setting, g));
    RETURN_IF_ERROR(sink.Text(document));
    RETURN_IF_ERROR(sink.EndDocument());
    const std::int64_t n_before = n_tokens;
    n_tokens += std::ssize(document) + 1;
    RETURN_IF_ERROR(input.ReportMade(std::min(n_tokens, file.n_tokens) - n_before));
  }
  return Status();
}

}  // namespace

const SourceFormat& RuleFormat() {
  static const SourceFormat format = {
      .name = "rule",
      .meaning = "JSON that describes documents by rule",
      .gives = SourceFormat::Gives::kText,
      .takes = {},
      .check = &CheckRule,
      .read = &ReadRule,
      .sister = nullptr,
      .made_bytes = &MadeBytes,
  };
  return format;
}

}  // namespace longrun
