// The coordinator's metrics: the functions that change its numbers in the table (metrics/table.h).
// Every value of a closed set of labels is present from the start.
//
// May be called from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "coordinator/store/store.h"
#include "metrics/page.h"

namespace longrun::coordinator {

// Counts at one moment; set about once a second.
struct WorkerCounts {
  std::int64_t connected = 0;
  std::int64_t silent = 0;  // no session, or silent for a while; its lease is running
  std::int64_t draining = 0;
  std::int64_t gone = 0;
  std::int64_t slots_busy = 0;
  std::int64_t slots_free = 0;
  std::int64_t slots_quarantined = 0;  // and free
};
struct UnplacedCounts {
  std::int64_t back_off = 0;
  std::int64_t unfit = 0;
  std::int64_t no_worker = 0;
  std::int64_t no_free_slot = 0;
  std::int64_t restore = 0;
};
// One value of longrun_result_ppl, or of longrun_result_pseudo_ppl.
struct ResultSeries {
  bool is_pseudo = false;
  std::string sweep;
  std::string method;
  std::string stage;         // "" for a baseline, and in a sweep without stages
  std::string train_length;  // "" for a baseline
  std::string context_length;
  std::string dataset;
  std::string split;
  std::string protocol;
  std::string evaluation;  // the protocol with its parameters
  double perplexity = 0;
};

class Metrics {
 public:
  Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // See MetricPage.
  Result<std::string> Expose(const std::string& address) { return page_.Expose(address); }
  std::string Page() const { return page_.Text(); }
  void BeforeEachScrape(std::function<void()> refresh) {
    page_.BeforeEachScrape(std::move(refresh));
  }
  void ShowDisk(const std::string& folder) { ShowDiskOf(page_, folder); }

  void SetTasks(std::string_view kind, std::string_view state, std::int64_t n);
  void SetSweepTasks(std::string_view name, std::string_view state, std::int64_t n);
  void ForgetSweep(std::string_view name);  // ends its series
  void SetSweepsLeftOut(std::int64_t n);
  void CountTaskTransition(std::string_view from, std::string_view to);
  void ObserveQueue(std::string_view kind, double seconds);
  void ObserveScheduleLatency(std::string_view kind, double seconds);
  void ObserveStep(double seconds);
  void SetUnplaced(const UnplacedCounts& counts);
  // `outcome`: a failure class; of an attempt without one, its state in small letters.
  void CountAttemptEnd(std::string_view kind, std::string_view outcome, double seconds);
  void CountAttemptFailure(std::string_view failure_class, std::string_view worker);

  void SetWorkers(const WorkerCounts& counts);
  void PreregisterWorker(std::string_view worker);  // starts its failure counts at 0
  void ForgetWorker(std::string_view worker);       // ends their series
  void SetSessions(std::int64_t n);
  void SetSessionMemory(std::int64_t n_bytes);
  void CountLeaseExpiration();
  void CountFenced();
  void SetBacklog(std::string_view worker, std::int64_t n_bytes);
  void ForgetBacklog(std::string_view worker);

  void CountIngest(std::int64_t result_rows, std::int64_t series_rows, std::int64_t record_rows,
                   std::int64_t duplicates, std::int64_t malformed);
  void ObserveIngestLag(double seconds);
  void ObserveCommit(double seconds, std::int64_t n_writes);
  void SetStore(const StoreSizes& sizes);  // the core's thread only

  void KnowCall(std::string_view method, bool unary);  // starts the counts of its codes at 0
  void CountCall(std::string_view method, std::string_view code);
  void ObserveCall(std::string_view method, double seconds);

  // Replaces all previous values. Shows the first kResultSeriesMax, and the number of those left
  // out.
  void SetResults(const std::vector<ResultSeries>& series);
  static constexpr std::size_t kResultSeriesMax = 10'000;

 private:
  MetricPage page_;
  std::int64_t store_busy_ = 0;  // the last value
};

}  // namespace longrun::coordinator
