// Makes a dataset's folder out of files: finds them, tokenises each into a part (model/data/part.h),
// several at a time, and puts the parts together into shards (assemble.h). Memory does not grow with
// the files; what is written does not depend on the number of jobs.
//
//   FOLDER/import.tmp/     the parts, until the manifest is there; twice the disk space meanwhile
//   FOLDER/dataset.json    written last: a folder without it is no dataset
//
// Killed at any instant, the same call goes on: files that have a part are not tokenised again, as
// long as size, time of change and every setting that concerns them are as they were.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/status.h"
#include "model/data/packing.h"
#include "model/data/source/source.h"

namespace longrun {

struct PrepareSpec {
  SourceOptions source{};
  // Split to files: paths, and patterns with * ? [...]. With a rule of `split` other than by files:
  // one entry with an empty name.
  std::vector<std::pair<std::string, std::vector<std::string>>> files{};
  std::string base_folder = "";     // that relative files are looked for in; "": the current one
  std::string tokenizer = "bytes";  // as MakeTokenizer takes it
  Packing packing{};
  SplitRule split{};
  std::int64_t shard_tokens = std::int64_t{1} << 27;
};

struct PrepareProgress {
  enum class Phase { kTokenising, kWriting };
  Phase phase = Phase::kTokenising;
  std::int64_t files_done = 0;
  std::int64_t files = 0;
  std::int64_t files_before = 0;  // of files_done: by an earlier call that did not finish
  std::int64_t bytes_done = 0;    // of the source files, as they lie on the disk
  std::int64_t bytes = 0;
  std::int64_t tokens_written = 0;  // of kWriting
  std::int64_t tokens = 0;          // tokenised so far
};

struct PrepareOptions {
  std::int64_t jobs = 0;       // files at a time; 0: one for each processor
  bool allow_overlap = false;  // the same document in two splits is taken as it is
  // Called from the calling thread, some times a second and at the end of each phase.
  std::function<void(const PrepareProgress&)> progress = nullptr;
  // What whoever asked should know of a dataset that is made all the same: one sentence.
  std::function<void(const std::string&)> note = nullptr;
};

// Errors name file and place. kAlreadyExists when the folder holds a finished dataset.
Status PrepareDataset(const PrepareSpec& spec, const std::string& folder,
                      const PrepareOptions& options);

// What the finished dataset of a folder is, beside a spec.
struct Holding {
  bool same =
      false;        // what the spec gives: the same settings, and source files with the same bytes
  Status damage{};  // of the folder, kDataLoss: `longrun data verify` says the same
};

// Reads the sources for their hashes, and the dataset when it is the same; tokenises nothing. With
// dataset.json damaged, the shards' headers tell whose they are.
Result<Holding> HoldsPreparation(const PrepareSpec& spec, const std::string& folder);

// Makes a damaged dataset anew beside its folder and then puts it in its place, in one step. Killed
// at any instant, the same call goes on.
Status RemakeDataset(const PrepareSpec& spec, const std::string& folder,
                     const PrepareOptions& options);

// The removal of what these made in a folder and beside it, finished or not. It holds their lock:
// until it has come to its end, or is given up, nothing is made there. Where nothing was made, it
// holds and removes nothing.
class Removal {
 public:
  // kFailedPrecondition while something is made there.
  static Result<Removal> Begin(const std::string& folder);
  Removal(Removal&&) = default;
  ~Removal();  // leaves what is there as it was, unless Finish came

  bool has_anything() const { return !held_.empty(); }
  // Killed at any instant, what is left is no dataset, and another removal goes on.
  Status Finish();

 private:
  struct Held {
    std::string at;    // folder, or where RemakeDataset works
    std::string made;  // what had to be made there for the lock; "": nothing
    FileLock lock;
  };
  explicit Removal(const std::string& folder) : folder_(folder) {}

  std::string folder_;
  std::vector<Held> held_;
};

}  // namespace longrun
