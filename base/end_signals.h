// The signals that ask a daemon to end.
#pragma once

#include <signal.h>

namespace longrun {

// SIGTERM, SIGINT and SIGHUP. But SIGHUP is not among them if this process ignores it, since it was
// started with nohup: a blocked signal that is ignored would still come to who waits for it.
sigset_t EndSignals();

}  // namespace longrun
