// longrun data import, longrun data prepare and longrun data synthesize: make a dataset and
// register it. The first takes everything from the command line, the second from a dataset file;
// the third makes documents by rule.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>

#include "base/clock.h"
#include "base/files.h"
#include "base/folder_size.h"
#include "base/hash.h"
#include "base/shortage.h"
#include "base/str.h"
#include "base/units.h"
#include "base/utf8.h"
#include "client/console/exit_code.h"
#include "client/console/input.h"
#include "client/console/output.h"
#include "client/console/output_file.h"
#include "client/verb.h"
#include "client/wire/context.h"
#include "client/words/datasets.h"
#include "client/words/progress_line.h"
#include "client/words/render.h"
#include "model/data/dataset.h"
#include "model/data/manifest.h"
#include "model/data/prepare.h"
#include "model/data/source_list.h"
#include "model/data/synthetic/rule.h"
#include "model/data/tokenizer.h"
#include "model/data/tokenizer_file.h"
#include "sweeps/dataset_file.h"
#include "sweeps/limits.h"

namespace longrun::client {
namespace {

constexpr std::size_t kNameBytesMax = 128;  // as IsSafeName has it
constexpr std::size_t kNameShown = 40;

// The progress of an import.
class PrepareLine {
 public:
  void Tell(const std::string& text) { line_.Tell(text); }

  void Show(const PrepareProgress& progress) {
    const std::int64_t now_ms = BootMs();
    if (begun_ms_ == 0) {
      begun_ms_ = now_ms;
      bytes_at_begin_ = progress.bytes_done;
    }
    const bool ended = progress.files_done == progress.files;
    if (ended && !told_before_ && progress.files_before > 0) {
      told_before_ = true;
      Tell(Str(progress.files_before, " of ", Counted(progress.files, "file"),
               progress.files_before == 1 ? " was" : " were", " tokenised before"));
    }
    line_.Show(Line(progress, now_ms));
  }

 private:
  std::string Line(const PrepareProgress& progress, std::int64_t now_ms) const {
    if (progress.phase == PrepareProgress::Phase::kWriting) {
      return Str("writing shards: ", FormatCount(progress.tokens_written), " of ",
                 FormatCount(progress.tokens), " tokens");
    }
    std::string line =
        Str("tokenising: ", progress.files_done, "/", Counted(progress.files, "file"), ", ",
            FormatBytes(progress.bytes_done), " of ", FormatBytes(progress.bytes));
    const std::int64_t took_ms = now_ms - begun_ms_;
    const std::int64_t bytes = progress.bytes_done - bytes_at_begin_;
    if (took_ms < 1000 || bytes <= 0) return line;
    const double per_ms = static_cast<double>(bytes) / static_cast<double>(took_ms);
    const std::int64_t left = std::max<std::int64_t>(0, progress.bytes - progress.bytes_done);
    return line +
           Str(", ", FormatBytes(static_cast<std::int64_t>(per_ms * 1000)), "/s, ",
               FormatDurationMs(static_cast<std::int64_t>(static_cast<double>(left) / per_ms)),
               " left");
  }

