// What a submission is told about evaluations that read another dataset than a training: how much
// of that text was trained on.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "coordinator/store/store.h"
#include "sweeps/sweep.h"

namespace longrun::coordinator {

// Only this many tokens of an evaluated text and of a training split are read, so that a submission
// does not wait; a note says so.
inline constexpr std::int64_t kOverlapTextMax = std::int64_t{1} << 22;
inline constexpr std::int64_t kOverlapSearchedMax = std::int64_t{1} << 27;

// Remembers what it has found, since datasets never change. Any thread may call it.
class OverlapSearch {
 public:
  // A call of Notes() begins no comparison once it has searched so many tokens.
  explicit OverlapSearch(std::int64_t n_searched_max = kOverlapSearchedMax)
      : n_searched_max_(n_searched_max) {}

  // A note for each pair of an evaluated text and a training split that share text
  // (docs/evaluation.md has the definition), and for each that is not compared. A training split is
  // that of the run, or of a run from whose weights it starts. Reads the datasets' folders.
  std::vector<std::string> Notes(const std::vector<DatasetRow>& datasets, const Sweep& sweep);

 private:
  const std::int64_t n_searched_max_;
  std::mutex mutex_;
  std::map<std::string, std::string> notes_;  // of a pair; "": nothing is shared
};

}  // namespace longrun::coordinator
