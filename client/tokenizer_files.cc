#include "client/tokenizer_files.h"

#include <algorithm>

#include "base/files.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr std::string_view kJson = "tokenizer.json";
// Files that hold ids, the best first: tokenizers' own, SentencePiece's, GPT-2's pair.
constexpr std::string_view kWithIds[] = {kJson, "tokenizer.model", "vocab.json"};
constexpr std::string_view kBeside[] = {"merges.txt", "tokenizer_config.json",
                                        "special_tokens_map.json", "added_tokens.json",
                                        "chat_template.jinja"};

}  // namespace

bool IsTokenizerFile(std::string_view name) {
  return std::ranges::find(kWithIds, name) != std::end(kWithIds) ||
         std::ranges::find(kBeside, name) != std::end(kBeside);
}

std::vector<std::string> TokenizerFilesIn(const std::string& folder) {
  std::vector<std::string> names;
  const auto add = [&](std::string_view name) {
    if (PathExists(JoinPath(folder, name))) names.emplace_back(name);
  };
  for (const std::string_view name : kWithIds) add(name);
  for (const std::string_view name : kBeside) add(name);
  return names;
}

std::string TokenizerWord(const std::vector<std::string>& names) {
  for (const std::string_view name : kWithIds) {
    if (std::ranges::find(names, name) != names.end()) return std::string(name);
  }
  return "";
}

Result<std::unique_ptr<Tokenizer>> OpenFolderTokenizer(const std::string& folder,
                                                       std::int64_t vocab_size) {
  const std::string path = JoinPath(folder, kJson);
  if (!PathExists(path)) {
    return Status(
        Code::kNotFound,
        Str(folder, " has no tokenizer.json: AutoTokenizer's save_pretrained writes one"));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer, MakeTokenizer(path));
  const auto n_tokens = static_cast<std::int64_t>(tokenizer->vocabulary().tokens.size());
  if (n_tokens <= vocab_size) return tokenizer;
  return Status(Code::kInvalidArgument,
                Str(path, " has ", n_tokens, " tokens, the model ", vocab_size));
}

}  // namespace longrun