  ProgressLine line_;
  std::int64_t begun_ms_ = 0;
  std::int64_t bytes_at_begin_ = 0;
  bool told_before_ = false;
};

struct Making {
  std::int64_t jobs = 0;
  bool allow_overlap = false;
  std::shared_ptr<std::string> output;
};

void AddMaking(Verb& verb, Making& making) {
  verb.AddArgument("--jobs", making.jobs,
                   "how many files to tokenise at the same time (default: one per processor)")
      .Between(1, 1024);
  verb.AddFlag("--allow-overlap", making.allow_overlap, "accept the same document in two splits");
  making.output = AddOutput(verb, {"table", "json"});
}

// What the import holds out of --train; "" for files.
std::string HeldOutText(const SplitRule& rule) {
  if (rule.by == SplitRule::By::kDocument) {
    return Str("validation: ", rule.validation, " of the documents, chosen by their SHA-256");
  }
  const std::string what = Counted(rule.validation_tokens, "token");
  switch (rule.by) {
    case SplitRule::By::kFirstTokens:
      return Str("validation: the first ", what,
                 ", as an earlier release imported them; to hold out the last ", what,
                 ", choose another name");
    case SplitRule::By::kLastTokens:
      if (rule.test_tokens > 0) {
        return Str("test: the last ", Counted(rule.test_tokens, "token"), "; validation: the ",
                   rule.validation_tokens, " before those; train: everything before both");
      }
      return Str("validation: the last ", what, "; train: everything before ",
                 rule.validation_tokens == 1 ? "it" : "them");
    default:
      return "";
  }
}

// Earlier releases held out the first tokens where `data import` now holds out the last ones. Such
// a dataset stays what it is: results and runs refer to its content.
Result<SplitRule> RuleOfExisting(const PrepareSpec& spec, const std::string& folder) {
  if (spec.split.by != SplitRule::By::kLastTokens || !HoldsManifest(folder)) return spec.split;
  PrepareSpec earlier = spec;
  earlier.split.by = SplitRule::By::kFirstTokens;
  ASSIGN_OR_RETURN(const Holding holding, HoldsPreparation(earlier, folder));
  return holding.same ? earlier.split : spec.split;
}

Status RemoveMade(const std::string& folder) {
  ASSIGN_OR_RETURN(Removal removal, Removal::Begin(folder));
  return removal.Finish();
}

// Repeating the same call is fine; other content under the same name is an error. A damaged dataset
// is made again, as the messages about damage promise. Where its files do not tell from which texts
// it was made, the digest does under which it is registered.
// In a cache, other content is only the rest of an earlier import.
Status MakeDataset(const std::string& name, const PrepareSpec& spec, const std::string& folder,
                   const Making& making, const std::string& state, bool is_cache) {
  PrepareLine line;
  const PrepareOptions options = {
      .jobs = making.jobs,
      .allow_overlap = making.allow_overlap,
      .progress = [&line](const PrepareProgress& progress) { line.Show(progress); },
      .note = [&line](const std::string& note) { line.Tell(note); }};
  if (!HoldsManifest(folder)) {
    Status made = PrepareDataset(spec, folder, options);
    // Another import may have finished in the meantime, of the same content or not.
    if (made.code() != Code::kAlreadyExists || !HoldsManifest(folder)) return made;
  }
  ASSIGN_OR_RETURN(const Holding holding, HoldsPreparation(spec, folder));
  if (!holding.same && is_cache) {
    RETURN_IF_ERROR(RemoveMade(folder));
    return PrepareDataset(spec, folder, options);
  }
  std::string registered;
  if (!holding.same && !holding.damage.ok()) {
    ASSIGN_OR_RETURN(registered, RegisteredDigest(name, state));
  }
  if (!holding.same && registered.empty()) {
    return Status(
        Code::kAlreadyExists,
        Str(folder,
            holding.damage.ok() ? " holds other content"
                                : " is damaged, and contains nothing made from these texts",
            ": choose another name than ", name, ", or remove it first: `longrun data rm ", name,
            "`"));
  }
  if (holding.damage.ok()) return Status();
  std::fprintf(stderr, "%s is damaged (%s): making it again\n", name.c_str(),
               std::string(holding.damage.message()).c_str());
  Status made = RemakeDataset(spec, folder, options, registered);
  if (made.code() != Code::kAlreadyExists) return made;
  return Status(Code::kAlreadyExists,
                Str(folder, " is damaged, and ", made.message(), ": import the texts of dataset ",
                    name, " to make it again, or choose another name for these"));
}

// Explains why IsSafeName refuses a name.
Status CheckName(const std::string& name) {
  if (IsSafeName(name)) return Status();
  const auto refused = [&](const std::string& why) {
    return Status(Code::kInvalidArgument, Str(Quoted(name), " cannot name a dataset: ", why));
  };
  if (name.size() > kNameBytesMax) {
    return Status(Code::kInvalidArgument,
                  Str("\"", name.substr(0, kNameShown), "…\" cannot name a dataset: it has ",
                      name.size(), " characters, but at most ", kNameBytesMax, " are allowed"));
  }
  if (name.starts_with('.') && IsSafeName(Str("x", name))) {
    return refused("it must not begin with a dot");
  }
  return refused("use only letters, digits, '.', '_' and '-'");
}

// Removes the dataset that was made for another machine, unless sending it again could help, or it
// took long to make.
int EndOfSending(const Status& registered, const std::string& folder) {
  const int code = registered.ok() ? kExitOk : Report(registered);
  const bool stays = !registered.ok() && (!IsRefusal(registered) ||
                                          BytesBelow(folder) >= PrepareOptions().kept_bytes_min);
  if (stays) {
    const bool is_denied = registered.code() == Code::kPermissionDenied;
    SayLine(Str("the dataset stays in ", folder, ": ",
                is_denied ? "after `longrun login` with a token that may send it, " : "",
                "the same command sends what the coordinator lacks, and then removes it"));
    return code;
  }
  const Status removed = RemoveMade(folder);
  return removed.ok() ? code : Report(removed);
}

// Reports why a dataset that was made could not be registered. Removes it if the command made the
// folder and the dataset did not take long to make: else it would stay without a name.
int ReportUnregistered(const std::string& name, const Status& why, const std::string& folder,
                       bool may_be_removed, const std::string& state) {
  const int code = Report(why);
  if (may_be_removed && BytesBelow(folder) < PrepareOptions().kept_bytes_min) {
    const Status removed = RemoveMade(folder);
    return removed.ok() ? code : Report(removed);
  }
  const bool is_own = folder == DatasetFolder(state, name);
  SayLine(Str("the dataset stays in ", folder, ": the same command registers it",
              is_own ? Str(", and `longrun data rm ", name, "` removes it") : ""));
  return code;
}

// Reports why an import failed; if another one is running, or the disk is full, with what to do.
// `is_own`: it writes to the state folder, the only one of which `longrun gc` removes anything.
int ReportFailed(const std::string& name, Status status, bool is_own) {
  if (ShortageOf(status) == Shortage::kDisk) {
    const std::string_view make_room = is_own ? kMakeRoom : kMakeRoomThere;
    status =
        Status(status.code(), Str(status.message(), "; ", make_room, ", and repeat the command"));
  }
  if (status.code() == Code::kUnavailable) {
    status = Status(Code::kFailedPrecondition,
                    Str(status.message(), "; wait until it ends, and repeat the command"));
  }
  return Report(std::move(status).In("importing " + name));
}

// What is odd about a training split that is very small, or has only white space; "" if nothing is.
std::string OddTraining(const std::string& name, const std::string& folder) {
  constexpr std::int64_t kTooFew = 5;  // tokens
  constexpr std::int64_t kReadMax = 4096;
  // Opening a dataset hashes its tables of documents, which takes long for a large one.
  const Result<Manifest> manifest = ReadManifest(folder);
  if (!manifest.ok()) return "";
  const auto is_small = [](const ManifestSplit& split) {
    return split.identity.name == "train" && split.identity.n_tokens <= kReadMax;
  };
  if (std::ranges::none_of(manifest->splits, is_small)) return "";
  const Result<Dataset> dataset = Dataset::Open(folder);
  if (!dataset.ok()) return "";
  const Result<const TokenSplit*> train = dataset->Split("train");
  if (!train.ok()) return "";
  std::vector<std::int32_t> tokens(static_cast<std::size_t>((*train)->n_tokens()));
  const Result<std::unique_ptr<Tokenizer>> tokenizer = OpenTokenizerOf(folder);
  if (!tokenizer.ok() || !(*train)->Read(0, tokens).ok()) return "";
  const auto n_tokens = std::ssize(tokens);
  std::erase(tokens, dataset->eot_id());
  const Result<std::string> text = (*tokenizer)->Decode(tokens);
  if (text.ok() && Trim(*text).empty()) {
    return Str("split train of ", name, " has only white space: is it the right file?");
  }
  return n_tokens < kTooFew ? Str("split train of ", name, " has only ", Counted(n_tokens, "token"),
                                  ": is it the right file?")
                            : "";
}

int MakeAndRegister(const std::string& name, const PrepareSpec& spec, const std::string& folder,
                    const Making& making, const std::string& state) {
  if (Status named = CheckName(name); !named.ok()) return Report(named);
  const Result<std::string> makes_in = MakingFolder(state);
  if (!makes_in.ok()) return Report(makes_in.status());
  if (Status made = MakeFolders(*makes_in, 0700); !made.ok()) return Report(made);
  const bool is_cache = IsContext(state) && folder == DatasetFolder(*makes_in, name);
  const bool is_own = !IsContext(state) && folder == DatasetFolder(state, name);
  std::optional<FileLock> sending;
  if (is_cache) {
    // Whoever has sent the dataset removes it here, so an equal import must not send it, too.
    Result<FileLock> lock = FileLock::Acquire(JoinPath(*makes_in, Str(".", name, ".lock")),
                                              "another import from this machine");
    if (!lock.ok()) return ReportFailed(name, std::move(lock).status(), is_own);
    sending = std::move(lock).value();
  }
  if (const Status may = MaySendDataset(state); !may.ok()) return Report(may);
  const bool was_there = PathExists(folder);  // then some of it may be the user's
  Status imported = MakeDataset(name, spec, folder, making, state, is_cache);
  if (!imported.ok()) return ReportFailed(name, std::move(imported), is_own);
  if (const std::string odd = OddTraining(name, folder); !odd.empty()) SayLine(odd);
  bool may_be_known = true;
  const Status registered = RegisterDataset(name, folder, state, *making.output, &may_be_known);
  if (is_cache) return EndOfSending(registered, folder);
  if (registered.ok()) return kExitOk;
  return ReportUnregistered(name, registered, folder, !was_there && !may_be_known, state);
}

// ---- import ------------------------------------------------------------------------------------

struct ImportArguments {
  std::string name;
  std::vector<std::string> train, validation, test;
  std::string tokenizer = "bytes";
  std::string format;
  std::optional<std::string> field, filter, separator, dtype;
  bool any_bytes = false;
  std::string eot = "after";
  std::string newline = "keep";
  std::vector<std::string> mix;
  std::optional<std::int64_t> mix_seed;
  Making making;
};

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// Replaces escapes, which reach us as two or more characters: \n \r \t \f \0 \\ \xHH.
Result<std::string> Unescape(std::string_view text) {
  constexpr std::string_view kNames = "nrtf0\\", kBytes("\n\r\t\f\0\\", 6);
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    const char name = i + 1 < text.size() ? text[i + 1] : ' ';
    const std::size_t known = kNames.find(name);
    const int high = i + 3 < text.size() ? HexDigit(text[i + 2]) : -1;
    const int low = i + 3 < text.size() ? HexDigit(text[i + 3]) : -1;
    if (known != std::string_view::npos) {
      out += kBytes[known];
      i += 1;
    } else if (name == 'x' && high >= 0 && low >= 0) {
      out += static_cast<char>(high * 16 + low);
      i += 3;
    } else {
      return Status(Code::kInvalidArgument, Str("--separator: \"", text.substr(i, 4),
                                                "\" is not one of \\n \\r \\t \\f \\0 \\\\ \\xHH"));
    }
  }
  return out;
}

// The part of --train that --validation or --test holds out if it names no files.
struct HeldOut {
  SplitRule::By by = SplitRule::By::kFiles;
  double share = 0;           // of the documents
  std::int64_t n_tokens = 0;  // this many at the end
};

Result<HeldOut> HeldOutOf(std::string_view option, const std::vector<std::string>& values) {
  if (values.size() != 1 || PathExists(values[0])) return HeldOut();
  const std::string& text = values[0];
  double share = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), share);
  // 1e400 is a number, too, although no double can hold it.
  const bool is_read = end.ec == std::errc() || end.ec == std::errc::result_out_of_range;
  const bool is_number = is_read && end.ptr == text.data() + text.size();
  if (is_number && share > 0 && share < 1) {
    return HeldOut{.by = SplitRule::By::kDocument, .share = share};
  }
  const Result<std::int64_t> n_tokens = ParseCount(text);
  const bool is_fraction = is_number && text.find('.') != std::string::npos;  // 1.0 is no count
  if (n_tokens.ok() && *n_tokens > 0 && !is_fraction) {
    return HeldOut{.by = SplitRule::By::kLastTokens, .n_tokens = *n_tokens};
  }
  const bool is_percentage = end.ec == std::errc() && std::string_view(end.ptr) == "%";
  if (is_percentage && share > 0 && share < 100) {
    return Status(
        Code::kInvalidArgument,
        Str(option, " ", text, ": write the share as a fraction: ", option, " ", share / 100));
  }
  const std::string nearest = NearestCount(text);
  if (!is_number && !n_tokens.ok() && !nearest.empty()) {
    return Status(Code::kInvalidArgument,
                  Str(option, " ", text, ": there is no such file; for a number of tokens, write ",
                      option, " ", nearest));
  }
  if (!is_number && !n_tokens.ok()) return HeldOut();
  return Status(Code::kInvalidArgument,
                Str(option, " ", text,
                    ": expected files, a share of the documents in --train (between 0 and 1, such "
                    "as 0.1), or a number of its tokens (at least 1, such as 50K)"));
}

