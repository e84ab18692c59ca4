#include "coordinator/rpc/look_at_tasks.h"

#include <algorithm>
#include <cstddef>

namespace longrun::coordinator {

Status LookAtTasks(Core& core, std::span<const std::string> tasks,
                   const std::function<bool(const State&, std::span<const std::string>)>& look) {
  constexpr std::size_t kTasksOfLook = 2000;
  bool goes_on = true;
  while (goes_on && !tasks.empty()) {
    const auto some = tasks.first(std::min(kTasksOfLook, tasks.size()));
    tasks = tasks.subspan(some.size());
    RETURN_IF_ERROR(core.LookAndWait([&](const State& state) { goes_on = look(state, some); }));
  }
  return Status();
}

}  // namespace longrun::coordinator
