// An attempt as a worker reports it: in its first message and in every heartbeat.
#pragma once

#include <cstdint>
#include <string>

namespace longrun {

struct LiveAttempt {
  std::string attempt;  // ULID
  std::string task;
  std::string run_key;
  std::uint64_t epoch = 0;
  std::int64_t last_seq = 0;  // the newest record in its journal
  bool running = false;       // its shim is alive
};

}  // namespace longrun