Status CheckNoneIsEmpty(const std::string& option, const std::vector<std::string>& files) {
  if (std::ranges::find(files, "") == files.end()) return Status();
  return Status(Code::kInvalidArgument, Str(option, ": the name of a file is empty: name a file"));
}

// Fills in either files for each split, or one list of files and a rule.
Status FillSplits(const ImportArguments& arguments, PrepareSpec& spec) {
  RETURN_IF_ERROR(CheckNoneIsEmpty("--train", arguments.train));
  RETURN_IF_ERROR(CheckNoneIsEmpty("--validation", arguments.validation));
  RETURN_IF_ERROR(CheckNoneIsEmpty("--test", arguments.test));
  ASSIGN_OR_RETURN(const HeldOut validation, HeldOutOf("--validation", arguments.validation));
  ASSIGN_OR_RETURN(const HeldOut test, HeldOutOf("--test", arguments.test));
  if (!arguments.test.empty() && test.by != validation.by) {
    return {Code::kInvalidArgument,
            "--validation and --test: expected files for both, a share of the documents for both "
            "(0.1), or a number of tokens for both (50K)"};
  }
  if (validation.by == SplitRule::By::kFiles) {
    spec.files.emplace_back("train", arguments.train);
    spec.files.emplace_back("validation", arguments.validation);
    if (!arguments.test.empty()) spec.files.emplace_back("test", arguments.test);
    return {};
  }
  spec.files.emplace_back("", arguments.train);
  spec.split = {.by = validation.by,
                .validation = validation.share,
                .test = test.share,
                .validation_tokens = validation.n_tokens,
                .test_tokens = test.n_tokens};
  return {};
}

