// The state folder that a command rests on for as long as it runs.
#pragma once

#include <string>
#include <vector>

#include "base/held_file.h"
#include "base/status.h"

namespace longrun {

class HeldState {
 public:
  // Of a folder with a database in it.
  static Result<HeldState> Open(const std::string& state);

  // kFailedPrecondition, with what to do, once the folder, its lock or its database was deleted, moved, or
  // replaced: what is committed since then is found by nobody.
  Status Check() const;

 private:
  explicit HeldState(std::string state) : state_(std::move(state)) {}
  std::string state_;
  std::vector<HeldFile> held_;
};

}  // namespace longrun
