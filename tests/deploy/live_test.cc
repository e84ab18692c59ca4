// Dashboards, rules and alerts against the real thing: a coordinator and a worker train a small
// sweep with `export: prometheus`, a real Prometheus scrapes both with the configuration of deploy/
// (its ports and intervals replaced), and every query there is must answer. Then the page that
// tools/dashboard_preview.py draws of the same dashboards is opened in a real browser.
//
// LONGRUN_PREVIEW=FOLDER keeps the page and a picture of it there.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <map>
#include <regex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/files.h"
#include "base/json.h"
#include "base/process.h"
#include "base/str.h"
#include "tests/crash/service.h"
#include "tests/deadline.h"
#include "tests/replaced.h"
#include "tests/wait_until.h"

namespace longrun {
namespace {

constexpr std::int64_t kEndMs = DeadlineMs(120'000);
constexpr const char* kPrometheus = "/usr/bin/prometheus";
constexpr const char* kPromtool = "/usr/bin/promtool";
constexpr const char* kChromium = "/usr/bin/chromium";

// A port that was free a moment ago; whoever listens on it tries again when it was taken since.
int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  const bool ok = bind(fd, reinterpret_cast<const sockaddr*>(&address), size) == 0 &&
                  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  close(fd);
  return ok ? ntohs(address.sin_port) : -1;
}

// The body of a page, or "" when nobody answers with 200.
std::string Get(const std::string& host, int port, const std::string& path) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  inet_pton(AF_INET, host.c_str(), &address.sin_addr);
  const timeval limit = {.tv_sec = 20, .tv_usec = 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  std::string answer;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    const std::string request = Str("GET ", path, " HTTP/1.0\r\nHost: ", host, "\r\n\r\n");
    char part[1 << 16];
    if (write(fd, request.data(), request.size()) == static_cast<ssize_t>(request.size())) {
      for (ssize_t n = 0; (n = read(fd, part, sizeof part)) > 0;) {
        answer.append(part, static_cast<std::size_t>(n));
      }
    }
  }
  close(fd);
  const std::size_t body = answer.find("\r\n\r\n");
  const bool ok = answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200");
  return ok && body != std::string::npos ? answer.substr(body + 4) : "";
}

class LiveTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* program : {kPrometheus, kPromtool, kChromium}) {
      ASSERT_TRUE(PathExists(program)) << program << " is missing: ./dev setup installs it";
    }
  }
  void TearDown() override {
    if (prometheus_ > 0) {
      kill(prometheus_, SIGKILL);
      EXPECT_TRUE(WaitFor(prometheus_, kEndMs).ok());
    }
  }

  // Ends within the deadline; the exit code, and what it said in `said`.
  int Run(std::vector<std::string> argv, std::string* said) {
    const std::string out = service_.At("said");
    EXPECT_TRUE(RemoveAll(out).ok());
    const int pid = Spawn({.argv = std::move(argv),
                           .env = {"PATH=/usr/bin:/bin", "HOME=" + folder_.path()},
                           .stdout_path = out,
                           .stderr_path = service_.At("said.error"),
                           .own_group = true,
                           .die_with_parent = true})
                        .value();
    const auto ended = WaitFor(pid, kEndMs);
    if (!ended.ok() || !*ended) kill(-pid, SIGKILL);
    *said = ReadFile(out).value();
    return ended.ok() && *ended ? (*ended)->code : -1;
  }

  // The configuration of deploy/, for these ports, looked at each second.
  void StartPrometheus() {
    const std::string folder = service_.At("prometheus");
    ASSERT_TRUE(MakeFolders(JoinPath(folder, "rules")).ok());
    const std::string deploy = LONGRUN_SOURCE_DIR "/deploy/prometheus";
    for (const char* name : {"rules/recording.yml", "rules/alerts.yml"}) {
      const std::string text = ReadFile(JoinPath(deploy, name)).value();
      ASSERT_TRUE(WriteFileAtomic(JoinPath(folder, name), text).ok());
    }
    std::string config = ReadFile(JoinPath(deploy, "prometheus.yml")).value();
    const std::string state = service_.state();
    config = Replaced(config, "127.0.0.1:9411",
                      std::string(Trim(ReadFile(state + "/coordinator.metrics").value())));
    config = Replaced(config, "127.0.0.1:9412",
                      std::string(Trim(ReadFile(state + "/worker/worker.metrics").value())));
    config = Replaced(config, "interval: 15s", "interval: 1s");
    ASSERT_TRUE(WriteFileAtomic(folder + "/prometheus.yml", config).ok());
    for (int tries = 0; tries < 5; ++tries) {
      port_ = FreePort();
      prometheus_ = Spawn({.argv = {kPrometheus, "--config.file=" + folder + "/prometheus.yml",
                                    "--storage.tsdb.path=" + folder + "/data",
                                    Str("--web.listen-address=127.0.0.1:", port_)},
                           .env = {"PATH=/usr/bin:/bin"},
                           .stdout_path = folder + "/log",
                           .stderr_path = folder + "/log",
                           .die_with_parent = true})
                        .value();
      bool ended = false;
      const bool ready = WaitUntil(kEndMs, [&] {
        const auto gone = WaitFor(prometheus_, 0);
        ended = !gone.ok() || gone->has_value();
        return ended || !Get("127.0.0.1", port_, "/-/ready").empty();
      });
      if (ready && !ended) {
        // Prometheus looks for its targets seconds after it is ready;
        // a training could be over by then.
        ASSERT_TRUE(WaitUntil(kEndMs, [&] { return HasSample("sum(up)==2"); }))
            << ReadFile(folder + "/log").value();
        return;
      }
    }
    FAIL() << ReadFile(folder + "/log").value();
  }
  Json Api(const std::string& path) {
    const Result<Json> answer = ParseJson(Get("127.0.0.1", port_, "/api/v1/" + path));
    return answer.ok() ? (*answer)["data"] : Json();
  }
  bool HasSample(const std::string& expr) {
    const Json data = Api("query?query=" + expr);
    return data.is_object() && !data["result"].empty();
  }

  TempFolder folder_{"live"};
  Service service_{folder_.path()};
  int prometheus_ = -1;
  int port_ = 0;
};

