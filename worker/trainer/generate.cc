#include "worker/trainer/generate.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/program.h"
#include "base/str.h"
#include "model/data/manifest.h"
#include "model/data/tokenizer.h"
#include "model/data/tokenizer_file.h"
#include "model/net/generate.h"
#include "model/net/keys_place.h"
#include "model/net/tensor_file.h"

namespace longrun::trainer {
namespace {

constexpr std::size_t kPromptBytesMax = std::size_t{1} << 28;

Status CheckOptions(const GenerateOptions& options) {
  const int n_prompts = (options.tokens.empty() ? 0 : 1) + (options.prompt ? 1 : 0) +
                        (options.prompt_file.empty() ? 0 : 1);
  if (n_prompts != 1) {
    return Status(Code::kInvalidArgument,
                  Str("expected one prompt, by --tokens, --prompt or --prompt-file; found ",
                      n_prompts == 0 ? "none" : "several"));
  }
  if (!options.tokens.empty() && options.output.empty()) {
    return Status(Code::kInvalidArgument, "--tokens needs --output, the file to write");
  }
  if (!options.tokens.empty() && !options.tokenizer.empty()) {
    return Status(Code::kInvalidArgument,
                  "--tokenizer is for a text, and --tokens gives ids, which need no tokenizer: "
                  "leave one of them out");
  }
  return options.sampling.Check();
}

// Opens the tokenizer of a dataset, whose tokenizer.json is ours, or of a model,
// whose is Hugging Face's.
Result<std::unique_ptr<Tokenizer>> OpenTokenizerIn(const std::string& folder) {
  if (PathExists(JoinPath(folder, kManifestName))) return OpenTokenizerOf(folder);
  const std::string file = JoinPath(folder, kTokenizerFile);
  if (PathExists(file)) return MakeTokenizer(file);
  return Status(Code::kNotFound,
                Str("--tokenizer ", folder, ": the folder has neither ", kManifestName,
                    ", as a dataset has, nor ", kTokenizerFile, ", as a model has"));
}

Result<std::unique_ptr<Tokenizer>> OpenTokenizer(const GenerateOptions& options) {
  const std::string& given = options.tokenizer;
  if (given.empty()) {
    if (!IsFolder(options.model.folder)) {
      return Status(Code::kNotFound, Str("--model ", options.model.folder,
                                         ": there is no such folder: expected one with "
                                         "config.json and model.safetensors"));
    }
    const std::string beside = JoinPath(options.model.folder, kTokenizerFile);
    if (PathExists(beside)) return MakeTokenizer(beside);
    return Status(Code::kInvalidArgument,
                  Str("the model's folder has no tokenizer.json: use --tokenizer to name the "
                      "tokenizer that the model was trained with (a dataset's folder, ",
                      Join(TokenizerNames(), ", "), ")"));
  }
  if (IsFolder(given)) return OpenTokenizerIn(given);
  const bool is_of_dataset =
      BaseName(given) == kTokenizerFile && PathExists(JoinPath(FolderOf(given), kManifestName));
  if (is_of_dataset) return OpenTokenizerOf(FolderOf(given));
  Result<std::unique_ptr<Tokenizer>> tokenizer = MakeTokenizer(given);
  if (tokenizer.ok() || IsTokenizerSpec(given)) return tokenizer;
  // The trainer does not know the state folder, so it cannot find a dataset by name.
  return Status(Code::kInvalidArgument, Str(tokenizer.status().message(),
                                            "; for the tokenizer of a dataset, give the dataset's "
                                            "folder, which `longrun data ls` shows"));
}

Result<at::Tensor> TokensOfText(const GenerateOptions& options, const Tokenizer& tokenizer) {
  std::string text;
  if (options.prompt) {
    text = *options.prompt;
  } else {
    ASSIGN_OR_RETURN(text, ReadFile(options.prompt_file, kPromptBytesMax));
  }
  std::vector<std::int32_t> ids;
  tokenizer.Encode(text, ids);
  if (ids.empty()) {
    return Status(Code::kInvalidArgument,
                  Str(options.prompt ? std::string("--prompt") : options.prompt_file,
                      ": the prompt is empty; expected a text of at least one token"));
  }
  const at::Tensor tokens_1T = at::empty({1, static_cast<std::int64_t>(ids.size())}, at::kLong);
  std::copy(ids.begin(), ids.end(), tokens_1T.data_ptr<std::int64_t>());
  return tokens_1T;
}

Status CheckTokenizer(const Vocabulary& vocabulary, std::int64_t vocab_size) {
  const auto n_tokens = static_cast<std::int64_t>(vocabulary.tokens.size());
  if (n_tokens <= vocab_size) return Status();
  return Status(Code::kInvalidArgument,
                Str("tokenizer \"", vocabulary.name, "\" has ", n_tokens,
                    " tokens, but the model's vocabulary has only ", vocab_size,
                    ": use --tokenizer to name the tokenizer that the model was trained with"));
}

// Prints each token's text as it comes; returns false at the end of the text.
class Printer {
 public:
  explicit Printer(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  bool operator()(std::span<const std::int64_t> ids) const {
    const auto id = static_cast<std::int32_t>(ids.front());
    if (id == tokenizer_.vocabulary().eot_id) return false;
    const Result<std::string> text = tokenizer_.Decode(std::span(&id, 1));
    LR_CHECK(text.ok());  // only the tokenizer's own ids are sampled
    WriteOutput(*text);
    FlushOutput();
    return true;
  }

 private:
  const Tokenizer& tokenizer_;
};

}  // namespace

Status RunGenerate(const GenerateOptions& options) {
  RETURN_IF_ERROR(CheckOptions(options));
  const bool is_text = options.tokens.empty();
  std::unique_ptr<Tokenizer> tokenizer;
  if (is_text) {
    ASSIGN_OR_RETURN(tokenizer, OpenTokenizer(options));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<Net> net, OpenModel(options.model));
  const std::int64_t vocab_size = net->config().model.vocab_size;
  Generation generation = {.new_tokens = options.new_tokens,
                           .sampling = options.sampling,
                           .cache = !options.no_cache,
                           .keep_logits = !options.output.empty()};
  at::Tensor prompt_BT;
  if (is_text) {
    RETURN_IF_ERROR(CheckTokenizer(tokenizer->vocabulary(), vocab_size));
    ASSIGN_OR_RETURN(prompt_BT, TokensOfText(options, *tokenizer));
    generation.n_choices = static_cast<std::int64_t>(tokenizer->vocabulary().tokens.size());
  } else {
    ASSIGN_OR_RETURN(prompt_BT, LoadTokens(options.tokens, vocab_size));
  }

  Generated generated;
  std::int64_t n_printed = 0;
  KeysRoom room(net->compute().device);
  const Status status =
      room.Run(prompt_BT.numel() + prompt_BT.size(0) * options.new_tokens, [&](KeysPlace place) {
        generation.keys_place = place;
        if (is_text) {
          // If a first run had no room, a second one writes the same tokens again.
          generation.on_step = [&n_printed, print = Printer(*tokenizer), n_seen = std::int64_t{0}](
                                   std::span<const std::int64_t> ids) mutable {
            if (n_seen++ < n_printed) return true;
            n_printed += 1;
            return print(ids);
          };
        }
        ASSIGN_OR_RETURN(generated, Generate(*net, prompt_BT, generation));
        return Status();
      });
  if (!status.ok()) {
    const bool no_cache = status.code() == Code::kUnimplemented;
    return Status(status.code(),
                  Str(status.message(),
                      no_cache ? "; use --no-cache, which reads the whole text again for each token"
                               : ""))
        .In(Str("a prompt of ", prompt_BT.size(1), " tokens and ", options.new_tokens,
                " new ones"));
  }
  if (is_text) std::printf("\n");
  const std::int64_t n_written = generated.tokens_BT.size(1) - prompt_BT.size(1);
  if (n_written < options.new_tokens) {
    std::fprintf(stderr, "longrun-trainer: the text ended after %lld tokens\n",
                 static_cast<long long>(n_written));
  }
  if (options.output.empty()) return Status();
  return WriteTensors(options.output,
                      {{"tokens", generated.tokens_BT}, {"logits", generated.logits_BNV}})
      .status();
}

}  // namespace longrun::trainer
