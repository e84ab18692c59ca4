#include "client/words/tokenizer_files.h"

#include "base/files.h"
#include "base/str.h"

namespace longrun::client {

Result<std::unique_ptr<Tokenizer>> OpenFolderTokenizer(const std::string& folder,
                                                       std::int64_t vocab_size) {
  const std::string path = JoinPath(folder, "tokenizer.json");
  if (!PathExists(path)) {
    return Status(
        Code::kNotFound,
        Str(folder, " has no tokenizer.json: AutoTokenizer's save_pretrained writes one"));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer, MakeTokenizer(path));
  const auto n_tokens = static_cast<std::int64_t>(tokenizer->vocabulary().tokens.size());
  if (n_tokens <= vocab_size) return tokenizer;
  return Status(
      Code::kInvalidArgument,
      Str(path, " has ", n_tokens, " tokens, but the model's vocabulary has only ", vocab_size));
}

}  // namespace longrun::client
