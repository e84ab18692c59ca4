#include "model/data/prepare.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "base/failpoint.h"
#include "base/files.h"
#include "base/folder_size.h"
#include "base/json.h"
#include "base/shortage.h"
#include "base/str.h"
#include "base/units.h"
#include "model/data/assemble.h"
#include "model/data/dataset.h"
#include "model/data/manifest.h"
#include "model/data/part.h"
#include "model/data/shard.h"
#include "model/data/source_list.h"
#include "model/data/tokenizer.h"
#include "model/data/tokenizer_file.h"
#include "model/limits.h"

namespace longrun {
namespace {

constexpr std::string_view kWorkFolder = "import.tmp";
constexpr std::string_view kLock = "lock";  // in it
constexpr std::int64_t kCopies = 2;  // of all tokens: the parts stay until the shards are written
constexpr std::chrono::milliseconds kTellEvery(200);
constexpr std::size_t kBeginningsMax = 1000;  // files checked after the first that failed

Status Invalid(const std::string& message) { return Status(Code::kInvalidArgument, message); }

// The keys by which documents of text are changed or left out.
constexpr std::string_view kChoosing = "join, empty, min_doc_tokens and max_doc_tokens";
bool ChoosesDocuments(const Packing& packing) {
  return packing.join || packing.keep_empty || packing.min_doc_tokens != 0 ||
         packing.max_doc_tokens != 0;
}

Status CheckMix(const PrepareSpec& spec, const SourceFormat& format) {
  const Packing& packing = spec.packing;
  if (format.gives != SourceFormat::Gives::kText) {
    return Invalid(Str("format ", format.name,
                       " gives tokens, but documents by rule can be mixed only into text"));
  }
  if (spec.split.by != SplitRule::By::kFiles) {
    return Invalid(
        "documents by rule are mixed only into the split train, so the held-out text must have "
        "files of its own: give files to --validation (in a dataset file, `split: {by: files}`)");
  }
  if (ChoosesDocuments(packing)) {
    return Invalid(Str(kChoosing,
                       " would change the documents that are mixed into the text: leave "
                       "them out"));
  }
  return spec.mix.Check();
}

Status CheckSpec(const PrepareSpec& spec, const SourceFormat& format,
                 const Vocabulary& vocabulary) {
  if (spec.shard_tokens <= 0)
    return Invalid(Str("shard_tokens ", spec.shard_tokens, " must be positive"));
  const Packing& packing = spec.packing;
  if (packing.min_doc_tokens < 0 || packing.max_doc_tokens < 0) {
    return Invalid("min_doc_tokens and max_doc_tokens must not be negative");
  }
  if (packing.max_doc_tokens != 0 && packing.max_doc_tokens < packing.min_doc_tokens) {
    return Invalid(Str("max_doc_tokens ", packing.max_doc_tokens, " is less than min_doc_tokens ",
                       packing.min_doc_tokens, ": no document would be left"));
  }
  if (ChoosesDocuments(packing) && format.gives != SourceFormat::Gives::kText) {
    return Invalid(Str("format ", format.name, " gives tokens, which are kept as they are: ",
                       kChoosing, " are for formats of text"));
  }
  if (packing.keep_empty &&
      (packing.eot == Packing::Eot::kNone || packing.join || packing.min_doc_tokens != 0)) {
    return Invalid(
        "`empty: keep` keeps documents of nothing but their end-of-text token: it needs an `eot`, "
        "and goes with neither join nor min_doc_tokens");
  }
  if (packing.eot != Packing::Eot::kNone && vocabulary.eot_id < 0) {
    return Invalid(Str("tokenizer \"", vocabulary.name,
                       "\" has no end-of-text token: set `eot: none` (packing.eot, or --eot)"));
  }
  if (!spec.mix.empty()) RETURN_IF_ERROR(CheckMix(spec, format));
  return spec.split.Check();
}

bool IsShard(std::string_view name) {
  return std::ranges::any_of(kSplitNames, [&](std::string_view split) {
    return name.starts_with(Str(split, "-")) &&
           (name.ends_with(".lrtk") || name.ends_with(".lrtk.tmp"));
  });
}

// Removes shards of an unfinished import.
Status RemoveShards(const std::string& folder) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFolder(folder));
  for (const std::string& name : names) {
    if (IsShard(name)) RETURN_IF_ERROR(RemoveAll(JoinPath(folder, name)));
  }
  return Status();
}

