// Makes a dataset's folder from files: finds them, tokenises each into a part (model/data/part.h),
// several at a time, and assembles the parts into shards (assemble.h). Memory does not grow with
// the files, and the result does not depend on the number of jobs.
//
//   FOLDER/import.tmp/     the parts, until the manifest is written;
//                          this doubles the disk space meanwhile
//   FOLDER/dataset.json    written last: a folder without it is not a dataset
//
// If the process is killed at any moment, the same call continues: a file that has a part is not
// tokenised again as long as its size, its time of change and every setting that concerns it are
// unchanged. If the call fails, it removes what it made, except the parts of large files
// (kept_bytes_min), with which a corrected call continues in the same way.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/status.h"
#include "model/data/mix.h"
#include "model/data/packing.h"
#include "model/data/source/source.h"

namespace longrun {

struct PrepareSpec {
  SourceOptions source{};
  // Whether source.format is GuessSourceFormat of the first name: then a file whose name means
  // another format is refused.
  bool format_is_guessed = false;
  // Files by split: paths and patterns with * ? [...]. If `split` decides by other means than
  // files, there is one entry with an empty name.
  std::vector<std::pair<std::string, std::vector<std::string>>> files{};
  std::string base_folder = "";     // base of relative paths; "": the current folder
  std::string tokenizer = "bytes";  // as MakeTokenizer takes it
  Packing packing{};
  Mix mix{};  // into the split train, which must have files of its own
  SplitRule split{};
  std::int64_t shard_tokens = std::int64_t{1} << 27;
};

struct PrepareProgress {
  enum class Phase { kTokenising, kWriting };
  Phase phase = Phase::kTokenising;
  std::int64_t files_done = 0;
  std::int64_t files = 0;
  std::int64_t files_before = 0;  // those of files_done that an earlier, interrupted call did
  std::int64_t bytes_done = 0;    // of the source files on the disk, and made by rule
  std::int64_t bytes = 0;
  std::int64_t tokens_written = 0;  // of kWriting
  std::int64_t tokens = 0;          // tokenised so far
};

struct PrepareOptions {
  std::int64_t jobs = 0;       // files at a time; 0: one per processor
  bool allow_overlap = false;  // accept the same document in two splits
  // A call that fails keeps its parts if they were made of this many bytes or more. Reading less
  // again takes seconds, and whatever is kept takes the folder's name.
  std::int64_t kept_bytes_min = std::int64_t{256} << 20;
  // Called on the calling thread, several times per second and at the end of each phase.
  std::function<void(const PrepareProgress&)> progress = nullptr;
  // Called with one sentence for each problem that the user should know about but that does not
  // stop the import.
  std::function<void(const std::string&)> note = nullptr;
};

// Errors name file and place. kAlreadyExists when the folder holds a finished dataset, or a file of
// the user's that a dataset's file would replace; then nothing in it was changed.
Status PrepareDataset(const PrepareSpec& spec, const std::string& folder,
                      const PrepareOptions& options);

// How the finished dataset of a folder compares with a spec.
struct Holding {
  bool same =
      false;        // it was made with the spec's settings, from the same bytes in all source files
  Status damage{};  // kDataLoss if the folder is damaged; `longrun data verify` says the same
};

// Reads the sources for their hashes and, if the hashes match, the dataset; tokenises nothing. If
// dataset.json is damaged, the shards' headers tell which spec they belong to.
Result<Holding> HoldsPreparation(const PrepareSpec& spec, const std::string& folder);

// Remakes a damaged dataset in a second folder beside it, and then exchanges the two folders in one
// step. If the process is killed, call this again: it goes on with an unfinished copy, and begins
// again if the copy was finished but not exchanged. kFailedPrecondition if the folder also has
// something that is not part of a dataset, since the old folder is removed. kAlreadyExists, and the
// folder stays as it was, if the new dataset does not have the digest `wanted`; "": any.
Status RemakeDataset(const PrepareSpec& spec, const std::string& folder,
                     const PrepareOptions& options, const std::string& wanted = "");

// What imports made in a folder, and what else is in it.
struct ImportedContent {
  bool is_made = false;  // some of it was made by an import
  std::string foreign;   // the name of something that no import makes; "" if there is none

  bool is_users_own() const { return !is_made && !foreign.empty(); }
};

// Removes what these functions made in a folder and beside it, finished or not. A Removal holds
// their lock, so that nothing is made there until it has finished or is given up. If nothing was
// made there, it holds and removes nothing.
class Removal {
 public:
  // kFailedPrecondition while a dataset is being made there.
  static Result<Removal> Begin(const std::string& folder);
  Removal(Removal&&) = default;
  ~Removal();  // leaves everything as it was, unless Finish was called

  bool has_anything() const { return !held_.empty(); }
  // Whether the folder has files, and these functions made none of them.
  bool is_users_own() const { return content_.is_users_own(); }
  // The path of something there that is not part of a dataset, and so is the user's; "" if there
  // is none.
  const std::string& foreign() const { return content_.foreign; }
  // kFailedPrecondition with its path if there is any.
  Status CheckForeign() const;
  // CheckForeign(), and then removes everything. If the process is killed at any moment, what is
  // left is not a dataset, and another removal continues. If the folder is a symbolic link, the
  // folder to which it leads stays, empty, since no import made it.
  Status Finish();

 private:
  struct Held {
    std::string at;          // the folder, or RemakeDataset's work folder
    bool made_work = false;  // the folder of the lock was made for it
    FileLock lock;
  };
  explicit Removal(const std::string& folder) : folder_(folder) {}

  std::string folder_;
  std::vector<Held> held_;
  ImportedContent content_;  // its `foreign` is a path
};

// Removal::is_users_own() for those who remove nothing: it takes no lock, so an import may begin at
// any time. Also true for a file. False if the folder cannot be read.
bool IsUsersOwn(const std::string& folder);

}  // namespace longrun
