// longrun data train-tokenizer: byte-level byte-pair encoding from text files, written as a file
// that `--tokenizer` takes. Needs no coordinator.
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/str.h"
#include "base/units.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/console/output_file.h"
#include "client/verb.h"
#include "client/words/render.h"
#include "model/data/tokenizer/bpe.h"
#include "model/data/tokenizer/bpe_training.h"
#include "model/data/tokenizer/hugging_face.h"
#include "model/data/tokenizer/tiktoken.h"

namespace longrun::client {
namespace {

constexpr std::int64_t kSizeMin = 257;  // the bytes and the end of text

struct Arguments {
  std::string out;
  std::int64_t vocab_size = 0;
  std::vector<std::string> files;
};

Status Invalid(std::string_view message) { return {Code::kInvalidArgument, message}; }

bool IsTiktoken(const std::string& path) { return path.ends_with(".tiktoken"); }

Status Check(const Arguments& arguments) {
  if (arguments.out.empty()) {
    return Invalid("the name of the tokenizer is empty: name a file to write");
  }
  if (!IsTiktoken(arguments.out) && !arguments.out.ends_with(".json")) {
    return Invalid(Str("the name ", arguments.out,
                       " does not show the format: expected one that ends in .tiktoken or .json"));
  }
  if (PathExists(arguments.out)) {
    return {Code::kAlreadyExists,
            Str(arguments.out, " exists already: choose another name, or remove it first")};
  }
  const auto size_max = static_cast<std::int64_t>(kVocabularyMax);
  if (arguments.vocab_size < kSizeMin || arguments.vocab_size > size_max) {
    return Invalid(Str("--vocab-size ", arguments.vocab_size, ": expected at least ", kSizeMin,
                       " (256 bytes and the end of text) and at most ", size_max));
  }
  return {};
}

// Each byte counts as text, so training on compressed files or markup would learn their raw bytes.
Status CheckPlain(const std::string& path) {
  for (const char* ending : {".gz", ".zst", ".jsonl", ".json", ".npy", ".bin", ".parquet"}) {
    if (path.ends_with(ending)) {
      return Invalid(Str(path, ": a tokenizer is trained on plain text, and ", ending,
                         " is another format: write the texts into plain files first"));
    }
  }
  return {};
}

Status AddFile(const std::string& path, BpeTraining& training) {
  if (path.empty()) return Invalid("the name of a text file is empty: name a file");
  RETURN_IF_ERROR(CheckPlain(path));
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, Str("cannot read ", path));
  if (!S_ISREG(info.st_mode)) {
    return Invalid(Str(path, " is not a regular file: list the text files themselves"));
  }
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  training.Add(text);
  return {};
}

Result<std::string> FileText(const Vocabulary& vocabulary, const std::string& path) {
  if (!IsTiktoken(path)) return HuggingFaceText(vocabulary);
  std::vector<RankedBytes> ranked;
  ranked.reserve(vocabulary.tokens.size());
  for (const Token& token : vocabulary.tokens) {
    if (token.kind != Token::Kind::kText) continue;
    ranked.push_back({.rank = static_cast<std::uint32_t>(ranked.size()), .bytes = token.bytes});
  }
  return TiktokenText(ranked);
}

Status Train(const Arguments& arguments, bool as_json) {
  RETURN_IF_ERROR(Check(arguments));
  const bool shows = OnTerminal();
  BpeTraining training;
  for (const std::string& file : arguments.files) {
    RETURN_IF_ERROR(AddFile(file, training));
    if (shows)
      std::fprintf(stderr, "\r%s read",
                   FormatBytes(static_cast<std::int64_t>(training.n_bytes())).c_str());
  }
  const auto n_ids = static_cast<std::size_t>(arguments.vocab_size) - 1;
  Result<std::vector<std::string>> bytes = training.Train(n_ids, [&](std::size_t n) {
    if (shows) std::fprintf(stderr, "\r%zu of %zu tokens", n, n_ids);
  });
  if (shows) std::fputs("\r\033[K", stderr);
  RETURN_IF_ERROR(bytes.status());
  const Vocabulary vocabulary =
      RanksWithEndOfText(BaseName(arguments.out), std::move(bytes).value());
  ASSIGN_OR_RETURN(const std::string text, FileText(vocabulary, arguments.out));
  RETURN_IF_ERROR(WriteOutputFile(arguments.out, text));
  if (as_json) {
    Print(RenderJson({{"file", arguments.out},
                      {"tokens", vocabulary.tokens.size()},
                      {"bytes", training.n_bytes()},
                      {"files", arguments.files.size()},
                      {"fingerprint", vocabulary.Fingerprint()}}));
    return {};
  }
  Print(Str(arguments.out, ": ", vocabulary.tokens.size(), " tokens from ", training.n_bytes(),
            " bytes in ", Counted(static_cast<std::int64_t>(arguments.files.size()), "file"),
            ", fingerprint ", vocabulary.Fingerprint(), "\n"));
  return {};
}

}  // namespace

void AddTrainTokenizer(Verb& data) {
  Verb verb = data.AddVerb("train-tokenizer",
                           "train a byte-pair encoding on text files, for --tokenizer OUT");
  verb.AddExamples({"longrun data train-tokenizer books.tiktoken --vocab-size 8192 a.txt b.txt"});
  auto arguments = std::make_shared<Arguments>();
  verb.AddArgument("OUT", arguments->out, "file to write: *.tiktoken or *.json").Required();
  verb.AddArgument("FILES", arguments->files,
                   "text files, ideally those that the model is trained on")
      .Required();
  verb.AddArgument("--vocab-size", arguments->vocab_size,
                   "number of ids, including the 256 bytes and the end of text")
      .Required();
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([arguments, output] {
    const Status trained = Train(*arguments, *output == "json");
    return trained.ok() ? static_cast<int>(kExitOk)
                        : Report(Status(trained).In("training a tokenizer"));
  });
}

}  // namespace longrun::client