Result<ImportedContent> ContentOf(const std::string& folder) {
  ImportedContent content = {.is_made = IsSavedTokenizer(folder), .foreign = {}};
  std::string tokenizer;
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFolder(folder));
  for (const std::string& name : names) {
    const bool is_made = name == kManifestName || name == kWorkFolder || IsShard(name);
    // A file that was being written when its writer was killed (WriteFileAtomic).
    const bool is_beginning = name.starts_with('.') && name.find(".tmp-") != std::string::npos;
    if (is_made) {
      content.is_made = true;
    } else if (name == kTokenizerFile || name == kVocabularyFile) {
      tokenizer = name;
    } else if (!is_beginning) {
      content.foreign = name;
    }
  }
  if (!content.is_made && content.foreign.empty()) content.foreign = tokenizer;
  return content;
}

// Removes all but the folder of an import's parts, the manifest first.
Status RemoveContent(const std::string& folder) {
  RETURN_IF_ERROR(RemoveAll(JoinPath(folder, kManifestName)));
  Failpoint("data_mid_removal");
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFolder(folder));
  for (const std::string& name : names) {
    if (name != kWorkFolder) RETURN_IF_ERROR(RemoveAll(JoinPath(folder, name)));
  }
  return Status();
}

// The error for a file of the user's in the folder of a dataset.
Status Foreign(const std::string& path) {
  return Status(Code::kFailedPrecondition,
                Str(path, " is not part of a dataset: move it away first, so that it is not lost"));
}

// Removes the folder of an import's parts, whose lock the caller holds. The lock goes last: another
// import that waits for it may then fill the folder again, and keeps what it has.
Status RemoveWork(const std::string& folder) {
  const std::string work = JoinPath(folder, kWorkFolder);
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFolder(work));
  for (const std::string& name : names) {
    if (name != kLock) RETURN_IF_ERROR(RemoveAll(JoinPath(work, name)));
  }
  RETURN_IF_ERROR(RemoveAll(JoinPath(work, kLock)));
  if (rmdir(work.c_str()) == 0 || errno == ENOTEMPTY || errno == EEXIST || errno == ENOENT) {
    return Status();
  }
  return ErrnoStatus(errno, Str("cannot remove ", work));
}

// Removes shards of an unfinished import, and parts that will not be needed any more.
Status RemoveUnfinished(const std::string& folder, const std::string& work,
                        const std::vector<ListedSource>& sources) {
  RETURN_IF_ERROR(RemoveShards(folder));
  std::set<std::string> keys;
  for (const ListedSource& source : sources) keys.insert(source.key);
  ASSIGN_OR_RETURN(const std::vector<std::string> parts, ListFolder(work));
  for (const std::string& name : parts) {
    if (name != kLock && !keys.contains(name.substr(0, name.find('.')))) {
      RETURN_IF_ERROR(RemoveAll(JoinPath(work, name)));
    }
  }
  return Status();
}

// Takes only the first piece that a format gives.
class BeginningSink final : public DocumentSink {
 public:
  Status Text(std::string_view) override { return Enough(); }
  Status Ids(std::span<const std::int32_t>) override { return Enough(); }
  Status EndDocument() override { return Status(); }

 private:
  static Status Enough() { return Status(Code::kCancelled, "enough"); }
};

// Makes the parts, several at a time. Files are started in order. Reports the error of the first
// bad file, and those that later files show in their beginnings, regardless of the number of jobs.
class PartMaker {
 public:
  PartMaker(const PrepareSpec& spec, const SourceFormat& format, const Tokenizer& tokenizer,
            const std::vector<ListedSource>& sources, std::string work)
      : spec_(spec),
        format_(format),
        tokenizer_(tokenizer),
        sources_(sources),
        work_(std::move(work)),
        parts_(sources.size()),
        errors_(sources.size()) {}

