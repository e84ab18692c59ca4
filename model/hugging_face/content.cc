#include "model/hugging_face/content.h"

#include <algorithm>

#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr std::string_view kJson = "tokenizer.json";
// Files that contain ids, the best first: those of tokenizers, of SentencePiece, and GPT-2's pair.
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

Result<FolderContent> ReadFolderContent(const std::string& folder, const WeightFolder& checked,
                                        const ContentProgress& progress) {
  FolderContent content;
  std::vector<std::string> paths = {JoinPath(folder, "config.json")};
  for (const std::string& path : checked.files.paths()) paths.push_back(path);
  for (const std::string& name : TokenizerFilesIn(folder)) paths.push_back(JoinPath(folder, name));
  for (const std::string& path : paths) {
    ASSIGN_OR_RETURN(const std::int64_t n_bytes, FileBytes(path));
    content.n_bytes += n_bytes;
  }
  std::int64_t done = 0;
  for (const std::string& path : paths) {
    if (progress) progress(done, content.n_bytes);
    ASSIGN_OR_RETURN(const std::int64_t n_bytes, FileBytes(path));
    ASSIGN_OR_RETURN(const std::string sha256, Sha256OfFile(path));
    content.files.push_back({.name = BaseName(path), .sha256 = sha256, .n_bytes = n_bytes});
    done += n_bytes;
  }
  if (content.files.size() > kFolderFilesMax) {
    return Status(Code::kInvalidArgument,
                  Str(folder, " has ", content.files.size(), " files of weights; at most ",
                      kFolderFilesMax, " are supported: save it with a larger max_shard_size"));
  }
  content.manifest = FolderManifest(content.files);
  content.digest = Sha256Hex(content.manifest);
  return content;
}

}  // namespace longrun
