// What workers send in their sessions: each frame reaches the real session, core, scheduler and
// store. Every session ends with a status that has a code, no thread stops, and what is left is a
// state folder without damage that a coordinator can start on.
#include <google/protobuf/message.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/random.h"
#include "base/str.h"
#include "longrun/v1/session.grpc.pb.h"
#include "sweeps/event.h"
#include "sweeps/task.h"
#include "tests/fuzz/input.pb.h"
#include "tests/fuzz/message_mutator.h"
#include "tests/fuzz/rpc.h"
#include "tests/fuzz/target.h"
#include "tests/fuzz/world.h"

namespace longrun::coordinator {
namespace {

using Calls = v1::WorkerSessionService::CallbackService;
using Stream = FuzzStream<v1::WorkerMessage, v1::CoordinatorMessage>;

constexpr std::uint32_t kStreams = 4;
constexpr int kStepsMax = 64;
constexpr std::size_t kWorkersMax = 64;     // more make each placement slow
constexpr std::size_t kTasksReadyMin = 6;   // an input may use up a few
constexpr std::size_t kAttemptsShown = 4;   // of a stream, by @attempt0 ... @attempt3
constexpr std::size_t kCellsShown = 4;      // of an attempt
constexpr std::int64_t kOfferMsMax = 2000;  // one that never comes is not waited for again
constexpr std::chrono::milliseconds kLookAgainMs{50};  // whether an offer has been withdrawn

// An attempt that a worker was told to start.
struct Started {
  std::string attempt = {};
  std::uint64_t epoch = 0;
  std::string task = {};
  std::string run = {};
  std::vector<std::string> cells = {};
};

// The attempts of all streams of an input: the core's thread adds them.
class StartedAttempts {
 public:
  void Add(std::uint32_t stream, const v1::Start& start) {
    Started started{.attempt = start.attempt(), .epoch = start.epoch()};
    const TaskFile task = TaskFile::FromJson(ParseJson(start.task_json()).value()).value();
    started.task = task.task;
    started.run = task.run_key;
    for (const ExpectedCell& cell : task.expected_cells) started.cells.push_back(cell.cell);
    const std::lock_guard lock(mutex_);
    ids_.insert(started.attempt);
    of_stream_[stream].push_front(std::move(started));
    added_.notify_all();
  }
  // False if it has not been added by then.
  bool WaitFor(const std::string& attempt, std::chrono::milliseconds time) const {
    std::unique_lock lock(mutex_);
    return added_.wait_for(lock, time, [&] { return ids_.contains(attempt); });
  }
  std::deque<Started> Of(std::uint32_t stream) const {
    const std::lock_guard lock(mutex_);
    return of_stream_[stream];
  }

 private:
  mutable std::mutex mutex_;  // guards the two below
  std::array<std::deque<Started>, kStreams> of_stream_;
  std::set<std::string> ids_;
  mutable std::condition_variable added_;
};

// One session, from its first frame to its end.
class Session {
 public:
  Session(CoordinatorWorld& world, StartedAttempts& started, std::uint32_t number)
      : context_(world.PeerOfStream(number)) {
    LocalCoordinator& daemon = world.daemon();
    LR_CHECK(
        daemon.LetIn(context_, world.PeerOfStream(number), "WorkerSessionService/Session").ok());
    auto* const calls = dynamic_cast<Calls*>(daemon.sessions.get());
    LR_CHECK(calls != nullptr);
    reactor_ = calls->Session(&context_);
    stream_ = std::make_unique<Stream>(reactor_,
                                       [&started, number](const v1::CoordinatorMessage& message) {
                                         CheckReadable(message);
                                         if (message.has_start())
                                           started.Add(number, message.start());
                                       });
  }
  // False if the coordinator has ended the session.
  bool Give(const v1::WorkerMessage& frame) { return stream_->Give(&frame); }
  // Ends the session, unless the coordinator has done so. Whatever is still under way may use this
  // object until the daemon has settled.
  void End() {
    stream_->Give(nullptr);
    CheckEnd(stream_->Wait());
    std::exchange(reactor_, nullptr)->OnDone();
  }
  bool IsOver() const { return stream_->IsSet(); }