  Status Run(const PrepareOptions& options) {
    const std::int64_t asked = options.jobs > 0
                                   ? options.jobs
                                   : static_cast<std::int64_t>(std::thread::hardware_concurrency());
    const auto n = std::clamp<std::int64_t>(asked, 1, static_cast<std::int64_t>(sources_.size()));
    std::vector<std::jthread> threads;
    threads.reserve(static_cast<std::size_t>(n));
    n_running_ = n;
    for (std::int64_t i = 0; i < n; ++i) threads.emplace_back([this] { Work(); });
    {
      std::unique_lock lock(mutex_);
      while (!ended_.wait_for(lock, kTellEvery, [this] { return n_running_ == 0; })) {
        if (options.progress) options.progress(Progress());
      }
    }
    threads.clear();
    if (failed_ < sources_.size()) return Together(FailuresFrom(failed_));
    if (options.progress) options.progress(Progress());
    return Status();
  }

  const std::vector<PartFacts>& parts() const { return parts_; }

  // The size of the source files that have a part, and of the documents made from them.
  std::int64_t bytes_with_part() const { return bytes_with_part_.load(); }

  PrepareProgress Progress() const {
    PrepareProgress progress = {.files_done = files_done_.load(),
                                .files = static_cast<std::int64_t>(sources_.size()),
                                .files_before = files_before_.load(),
                                .bytes_done = bytes_done_.load(),
                                .tokens = tokens_.load()};
    for (const ListedSource& source : sources_) progress.bytes += source.bytes;
    return progress;
  }

 private:
  void Work() {
    while (true) {
      const std::size_t i = next_.fetch_add(1);
      if (i >= sources_.size() || i > failed_.load()) break;
      errors_[i] = Make(i);
      if (errors_[i].ok()) continue;
      std::size_t first = failed_.load();
      while (i < first && !failed_.compare_exchange_weak(first, i)) {
      }
    }
    const std::lock_guard lock(mutex_);
    if (--n_running_ == 0) ended_.notify_all();
  }

  // Why the first file failed, and errors in the beginnings of later files. Those are not read
  // whole, since their parts are of no use any more.
  ErrorList FailuresFrom(std::size_t first) const {
    ErrorList errors;
    errors.Add(errors_[first]);
    const std::size_t end = std::min(sources_.size(), first + kBeginningsMax);
    for (std::size_t i = first + 1; i < end && errors.all().size() < kFileErrorsMax; ++i) {
      if (!FactsOf(i).ok()) errors.Add(ReadBeginning(i).In(sources_[i].Name()));
    }
    return errors;
  }

  Status ReadBeginning(std::size_t i) const {
    SourceInput input(sources_[i].path, [](std::int64_t) { return Status(); });
    BeginningSink sink;
    SourceOptions options = spec_.source;
    options.universal_newlines = spec_.packing.universal_newlines;
    const Status read = format_.read(input, options, sink);
    return read.code() == Code::kCancelled ? Status() : AsInput(read);
  }

  Result<PartFacts> FactsOf(std::size_t i) const {
    return PartReader::Facts(work_, sources_[i].key, TokenWidth(tokenizer_.vocabulary().n_rows));
  }

  // In our files damage is kDataLoss; in the user's it is bad input.
  static Status AsInput(const Status& read) {
    return read.code() == Code::kDataLoss ? Status(Code::kInvalidArgument, read.message()) : read;
  }

  Status Make(std::size_t i) {
    const ListedSource& source = sources_[i];
    Result<PartFacts> part =
        PartReader::VerifiedFacts(work_, source.key, TokenWidth(tokenizer_.vocabulary().n_rows));
    if (part.ok()) {
      files_before_ += 1;
      bytes_done_ += source.bytes;
    } else {
      part = Tokenise(i);
      if (!part.ok()) return std::move(part).status().In(source.Name());
    }
    parts_[i] = std::move(part).value();
    files_done_ += 1;
    bytes_with_part_ += source.bytes;
    tokens_ += parts_[i].n_tokens;
    return Status();
  }