Result<PrepareSpec> SpecOf(const ImportArguments& arguments) {
  PrepareSpec spec;
  spec.tokenizer = arguments.tokenizer;
  RETURN_IF_ERROR(FillSplits(arguments, spec));
  spec.source.format = arguments.format.empty()
                           ? GuessSourceFormat(FirstMatch(arguments.train.at(0)))
                           : arguments.format;
  spec.format_is_guessed = arguments.format.empty();
  spec.source.field = arguments.field;
  spec.source.filter = arguments.filter;
  spec.source.dtype = arguments.dtype;
  spec.source.any_bytes = arguments.any_bytes;
  if (arguments.separator) {
    ASSIGN_OR_RETURN(spec.source.separator, Unescape(*arguments.separator));
  }
  ASSIGN_OR_RETURN(spec.packing.eot, Packing::ParseEot(arguments.eot));
  spec.packing.universal_newlines = arguments.newline == "universal";
  spec.packing.order = Packing::Order::kGiven;
  for (const std::string& rule : arguments.mix) {
    if (Status added = spec.mix.AddText(rule); !added.ok()) return std::move(added).In("--mix");
  }
  if (arguments.mix_seed) {
    if (spec.mix.empty()) {
      return Status(Code::kInvalidArgument, "--mix-seed is only for --mix: leave it out");
    }
    spec.mix.seed = static_cast<std::uint64_t>(*arguments.mix_seed);
  }
  return spec;
}

