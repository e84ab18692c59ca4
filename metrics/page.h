// The page of one daemon: the rows of its table (table.h). Only page.cc uses prometheus-cpp.
//
// Label values have the order of the row's labels:
//
//   page.Add(Metric::kTaskTransitions, {"READY", "RUNNING"});
//   page.Set(Metric::kSessions, {}, 3);
//
// A wrong number of label values, or setting a counter, is a bug (LR_CHECK). May be called from any
// thread.
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
  // Starts with the numbers of the process and of this build. Other numbers appear when they are
  // first used.
  explicit MetricPage(MetricOwner owner);
  ~MetricPage();
  MetricPage(const MetricPage&) = delete;
  MetricPage& operator=(const MetricPage&) = delete;

  // Serves the page on `address` ("127.0.0.1:9411"; port 0: any free one) and returns the address
  // with its port. kInvalidArgument if it is not a loopback address, kUnavailable if the port is in
  // use.
  Result<std::string> Expose(const std::string& address);
  std::string Text() const;  // the page
  // Runs `refresh` before each scrape, on the server's thread; several run in the order of these
  // calls. To be called before Expose.
  void BeforeEachScrape(std::function<void()> refresh);

  void Touch(Metric metric, LabelValues labels);  // creates the series, with 0 if it is new
  void Add(Metric metric, LabelValues labels, double by = 1);
  void Set(Metric metric, LabelValues labels, double value);
  void Observe(Metric metric, LabelValues labels, double value);
  // Ends a series of a gauge or a counter. A counter that comes back begins at 0.
  void Remove(Metric metric, LabelValues labels);
  void Clear(Metric metric);  // all series of a gauge

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with the server, which requires it
};

// The free and total size of the disk that holds `folder`, updated before each scrape.
void ShowDiskOf(MetricPage& page, const std::string& folder);

}  // namespace longrun
