// longrun ls [NAME]: sweeps, newest last, selected by name, label and state.
#include <fnmatch.h>

#include <algorithm>
#include <optional>

#include "base/letter_case.h"
#include "base/str.h"
#include "base/units.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/retrying_client.h"
#include "client/words/kept_work.h"
#include "client/words/labels.h"
#include "client/words/no_service.h"
#include "client/words/render.h"
#include "client/words/sweep_view.h"

namespace longrun::client {
namespace {

const std::vector<std::string> kStates = {
    "PENDING", "RUNNING",   "PAUSED",     "SUCCEEDED", "PARTIAL",
    "FAILED",  "CANCELLED", "INTERRUPTED"};  // INTERRUPTED: RUNNING while no service runs

using Sweeps = std::vector<v1::SweepInfo>;

constexpr int kTimeColumn = 7;
constexpr std::int64_t kShownInTable = 50;

struct LsArguments {
  std::string name;                 // a pattern: sweep-*, [ab]?
  std::vector<std::string> labels;  // KEY=VALUE or KEY
  std::vector<std::string> statuses;
  std::optional<std::int64_t> limit;  // 0: all
  std::shared_ptr<std::string> output;
};

bool HasLabel(const v1::SweepInfo& sweep, const std::string& selector) {
  const std::size_t equals = selector.find('=');
  const std::string key = selector.substr(0, equals);
  for (const v1::Label& label : sweep.labels()) {
    if (label.key() != key) continue;
    return equals == std::string::npos || label.value() == selector.substr(equals + 1);
  }
  return false;
}

bool IsSelected(const v1::SweepInfo& sweep, const LsArguments& arguments) {
  const auto& name = sweep.name();
  const auto& state = sweep.state();
  if (!arguments.name.empty() && fnmatch(arguments.name.c_str(), name.c_str(), 0) != 0) {
    return false;
  }
  if (!arguments.statuses.empty() &&
      std::ranges::find(arguments.statuses, state) == arguments.statuses.end()) {
    return false;
  }
  return std::ranges::all_of(
      arguments.labels, [&](const std::string& selector) { return HasLabel(sweep, selector); });
}

std::vector<std::string> RowOf(const v1::SweepInfo& sweep) {
  return {sweep.name(),
          sweep.sweep_id(),
          sweep.state(),
          Str(sweep.runs()),
          Str(sweep.tasks_succeeded(), "/", sweep.tasks()),
          Str(sweep.tasks_failed()),
          FirstSubmitted(sweep),
          TimeRunText(sweep),
          LabelsText(sweep.labels()),
          sweep.note(),
          sweep.owner()};
}

// Writes times as plain numbers, and the owner, after the existing columns; nothing for a sum that
// lacks a part.
std::string Csv(const Sweeps& sweeps, std::vector<std::string> header,
                std::vector<std::vector<std::string>> rows) {
  header.erase(header.begin() + kTimeColumn);
  header.insert(header.end() - 1, "duration_ms");
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i].erase(rows[i].begin() + kTimeColumn);
    rows[i].insert(rows[i].end() - 1,
                   sweeps[i].duration_is_partial() ? "" : Str(sweeps[i].duration_ms()));
  }
  return RenderCsv(header, rows);
}

// Without the columns that are empty in every row, and without an owner if all have the same one.
std::string Table(std::vector<std::string> header, std::vector<std::vector<std::string>> rows) {
  const auto is_firsts = [&](const auto& row) { return row.back() == rows.front().back(); };
  if (std::ranges::all_of(rows, is_firsts)) {
    for (auto& row : rows) row.back().clear();
  }
  for (std::size_t column = header.size(); column-- > kTimeColumn;) {
    if (rows.empty() && column == kTimeColumn) continue;  // almost any list has it
    if (!std::ranges::all_of(rows, [&](const auto& row) { return row[column].empty(); })) continue;
    header.erase(header.begin() + static_cast<std::ptrdiff_t>(column));
    for (auto& row : rows) row.erase(row.begin() + static_cast<std::ptrdiff_t>(column));
  }
  std::vector<Align> align(header.size(), Align::kLeft);
  for (const std::size_t column : {3u, 4u, 5u}) align[column] = Align::kRight;
  return RenderColumns(header, align, rows);
}

// How many to show, 0: all. A program gets all, unless it asks for fewer.
std::int64_t LimitOf(const LsArguments& arguments) {
  return arguments.limit.value_or(*arguments.output == "table" ? kShownInTable : 0);
}

bool SelectsSome(const LsArguments& arguments) {
  return !arguments.name.empty() || !arguments.labels.empty() || !arguments.statuses.empty();
}

// The sweeps to choose from. A coordinator may have thousands, so it is asked only for those that
// will be shown, unless others matter too: the names of those that keep tasks of a cancelled one,
// and without a service all that are open.
Result<v1::ListSweepsResponse> SweepsFor(const LsArguments& arguments, RetryingClient& client) {
  const std::int64_t limit = LimitOf(arguments);
  if (limit == 0 || SelectsSome(arguments)) return client.ListSweeps();
  Result<v1::ListSweepsResponse> newest = client.ListNewestSweeps(limit);
  if (!newest.ok()) return newest;
  const auto keeps = [](const v1::SweepInfo& sweep) { return sweep.tasks_kept() > 0; };
  const bool needs_all =
      client.coordinator().momentary() || std::ranges::any_of(newest->sweeps(), keeps);
  return needs_all ? client.ListSweeps() : newest;
}