int Import(const ImportArguments& arguments, const std::string& state) {
  Result<PrepareSpec> spec = SpecOf(arguments);
  if (!spec.ok()) return Report(spec.status());
  const Result<std::string> makes_in = MakingFolder(state);
  if (!makes_in.ok()) return Report(makes_in.status());
  const std::string folder = DatasetFolder(*makes_in, arguments.name);
  if (IsSafeName(arguments.name)) {
    Result<SplitRule> rule = RuleOfExisting(*spec, folder);
    if (!rule.ok()) return Report(std::move(rule).status().In("importing " + arguments.name));
    spec->split = *rule;
  }
  if (const std::string text = HeldOutText(spec->split); !text.empty()) SayLine(text);
  return MakeAndRegister(arguments.name, *spec, folder, arguments.making, state);
}

// ---- synthesize --------------------------------------------------------------------------------

struct SynthesizeArguments {
  std::string name;
  std::string rule;
  std::string tokens;
  std::optional<std::string> validation;
  std::int64_t seed = 1;
  Making making;
};

// The splits of a dataset are different documents of one rule and one seed.
constexpr std::uint64_t kFirstOfValidation = std::uint64_t{1} << 40;
constexpr std::int64_t kValidationPart = 10;

Result<ResolvedRule> RuleOf(const SynthesizeArguments& arguments) {
  Json json = {{"rule", arguments.rule}};
  if (arguments.rule.starts_with('{')) {
    ASSIGN_OR_RETURN(json, ParseJson(arguments.rule));
  }
  return ResolvedRule::Resolve(json);
}