// Alerts that a healthy service does not raise; how full this machine's disk is, is not its doing.
bool IsAboutTheDisk(const std::string& alert) { return alert.starts_with("LongrunDisk"); }

TEST_F(LiveTest, EveryQueryOfDashboardsAndRulesAnswersAndTheBrowserShowsEveryPanel) {
  service_.ImportWords();
  service_.WriteSweep("words", {.steps = 600, .positions = {"cable", "rope"}});
  // A step of a few milliseconds more, so that some scrapes see each training.
  ASSERT_TRUE(
      WriteFileAtomic(service_.At("fates/train.default"), "trainer_mid_step:delay_ms:5\n").ok());
  service_.Start();
  StartPrometheus();
  const double start = static_cast<double>(WallMs()) / 1000;

  ASSERT_EQ(
      service_.Client({"submit", service_.At("words.yaml"), "--set", "metadata.export=prometheus"}),
      0)
      << service_.Logs();
  ASSERT_TRUE(WaitUntil(kEndMs, [&] { return service_.SweepState("words") == "SUCCEEDED"; }))
      << service_.Logs();
  // Two methods and the unigram baseline, each at three lengths.
  ASSERT_TRUE(WaitUntil(kEndMs, [&] { return HasSample("count(longrun_result_ppl)==9"); }));

  // The pages themselves.
  for (const std::string& file :
       {service_.state() + "/coordinator.metrics", service_.state() + "/worker/worker.metrics"}) {
    const std::string address(Trim(ReadFile(file).value()));
    const std::size_t colon = address.rfind(':');
    const std::string page =
        Get(address.substr(0, colon), std::stoi(address.substr(colon + 1)), "/metrics");
    ASSERT_TRUE(WriteFileAtomic(service_.At("page"), page).ok());
    std::string said;
    EXPECT_EQ(
        Run({"/bin/sh", "-c", "promtool check metrics < \"$0\" 2>&1", service_.At("page")}, &said),
        0)
        << said;
  }

  // Every query of every panel and variable, drawn. The last scrape is a second old.
  const std::string html = service_.At("preview.html"), report_path = service_.At("report.json");
  std::string said;
  const auto preview = [&] {
    const double end = static_cast<double>(WallMs()) / 1000;
    EXPECT_EQ(Run({LONGRUN_PYTHON, "-B", LONGRUN_SOURCE_DIR "/tools/dashboard_preview.py",
                   "--prometheus", Str("http://127.0.0.1:", port_), "--out", html, "--report",
                   report_path, "--start", Str(start), "--end", Str(end), "--step", "1"},
                  &said),
              0)
        << said << ReadFile(service_.At("said.error")).value();
    return ParseJson(ReadFile(report_path).value()).value();
  };
  const auto without_data = [](const Json& report) {
    std::string lines;
    for (const Json& query : report) {
      if (query["samples"] == 0) lines += query.dump() + "\n";
    }
    return lines;
  };
  Json report = preview();
  // Recording rules are a scrape behind.
  WaitUntil(20'000, [&] {
    if (without_data(report).empty()) return true;
    report = preview();
    return false;
  });
  EXPECT_EQ(without_data(report), "") << service_.Logs();
  std::size_t n_queries = 0;
  std::map<std::string, std::size_t> panels;  // by dashboard
  for (const char* name : {"sweeps", "workers", "coordinator"}) {
    const Json dashboard =
        ParseJson(
            ReadFile(Str(LONGRUN_SOURCE_DIR, "/deploy/grafana/dashboards/", name, ".json")).value())
            .value();
    n_queries += dashboard["templating"]["list"].size();
    for (const Json& panel : dashboard["panels"]) {
      if (!panel.contains("targets")) continue;
      n_queries += panel["targets"].size();
      panels[dashboard["uid"].get<std::string>()] += 1;
    }
  }
  EXPECT_EQ(report.size(), n_queries);

  // Every rule: evaluated without an error, recorded with data, and nothing fires.
  const Json rules = Api("rules");
  std::size_t n_recorded = 0, n_alerts = 0;
  for (const Json& group : rules["groups"]) {
    for (const Json& rule : group["rules"]) {
      const auto name = rule["name"].get<std::string>();
      EXPECT_EQ(rule["health"], "ok") << name << ": " << rule.dump();
      if (rule["type"] == "recording") {
        n_recorded += 1;
        EXPECT_TRUE(HasSample(name)) << name;
      } else {
        n_alerts += 1;
        if (!IsAboutTheDisk(name)) {
          EXPECT_EQ(rule["state"], "inactive") << rule.dump();
        }
      }
    }
  }
  EXPECT_EQ(n_recorded, 13u);
  EXPECT_EQ(n_alerts, 15u);

  // The browser builds every panel, and none of them is empty.
  const std::vector<std::string> chromium = {kChromium,
                                             "--headless",
                                             "--no-sandbox",
                                             "--disable-gpu",
                                             "--disable-dev-shm-usage",
                                             "--user-data-dir=" + service_.At("chromium")};
  std::vector<std::string> argv = chromium;
  argv.insert(argv.end(), {"--dump-dom", "file://" + html});
  std::string dom;
  ASSERT_EQ(Run(argv, &dom), 0) << ReadFile(service_.At("said.error")).value();
  static const std::regex kPanel(
      "<section class=\"panel\" data-panel=\"([^\"]*)\""
      " data-samples=\"([0-9]+)\"");
  std::size_t n_panels = 0;
  for (auto at = std::sregex_iterator(dom.begin(), dom.end(), kPanel); at != std::sregex_iterator();
       ++at) {
    n_panels += 1;
    EXPECT_NE((*at)[2], "0") << (*at)[1];
  }
  std::size_t n_expected = 0;
  for (const auto& [uid, n] : panels) n_expected += n;
  EXPECT_EQ(n_panels, n_expected);
  EXPECT_EQ(dom.find("no data"), std::string::npos);

  if (const auto keep = GetEnv("LONGRUN_PREVIEW")) {
    argv = chromium;
    argv.insert(argv.end(), {"--screenshot=" + JoinPath(*keep, "preview.png"),
                             "--window-size=1240,3900", "--hide-scrollbars", "file://" + html});
    EXPECT_EQ(Run(argv, &said), 0);
    ASSERT_TRUE(WriteFileAtomic(JoinPath(*keep, "preview.html"), ReadFile(html).value()).ok());
  }
  EXPECT_EQ(service_.Stop(), (std::pair{0, 0})) << service_.Logs();
}

}  // namespace
}  // namespace longrun
