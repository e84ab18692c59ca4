// See worker_messages.h.
#include "coordinator/bench/worker_messages.h"

#include <iterator>
#include <utility>

#include "base/version.h"
#include "coordinator/bench/filler.h"
#include "sweeps/protocol.h"

namespace longrun::coordinator {

static_assert(std::size(kMetrics) == kRowsOfRecord);

double MetricOf(std::size_t metric, std::int64_t step) {
  return 2.0 + 0.123456789 / static_cast<double>(step + static_cast<std::int64_t>(metric));
}

std::string SeriesLine(std::int64_t seq) {
  Json body;
  for (std::size_t m = 0; m < std::size(kMetrics); ++m) body[kMetrics[m]] = MetricOf(m, seq);
  return JournalLine(seq, RecordKind::kSeries, body, seq);
}

std::vector<std::string> FirstLines(const std::string& attempt) {
  return {JournalLine(1, RecordKind::kAttempt, {{"format", 1}, {"attempt", attempt}}, nullptr),
          JournalLine(2, RecordKind::kStarted, {{"version", kVersion}, {"steps", 1}}, nullptr)};
}

v1::WorkerMessage HelloOf(const Worker& worker) {
  v1::WorkerMessage message;
  v1::Hello* const hello = message.mutable_hello();
  hello->set_protocol_version(kProtocolOldest);
  hello->set_protocol_newest(kProtocolNewest);
  hello->set_worker_id(worker.id);
  hello->set_incarnation(worker.incarnation);
  hello->set_host(worker.host);
  hello->set_version(worker.version);
  for (const std::string& name : worker.capabilities) hello->add_capabilities(name);
  for (const std::string& digest : worker.dataset_digests) hello->add_dataset_digests(digest);
  for (const Slot& slot : worker.slots) {
    v1::Device* const device = hello->add_devices();
    device->set_index(static_cast<std::int32_t>(slot.index));
    device->set_kind(std::string(EnumName(slot.kind)));
    device->set_name(slot.name);
    device->set_memory_bytes(slot.memory_bytes);
    device->set_threads(static_cast<std::int32_t>(slot.threads));
    device->set_simd(slot.simd);
    device->set_linear(slot.linear);
  }
  return message;
}

v1::WorkerMessage AcceptedOf(const v1::Start& start) {
  v1::WorkerMessage message;
  message.mutable_accepted()->set_attempt(start.attempt());
  message.mutable_accepted()->set_epoch(start.epoch());
  return message;
}

v1::WorkerMessage BatchOf(const v1::Start& start, std::int64_t first_seq,
                          std::vector<std::string> lines) {
  v1::WorkerMessage message;
  v1::JournalBatch* const batch = message.mutable_journal_batch();
  batch->set_attempt(start.attempt());
  batch->set_epoch(start.epoch());
  batch->set_first_seq(first_seq);
  for (std::string& line : lines) batch->add_lines(std::move(line));
  return message;
}

}  // namespace longrun::coordinator