  Result<PartFacts> Tokenise(std::size_t i) {
    const ListedSource& source = sources_[i];
    SourceInput input(source.path, [this, i](std::int64_t n_bytes) {
      bytes_done_ += n_bytes;
      // An earlier file failed, so this one's part is not needed any more.
      return failed_.load() < i ? Status(Code::kCancelled, "stopped") : Status();
    });
    ASSIGN_OR_RETURN(
        const std::unique_ptr<PartWriter> writer,
        PartWriter::Create(work_, source.key, tokenizer_, spec_.packing, format_.gives));
    SourceOptions options = spec_.source;
    options.universal_newlines = spec_.packing.universal_newlines;
    if (spec_.mix.empty() || source.split != "train") {
      RETURN_IF_ERROR(AsInput(format_.read(input, options, *writer)));
    } else {
      MixSink mixed(spec_.mix, tokenizer_, i, *writer, [&] { return writer->n_tokens(); });
      RETURN_IF_ERROR(AsInput(format_.read(input, options, mixed)));
    }
    return writer->Finish(input.Files());
  }

  const PrepareSpec& spec_;
  const SourceFormat& format_;
  const Tokenizer& tokenizer_;
  const std::vector<ListedSource>& sources_;
  const std::string work_;
  std::vector<PartFacts> parts_;
  std::vector<Status> errors_;
  std::atomic<std::size_t> next_{0};
  std::atomic<std::size_t> failed_{SIZE_MAX};  // the first file with an error
  std::atomic<std::int64_t> files_done_{0}, files_before_{0}, bytes_done_{0}, tokens_{0};
  std::atomic<std::int64_t> bytes_with_part_{0};
  std::mutex mutex_;
  std::condition_variable ended_;
  std::int64_t n_running_ = 0;
};

// Checks that each file is unchanged since its part was made.
Status CheckUnchanged(const PrepareSpec& spec, const SourceFormat& format,
                      const std::string& fingerprint, const std::vector<ListedSource>& sources) {
  ASSIGN_OR_RETURN(const std::vector<ListedSource> now, ListSources(spec, format, fingerprint));
  for (std::size_t i = 0; i < sources.size(); ++i) {
    if (i >= now.size() || now[i].key != sources[i].key) {
      return Status(Code::kFailedPrecondition,
                    Str(sources[i].Name(), " changed while it was imported: import again"));
    }
  }
  return Status();
}

Status CheckUnfinished(const std::string& folder) {
  if (!PathExists(JoinPath(folder, kManifestName))) return Status();
  return Status(Code::kAlreadyExists,
                Str(folder,
                    " already holds a finished dataset: remove it first, or choose another name or "
                    "folder for this one"));
}

// Refuses to replace a file that no import wrote. The tokenizer's files of an unfinished import are
// replaced: vocabulary.tiktoken is written before tokenizer.json.
Status CheckForeignFiles(const std::string& folder) {
  const auto refused = [&](std::string_view name) {
    return Status(Code::kAlreadyExists, Str(JoinPath(folder, name),
                                            " exists, and a dataset has a file of this name: move "
                                            "it away, or choose another name or folder for the "
                                            "dataset"));
  };
  // In this order, since another import may write the file between the two questions.
  const bool has_tokenizer = PathExists(JoinPath(folder, kTokenizerFile));
  const bool is_saved = IsSavedTokenizer(folder);
  if (has_tokenizer && !is_saved) return refused(kTokenizerFile);
  const bool has_vocabulary = PathExists(JoinPath(folder, kVocabularyFile));
  const bool is_begun = is_saved || PathExists(JoinPath(folder, kWorkFolder));
  if (has_vocabulary && !is_begun) return refused(kVocabularyFile);
  return Status();
}

// The preparation that dataset.json names. kDataLoss when the file is damaged.
Result<std::string> PreparationOf(const std::string& folder) {
  const Result<Manifest> manifest = ReadManifest(folder);
  if (manifest.ok()) return manifest->spec_sha256;
  const Result<Json> json = ReadManifestJson(folder);
  const bool newer = json.ok() && IsOfNewerRelease(*json);
  return Status(newer ? Code::kFailedPrecondition : manifest.status().code(),
                manifest.status().message());
}

