// See page.h.
#include "metrics/page.h"

#include <prometheus/collectable.h>
#include <prometheus/counter.h>
#include <prometheus/exposer.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <sys/statvfs.h>

#include <exception>
#include <map>
#include <mutex>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/host_port.h"
#include "base/str.h"
#include "base/version.h"
#include "metrics/process.h"

namespace longrun {
namespace {

// A connection without a whole request keeps a thread for so long. Callers are on this machine, so
// that a request comes at once.
constexpr std::string_view kServerThreads = "16", kRequestTimeoutMs = "1000";

bool IsLoopback(std::string_view address) {
  return address.starts_with("127.0.0.1:") || address.starts_with("localhost:") ||
         address.starts_with("[::1]:");
}

prometheus::Labels LabelsOf(const MetricRow& row, LabelValues values) {
  prometheus::Labels labels;
  const std::vector<std::string> names = row.label_names();
  LR_CHECK(names.size() == values.size());
  std::size_t i = 0;
  for (const std::string_view value : values) labels.emplace(names[i++], value);
  return labels;
}

// The series of one row. `Number` is a counter, a gauge or a histogram of prometheus-cpp.
template <typename Number>
class Series {
 public:
  void Open(prometheus::Family<Number>& family) { family_ = &family; }

  Number& Find(const MetricRow& row, LabelValues values) {
    LR_CHECK(family_ != nullptr);
    std::string key;
    for (const std::string_view value : values) {
      key.append(value);
      key.push_back('\0');
    }
    const auto found = numbers_.find(key);
    if (found != numbers_.end()) return *found->second;
    Number* const fresh = Make(row, LabelsOf(row, values));
    numbers_.emplace(std::move(key), fresh);
    return *fresh;
  }
  void Remove(const MetricRow& row, LabelValues values) {
    Number* const number = &Find(row, values);
    std::erase_if(numbers_, [&](const auto& item) { return item.second == number; });
    family_->Remove(number);
  }
  void Clear() {
    for (const auto& [key, number] : numbers_) family_->Remove(number);
    numbers_.clear();
  }

 private:
  Number* Make(const MetricRow& row, const prometheus::Labels& labels) {
    if constexpr (std::is_same_v<Number, prometheus::Histogram>) {
      const std::span<const double> buckets = BucketsOf(row);
      return &family_->Add(labels,
                           prometheus::Histogram::BucketBoundaries(buckets.begin(), buckets.end()));
    } else {
      return &family_->Add(labels);
    }
  }

  prometheus::Family<Number>* family_ = nullptr;
  std::unordered_map<std::string, Number*> numbers_;
};

}  // namespace

struct MetricPage::Impl final : public prometheus::Collectable {
  explicit Impl(MetricOwner page_owner) : owner(page_owner) {
    for (const MetricRow& row : MetricTable()) {
      if (row.owner == owner || row.owner == MetricOwner::kBoth) Open(row);
    }
  }

  void Open(const MetricRow& row) {
    const std::string name(row.name), help(row.help);
    switch (row.type) {
      case MetricType::kCounter:
        return counters[row.metric].Open(
            prometheus::BuildCounter().Name(name).Help(help).Register(registry));
      case MetricType::kGauge:
        return gauges[row.metric].Open(
            prometheus::BuildGauge().Name(name).Help(help).Register(registry));
      case MetricType::kHistogram:
        return histograms[row.metric].Open(
            prometheus::BuildHistogram().Name(name).Help(help).Register(registry));
    }
  }

  std::vector<prometheus::MetricFamily> Collect() const override {
    for (const std::function<void()>& refresh : refreshes) refresh();
    return registry.Collect();
  }

  const MetricOwner owner;
  std::vector<std::function<void()>> refreshes;
  prometheus::Registry registry;
  std::unique_ptr<prometheus::Exposer> exposer;