Result<std::int64_t> TokensOf(std::string_view option, const std::string& text) {
  const Result<std::int64_t> n_tokens = ParseCount(text);
  if (n_tokens.ok() && *n_tokens > 0) return n_tokens;
  return Status(Code::kInvalidArgument,
                Str(option, " ", text, ": expected a number of tokens, such as 4M or 100K"));
}

// Describes the splits in files, from which they are made as those of any import are. `makes_in`:
// as MakingFolder has it.
Result<PrepareSpec> SpecOf(const SynthesizeArguments& arguments, const ResolvedRule& rule,
                           const std::string& makes_in) {
  ASSIGN_OR_RETURN(const std::int64_t n_train, TokensOf("--tokens", arguments.tokens));
  std::int64_t n_validation = std::max<std::int64_t>(1, n_train / kValidationPart);
  if (arguments.validation) {
    ASSIGN_OR_RETURN(n_validation, TokensOf("--validation", *arguments.validation));
  }
  struct SplitFile {
    std::string split;
    std::string json;
  };
  std::vector<SplitFile> files;
  for (const auto& [split, first, n_tokens] :
       {std::tuple("train", std::uint64_t{0}, n_train),
        std::tuple("validation", kFirstOfValidation, n_validation)}) {
    files.push_back({.split = split,
                     .json = CanonicalJson({{"rule", rule.ToJson()},
                                            {"seed", arguments.seed},
                                            {"first", first},
                                            {"tokens", n_tokens}})});
  }
  // One folder for each description, so that a repeated command finds what it began.
  PrepareSpec spec;
  spec.source.format = "rule";
  spec.packing.order = Packing::Order::kGiven;
  spec.base_folder = JoinPath(JoinPath(makes_in, "rules"),
                              Sha256Hex(Str(files[0].json, files[1].json)).substr(0, 16));
  RETURN_IF_ERROR(MakeFolders(spec.base_folder, 0700));
  for (const SplitFile& file : files) {
    const std::string path = JoinPath(spec.base_folder, file.split + ".rule");
    if (!PathExists(path)) RETURN_IF_ERROR(WriteFileAtomic(path, file.json));
    spec.files.emplace_back(file.split, std::vector<std::string>{BaseName(path)});
  }
  return spec;
}