// Whether the shards are of this preparation, by their headers: for a damaged dataset.json.
Result<bool> ShardsAreOf(const std::string& folder, const std::string& spec_sha256) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFolder(folder));
  std::int64_t n_same = 0;
  for (const std::string& name : names) {
    if (!name.ends_with(".lrtk")) continue;
    const Result<ShardReader> shard = ShardReader::Open(JoinPath(folder, name));
    if (!shard.ok()) continue;
    if (shard->header().spec_sha256 != BytesOfSha256Hex(spec_sha256)) return false;
    n_same += 1;
  }
  return n_same > 0;
}

// The folder in which a damaged dataset is made again: no dataset has a name with a leading dot.
std::string AnewFolder(const std::string& folder) {
  return JoinPath(FolderOf(folder), Str(".", BaseName(folder), ".anew"));
}

// Takes the lock for making or removing anything in the folder.
Result<FileLock> LockWork(const std::string& folder) {
  const std::string work = JoinPath(folder, kWorkFolder);
  const std::string what = Str("another import into ", folder, ", or a removal of it,");
  constexpr int kTries = 100;  // as often, others may remove the folder before we have its lock
  for (int i = 1;; ++i) {
    Status made = MakeFolders(work);
    Result<FileLock> lock = made.ok() ? FileLock::Acquire(JoinPath(work, kLock), what)
                                      : Result<FileLock>(std::move(made));
    const bool is_gone = lock.status().code() == Code::kNotFound;
    if (!is_gone || i == kTries) return lock;
  }
}

// Removes the remains of an import that was killed between its last two steps.
Status RemoveLeft(const std::string& folder) {
  const std::string work = JoinPath(folder, kWorkFolder), anew = AnewFolder(folder);
  if (!PathExists(work) && !PathExists(anew)) return Status();
  ASSIGN_OR_RETURN(const FileLock lock, LockWork(folder));
  RETURN_IF_ERROR(RemoveAll(anew));
  return RemoveWork(folder);
}

// Refuses an overlap, or reports an accepted one.
Status Judge(const Overlap& overlap, const PrepareOptions& options) {
  if (!options.allow_overlap) {
    return Status(Code::kInvalidArgument,
                  Str(overlap.first,
                      ": a model must not be measured on text that it is trained on; remove the "
                      "document from one split, or accept it with --allow-overlap"));
  }
  if (!options.note) return Status();
  options.note(
      Str(overlap.first, ": accepted with --allow-overlap",
          overlap.n_pairs == 1 ? "" : Str(" (in all ", Join(overlap.shares, ", "), ")"),
          "; numbers on such text measure what the model remembers, not how it reads new text"));
  return Status();
}

// The room that documents by rule take while they are imported; 0 if that is not known beforehand.
// A rule counts its tokens with the tokenizer `bytes`; others make fewer of the same documents, and
// so does a packing that chooses some of them.
std::int64_t RoomForMade(const PrepareSpec& spec, const Tokenizer& tokenizer,
                         const std::vector<ListedSource>& sources) {
  if (spec.tokenizer != "bytes" || ChoosesDocuments(spec.packing)) return 0;
  std::int64_t n_tokens = 0;
  for (const ListedSource& source : sources) {
    n_tokens = std::min(n_tokens + source.made_bytes, kTokensMax);
  }
  return kCopies * n_tokens * TokenWidth(tokenizer.vocabulary().n_rows);
}

// Makes parts, and of them the dataset, in a folder whose lock is held.
Status MakeUnderLock(const PrepareSpec& spec, const std::string& folder,
                     const PrepareOptions& options, const SourceFormat& format,
                     const Tokenizer& tokenizer, const std::vector<ListedSource>& sources,
                     PartMaker& maker) {
  const std::string work = JoinPath(folder, kWorkFolder);
  const std::string fingerprint = tokenizer.vocabulary().Fingerprint();
  // Again, now under the lock: another import may have finished in the meantime.
  RETURN_IF_ERROR(CheckUnfinished(folder));
  RETURN_IF_ERROR(RemoveUnfinished(folder, work, sources));
  RETURN_IF_ERROR(maker.Run(options));
  RETURN_IF_ERROR(CheckUnchanged(spec, format, fingerprint, sources));
  PrepareProgress progress = maker.Progress();
  progress.phase = PrepareProgress::Phase::kWriting;
  const Assembly assembly = {.spec = spec,
                             .tokenizer = tokenizer,
                             .sources = sources,
                             .parts = maker.parts(),
                             .gives = format.gives,
                             .part_folder = work,
                             .folder = folder,
                             .progress = [&](std::int64_t tokens) {
                               progress.tokens_written = tokens;
                               if (options.progress) options.progress(progress);
                             }};
  ASSIGN_OR_RETURN(const Overlap overlap, FindOverlap(assembly));
  if (overlap.n_pairs > 0) RETURN_IF_ERROR(Judge(overlap, options));
  RETURN_IF_ERROR(WriteDataset(assembly));
  assembly.progress(progress.tokens);
  return Status();
}

