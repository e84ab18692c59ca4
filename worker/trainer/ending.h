// How a trainer ends: a Status as a failure class and an exit code, and LibTorch's exceptions as
// either.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/error_list.h"
#include "base/status.h"
#include "sweeps/failure.h"

namespace longrun {

struct Ending {
  Status status;                                        // ok: all is done
  FailureClass failure_class = FailureClass::kCrashed;  // of an error
  std::vector<Status> others = {};                      // errors found beside it

  int ExitCode() const;  // 0, or the class's
};

// Within the trainer kAborted is a computation that gave NaN or infinity, kCancelled one that was
// asked to stop and has saved its state.
Ending EndingOf(Status status);
// By the first error, of which there is one.
Ending EndingOf(const ErrorList& errors);

// Runs `body`; what LibTorch or the library throws becomes an ending too.
Ending RunGuarded(const std::function<Status()>& body);
Ending EndGuarded(const std::function<Ending()>& body);

}  // namespace longrun
