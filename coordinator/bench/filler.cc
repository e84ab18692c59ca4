// See filler.h.
#include "coordinator/bench/filler.h"

#include <optional>
#include <utility>

#include "base/check.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/str.h"
#include "sweeps/protocol.h"
#include "sweeps/sweep.h"

namespace longrun::coordinator {
namespace {

constexpr std::int64_t kWallMs = 1'700'000'000'000;
constexpr Instant kNow = 1000;                      // time does not pass, so no lease ends
constexpr std::size_t kTransactionWrites = 20'000;  // so that a page is written once for many rows
constexpr int kSlots = 16;
constexpr SessionId kSession = 1;

Sweep Parse(const SweepShape& shape) {
  const DatasetCatalogue datasets = {
      .find =
          [](const std::string& name) {
            return name == "bench" ? std::optional(BenchDataset().info) : std::nullopt;
          },
      .names = {"bench"}};
  auto sweep = ParseSweep(YamlOf(shape), "bench.yaml", {}, datasets);
  if (!sweep.ok()) std::fprintf(stderr, "%s\n", sweep.status().message().c_str());
  LR_CHECK(sweep.ok());
  return std::move(sweep).value();
}

Json ResultBody(const ExpectedCell& cell) {
  const double nll = 1.5 + 0.0001 * static_cast<double>(cell.context_length);
  return {{"cell", cell.cell},
          {"metric", cell.metric},
          {"context_length", cell.context_length},
          {"split", "validation"},
          {"protocol", "nonoverlap"},
          {"averaging", "token"},
          {"depth", cell.depth ? Json(*cell.depth) : Json()},
          {"variant", cell.variant.empty() ? Json() : Json(cell.variant)},
          {"value", nll},
          {"se", 0.0123456789},
          {"n", 65536},
          {"nll_sum", 65536 * nll},
          {"bytes", 65536},
          {"status", "ok"},
          {"extra", Json::object()}};
}

// The journal of a successful trainer, from the first record to the last.
class Journal {
 public:
  Journal(const TaskFile& task, const std::string& checkpoint_sha256, int n_series) {
    Add(RecordKind::kAttempt, {{"format", 1}, {"attempt", task.attempt}, {"task", task.task}});
    Add(RecordKind::kStarted, {{"version", "0.1.0"}, {"steps", 64}});
    if (task.kind == TaskKind::kTrain) {
      for (int i = 0; i < n_series; ++i) {
        Add(RecordKind::kSeries, {{"loss", 2.5 + 0.123 / (1 + i)}, {"lr", 1e-3}}, 64 + i);
      }
      AddCheckpoint(checkpoint_sha256);
    }
    for (const ExpectedCell& cell : task.expected_cells) Add(RecordKind::kResult, ResultBody(cell));
    Add(RecordKind::kFinal, tally_.Final().ToJson());
  }
  std::vector<BatchRecord> records;