 private:
  FuzzContext context_;
  grpc::ServerBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage>* reactor_ = nullptr;
  std::unique_ptr<Stream> stream_;
};

class WorkerRun {
 public:
  explicit WorkerRun(CoordinatorWorld& world) : world_(world), daemon_(world.daemon()) {}
  ~WorkerRun() {
    for (const auto& session : open_) {
      if (session != nullptr) session->End();
    }
    daemon_.Settle();  // before the sessions go
  }

  void Take(fuzz::WorkerStep step) {
    const std::uint32_t stream = step.stream() % kStreams;
    switch (step.step_case()) {
      case fuzz::WorkerStep::kFrame:
        return Give(stream, Complete(step, stream));
      case fuzz::WorkerStep::kFrameBytes: {
        v1::WorkerMessage frame;
        if (frame.ParseFromString(step.frame_bytes())) Give(stream, frame);
        return;
      }
      case fuzz::WorkerStep::kEnds:
        return Close(stream);
      case fuzz::WorkerStep::kOrder:
        return Order(step.order(), Str("worker-", stream));
      case fuzz::WorkerStep::STEP_NOT_SET:
        return;
    }
  }

 private:
  void Give(std::uint32_t stream, const v1::WorkerMessage& frame) {
    auto& session = open_[stream];
    if (session == nullptr) session = std::make_unique<Session>(world_, started_, stream);
    if (!session->Give(frame) || session->IsOver()) Close(stream);
  }

  void Close(std::uint32_t stream) {
    auto& session = open_[stream];
    if (session == nullptr) return;
    session->End();
    closed_.push_back(std::move(session));
  }

  void Order(fuzz::Order order, const std::string& worker) {
    Core& core = daemon_.parts.core;
    const std::string& sweep = world_.busy_sweep();
    const auto post = [&](SchedulerEvent event) {
      const Status status = core.PostAndWait(std::move(event)).status;
      if (!status.ok()) CheckRefusal(status);
    };
    switch (order) {
      case fuzz::ORDER_CANCEL_SWEEP:
        return post(SweepCancelled{.sweep_id = sweep});
      case fuzz::ORDER_CANCEL_SWEEP_NOW:
        return post(SweepCancelled{.sweep_id = sweep, .mode = StopMode::kNow});
      case fuzz::ORDER_PAUSE_SWEEP:
        return post(SweepPaused{.sweep_id = sweep});
      case fuzz::ORDER_RESUME_SWEEP:
        return post(SweepResumed{.sweep_id = sweep});
      case fuzz::ORDER_DRAIN:
        return post(WorkerDrained{.worker = worker});
      case fuzz::ORDER_DRAIN_AT_ONCE:
        return post(WorkerDrained{.worker = worker, .deadline_ms = 0});
      case fuzz::ORDER_UNDRAIN:
        return post(WorkerUndrained{.worker = worker});
      case fuzz::ORDER_REMOVE_WORKER:
        return post(WorkerRemoved{.worker = worker});
      case fuzz::ORDER_RELEASE_SLOTS:
        return post(SlotReleased{.worker = worker});
      default:
        return;
    }
  }

  // The frame as it arrives: its words expanded, its journal lines closed.
  v1::WorkerMessage Complete(fuzz::WorkerStep& step, std::uint32_t stream) {
    v1::WorkerMessage& frame = *step.mutable_frame();
    if (frame.SerializeAsString().find('@') != std::string::npos) {
      AwaitOffers();
      world_.Expand(frame, WordsOf(stream));
    }
    CompleteEpochs(frame);
    if (frame.has_journal_batch() && !step.lines_as_they_are()) {
      CompleteLines(*frame.mutable_journal_batch());
    }
    v1::WorkerMessage received;
    LR_CHECK(received.ParseFromString(frame.SerializeAsString()));
    return received;
  }

