#include "client/words/kept_work.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/str.h"
#include "client/console/output.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

constexpr std::size_t kNamesMax = 5;

// In the order of `ids`. Of several sweeps of one name, the id is said, too.
std::vector<std::string> NamesOf(const Repeated<std::string>& ids,
                                 const Repeated<v1::SweepInfo>& sweeps) {
  std::vector<std::string> names;
  for (const std::string& id : ids) {
    const auto found = std::ranges::find_if(
        sweeps, [&id](const v1::SweepInfo& sweep) { return sweep.sweep_id() == id; });
    std::string name = found == sweeps.end() ? id : found->name();
    const auto has_name = [&name](const v1::SweepInfo& sweep) { return sweep.name() == name; };
    if (std::ranges::count_if(sweeps, has_name) > 1) name = Str(name, " (", id, ")");
    names.push_back(std::move(name));
  }
  return names;
}

bool ArePaused(const Repeated<std::string>& ids, const Repeated<v1::SweepInfo>& sweeps) {
  return std::ranges::all_of(ids, [&sweeps](const std::string& id) {
    return std::ranges::any_of(sweeps, [&id](const v1::SweepInfo& sweep) {
      return sweep.sweep_id() == id && sweep.state() == "PAUSED";
    });
  });
}

}  // namespace

std::string KeptWorkText(const v1::SweepInfo& info, const Repeated<v1::SweepInfo>& sweeps) {
  const auto n_tasks = info.tasks_kept();
  if (n_tasks == 0) return "";
  std::vector<std::string> names = NamesOf(info.kept_for(), sweeps);
  // An earlier release retried runs that only cancelled sweeps have.
  if (names.empty()) {
    return Str(Counted(n_tasks, "task"), " of ", info.name(), n_tasks == 1 ? " goes on" : " go on",
               ", although only cancelled sweeps want ", n_tasks == 1 ? "it" : "them",
               ": `longrun cancel ", info.name(), "` ends ", n_tasks == 1 ? "it" : "them");
  }
  const bool is_one = names.size() == 1;
  const std::size_t n_more = names.size() - std::min(names.size(), kNamesMax);
  names.resize(names.size() - n_more);
  const std::string waits = !ArePaused(info.kept_for(), sweeps)
                                ? ""
                                : Str("; ", n_tasks == 1 ? "it waits" : "they wait", " until ",
                                      is_one ? "that sweep" : "one of these sweeps", " is resumed");
  return Str(Counted(n_tasks, "task"), " of ", info.name(), n_tasks == 1 ? " is" : " are",
             " kept because ", is_one ? "sweep " : "sweeps ", Join(names, ", "),
             n_more > 0 ? Str(" and ", n_more, " more") : std::string(),
             is_one ? " needs " : " need ", n_tasks == 1 ? "it" : "them", waits);
}

std::string KeptWorkText(RetryingClient& client, const v1::SweepInfo& info) {
  if (info.tasks_kept() == 0) return "";
  const Result<v1::ListSweepsResponse> answer = client.ListSweeps();
  return KeptWorkText(
      info, answer.ok() ? answer->sweeps() : v1::ListSweepsResponse::default_instance().sweeps());
}

bool SayKeptWork(RetryingClient& client, const std::string& sweep_id) {
  const Result<v1::GetSweepResponse> sweep = client.GetSweep(sweep_id, /*brief=*/true);
  const std::string kept = sweep.ok() ? KeptWorkText(client, sweep->info()) : "";
  if (!kept.empty()) SayLine(kept);
  return !kept.empty();
}

}  // namespace longrun::client