// Removes what a failed import made: a folder without a dataset takes the name, since the
// coordinator accepts no dataset of that name from a laptop. A folder of the user's stays.
// `new_files`: names of further files that were not there before.
Status RemoveFailed(const std::string& folder, bool is_users,
                    const std::vector<std::string>& new_files) {
  if (!PathExists(JoinPath(folder, kManifestName))) {
    RETURN_IF_ERROR(RemoveShards(folder));
    for (const std::string& name : new_files) RETURN_IF_ERROR(RemoveAll(JoinPath(folder, name)));
  }
  RETURN_IF_ERROR(RemoveWork(folder));
  if (is_users) return Status();
  // Without its content: the folder stays if anything else is in it.
  if (rmdir(folder.c_str()) != 0 && errno != ENOTEMPTY && errno != EEXIST) {
    return ErrnoStatus(errno, Str("cannot remove ", folder));
  }
  return Status();
}

// The room that the whole import takes while it runs, as far as the parts that it has made tell; 0
// if there are none. Text that was read ahead has no tokens in a part yet, so this is more often
// too little than too much.
std::int64_t RoomFor(const PrepareProgress& progress, const std::string& work) {
  if (progress.bytes_done == 0) return 0;
  const double share =
      static_cast<double>(progress.bytes) / static_cast<double>(progress.bytes_done);
  return static_cast<std::int64_t>(kCopies * std::max(1.0, share) *
                                   static_cast<double>(BytesBelow(work)));
}

// Says how much room there is, and for how much.
Status WithRoom(const Status& status, std::int64_t n_needed, const std::string& folder) {
  const Result<std::int64_t> n_free = DiskFreeBytes(IsFolder(folder) ? folder : FolderOf(folder));
  if (!n_free.ok()) return status;
  const std::int64_t n_room = *n_free + BytesBelow(JoinPath(folder, kWorkFolder));
  // With a quota, less than what is free may be used.
  if (n_needed > 0 && n_room >= n_needed) return status;
  const std::string needed =
      n_needed == 0 ? ""
                    : Str("the import takes about ", FormatBytes(n_needed), " or more there, and ");
  return Status(status.code(), Str(status.message(), "; ", needed, FormatBytes(n_room),
                                   needed.empty() ? " are free there" : " are free"));
}

// Checked first, so that an import that cannot finish does not fill the disk. A file system may
// compress, and keep some room for root: only what exceeds the free room by far is refused.
Status CheckRoom(std::int64_t n_needed, const std::string& folder) {
  constexpr std::int64_t kCompression = 4;
  const Result<std::int64_t> n_free = DiskFreeBytes(IsFolder(folder) ? folder : FolderOf(folder));
  if (!n_free.ok() || *n_free >= n_needed / kCompression) return Status();
  return WithRoom(ErrnoStatus(ENOSPC, Str("cannot make ", folder)), n_needed, folder);
}

}  // namespace