  // "@attempt0" is the newest attempt of the stream; "@other0" the newest of the next stream that
  // has one; "@new" an incarnation that is newer than all before.
  CoordinatorWorld::Words WordsOf(std::uint32_t stream) {
    CoordinatorWorld::Words words;
    words["@new"] = MakeUlid(WallMs() + ++n_incarnations_, random_);
    const auto show = [&](const std::deque<Started>& attempts, std::string_view name) {
      for (std::size_t i = 0; i < kAttemptsShown; ++i) {
        const Started& one = i < attempts.size() ? attempts[i] : kNone;
        words[Str("@", name, i)] = one.attempt;
        if (name != "attempt") continue;
        words[Str("@task", i)] = one.task;
        words[Str("@run", i)] = one.run;
      }
    };
    const std::deque<Started> own = started_.Of(stream);
    show(own, "attempt");
    for (std::size_t i = 0; i < kCellsShown; ++i) {
      const bool is_there = !own.empty() && i < own.front().cells.size();
      words[Str("@cell", i)] = is_there ? own.front().cells[i] : "no cell";
    }
    for (std::uint32_t other = 1; other < kStreams; ++other) {
      const std::deque<Started> attempts = started_.Of((stream + other) % kStreams);
      if (attempts.empty() && other + 1 < kStreams) continue;
      show(attempts, "other");
      break;
    }
    return words;
  }

  // No epoch (0) becomes that of the attempt.
  void CompleteEpochs(v1::WorkerMessage& frame) const {
    const auto complete = [&](auto* part) {
      if (part->epoch() != 0) return;
      for (std::uint32_t stream = 0; stream < kStreams; ++stream) {
        for (const Started& one : started_.Of(stream)) {
          if (one.attempt == part->attempt()) part->set_epoch(one.epoch);
        }
      }
    };
    if (frame.has_accepted()) complete(frame.mutable_accepted());
    if (frame.has_rejected()) complete(frame.mutable_rejected());
    if (frame.has_journal_batch()) complete(frame.mutable_journal_batch());
    if (frame.has_attempt_ended()) complete(frame.mutable_attempt_ended());
    if (frame.has_hello()) {
      for (auto& live : *frame.mutable_hello()->mutable_attempts()) complete(&live);
    }
    if (frame.has_heartbeat()) {
      for (auto& live : *frame.mutable_heartbeat()->mutable_attempts()) complete(&live);
    }
  }

  // A `final` record with an empty body gets the tally of the attempt's records in this input.
  void CompleteLines(v1::JournalBatch& batch) {
    JournalTally& tally = tallies_[batch.attempt()];
    for (std::string& line : *batch.mutable_lines()) {
      Result<Json> record = ParseJson(line);
      if (!record.ok() || !record->is_object()) continue;
      const auto body = record->find("body");
      const auto kind = record->find("kind");
      const bool is_final = kind != record->end() && *kind == "final";
      if (is_final && body != record->end() && *body == Json::object()) {
        *body = tally.Final().ToJson();
      }
      std::string text = CanonicalJson(*record);
      text.pop_back();
      line = CloseJournalLine(text);
      const Result<JournalRecord> read = ParseJournalLine(line);
      if (read.ok()) tally.Add(read->kind, line);
    }
  }

  // Until every offer that the core has made has reached its stream.
  void AwaitOffers() {
    const Instant end = BootMs() + kOfferMsMax;
    while (true) {
      std::vector<std::string> made;
      LR_CHECK(daemon_.parts.core
                   .LookAndWait([&](const State& state) {
                     for (const std::string& id : state.index.live) {
                       const Attempt& attempt = state.attempts.at(id);
                       const auto worker = state.workers.find(attempt.worker);
                       const bool comes =
                           attempt.state == AttemptState::kOffered &&
                           worker != state.workers.end() && worker->second.session &&
                           state.tasks.at(attempt.task).state == TaskState::kReserved;
                       if (comes && !lost_.contains(id)) made.push_back(id);
                     }
                   })
                   .ok());
      const bool have_come = std::ranges::all_of(
          made, [&](const std::string& id) { return started_.WaitFor(id, kLookAgainMs); });
      if (have_come) return;
      if (BootMs() > end) return lost_.insert(made.begin(), made.end());
    }
  }

