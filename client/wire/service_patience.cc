// See service_patience.h.
#include "client/wire/service_patience.h"

namespace longrun::client {

bool ServicePatience::Lasts(std::int64_t now_ms, int command_pid) {
  if (first_pid_ == 0) first_pid_ = command_pid;
  if (command_pid != first_pid_) is_first_over_ = true;
  if (command_pid != 0 && !is_first_over_) since_ms_ = now_ms;
  return now_ms - since_ms_ < kOthersMsMax;
}

}  // namespace longrun::client
