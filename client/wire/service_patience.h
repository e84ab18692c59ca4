// Decides how long to wait until a living `run` or `up` has started the coordinator of its service
// again, while commands use the state folder. One command may use it for as long as it likes: the
// service starts once that has ended. But if others follow, the service has only a minute for all
// of them together, since somebody may have stopped it (SIGSTOP), and commands may come forever.
// Time is passed in, in milliseconds of BootMs().
#pragma once

#include <cstdint>

namespace longrun::client {

class ServicePatience {
 public:
  static constexpr std::int64_t kOthersMsMax = 60'000;

  explicit ServicePatience(std::int64_t now_ms) : since_ms_(now_ms) {}

  // Whether to continue waiting. `command_pid`: the coordinator of the command that uses the
  // folder; 0 if no command does.
  bool Lasts(std::int64_t now_ms, int command_pid);

 private:
  std::int64_t since_ms_;
  int first_pid_ = 0;
  bool is_first_over_ = false;
};

}  // namespace longrun::client