  inline static const Started kNone = {.attempt = "01BX5ZZKBKACTAV9WEVGEMMVRZ",
                                       .epoch = 1,
                                       .task = "no task",
                                       .run = "no run",
                                       .cells = {}};

  CoordinatorWorld& world_;
  LocalCoordinator& daemon_;
  StartedAttempts started_;
  std::map<std::string, JournalTally> tallies_;
  std::array<std::unique_ptr<Session>, kStreams> open_;
  std::vector<std::unique_ptr<Session>> closed_;
  std::set<std::string> lost_;  // offers that never came
  std::int64_t n_incarnations_ = 0;
  SeededRandom random_{1};
};

struct Work {
  std::size_t n_ready = 0;
  std::string sweep;  // of the task that is placed next
  bool is_used_up = false;
};
Work WorkOf(const State& state) {
  Work work{.n_ready = 0, .sweep = {}, .is_used_up = state.workers.size() > kWorkersMax};
  const ReadyClass::Key* next = nullptr;
  for (const auto& [key, ready] : state.index.ready) {
    work.n_ready += ready.tasks.size();
    if (ready.tasks.empty()) continue;
    const ReadyClass::Key& first = *ready.tasks.begin();
    if (next == nullptr || first < *next) next = &first;
  }
  if (next != nullptr) {
    const auto sweeps = state.index.task_sweeps.find(next->task);
    if (sweeps != state.index.task_sweeps.end()) work.sweep = *sweeps->second.begin();
  }
  for (const auto& [id, worker] : state.workers) {
    // No later worker of this name could take its place.
    work.is_used_up = work.is_used_up || worker.incarnation > "1";
  }
  return work;
}

// Gives the next input enough work. True if it needs a fresh copy.
bool Refill(CoordinatorWorld& world) {
  Core& core = world.daemon().parts.core;
  Work work;
  const auto look = [&](const State& state) { work = WorkOf(state); };
  LR_CHECK(core.LookAndWait(look).ok());
  if (work.n_ready < kTasksReadyMin) {
    world.Renew();
    LR_CHECK(core.LookAndWait(look).ok());
  }
  if (work.is_used_up) return true;
  if (work.n_ready < kTasksReadyMin) {
    world.AddWork();
  } else if (!work.sweep.empty()) {
    world.SetBusy(work.sweep);
  }
  return false;
}

const std::vector<std::string>& InputWords() {
  static const auto& words = *new std::vector<std::string>([] {
    std::vector<std::string> all = HostileWords();
    for (const char* const name : {"attempt", "task", "run", "cell", "other"}) {
      for (int i = 0; i < 4; ++i) all.push_back(Str("@", name, i));
    }
    all.emplace_back("@new");
    return all;
  }());
  return words;
}

}  // namespace
}  // namespace longrun::coordinator

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t size_max, unsigned seed) {
  longrun::fuzz::WorkerInput room;
  return longrun::MutateInput(data, size, size_max, seed, longrun::coordinator::InputWords(),
                              &room);
}

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace longrun::coordinator;
  CoordinatorWorld& world = CoordinatorWorld::Shared(/*ticks=*/true);
  longrun::fuzz::WorkerInput input;
  const std::string_view bytes = longrun::AsText(data, size);
  if (!longrun::ReadInput(bytes, &input)) return 0;
  world.Begin(bytes);
  {
    WorkerRun run(world);
    for (int i = 0; i < std::min(input.steps_size(), kStepsMax); ++i) run.Take(input.steps(i));
  }
  world.End(Refill(world));
  return 0;
}
