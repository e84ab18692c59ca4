// The state folder that a command uses, watched for as long as the command runs.
#pragma once

#include <string>
#include <vector>

#include "base/held_file.h"
#include "base/status.h"

namespace longrun::client {

class HeldState {
 public:
  // The folder must have a database.
  static Result<HeldState> Open(const std::string& state);

  // kFailedPrecondition, with the remedy, once the folder, its lock or its database was deleted,
  // moved or replaced, since later commits could not be found.
  Status Check() const;

 private:
  explicit HeldState(std::string state) : state_(std::move(state)) {}
  std::string state_;
  std::vector<HeldFile> held_;
};

}  // namespace longrun::client