Status PrepareDataset(const PrepareSpec& spec, const std::string& folder,
                      const PrepareOptions& options) {
  ASSIGN_OR_RETURN(const SourceFormat* const format, CheckSourceOptions(spec.source));
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, MakeTokenizer(spec.tokenizer));
  RETURN_IF_ERROR(CheckSpec(spec, *format, tokenizer->vocabulary()));
  const std::string work = JoinPath(folder, kWorkFolder);
  RETURN_IF_ERROR(CheckUnfinished(folder));
  RETURN_IF_ERROR(CheckForeignFiles(folder));
  const std::string fingerprint = tokenizer->vocabulary().Fingerprint();
  ASSIGN_OR_RETURN(const std::vector<ListedSource> sources,
                   ListSources(spec, *format, fingerprint));
  const std::int64_t n_made = RoomForMade(spec, *tokenizer, sources);
  // With parts of an import before, how much is still needed is not known here.
  if (!PathExists(work)) RETURN_IF_ERROR(CheckRoom(n_made, folder));
  const bool is_users = PathExists(folder) && !PathExists(work);
  std::vector<std::string> new_files;
  for (const std::string_view name : {kTokenizerFile, kVocabularyFile}) {
    if (!PathExists(JoinPath(folder, name))) new_files.emplace_back(name);
  }
  ASSIGN_OR_RETURN(const FileLock lock, LockWork(folder));
  PartMaker maker(spec, *format, *tokenizer, sources, work);
  Status status = MakeUnderLock(spec, folder, options, *format, *tokenizer, sources, maker);
  if (status.ok()) return RemoveWork(folder);
  const bool is_disk_full = ShortageOf(status) == Shortage::kDisk;
  const std::int64_t n_needed =
      is_disk_full ? std::max(RoomFor(maker.Progress(), work), n_made) : 0;
  if (maker.bytes_with_part() < options.kept_bytes_min) {
    // The error that stopped the import matters more than one of the removal.
    (void)RemoveFailed(folder, is_users, new_files);
  } else if (options.note) {
    options.note(Str(maker.Progress().files_done, " of ", sources.size(),
                     " files are tokenised, and are kept in ", work,
                     " for the corrected command: remove that folder if you will not repeat it"));
  }
  return is_disk_full ? WithRoom(status, n_needed, folder) : status;
}

Result<Holding> HoldsPreparation(const PrepareSpec& spec, const std::string& folder) {
  ASSIGN_OR_RETURN(const SourceFormat* const format, CheckSourceOptions(spec.source));
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, MakeTokenizer(spec.tokenizer));
  RETURN_IF_ERROR(CheckSpec(spec, *format, tokenizer->vocabulary()));
  const std::string fingerprint = tokenizer->vocabulary().Fingerprint();
  ASSIGN_OR_RETURN(const std::vector<ListedSource> sources,
                   ListSources(spec, *format, fingerprint));
  std::vector<std::vector<SourceFile>> files;
  files.reserve(sources.size());
  for (const ListedSource& source : sources) {
    SourceInput input(source.path, [](std::int64_t) { return Status(); });
    RETURN_IF_ERROR(input.Hash(source.path));
    if (format->sister != nullptr) RETURN_IF_ERROR(input.Hash(format->sister(source.path)));
    files.push_back(input.Files());
  }
  const std::string wanted = PreparationSha256(spec, fingerprint, sources, files);
  Holding holding;
  Result<std::string> found = PreparationOf(folder);
  if (!found.ok()) {
    if (found.status().code() != Code::kDataLoss) return std::move(found).status();
    holding.damage = std::move(found).status();
    ASSIGN_OR_RETURN(holding.same, ShardsAreOf(folder, wanted));
    return holding;
  }
  holding.same = *found == wanted;
  if (!holding.same) return holding;
  Result<Dataset> dataset = Dataset::Open(folder);
  holding.damage = dataset.ok() ? dataset->Verify() : std::move(dataset).status();
  if (!holding.damage.ok() && holding.damage.code() != Code::kDataLoss) return holding.damage;
  if (holding.damage.ok()) RETURN_IF_ERROR(RemoveLeft(folder));
  return holding;
}

namespace {

Status CheckDigest(const std::string& folder, const std::string& wanted) {
  constexpr std::size_t kDigitsShown = 8;
  ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(folder));
  if (wanted.empty() || manifest.digest == wanted) return Status();
  return Status(Code::kAlreadyExists, Str("these texts give other content (digest ",
                                          manifest.digest.substr(0, kDigitsShown), ", not ",
                                          wanted.substr(0, kDigitsShown), ")"));
}

}  // namespace

