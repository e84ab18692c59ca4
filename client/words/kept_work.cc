#include "client/words/kept_work.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/str.h"
#include "client/words/render.h"

namespace longrun {
namespace {

constexpr std::size_t kNamesMax = 5;

// Each name once, in the order of `ids`.
std::vector<std::string> NamesOf(const Json& ids, const Json& sweeps) {
  std::vector<std::string> names;
  for (const Json& id : ids) {
    const auto found = std::ranges::find_if(
        sweeps, [&id](const Json& sweep) { return sweep.at("sweep_id") == id; });
    std::string name = (found == sweeps.end() ? id : found->at("name")).get<std::string>();
    if (std::ranges::find(names, name) == names.end()) names.push_back(std::move(name));
  }
  return names;
}

}  // namespace

std::string KeptWorkText(const Json& info, const Json& sweeps) {
  const auto n_tasks = info.at("tasks_kept").get<std::int64_t>();
  if (n_tasks == 0) return "";
  std::vector<std::string> names = NamesOf(info.at("kept_for"), sweeps);
  const bool is_one = names.size() == 1;
  const std::size_t n_more = names.size() - std::min(names.size(), kNamesMax);
  names.resize(names.size() - n_more);
  return Str(Counted(n_tasks, "task"), " of ", info.at("name").get<std::string>(),
             n_tasks == 1 ? " goes" : " go", " on, since ", is_one ? "sweep " : "sweeps ",
             Join(names, ", "), n_more > 0 ? Str(" and ", n_more, " more") : std::string(),
             is_one ? " wants " : " want ", n_tasks == 1 ? "it" : "them", " too");
}

std::string KeptWorkText(RetryingClient& client, const Json& info) {
  if (info.at("tasks_kept").get<std::int64_t>() == 0) return "";
  const Result<Json> answer = client.Call("ListSweeps", Json::object());
  return KeptWorkText(info, answer.ok() ? answer->at("sweeps") : Json::array());
}

}  // namespace longrun