std::string BoundText(const RuleBound& bound) {
  const double nats = bound.NatsPerByte();
  std::array<char, 64> numbers{};
  std::snprintf(numbers.data(), numbers.size(), "%.4f nats for each byte, perplexity %.3f", nats,
                std::exp(nats));
  return Str("the best possible model: ", numbers.data(), "; documents of ", bound.document_bytes,
             " bytes",
             bound.answer_bytes == 0
                 ? ""
                 : Str(", of which it knows the last ", bound.answer_bytes, " with certainty"));
}

int Synthesize(const SynthesizeArguments& arguments, const std::string& state) {
  const Result<ResolvedRule> rule = RuleOf(arguments);
  if (!rule.ok()) return Report(Status(rule.status()).In("--rule"));
  const Result<std::string> makes_in = MakingFolder(state);
  if (!makes_in.ok()) return Report(makes_in.status());
  const Result<PrepareSpec> spec = SpecOf(arguments, *rule, *makes_in);
  if (!spec.ok()) return Report(spec.status());
  const int code = MakeAndRegister(arguments.name, *spec, DatasetFolder(*makes_in, arguments.name),
                                   arguments.making, state);
  const std::optional<RuleBound> bound = rule->Bound();
  if (code != kExitOk || !bound) return code;
  if (*arguments.making.output == "json") {
    SayLine(BoundText(*bound));
  } else {
    Print(BoundText(*bound) + "\n");
  }
  return code;
}

// ---- prepare -----------------------------------------------------------------------------------

struct PrepareArguments {
  std::string file;
  std::string out;
  Making making;
};

int Prepare(const PrepareArguments& arguments, const std::string& state) {
  const Result<std::string> yaml = ReadGivenFile(arguments.file, "dataset file", kSweepBytesMax);
  if (!yaml.ok()) return Report(yaml.status());
  const std::string folder = FolderOf(arguments.file);
  Result<DatasetFile> file = ParseDatasetFile(*yaml, BaseName(arguments.file), folder);
  if (!file.ok()) return Report(file.status(), Split(file.status().message(), '\n'));
  const Result<std::string> makes_in = MakingFolder(state);
  if (!makes_in.ok()) return Report(makes_in.status());
  const std::string out =
      arguments.out.empty() ? DatasetFolder(*makes_in, file->name) : arguments.out;
  return MakeAndRegister(file->name, file->spec, out, arguments.making, state);
}

}  // namespace

