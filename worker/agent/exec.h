// The shim: `longrun-worker exec ATTEMPT_DIR TRAINER`. It is the trainer's parent and outlives the
// worker, so that the end of a trainer is known whoever dies:
//
//   lock shim.lock (until it ends) -> limits -> start the trainer -> wait -> exit.json -> unlock
//
// SIGTERM is passed on to the trainer; when the shim is killed, the kernel kills the trainer. Who
// holds shim.lock decides: a worker that finds it free without exit.json writes `abandoned` under the
// lock, and a shim that comes late finds that and starts nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace longrun {

inline constexpr int kShimStartedNothing =
    3;  // its exit code when the attempt is not to be started

// The program's exit code. The environment and stderr are the worker's choice and are passed on.
int ExecAttempt(const std::string& attempt_dir, const std::string& trainer);

// How often the kernel's out-of-memory killer has struck: in our cgroup (version 2); where there is no such
// group, on the whole machine. Nothing where neither can be read. `root` stands before /proc and /sys.
std::optional<std::int64_t> CountOomKills(const std::string& root);

}  // namespace longrun