  std::mutex mutex;  // guards the three members below
  std::map<Metric, Series<prometheus::Counter>> counters;
  std::map<Metric, Series<prometheus::Gauge>> gauges;
  std::map<Metric, Series<prometheus::Histogram>> histograms;
};

MetricPage::MetricPage(MetricOwner owner) : impl_(std::make_shared<Impl>(owner)) {
  Set(Metric::kBuildInfo, {kVersion, BuildCommit()}, 1);
  Touch(Metric::kProcessCpuSeconds, {});
  BeforeEachScrape([this, cpu_seconds = 0.0]() mutable {
    const ProcessNumbers now = ReadProcessNumbers();
    Add(Metric::kProcessCpuSeconds, {}, std::max(0.0, now.cpu_seconds - cpu_seconds));
    cpu_seconds = std::max(cpu_seconds, now.cpu_seconds);
    Set(Metric::kProcessStartTime, {}, now.start_time_seconds);
    Set(Metric::kProcessResidentBytes, {}, static_cast<double>(now.resident_bytes));
    Set(Metric::kProcessVirtualBytes, {}, static_cast<double>(now.virtual_bytes));
    Set(Metric::kProcessOpenFds, {}, static_cast<double>(now.open_fds));
    Set(Metric::kProcessMaxFds, {}, static_cast<double>(now.max_fds));
  });
}

MetricPage::~MetricPage() {
  impl_->exposer.reset();  // its threads call functions that refer to us
}

Result<std::string> MetricPage::Expose(const std::string& address) {
  if (!IsLoopback(address)) {
    return Status(Code::kInvalidArgument,
                  Str("metrics are served on a loopback address only (127.0.0.1:PORT), not on \"",
                      address, "\": the page has no TLS and no access tokens"));
  }
  if (!ParseHostPort(address).ok()) {
    return Status(Code::kInvalidArgument,
                  Str("metrics cannot be served on ", address,
                      ": expected a port number from 0 (any free one) to 65535"));
  }
  try {
    impl_->exposer = std::make_unique<prometheus::Exposer>(std::vector<std::string>{
        "listening_ports", address, "num_threads", std::string(kServerThreads),
        "request_timeout_ms", std::string(kRequestTimeoutMs)});
    impl_->exposer->RegisterCollectable(impl_);
    const std::vector<int> ports = impl_->exposer->GetListeningPorts();
    if (!ports.empty()) return Str(address.substr(0, address.rfind(':')), ":", ports.front());
  } catch (const std::exception&) {
    // The library's message does not give the cause.
  }
  return Status(Code::kUnavailable,
                Str("cannot serve metrics on ", address,
                    ": the port is in use, or may not be used; choose another one"));
}

std::string MetricPage::Text() const {
  return prometheus::TextSerializer().Serialize(impl_->Collect());
}

void MetricPage::BeforeEachScrape(std::function<void()> refresh) {
  LR_CHECK(impl_->exposer == nullptr);
  // Concurrent scrapes take turns.
  impl_->refreshes.push_back([refresh = std::move(refresh), turn = std::make_shared<std::mutex>()] {
    const std::lock_guard lock(*turn);
    refresh();
  });
}

void MetricPage::Touch(Metric metric, LabelValues labels) {
  const MetricRow& row = RowOf(metric);
  const std::lock_guard lock(impl_->mutex);
  switch (row.type) {
    case MetricType::kCounter:
      impl_->counters.at(metric).Find(row, labels);
      return;
    case MetricType::kGauge:
      impl_->gauges.at(metric).Find(row, labels);
      return;
    case MetricType::kHistogram:
      impl_->histograms.at(metric).Find(row, labels);
      return;
  }
}

void MetricPage::Add(Metric metric, LabelValues labels, double by) {
  LR_CHECK(RowOf(metric).type == MetricType::kCounter);
  const std::lock_guard lock(impl_->mutex);
  impl_->counters.at(metric).Find(RowOf(metric), labels).Increment(by);
}

void MetricPage::Set(Metric metric, LabelValues labels, double value) {
  LR_CHECK(RowOf(metric).type == MetricType::kGauge);
  const std::lock_guard lock(impl_->mutex);
  impl_->gauges.at(metric).Find(RowOf(metric), labels).Set(value);
}

void MetricPage::Observe(Metric metric, LabelValues labels, double value) {
  LR_CHECK(RowOf(metric).type == MetricType::kHistogram);
  const std::lock_guard lock(impl_->mutex);
  impl_->histograms.at(metric).Find(RowOf(metric), labels).Observe(value);
}

void MetricPage::Remove(Metric metric, LabelValues labels) {
  const MetricType type = RowOf(metric).type;
  LR_CHECK(type == MetricType::kGauge || type == MetricType::kCounter);
  const std::lock_guard lock(impl_->mutex);
  if (type == MetricType::kGauge) impl_->gauges.at(metric).Remove(RowOf(metric), labels);
  if (type == MetricType::kCounter) impl_->counters.at(metric).Remove(RowOf(metric), labels);
}

void MetricPage::Clear(Metric metric) {
  LR_CHECK(RowOf(metric).type == MetricType::kGauge);
  const std::lock_guard lock(impl_->mutex);
  impl_->gauges.at(metric).Clear();
}

void ShowDiskOf(MetricPage& page, const std::string& folder) {
  page.BeforeEachScrape([&page, folder] {
    struct statvfs disk {};
    if (statvfs(folder.c_str(), &disk) != 0) return;
    const auto block = static_cast<double>(disk.f_frsize);
    page.Set(Metric::kDiskFreeBytes, {}, block * static_cast<double>(disk.f_bavail));
    page.Set(Metric::kDiskBytes, {}, block * static_cast<double>(disk.f_blocks));
  });
}

}  // namespace longrun