void AddDataImport(Verbs& verbs, Verb& data) {
  Verb verb = data.AddVerb("import", "make a dataset of files, and register it");
  verb.AddExamples({"longrun data import mybook --train a.txt b.txt --validation c.txt",
                    "longrun data import web --train 'web-*.jsonl.gz' --validation 0.1"});
  const auto arguments = std::make_shared<ImportArguments>();
  verb.AddArgument("NAME", arguments->name, "name of the dataset").Required();
  verb.AddArgument("--train", arguments->train, "files (or patterns) to train on").Required();
  verb.AddArgument(
          "--validation", arguments->validation,
          "held-out files, a share of the documents in --train (such as 0.1), or how many of "
          "the last tokens of --train to hold out (such as 50K)")
      .Required();
  verb.AddArgument("--test", arguments->test, "more held-out files, given in the same way");
  verb.AddArgument(
      "--format", arguments->format,
      Str(Join(SourceFormatNames(), ", "), " (default: by the name of the first file)"));
  verb.AddArgument(
      "--separator", arguments->separator,
      "what separates documents in text: line, form_feed, blank_lines, or any bytes (bytes:WORD if "
      "the bytes are one of these words); default: each file is one document");
  verb.AddArgument("--field", arguments->field, "for jsonl: field with the text (default: text)");
  verb.AddArgument("--filter", arguments->filter,
                   "for jsonl: use only objects with this value, as in meta.config==arxiv");
  verb.AddArgument("--dtype", arguments->dtype, "for raw: u16 or u32");
  verb.AddFlag("--any-bytes", arguments->any_bytes,
               "for text formats: also accept files that are not text (NUL bytes, invalid UTF-8, "
               "another format's header)");
  verb.AddArgument("--tokenizer", arguments->tokenizer,
                   "bytes, gpt2, or a file: *.tiktoken, *.json")
      .ShowDefault();
  verb.AddArgument("--eot", arguments->eot, "where to put the end-of-text token")
      .OneOf(Packing::EotNames())
      .ShowDefault();
  verb.AddArgument("--newline", arguments->newline, "universal: \\r\\n and \\r become \\n")
      .OneOf({"keep", "universal"})
      .ShowDefault();
  verb.AddArgument("--mix", arguments->mix,
                   Str("mix documents by rule into the training text: RULE=SHARE, where SHARE is a "
                       "share of all tokens, or JSON with parameters; rules: ",
                       Join(SyntheticRuleNames(), ", ")))
      .OneEach();
  verb.AddArgument("--mix-seed", arguments->mix_seed, "seed of --mix (default: 1)").AtLeast(0);
  AddMaking(verb, arguments->making);
  verb.SetRun([&verbs, arguments] { return Import(*arguments, verbs.state); });
}

void AddDataSynthesize(Verbs& verbs, Verb& data) {
  Verb verb = data.AddVerb("synthesize", "make a dataset of documents by rule, and register it");
  verb.AddExamples({"longrun data synthesize chain --rule markov --tokens 4M",
                    "longrun data synthesize copies --tokens 1M --seed 7 "
                    "--rule '{\"rule\": \"copy\", \"span\": 8, \"distance\": 128}'"});
  const auto arguments = std::make_shared<SynthesizeArguments>();
  verb.AddArgument("NAME", arguments->name, "name of the dataset").Required();
  verb.AddArgument("--rule", arguments->rule,
                   Str(Join(SyntheticRuleNames(), ", "), ", or JSON with parameters"))
      .Required();
  verb.AddArgument("--tokens", arguments->tokens, "tokens to train on, such as 4M").Required();
  verb.AddArgument("--validation", arguments->validation,
                   "tokens to validate on (default: a tenth of --tokens)");
  verb.AddArgument("--seed", arguments->seed, "seed of all documents").AtLeast(0).ShowDefault();
  AddMaking(verb, arguments->making);
  verb.SetRun([&verbs, arguments] { return Synthesize(*arguments, verbs.state); });
}

void AddDataPrepare(Verbs& verbs, Verb& data) {
  Verb verb = data.AddVerb("prepare", "make a dataset from its YAML file, and register it");
  verb.AddExamples({"longrun data prepare books.yaml", "longrun data prepare books.yaml --jobs 4"});
  const auto arguments = std::make_shared<PrepareArguments>();
  verb.AddArgument("FILE", arguments->file, "YAML file of the dataset (docs/data.md)").Required();
  verb.AddArgument("--out", arguments->out, "folder to make (default: in the state folder)");
  AddMaking(verb, arguments->making);
  verb.SetRun([&verbs, arguments] { return Prepare(*arguments, verbs.state); });
}

}  // namespace longrun::client
