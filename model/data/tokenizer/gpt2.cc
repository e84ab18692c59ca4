// `gpt2`: the vocabulary of GPT-2 (Radford et al. 2019), 50257 ids in 50304 rows. It is not ours to
// distribute: `./dev vocab` downloads it and checks its hash, which is also checked here at each
// reading. It is searched for as gpt2.tiktoken in
//
//   $LONGRUN_TOKENIZERS                only there, if that is set
//   $LONGRUN_HOME/tokenizers
//   $XDG_DATA_HOME/longrun/tokenizers  without XDG_DATA_HOME: $HOME/.local/share/longrun/tokenizers
#include <cstdlib>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/user_folders.h"
#include "model/data/tokenizer/bpe.h"
#include "model/data/tokenizer/kinds.h"
#include "model/data/tokenizer/tiktoken.h"

namespace longrun {
namespace {

constexpr std::string_view kFileName = "gpt2.tiktoken";
constexpr std::string_view kSha256 =
    "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930";

// Those who have only a package have no ./dev.
constexpr std::string_view kHowToGet =
    "`./dev vocab` in longrun's sources fetches it; without them, copy "
    "whisper/assets/gpt2.tiktoken out of the Python package openai-whisper";

std::string FromEnvironment(const char* variable) {
  const char* const value = std::getenv(variable);
  return value == nullptr ? "" : value;
}

std::vector<std::string> Folders() {
  if (const std::string only = FromEnvironment("LONGRUN_TOKENIZERS"); !only.empty()) {
    return std::vector<std::string>{only};
  }
  std::vector<std::string> folders;
  if (const std::string state = FromEnvironment("LONGRUN_HOME"); !state.empty()) {
    folders.push_back(JoinPath(state, "tokenizers"));
  }
  const Result<std::string> data = DataHome();
  if (data.ok() && !data->empty()) folders.push_back(JoinPath(*data, "longrun/tokenizers"));
  return folders;
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> MakeGpt2Tokenizer(const std::string& name) {
  const std::vector<std::string> folders = Folders();
  for (const std::string& folder : folders) {
    const std::string path = JoinPath(folder, kFileName);
    if (!PathExists(path)) continue;
    ASSIGN_OR_RETURN(const std::string text, ReadVocabularyFile(path));
    if (const std::string sha256 = Sha256Hex(text); sha256 != kSha256) {
      return Status(Code::kDataLoss,
                    Str(path, " is not GPT-2's vocabulary: its SHA-256 is ", sha256, ", expected ",
                        kSha256, "; remove it; ", kHowToGet));
    }
    ASSIGN_OR_RETURN(std::vector<RankedBytes> tokens, ParseTiktoken(text));
    ASSIGN_OR_RETURN(std::vector<std::string> bytes, BytesOfRanks(std::move(tokens)));
    return MakeBpeTokenizer(RanksWithEndOfText(name, std::move(bytes)));
  }
  if (FromEnvironment("LONGRUN_TOKENIZERS").empty()) RETURN_IF_ERROR(DataHome().status());
  return Status(Code::kNotFound,
                Str("the vocabulary of tokenizer \"gpt2\" is not here: no ", kFileName, " in ",
                    folders.empty() ? "$LONGRUN_TOKENIZERS" : Join(folders, ", "), "; ", kHowToGet,
                    "; LONGRUN_TOKENIZERS may name another folder"));
}

}  // namespace longrun