 private:
  void AddCheckpoint(const std::string& sha256) {
    Add(RecordKind::kCheckpoint,
        {{"path", "checkpoints/64"},
         {"step", 64},
         {"sha256", sha256},
         {"files", {{{"name", "manifest.json"}, {"sha256", sha256}, {"bytes", kCheckpointBytes}}}},
         {"final", true},
         {"best", true}},
        64);
  }
  void Add(RecordKind kind, Json body, std::optional<std::int64_t> step = std::nullopt) {
    const auto seq = static_cast<std::int64_t>(records.size()) + 1;
    std::string line = JournalLine(seq, kind, body, step ? Json(*step) : Json());
    tally_.Add(kind, line);
    records.push_back({.record = {.seq = seq,
                                  .kind = kind,
                                  .t_ms = kWallMs + seq,
                                  .step = step,
                                  .body = ParseRecordBody(kind, step, std::move(body))},
                       .line = std::move(line)});
  }
  JournalTally tally_;
};

}  // namespace

std::string YamlOf(const SweepShape& shape) {
  std::vector<std::string> seeds, lengths;
  for (int i = 0; i < shape.n_seeds; ++i) seeds.push_back(Str(shape.first_seed + i));
  for (const int length : shape.lengths) lengths.push_back(Str(length));
  return Str("apiVersion: longrun/v1\nkind: Sweep\nmetadata: {name: ", shape.name,
             "}\nspec:\n  model: {architecture: gpt2, size: micro}\n  matrix:\n",
             "    position: [cable, alibi, rope, sinusoidal]\n    train_length: [64]\n",
             "    dataset: [bench]\n    seed: [", Join(seeds, ", "), "]\n",
             "  train: {tokens: 65536, batch_tokens: 1024, precision: fp32}\n  evaluate:\n",
             "    - perplexity: {context_lengths: [", Join(lengths, ", "),
             "], split: validation, protocol: nonoverlap}\n");
}

std::vector<BatchRecord> JournalOfSuccess(const TaskFile& task,
                                          const std::string& checkpoint_sha256, int n_series) {
  return Journal(task, checkpoint_sha256, n_series).records;
}

std::string JournalLine(std::int64_t seq, RecordKind kind, const Json& body, const Json& step) {
  // Writes the members in canonical order by hand, to avoid a copy of the body.
  return CloseJournalLine(Str("{\"body\":", CanonicalJson(body),
                              ",\"kind\":", CanonicalJson(EnumName(kind)), ",\"seq\":", seq,
                              ",\"step\":", CanonicalJson(step), ",\"t_ms\":", kWallMs + seq));
}

DatasetRow BenchDataset() {
  return {.info = {.name = "bench",
                   .digest = Sha256Hex("bench"),
                   .tokenizer_fingerprint = Sha256Hex("bytes"),
                   .vocab_size = 320,
                   .split_tokens = {{"train", 1'000'000}, {"validation", 1'000'000}}},
          .folder = "/dataset"};
}

Worker BenchWorker(int n_slots) {
  Worker worker;
  worker.id = "bench";
  worker.incarnation = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
  worker.host = "bench";
  worker.version = "0.1.0";
  const std::vector<std::string> capabilities = OwnCapabilities();
  worker.capabilities = {capabilities.begin(), capabilities.end()};
  worker.dataset_digests = {BenchDataset().info.digest};
  for (int i = 0; i < n_slots; ++i) {
    worker.slots.push_back({.index = i,
                            .kind = DeviceKind::kCpu,
                            .name = "CPU",
                            .memory_bytes = std::int64_t{8} << 30,
                            .threads = 1,
                            .simd = "avx2",
                            .linear = "aten/bench"});
  }
  return worker;
}

Filler::Filler(const std::string& folder) {
  auto store = Store::Open(folder);
  LR_CHECK(store.ok());
  store_ = std::move(store).value();
  auto state = store_->Load();
  LR_CHECK(state.ok());
  state_ = std::move(state).value();
  AfterLoad(state_, kNow, 1);
  LR_CHECK(store_->Begin().ok());
  LR_CHECK(store_->PutDataset(BenchDataset()).ok());
}

Filler::~Filler() {
  LR_CHECK(store_->Commit().ok());
  LR_CHECK(store_->CheckpointWal(true).ok());
}

void Filler::Submit(const SweepShape& shape) {
  SeededRandom random(static_cast<std::uint64_t>(++n_sweeps_));
  SweepSubmitted event;
  event.sweep_id = MakeUlid(kWallMs + n_sweeps_, random);
  event.sweep = Parse(shape);
  event.dataset_paths["bench"] = BenchDataset().folder;
  n_series_ = shape.n_series;
  Do(std::move(event));
}

void Filler::Connect() {
  WorkerArrived event;
  event.session = kSession;
  event.worker = BenchWorker(kSlots);
  Do(event);
}

void Filler::Run() {
  while (!starts_.empty()) {
    const SendStart start = std::move(starts_.front());
    starts_.pop_front();
    Complete(start);
    CommitWhenFull(kTransactionWrites);
  }
}

void Filler::Complete(const SendStart& start) {
  const TaskFile& task = start.task;
  Do(AttemptAccepted{.session = kSession, .attempt = task.attempt, .epoch = task.epoch});
  std::vector<BatchRecord> records = JournalOfSuccess(task, Sha256Hex(task.task), n_series_);
  const auto n_records = static_cast<std::int64_t>(records.size());
  Do(JournalReceived{.session = kSession,
                     .attempt = task.attempt,
                     .epoch = task.epoch,
                     .first_seq = 1,
                     .records = std::move(records)});
  AttemptFinished ended;
  ended.session = kSession;
  ended.attempt = task.attempt;
  ended.epoch = task.epoch;
  ended.last_seq = n_records;
  ended.evidence.exit_known = true;
  ended.evidence.exit_code = 0;
  Do(ended);
}

void Filler::Do(SchedulerEvent event) {
  StepResult result = Step(state_, std::move(event), kNow, kWallMs);
  if (!result.status.ok()) std::fprintf(stderr, "%s\n", result.status.message().c_str());
  LR_CHECK(result.status.ok() && result.warnings.empty());
  LR_CHECK(store_->Apply(result.writes, kWallMs, counts_).ok());
  n_writes_ += result.writes.size();
  for (Command& command : result.commands) {
    if (auto* start = std::get_if<SendStart>(&command)) starts_.push_back(std::move(*start));
    const auto* const sent = std::get_if<SendMessage>(&command);
    LR_CHECK(sent == nullptr || !std::holds_alternative<FencedMessage>(sent->message));
  }
}

void Filler::CommitWhenFull(std::size_t n_writes_max) {
  if (n_writes_ < n_writes_max) return;
  n_writes_ = 0;
  LR_CHECK(store_->Commit().ok());
  LR_CHECK(store_->CheckpointWal(false).ok());
  LR_CHECK(store_->Begin().ok());
}

}  // namespace longrun::coordinator
