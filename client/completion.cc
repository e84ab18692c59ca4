// longrun completion SHELL: a script that asks `longrun __complete` for completions.
#include "client/completion.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <set>

#include "base/files.h"
#include "base/str.h"
#include "client/command_line.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/tables/metric.h"
#include "client/tables/pivot_axes.h"
#include "client/verb.h"
#include "client/wire/retrying_client.h"
#include "sweeps/explain.h"
#include "sweeps/schema.h"

namespace longrun::client {
namespace {

constexpr std::size_t kRunDigits = 12;
constexpr std::int64_t kQueryMs = 2'000;

constexpr const char* kBash =
    R"(# longrun: completion for bash. Load it with: source <(longrun completion bash)
_longrun() {
  local current="${COMP_WORDS[COMP_CWORD]}" line
  COMPREPLY=()
  while IFS= read -r line; do
    if [[ $line == ":files" ]]; then
      compopt -o filenames 2>/dev/null
      while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$current")
    else
      COMPREPLY+=("$line")
    fi
  done < <("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
  return 0
}
complete -F _longrun longrun
)";

constexpr const char* kZsh = R"(#compdef longrun
# longrun: completion for zsh. Load it with: source <(longrun completion zsh)
_longrun() {
  local -a lines open
  lines=("${(@f)$(${words[1]} __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  (( ${lines[(I):files]} )) && _files
  lines=("${(@)lines:#:files}")
  lines=("${(@)lines:#}")
  open=("${(@M)lines:#*=}")
  lines=("${(@)lines:#*=}")
  (( ${#open} )) && compadd -S '' -- "${open[@]}"
  (( ${#lines} )) && compadd -- "${lines[@]}"
  return 0
}
compdef _longrun longrun
)";

constexpr const char* kFish =
    R"(# longrun: completion for fish. Load it with: longrun completion fish | source
function __longrun_complete
  set -l words (commandline -opc)
  set -l current (commandline -ct)
  for line in ($words[1] __complete $words[2..-1] "$current" 2>/dev/null)
    if test "$line" = ":files"
      __fish_complete_path "$current"
    else
      echo $line
    end
  end
end
complete -c longrun -f -a '(__longrun_complete)'
)";

// The choices of an option that takes one of a few words: "TEXT:{table,json,csv}".
std::vector<std::string> ChoicesOf(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const std::size_t begin = type.find('{');
  const std::size_t end = type.find('}', begin);
  if (begin == std::string::npos || end == std::string::npos) return {};
  return Split(type.substr(begin + 1, end - begin - 1), ',');
}

std::vector<std::string> SetPaths() {
  std::vector<std::string> paths;
  for (const std::string& axis : AxisNames()) paths.push_back(Str(axis, "="));
  return paths;
}

// Axes of a table, each with `end`.
std::vector<std::string> AxisWords(const char* end) {
  std::vector<std::string> words;
  words.reserve(AxisNames().size() + EvaluationAxes().size());
  for (const auto& axes : {AxisNames(), EvaluationAxes()}) {
    for (const std::string& axis : axes) words.push_back(axis + end);
  }
  return words;
}

// Possible values of an option or a positional, by its name.
std::vector<std::string> ValuesOf(const CLI::App& verb, const CLI::Option& option,
                                  const LiveNames& live) {
  std::vector<std::string> choices = ChoicesOf(option);
  if (!choices.empty()) return choices;
  const std::string name = option.get_name();
  const std::string parent = verb.get_parent() == nullptr ? "" : verb.get_parent()->get_name();
  if (name == "NAME" && parent == "data") return live("datasets");
  if (name == "NAME" && parent == "models") return live("models");
  if (name == "SWEEP" || name == "NAME") return live("sweeps");
  if (name == "THING" || name == "A" || name == "B") {
    std::vector<std::string> names = live("sweeps");
    const std::vector<std::string> runs = live("runs");
    names.insert(names.end(), runs.begin(), runs.end());
    return names;
  }
  if (name == "RUN") return live("runs");
  if (name == "DATASET") return live("datasets");
  if (name == "--metric") return live("metrics");
  if (name == "LABEL" || name == "--label") return live("labels");
  if (name == "PATH") return ExplainPaths();
  if (name == "--set") return SetPaths();
  if (name == "--rows" || name == "--cols") return AxisWords("");
  if (name == "--where") return AxisWords("=");
  static constexpr std::string_view kFiles[] = {"FILE",    "FILES",       "OUT",          "FOLDER",
                                                "--state", "--train",     "--validation", "--test",
                                                "--out",   "--tokenizer", "--output"};
  if (std::ranges::find(kFiles, name) != std::end(kFiles)) return {kCompleteFiles};
  return {};
}

bool TakesValue(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

CLI::Option* FindOption(const CLI::App& app, const std::string& word) {
  for (const CLI::App* level = &app; level != nullptr; level = level->get_parent()) {
    for (const CLI::Option* option : level->get_options()) {
      if (option->check_name(word)) return const_cast<CLI::Option*>(option);
    }
  }
  return nullptr;
}

CLI::App* FindVerb(CLI::App& app, const std::string& name) {
  const std::vector<CLI::App*> found =
      app.get_subcommands([&](const CLI::App* verb) { return verb->get_name() == name; });
  return found.empty() ? nullptr : found.front();
}

// The position on the command line to which the words before the current one lead.
struct Where {
  CLI::App* verb = nullptr;
  const CLI::Option* value_of = nullptr;  // the option whose value is next
  std::size_t n_positionals = 0;
};

Where Walk(CLI::App& app, const std::vector<std::string>& words) {
  Where place{.verb = &app};
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    const std::string& word = words[i];
    if (place.value_of != nullptr) {
      place.value_of = nullptr;
      continue;
    }
    if (word.starts_with("-")) {
      const CLI::Option* option = FindOption(*place.verb, word);
      if (option != nullptr && TakesValue(*option)) place.value_of = option;
      continue;
    }
    CLI::App* sub = place.n_positionals == 0 ? FindVerb(*place.verb, word) : nullptr;
    if (sub != nullptr) {
      place.verb = sub;
    } else {
      place.n_positionals += 1;
    }
  }
  return place;
}

void AddVerbs(const CLI::App& app, std::vector<std::string>& candidates) {
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    candidates.push_back(verb->get_name());
  }
}

void AddFlags(const CLI::App& app, std::vector<std::string>& candidates) {
  for (const CLI::App* level = &app; level != nullptr; level = level->get_parent()) {
    for (const CLI::Option* option : level->get_options()) {
      for (const std::string& name : option->get_lnames()) candidates.push_back(Str("--", name));
    }
  }
}

void AddPositional(const Where& place, const LiveNames& live,
                   std::vector<std::string>& candidates) {
  std::vector<const CLI::Option*> positionals;
  for (const CLI::Option* option : place.verb->get_options()) {
    if (option->get_positional()) positionals.push_back(option);
  }
  if (positionals.empty()) return;
  // The last positional may take any number of words.
  const std::size_t index = std::min(place.n_positionals, positionals.size() - 1);
  const bool is_full = place.n_positionals >= positionals.size() &&
                       positionals[index]->get_items_expected_max() <= 1;
  if (is_full) return;
  for (std::string& value : ValuesOf(*place.verb, *positionals[index], live)) {
    candidates.push_back(std::move(value));
  }
}

// ---- live names ---------------------------------------------------------------------------------

std::vector<std::string> Unique(std::vector<std::string> names) {
  std::ranges::sort(names);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

template <typename Thing>
std::vector<std::string> NamesOf(const Repeated<Thing>& things) {
  std::vector<std::string> names;
  for (const Thing& thing : things) names.push_back(thing.name());
  return names;
}

std::vector<std::string> LabelNames(const Repeated<v1::SweepInfo>& sweeps) {
  std::vector<std::string> names;
  for (const v1::SweepInfo& sweep : sweeps) {
    for (const v1::Label& label : sweep.labels()) {
      names.push_back(Str(label.key(), "=", label.value()));
    }
  }
  return names;
}

std::vector<std::string> RunNames(RetryingClient& client, const Repeated<v1::SweepInfo>& sweeps) {
  std::vector<std::string> names;
  for (const v1::SweepInfo& sweep : sweeps) {
    const Result<v1::GetSweepResponse> answer = client.GetSweep(sweep.sweep_id());
    if (!answer.ok()) continue;
    for (const v1::RunInfo& run : answer->runs()) {
      names.push_back(run.run_key().substr(0, kRunDigits));
    }
  }
  return names;
}

// Metrics for tables and plots: those measured so far, in every form in which they can be shown.
std::vector<std::string> MetricNames(RetryingClient& client) {
  const Result<v1::QueryResponse> answer =
      client.Query("SELECT DISTINCT metric, protocol FROM results",
                   {.timeout_ms = kQueryMs, .answer_ms = 2 * kQueryMs});
  if (!answer.ok()) return {};
  const Json rows = JsonIn(answer->rows_json());
  std::set<std::string> sources;
  for (const Json& row : rows) {
    const Json& protocol = row.at(1);
    AddSources(row.at(0).get<std::string>(),
               protocol.is_string() ? std::optional(protocol.get<std::string>()) : std::nullopt,
               sources);
  }
  std::vector<std::string> names;
  for (ResultMetric& metric : MetricsOf(sources)) names.push_back(std::move(metric.name));
  return names;
}

// A completion must not create anything: without a database there are no names.
std::vector<std::string> AskNames(const std::string& state, const std::string& kind) {
  if (!PathExists(JoinPath(state, "longrun.db"))) return {};
  RetryingClient client(state);
  if (kind == "datasets") {
    const Result<v1::ListDatasetsResponse> answer = client.ListDatasets();
    if (!answer.ok()) return {};
    return NamesOf(answer->datasets());
  }
  if (kind == "models") {
    const Result<v1::ListModelsResponse> answer = client.ListModels();
    if (!answer.ok()) return {};
    return NamesOf(answer->models());
  }
  if (kind == "metrics") return MetricNames(client);
  const Result<v1::ListSweepsResponse> answer = client.ListSweeps();
  if (!answer.ok()) return {};
  const Repeated<v1::SweepInfo>& sweeps = answer->sweeps();
  if (kind == "runs") return Unique(RunNames(client, sweeps));
  return Unique(kind == "labels" ? LabelNames(sweeps) : NamesOf(sweeps));
}

// The value of --state, which may be anywhere among the words.
std::string StateGiven(const std::vector<std::string>& words) {
  std::string state;
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    if (words[i] == "--state") state = words[i + 1];
    if (words[i].starts_with("--state=")) state = words[i].substr(8);
  }
  return state;
}

}  // namespace

std::vector<std::string> Complete(CLI::App& app, const std::vector<std::string>& words,
                                  const LiveNames& live) {
  const std::string typed = words.empty() ? "" : words.back();
  const Where place = Walk(app, words);
  std::vector<std::string> candidates;
  if (place.value_of != nullptr) {
    candidates = ValuesOf(*place.verb, *place.value_of, live);
  } else if (typed.starts_with("-")) {
    AddFlags(*place.verb, candidates);
  } else {
    if (place.n_positionals == 0) AddVerbs(*place.verb, candidates);
    AddPositional(place, live, candidates);
  }
  std::erase_if(candidates, [&](const std::string& candidate) {
    return candidate != kCompleteFiles && !candidate.starts_with(typed);
  });
  return candidates;
}

int PrintCompletions(const std::vector<std::string>& words) {
  Verbs verbs;
  std::string state;
  const std::unique_ptr<CLI::App> app = MakeCommandLine(verbs, state);
  const Result<std::string> folder = StateFolder(StateGiven(words));
  const auto live = [&](const std::string& kind) {
    return folder.ok() ? AskNames(*folder, kind) : std::vector<std::string>();
  };
  for (const std::string& candidate : Complete(*app, words, live)) Print(candidate + "\n");
  return kExitOk;
}

void AddCompletion(Verbs& verbs) {
  Verb verb = verbs.AddVerb("completion", "print a shell script that completes names with Tab");
  verb.AddExamples({"longrun completion bash", "longrun completion fish"});
  const auto shell = std::make_shared<std::string>();
  verb.AddArgument("SHELL", *shell,
                   "your shell; for bash, write `source <(longrun completion bash)` into ~/.bashrc")
      .Required()
      .OneOf({"bash", "zsh", "fish"});
  verb.SetRun([shell] {
    Print(*shell == "bash" ? kBash : *shell == "zsh" ? kZsh : kFish);
    return static_cast<int>(kExitOk);
  });
}

}  // namespace longrun::client
