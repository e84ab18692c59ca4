// The ancestors of runs: the run that a run continues (`parent`, `train.continue_from` of a sweep
// file) or from whose weights it starts (`init.run`, `model.init_from`), the run from which that
// one starts, and so on. A run is named by its key, in which its seed counts, too. So these members
// differ between the seeds of a run; its ancestry does not.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace longrun::client {

struct Ancestry {
  // The run without its seed. In place of the key of a run from which it starts is that run, also
  // without its seed, and so on. Equal for all seeds of a run. Keeps the key of an unknown run.
  Json run = {};
  std::vector<Json> seeds = {};           // of the ancestors, the nearest first
  std::vector<std::string> unknown = {};  // keys of ancestors that are not known
};

// Finds the ancestors of runs among the runs that it knows.
class AncestryFinder {
 public:
  void Know(const std::string& run_key, const Json& resolved) { runs_[run_key] = &resolved; }
  // Those of a resolved run. What was given to Know() must still exist.
  Ancestry Of(const Json& resolved);

 private:
  const Ancestry* Find(const std::string& run_key);

  std::map<std::string, const Json*> runs_;
  std::map<std::string, Ancestry> found_;
};

// Whether the run continues another or starts from the weights of another.
bool HasAncestor(const Json& resolved);

// A link from a run to the one from which it starts: its path in the resolved run, the path of the
// same choice in a sweep file, and where the link is in JSON.
struct AncestorLink {
  std::string_view path, axis;
  Json::json_pointer at;
};
const std::vector<AncestorLink>& AncestorLinks();
// The link with this path or axis; null: there is none.
const AncestorLink* FindAncestorLink(std::string_view axis);

// An ancestry's `run` in which each ancestor has only the keys whose values are not the run's own.
// A key that only the run has is null there. Without the last learning rate where that is a tenth
// of the first: the sweep language derives it in this way if a file does not give it.
Json WithoutInherited(const Json& run);

}  // namespace longrun::client
