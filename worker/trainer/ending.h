// The end of a trainer: turns a Status or an exception of LibTorch into a failure class and an exit
// code.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/error_list.h"
#include "base/status.h"
#include "sweeps/failure.h"

namespace longrun::trainer {

struct Ending {
  Status status;                                        // ok: all is done
  FailureClass failure_class = FailureClass::kCrashed;  // if it is an error
  std::vector<Status> others = {};                      // further errors

  int ExitCode() const;  // 0, or the class's
};

// In the trainer, kAborted means that a computation gave NaN or infinity, and kCancelled that it
// was asked to stop and has saved its state.
Ending EndingOf(Status status);
// The first error decides; there must be at least one.
Ending EndingOf(const ErrorList& errors);

// Runs `body`; exceptions of LibTorch or the standard library become an ending too.
Ending RunGuarded(const std::function<Status()>& body);
Ending EndGuarded(const std::function<Ending()>& body);

}  // namespace longrun::trainer
