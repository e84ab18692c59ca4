// The page of one daemon: the rows of its table (table.h) by prometheus-cpp, which stays in page.cc.
//
// Label values stand in the order of the row's labels:
//
//   page.Add(Metric::kTaskTransitions, {"READY", "RUNNING"});
//   page.Set(Metric::kSessions, {}, 3);
//
// Another number of values than the row has labels, or a counter that is set, is a bug (LR_CHECK).
// Any thread.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "metrics/table.h"

namespace longrun {

using LabelValues = std::initializer_list<std::string_view>;

class MetricPage {
 public:
  // With the numbers of the process and of this build; all others are there once they are named.
  explicit MetricPage(MetricOwner owner);
  ~MetricPage();
  MetricPage(const MetricPage&) = delete;
  MetricPage& operator=(const MetricPage&) = delete;

  // Serves the page on `address` ("127.0.0.1:9411"; port 0: any free one) and gives the address with
  // its port. kInvalidArgument for what is no loopback address, kUnavailable when the port is in use.
  Result<std::string> Expose(const std::string& address);
  std::string Text() const;  // the page
  // Runs before each scrape, on the server's thread, in the order of the calls. Before Expose only.
  void BeforeEachScrape(std::function<void()> refresh);

  void Touch(Metric metric, LabelValues labels);  // there, and 0 when new
  void Add(Metric metric, LabelValues labels, double by = 1);
  void Set(Metric metric, LabelValues labels, double value);
  void Observe(Metric metric, LabelValues labels, double value);
  void Remove(Metric metric, LabelValues labels);  // of a gauge; the series ends
  void Clear(Metric metric);                       // all series of a gauge

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with the server, which wants it so
};

// Free and whole size of the disk that holds `folder`, when asked for; set before each scrape.
void ShowDiskOf(MetricPage& page, const std::string& folder);

}  // namespace longrun
