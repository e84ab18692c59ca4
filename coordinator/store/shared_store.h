// An artifact store in a folder that workers see, too, so that checkpoints and datasets do not pass
// through the coordinator:
//
//   STATE/artifacts -> DIR/COORDINATOR_ID   a link, which every other part of the program follows
//   DIR/COORDINATOR_ID/challenge            what only a machine that sees the folder can know; new
//                                           with each start of the coordinator
//   DIR/COORDINATOR_ID/seen/NAME            the same from a worker: the coordinator must see it
//   DIR/COORDINATOR_ID/ab/, incoming/       base/shared_objects.h
//
// A machine may see another folder at the same path, an old copy of it, or only a part of the
// changes. So each side writes what the other one has to read.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace longrun::coordinator {

// Makes STATE/artifacts such a link, if `shared` (an existing folder) is given; "": changes
// nothing. Returns the folder to which the link leads, or "" if the store is an ordinary folder.
// kFailedPrecondition, with the remedy, if the store has artifacts in its own folder, or leads
// elsewhere.
Result<std::string> LinkSharedStore(const std::string& state_folder, const std::string& shared,
                                    const std::string& coordinator_id);

class SharedChallenge {
 public:
  // Writes the challenge.
  static Result<SharedChallenge> Begin(const std::string& folder);

  // Whether a worker sees our folder (`read` is the challenge), and we see its one, where it has
  // written `wrote` to seen/NAME. Blocks; any thread. kFailedPrecondition says what differs.
  Status Check(const std::string& read, const std::string& name, const std::string& wrote) const;

 private:
  SharedChallenge(std::string folder, std::string text)
      : folder_(std::move(folder)), text_(std::move(text)) {}

  std::string folder_;
  std::string text_;
};

}  // namespace longrun::coordinator
