// The files of deploy/ against what they speak of: metrics that exist, runbooks that are written,
// images that are pinned, units that give trainers their time.
#include "base/files.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/process.h"
#include "base/str.h"
#include "metrics/table.h"
#include "sweeps/yaml_tree.h"

namespace longrun {
namespace {

std::string Source(const std::string& path) {
  return ReadFile(Str(LONGRUN_SOURCE_DIR, "/", path)).value();
}

YamlNode Yaml(const std::string& path) {
  std::vector<Problem> problems;
  std::optional<YamlNode> root = ParseYaml(Source(path), 0, problems);
  for (const Problem& problem : problems) {
    ADD_FAILURE() << path << ":" << problem.place.line << ": " << problem.message;
  }
  return root.value_or(YamlNode());
}

// The member of a map, or an empty node.
const YamlNode& Member(const YamlNode& node, std::string_view key) {
  static const YamlNode kNothing;
  const YamlNode::Entry* const entry = node.Find(key);
  return entry == nullptr ? kNothing : entry->value;
}

std::vector<std::string> Dashboards() {
  const std::string folder = LONGRUN_SOURCE_DIR "/deploy/grafana/dashboards";
  std::vector<std::string> paths;
  const std::vector<std::string> names = ListFolder(folder).value();
  for (const std::string& name : names) paths.push_back("deploy/grafana/dashboards/" + name);
  return paths;
}

// Everything that Prometheus is asked, with where it stands.
std::vector<std::pair<std::string, std::string>> DashboardQueries() {
  std::vector<std::pair<std::string, std::string>> queries;
  for (const std::string& path : Dashboards()) {
    const Json dashboard = ParseJson(Source(path)).value();
    for (const Json& panel : dashboard["panels"]) {
      if (!panel.contains("targets")) continue;
      for (const Json& target : panel["targets"]) {
        queries.emplace_back(Str(path, ": ", panel["title"].get<std::string>()),
                             target["expr"].get<std::string>());
      }
    }
    for (const Json& variable : dashboard["templating"]["list"]) {
      queries.emplace_back(path, variable["definition"].get<std::string>());
    }
  }
  return queries;
}

struct Rule {
  std::string record, alert, expr, wait, severity, summary, runbook;
};
std::vector<Rule> Rules(const std::string& name) {
  const YamlNode root = Yaml(Str("deploy/prometheus/rules/", name));
  std::vector<Rule> rules;
  for (const YamlNode& group : Member(root, "groups").items) {
    for (const YamlNode& rule : Member(group, "rules").items) {
      const YamlNode& annotations = Member(rule, "annotations");
      rules.push_back({.record = Member(rule, "record").text,
                       .alert = Member(rule, "alert").text,
                       .expr = Member(rule, "expr").text,
                       .wait = Member(rule, "for").text,
                       .severity = Member(Member(rule, "labels"), "severity").text,
                       .summary = Member(annotations, "summary").text,
                       .runbook = Member(annotations, "runbook").text});
    }
  }
  return rules;
}

std::set<std::string> WordsOf(const std::string& text, const std::regex& word) {
  return {std::sregex_token_iterator(text.begin(), text.end(), word), std::sregex_token_iterator()};
}
const std::regex kMetric("\\b(longrun|process)_[a-z0-9_]+");
const std::regex kRecorded("\\blongrun:[a-z0-9_:]+");

// The row whose series bear this name, or null.
const MetricRow* RowOfSeries(const std::string& name) {
  for (const MetricRow& row : MetricTable()) {
    if (row.name == name) return row.type == MetricType::kHistogram ? nullptr : &row;
    if (row.type != MetricType::kHistogram) continue;
    for (const char* suffix : {"_bucket", "_sum", "_count"}) {
      if (name == Str(row.name, suffix)) return &row;
    }
  }
  return nullptr;
}

TEST(QueriesTest, EveryMetricThatIsAskedForExists) {
  std::vector<std::pair<std::string, std::string>> queries = DashboardQueries();
  EXPECT_GT(queries.size(), 50u);
  std::set<std::string> recorded;
  for (const Rule& rule : Rules("recording.yml")) {
    recorded.insert(rule.record);
    queries.emplace_back(rule.record, rule.expr);
  }
  for (const Rule& rule : Rules("alerts.yml")) queries.emplace_back(rule.alert, rule.expr);
  for (const auto& [where, expr] : queries) {
    for (const std::string& name : WordsOf(expr, kMetric)) {
      EXPECT_NE(RowOfSeries(name), nullptr) << where << ": " << name;
    }
    for (const std::string& name : WordsOf(expr, kRecorded)) {
      EXPECT_TRUE(recorded.contains(name)) << where << ": " << name;
    }
  }
}

// What is not drawn: GPUs (DCGM's own dashboards do),
// and numbers for questions that are rarely asked.
TEST(QueriesTest, EveryMetricIsLookedAtSomewhere) {
  const std::set<std::string_view> not_drawn = {"longrun_worker_slot_mfu_ratio",
                                                "longrun_worker_device_power_watts",
                                                "longrun_worker_device_temperature_celsius",
                                                "process_virtual_memory_bytes",
                                                "process_open_fds",
                                                "process_max_fds"};
  std::set<const MetricRow*> used;
  std::vector<std::pair<std::string, std::string>> queries = DashboardQueries();
  for (const char* file : {"recording.yml", "alerts.yml"}) {
    for (const Rule& rule : Rules(file)) queries.emplace_back(file, rule.expr);
  }
  for (const auto& [where, expr] : queries) {
    for (const std::string& name : WordsOf(expr, kMetric)) used.insert(RowOfSeries(name));
  }
  for (const MetricRow& row : MetricTable()) {
    EXPECT_NE(used.contains(&row), not_drawn.contains(row.name)) << row.name;
  }
}

TEST(AlertsTest, EachWaitsSaysWhatIsWrongAndHasARunbook) {
  const std::string page = Source("docs/operating.md");
  const std::vector<Rule> alerts = Rules("alerts.yml");
  EXPECT_GT(alerts.size(), 10u);
  for (const Rule& rule : alerts) {
    EXPECT_FALSE(rule.wait.empty()) << rule.alert;
    EXPECT_TRUE(rule.severity == "warning" || rule.severity == "critical") << rule.alert;
    EXPECT_FALSE(rule.summary.empty()) << rule.alert;
    std::string anchor = rule.alert;
    std::ranges::transform(anchor, anchor.begin(),
                           [](char c) { return static_cast<char>(std::tolower(c)); });
    EXPECT_EQ(rule.runbook, Str("docs/operating.md#", anchor));
    EXPECT_NE(page.find(Str("\n### ", rule.alert, "\n")), std::string::npos) << rule.alert;
  }
}

TEST(DashboardsTest, EveryQueryGoesToTheProvisionedSource) {
  const YamlNode root = Yaml("deploy/grafana/provisioning/datasources/longrun.yaml");
  ASSERT_EQ(Member(root, "datasources").items.size(), 1u);
  const std::string uid = Member(Member(root, "datasources").items[0], "uid").text;
  for (const std::string& path : Dashboards()) {
    const Json dashboard = ParseJson(Source(path)).value();
    EXPECT_TRUE(dashboard["uid"].get<std::string>().starts_with("longrun-")) << path;
    for (const Json& panel : dashboard["panels"]) {
      if (!panel.contains("targets")) continue;
      for (const Json& target : panel["targets"]) EXPECT_EQ(target["datasource"]["uid"], uid);
    }
  }
}

// No two panels overlap, and none leaves the grid of 24 columns.
TEST(DashboardsTest, PanelsStandSideBySide) {
  for (const std::string& path : Dashboards()) {
    const Json dashboard = ParseJson(Source(path)).value();
    std::set<std::pair<int, int>> taken;
    for (const Json& panel : dashboard["panels"]) {
      const Json& at = panel["gridPos"];
      const int x_begin = at["x"], y_begin = at["y"], width = at["w"], height = at["h"];
      EXPECT_LE(x_begin + width, 24) << path << ": " << panel["title"];
      for (int x = x_begin; x < x_begin + width; ++x) {
        for (int y = y_begin; y < y_begin + height; ++y) {
          EXPECT_TRUE(taken.emplace(x, y).second) << path << ": " << panel["title"];
        }
      }
    }
  }
}

TEST(ComposeTest, ImagesArePinnedAndNothingListensBeyondLoopback) {
  const YamlNode root = Yaml("deploy/compose.yaml");
  const YamlNode& services = Member(root, "services");
  ASSERT_EQ(services.entries.size(), 2u);
  static const std::regex kPinned("[a-z0-9/_-]+:v?[0-9]+\\.[0-9]+\\.[0-9]+");
  for (const YamlNode::Entry& service : services.entries) {
    EXPECT_TRUE(std::regex_match(Member(service.value, "image").text, kPinned)) << service.key;
    EXPECT_EQ(Member(service.value, "network_mode").text, "host") << service.key;
    for (const YamlNode& volume : Member(service.value, "volumes").items) {
      const std::string from = volume.text.substr(0, volume.text.find(':'));
      if (from.starts_with("./")) {
        EXPECT_TRUE(PathExists(Str(LONGRUN_SOURCE_DIR, "/deploy/", from.substr(2)))) << from;
      } else {
        EXPECT_NE(Member(root, "volumes").Find(from), nullptr) << from;
      }
    }
  }
  bool on_loopback = false;
  for (const YamlNode& word : Member(Member(services, "prometheus"), "command").items) {
    on_loopback |= word.text == "--web.listen-address=127.0.0.1:9090";
  }
  EXPECT_TRUE(on_loopback);
  EXPECT_EQ(Member(Member(Member(services, "grafana"), "environment"), "GF_SERVER_HTTP_ADDR").text,
            "127.0.0.1");
}

// KEY=VALUE lines of a unit, the last of each.
std::map<std::string, std::string> Unit(const std::string& name) {
  std::map<std::string, std::string> unit;
  for (const std::string& line : Split(Source(Str("deploy/systemd/", name)), '\n')) {
    const std::size_t equals = line.find('=');
    if (!line.starts_with('#') && equals != std::string::npos) {
      unit[line.substr(0, equals)] = line.substr(equals + 1);
    }
  }
  return unit;
}

int NumberAfter(const std::string& text, const std::string& word) {
  const std::size_t at = text.find(word);
  return at == std::string::npos ? -1 : std::stoi(text.substr(at + word.size()));
}

TEST(UnitsTest, AQueryWithoutMemoryIsNotTheEndOfTheCoordinator) {
  EXPECT_EQ(Unit("longrun-coordinator.service")["OOMPolicy"], "continue");
}

// systemd orders by After= only what something else starts: Wants= is needed, too.
TEST(UnitsTest, BothWaitForTheNetwork) {
  for (const char* name : {"longrun-coordinator", "longrun-worker"}) {
    auto unit = Unit(Str(name, ".service"));
    for (const char* key : {"After", "Wants"}) {
      const std::vector<std::string> others = Split(unit[key], ' ');
      EXPECT_EQ(std::ranges::count(others, "network-online.target"), 1) << name << ": " << key;
    }
  }
}

TEST(UnitsTest, TrainersOutliveAWorkerAndHaveTheirGrace) {
  auto worker = Unit("longrun-worker.service");

  EXPECT_EQ(worker["KillMode"], "process");
  EXPECT_EQ(worker["OOMPolicy"], "continue");
  // The worker waits for the grace, then 5 s for those that it had to kill.
  const int grace_ms = NumberAfter(worker["ExecStart"], "--grace-ms ");
  EXPECT_GT(grace_ms, 0);
  EXPECT_GE(NumberAfter(worker["TimeoutStopSec"], "") * 1000, grace_ms + 5'000 + 5'000);
}

TEST(UnitsTest, ThePortsAreThoseThatPrometheusScrapes) {
  const YamlNode root = Yaml("deploy/prometheus/prometheus.yml");
  std::map<std::string, std::string> targets;
  for (const YamlNode& job : Member(root, "scrape_configs").items) {
    targets[Member(job, "job_name").text] =
        Member(Member(job, "static_configs").items.at(0), "targets").items.at(0).text;
  }
  for (const char* name : {"longrun-coordinator", "longrun-worker"}) {
    const std::string command = Unit(Str(name, ".service"))["ExecStart"];
    EXPECT_NE(command.find(Str("--metrics ", targets[name])), std::string::npos) << command;
  }
}

// systemd's own reading of the units, with programs that are there.
TEST(UnitsTest, SystemdAcceptsThem) {
  if (!PathExists("/usr/bin/systemd-analyze")) GTEST_SKIP() << "there is no systemd here";
  const TempFolder folder("units");
  std::vector<std::string> argv = {"/usr/bin/systemd-analyze", "verify", "--man=no"};
  for (const char* name : {"longrun-coordinator.service", "longrun-worker.service"}) {
    std::string text = Source(Str("deploy/systemd/", name));
    const std::regex program("/usr/bin/longrun-[a-z]+");
    text = std::regex_replace(text, program, "/bin/true");
    argv.push_back(JoinPath(folder.path(), name));
    ASSERT_TRUE(WriteFileAtomic(argv.back(), text).ok());
  }
  const std::string said = JoinPath(folder.path(), "said");
  const int pid =
      Spawn({.argv = argv, .env = {"PATH=/usr/bin:/bin"}, .stdout_path = said, .stderr_path = said})
          .value();
  const auto ended = WaitFor(pid, 30'000);
  ASSERT_TRUE(ended.ok() && *ended);
  EXPECT_EQ((*ended)->code, 0);
  EXPECT_EQ(ReadFile(said).value(), "");
}

}  // namespace
}  // namespace longrun
