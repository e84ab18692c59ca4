#include "client/words/no_service.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "base/clock.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr const char* kInterrupted = "INTERRUPTED";

bool HasBegun(const Json& task) {
  static const std::set<std::string> begun = {"RESERVED", "RUNNING", "STOPPING"};
  return begun.contains(task.at("state").get<std::string>());
}

}  // namespace

std::string StateWithoutService(const std::string& state) {
  return state == "RUNNING" ? kInterrupted : state;
}

void ShowInterrupted(Json& message) {
  if (message.contains("info")) {
    Json& info = message.at("info");
    info["state"] = StateWithoutService(info.at("state").get<std::string>());
  }
  const auto show = [](Json& run) {
    for (Json& task : run.at("tasks")) {
      if (!HasBegun(task)) continue;
      task["state"] = kInterrupted;
      const std::string& worker = task.at("worker").get_ref<const std::string&>();
      task["reason"] = Str("attempt ", task.at("attempts").get<std::int64_t>(), " began",
                           worker.empty() ? "" : " on worker ", worker);
      for (Json& attempt : task.at("attempt_list")) {
        if (attempt.at("state") == "RUNNING") attempt["state"] = kInterrupted;
      }
    }
  };
  if (message.contains("runs")) {
    for (Json& run : message.at("runs")) show(run);
  }
  if (message.contains("run")) show(message.at("run"));
  Json kept = Json::array();
  for (const Json& notice : message.at("notices")) {
    const std::string& about = notice.at("about").get_ref<const std::string&>();
    if (!about.starts_with("worker ") && !about.starts_with("task ")) kept.push_back(notice);
  }
  message["notices"] = std::move(kept);
}

std::string NoServiceText(const Json& workers, const std::string& state) {
  const Json* last = nullptr;
  const auto heard_ms = [](const Json& worker) {
    return worker.at("heard_wall_ms").get<std::int64_t>();
  };
  for (const Json& worker : workers) {
    if (heard_ms(worker) > 0 && (last == nullptr || heard_ms(worker) > heard_ms(*last))) {
      last = &worker;
    }
  }
  return Str("no service runs on ", state,
             last == nullptr ? std::string()
                             : Str("; worker ", last->at("worker_id").get<std::string>(),
                                   " was last heard of at ", FormatWallMs(heard_ms(*last))),
             ": `longrun up` continues all work, `longrun run FILE` that of one sweep");
}

std::string NoServiceText(CoordinatorConnection& connection, const std::string& state) {
  const Result<Json> answer = connection.Call("ListWorkers", Json::object());
  return NoServiceText(answer.ok() ? answer->at("workers") : Json::array(), state);
}

}  // namespace longrun