// Keeps the newest sweeps, and says how many there are.
void KeepNewest(const LsArguments& arguments, std::int64_t n, Sweeps& sweeps) {
  const std::int64_t limit = LimitOf(arguments);
  if (limit == 0 || n <= limit) return;
  SayLine(Str("the newest ", limit, " of ", n,
              " sweeps: `longrun ls --limit 0` shows all, `longrun ls 'NAME*'` shows those whose "
              "names begin with NAME"));
  const auto n_older = std::max<std::int64_t>(0, std::ssize(sweeps) - limit);
  sweeps.erase(sweeps.begin(), sweeps.begin() + n_older);
}

int Ls(const LsArguments& arguments, const std::string& state) {
  RetryingClient client(state);
  Result<v1::ListSweepsResponse> answer = SweepsFor(arguments, client);
  if (!answer.ok()) return Report(answer.status());
  const bool service_runs = !client.coordinator().momentary();
  const auto show_interrupted = [&](v1::SweepInfo& sweep) {
    if (service_runs || *arguments.output != "table") return;
    sweep.set_state(StateWithoutService(sweep.state()));
  };
  for (v1::SweepInfo& sweep : *answer->mutable_sweeps()) show_interrupted(sweep);
  Sweeps selected;
  for (const v1::SweepInfo& sweep : answer->sweeps()) {
    if (IsSelected(sweep, arguments)) selected.push_back(sweep);
  }
  // A name, unlike a pattern, must match a sweep.
  const auto is_named = [&](const v1::SweepInfo& sweep) { return sweep.name() == arguments.name; };
  const bool is_name =
      !arguments.name.empty() && arguments.name.find_first_of("*?[\\") == std::string::npos;
  if (is_name && std::ranges::none_of(answer->sweeps(), is_named)) {
    Result<v1::GetSweepResponse> found = client.GetSweep(arguments.name);
    if (!found.ok()) return Report(found.status());
    selected.push_back(found->info());  // an id was given
    show_interrupted(selected.back());
  }
  const bool any_open = std::ranges::any_of(selected, [](const v1::SweepInfo& sweep) {
    return SweepExitCode({sweep.state()}) == kExitIncomplete;
  });
  const std::int64_t n_given = SelectsSome(arguments) ? 0 : answer->total();
  KeepNewest(arguments, std::max<std::int64_t>(n_given, std::ssize(selected)), selected);
  if (*arguments.output == "json") {
    Json list = Json::array();
    for (const v1::SweepInfo& sweep : selected) {
      list.push_back(ToJson(sweep));
      list.back()["service_runs"] = service_runs;
    }
    Print(RenderJson(list));
    return kExitOk;
  }
  std::vector<std::string> header = {"name",      "id",   "state",  "runs", "done", "failed",
                                     "submitted", "time", "labels", "note", "owner"};
  std::vector<std::vector<std::string>> rows;
  rows.reserve(selected.size());
  for (const v1::SweepInfo& sweep : selected) rows.push_back(RowOf(sweep));
  if (*arguments.output == "csv") {
    Print(Csv(selected, std::move(header), std::move(rows)));
  } else {
    Print(Table(std::move(header), std::move(rows)));
    for (const v1::SweepInfo& sweep : selected) {
      const std::string kept = KeptWorkText(sweep, answer->sweeps());
      if (!kept.empty()) SayLine(kept);
    }
  }
  if (!service_runs && (any_open || TrainersAtWork(state) > 0)) {
    SayLine(NoServiceText(client, state));
  }
  return kExitOk;
}

}  // namespace

void AddLs(Verbs& verbs) {
  Verb verb = verbs.AddVerb("ls", "list sweeps");
  verb.AddExamples({"longrun ls", "longrun ls 'cable-*' -l suite=long --status RUNNING",
                    "longrun ls --limit 5"});
  auto arguments = std::make_shared<LsArguments>();
  verb.AddArgument("NAME", arguments->name, "a name, or a pattern with * ? [ab]");
  verb.AddArgument("-l,--label", arguments->labels,
                   "only sweeps with this label (KEY: with any value)")
      .OneEach();
  verb.AddArgument("--status", arguments->statuses, "only sweeps in this state")
      .OneEach()
      .OneOfInAnyCase(kStates);
  verb.AddArgument(
          "--limit", arguments->limit,
          Str("only the newest N; 0: all (default: ", kShownInTable, " in a table, else all)"))
      .Placeholder("N")
      .AtLeast(0);
  arguments->output = AddOutput(verb, {"table", "json", "csv"});
  verb.SetRun([&verbs, arguments] {
    for (std::string& status : arguments->statuses) status = InCapitals(status);
    return Ls(*arguments, verbs.state);
  });
}

}  // namespace longrun::client