Status RemakeDataset(const PrepareSpec& spec, const std::string& folder,
                     const PrepareOptions& options, const std::string& wanted) {
  ASSIGN_OR_RETURN(const FileLock lock, LockWork(folder));
  ASSIGN_OR_RETURN(const ImportedContent content, ContentOf(folder));
  if (!content.foreign.empty()) return Foreign(JoinPath(folder, content.foreign));
  const std::string anew = AnewFolder(folder);
  // Made by an import that was killed before the exchange. It may be damaged by now,
  // so make it again.
  if (PathExists(JoinPath(anew, kManifestName))) RETURN_IF_ERROR(RemoveAll(anew));
  if (Status made = PrepareDataset(spec, anew, options); !made.ok()) {
    (void)RemoveWork(folder);
    return made;
  }
  if (Status same = CheckDigest(anew, wanted); !same.ok()) {
    RETURN_IF_ERROR(RemoveAll(anew));
    (void)RemoveWork(folder);
    return same;
  }
  Failpoint("data_before_exchange");
  RETURN_IF_ERROR(ExchangeFolders(anew, folder));
  return RemoveAll(anew);
}

Result<Removal> Removal::Begin(const std::string& folder) {
  Removal removal(folder);
  for (const std::string& at : {folder, AnewFolder(folder)}) {
    if (!IsFolder(at)) continue;
    ASSIGN_OR_RETURN(const ImportedContent content, ContentOf(at));
    if (!content.foreign.empty()) removal.content_.foreign = JoinPath(at, content.foreign);
    removal.content_.is_made = removal.content_.is_made || content.is_made;
    const std::string work = JoinPath(at, kWorkFolder);
    const bool is_there = PathExists(work);
    Result<FileLock> lock = LockWork(at);
    if (lock.status().code() == Code::kUnavailable) {
      return Status(Code::kFailedPrecondition,
                    Str("an import into ", folder, " is running: wait until it ends, or stop it"));
    }
    RETURN_IF_ERROR(lock.status());
    removal.held_.push_back({.at = at, .made_work = !is_there, .lock = std::move(lock).value()});
  }
  return removal;
}

Removal::~Removal() {
  for (const Held& held : held_) {
    if (held.made_work) (void)RemoveWork(held.at);
  }
}

Status Removal::CheckForeign() const {
  return content_.foreign.empty() ? Status() : Foreign(content_.foreign);
}

Status Removal::Finish() {
  if (held_.empty()) return Status();
  RETURN_IF_ERROR(CheckForeign());
  for (Held& held : held_) held.made_work = false;  // removed with everything else
  const std::string anew = AnewFolder(folder_);
  RETURN_IF_ERROR(RemoveAll(anew));
  if (held_.front().at == anew) return Status();
  std::error_code error;
  if (std::filesystem::is_symlink(folder_, error)) {
    const std::filesystem::path target = std::filesystem::canonical(folder_, error);
    if (error) return Status(Code::kUnavailable, Str(folder_, ": ", error.message()));
    RETURN_IF_ERROR(RemoveContent(folder_));
    RETURN_IF_ERROR(RemoveAll(folder_));  // only the link
    return RemoveWork(target.string());
  }
  RETURN_IF_ERROR(RemoveAll(JoinPath(folder_, kManifestName)));
  Failpoint("data_mid_removal");
  // The lock moves with the folder: another import may begin, and finds nothing of this one.
  RETURN_IF_ERROR(RenameSync(folder_, anew));
  return RemoveAll(anew);
}

bool IsUsersOwn(const std::string& folder) {
  if (!IsFolder(folder)) return PathExists(folder);
  const Result<ImportedContent> content = ContentOf(folder);
  return content.ok() && content->is_users_own();
}

Status ImportText(const ImportSpec& spec, const std::string& folder) {
  PrepareSpec prepare = {.source = {.any_bytes = spec.any_bytes},
                         .files = spec.splits,
                         .tokenizer = spec.tokenizer,
                         .shard_tokens = spec.shard_tokens};
  prepare.packing.order = Packing::Order::kGiven;
  return PrepareDataset(prepare, folder, {});
}

}  // namespace longrun
