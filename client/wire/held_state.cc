// See held_state.h.
#include "client/wire/held_state.h"

#include <algorithm>
#include <utility>

#include "base/files.h"
#include "base/str.h"
#include "sweeps/coordinator_lock.h"

namespace longrun::client {

Result<HeldState> HeldState::Open(const std::string& state) {
  HeldState held(state);
  for (const std::string& path :
       {state, CoordinatorLockPath(state), JoinPath(state, "longrun.db")}) {
    ASSIGN_OR_RETURN(HeldFile file, HeldFile::Open(path));
    held.held_.push_back(std::move(file));
  }
  return Result<HeldState>(std::move(held));
}

Status HeldState::Check() const {
  if (std::ranges::all_of(held_, &HeldFile::IsInPlace)) return Status();
  const std::string now = held_.front().PathNow();
  if (!now.empty() && now != state_) {
    return Status(Code::kFailedPrecondition,
                  Str("the state folder ", state_, " was moved to ", now,
                      " while it was in use, so this command ends; the stored data is there: move "
                      "it back, and the same command continues from it"));
  }
  return Status(
      Code::kFailedPrecondition,
      Str("the state folder ", state_,
          now.empty() ? " was deleted" : " was emptied, or its database replaced,",
          " while it was in use, so this command ends; its stored data is lost: put a copy of the "
          "folder back to continue from it, or run the same command to start over"));
}

}  // namespace longrun::client
