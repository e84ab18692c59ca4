// See fake_workers.h.
#include "coordinator/bench/fake_workers.h"

#include <chrono>
#include <deque>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/measurement.h"
#include "base/random.h"
#include "base/str.h"
#include "coordinator/bench/filler.h"
#include "coordinator/bench/worker_messages.h"
#include "sweeps/protocol.h"
#include "sweeps/task.h"

namespace longrun::coordinator {
namespace {

constexpr auto kPatience = std::chrono::minutes(5);
constexpr std::int64_t kHeartbeatMs = 5'000;   // as the coordinator's default
constexpr std::int64_t kReconnectMsMax = 500;  // a worker waits at random before it tries again

v1::WorkerMessage HelloOf(const std::string& id, bool is_busy) {
  static std::mutex mutex;
  static SeededRandom random(EntropySeed());
  Worker worker = BenchWorker(1);
  worker.id = worker.host = id;
  if (!is_busy) worker.slots.front().memory_bytes = 1;
  {
    const std::lock_guard lock(mutex);
    worker.incarnation = MakeUlid(WallMs(), random);
  }
  return HelloOf(worker);
}

TaskFile TaskOf(const v1::Start& start) {
  const Result<Json> json = ParseJson(start.task_json());
  LR_CHECK(json.ok());
  Result<TaskFile> task = TaskFile::FromJson(*json);
  LR_CHECK(task.ok());
  return std::move(task).value();
}

}  // namespace

// One session after the other. The mutex is recursive: gRPC may call back inside StartWrite.
class FakeWorker final {
 public:
  FakeWorker(Fleet& fleet, int number)
      : fleet_(fleet),
        number_(number),
        is_busy_(number < fleet.options_.n_busy),
        id_(Str("w-", number)) {}

  void Connect() {
    const std::lock_guard lock(mutex_);
    LR_CHECK(session_ == nullptr);
    session_ = std::make_shared<Session>(*this, fleet_.options_.channel(number_));
    outgoing_.clear();
    start_.reset();
    session_->Begin(session_);
    Send(HelloOf(id_, is_busy_));
  }
  // Ends the session, and waits until gRPC has let go of it.
  void End() {
    std::shared_ptr<Session> session;
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
      session = session_;
    }
    if (session == nullptr) return;
    session->Cancel();
    std::unique_lock lock(mutex_);
    gone_.wait(lock, [&] { return session_ == nullptr; });
  }
  // If its session has ended, and it is time.
  void ReconnectIfDue(std::int64_t now_ms) {
    {
      const std::lock_guard lock(mutex_);
      if (session_ != nullptr || ending_ || now_ms < reconnect_ms_) return;
    }
    Connect();
  }
  void BeatIfDue(std::int64_t now_ms) {
    const std::lock_guard lock(mutex_);
    if (session_ == nullptr || beat_ms_ == 0 || now_ms < beat_ms_) return;
    beat_ms_ = now_ms + kHeartbeatMs;
    v1::WorkerMessage message;
    message.mutable_heartbeat()->set_number(++n_beats_);
    if (start_) {
      v1::LiveAttempt* const live = message.mutable_heartbeat()->add_attempts();
      live->set_attempt(start_->attempt());
      live->set_task(task_.task);
      live->set_run_key(task_.run_key);
      live->set_epoch(start_->epoch());
      live->set_last_seq(last_seq_);
      live->set_running(true);
    }
    Send(std::move(message));
  }
  // Finishes its attempt, if it has one and there is a permit.
  void FinishIfMay() {
    const std::lock_guard lock(mutex_);
    if (!start_ || finished_ || !fleet_.TakePermit()) return;
    finished_ = true;
    std::vector<std::string> lines;
    for (BatchRecord& record : JournalOfSuccess(task_, Sha256Hex(FakeCheckpoint()))) {
      lines.push_back(std::move(record.line));
    }
    const auto last_seq = static_cast<std::int64_t>(lines.size());
    Send(BatchOf(*start_, 1, std::move(lines)));
    v1::WorkerMessage end;
    v1::AttemptEnded* const ended = end.mutable_attempt_ended();
    ended->set_attempt(start_->attempt());
    ended->set_epoch(start_->epoch());
    ended->set_exit_known(true);
    ended->set_last_seq(last_seq);
    Send(std::move(end));
  }
  // The next records of its attempt, unless earlier ones are not acknowledged yet.
  void SendSeries(int n_records) {
    const std::lock_guard lock(mutex_);
    if (!start_ || sent_at_) return;
    const std::int64_t first_seq = last_seq_ + 1;
    std::vector<std::string> lines;
    if (last_seq_ == 0) {
      lines = FirstLines(start_->attempt());
      last_seq_ = static_cast<std::int64_t>(lines.size());
    }
    for (int i = 0; i < n_records; ++i) lines.push_back(SeriesLine(++last_seq_));
    n_rows_ = std::int64_t{n_records} * kRowsOfRecord;
    sent_at_.emplace();
    Send(BatchOf(*start_, first_seq, std::move(lines)));
  }

 private:
  class Session final : public grpc::ClientBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage> {
   public:
    Session(FakeWorker& worker, std::shared_ptr<grpc::Channel> channel)
        : worker_(worker),
          channel_(std::move(channel)),
          stub_(v1::WorkerSessionService::NewStub(channel_)) {}
    // Holds itself until OnDone.
    void Begin(std::shared_ptr<Session> self) {
      self_ = std::move(self);
      stub_->async()->Session(&context_, this);
      StartRead(&incoming_);
      StartCall();
    }
    void Cancel() { context_.TryCancel(); }
    void OnReadDone(bool ok) override {
      if (!ok) return;
      worker_.Take(incoming_);
      StartRead(&incoming_);
    }
    void OnWriteDone(bool ok) override { worker_.Written(ok); }
    void OnDone(const grpc::Status& status) override {
      const std::shared_ptr<Session> self = std::move(self_);
      worker_.SessionEnded(status);
    }

   private:
    FakeWorker& worker_;
    const std::shared_ptr<grpc::Channel> channel_;
    const std::unique_ptr<v1::WorkerSessionService::Stub> stub_;
    grpc::ClientContext context_;
    v1::CoordinatorMessage incoming_;
    std::shared_ptr<Session> self_;
  };

  void Send(v1::WorkerMessage message) {
    if (session_ == nullptr) return;
    outgoing_.push_back(std::move(message));
    if (outgoing_.size() == 1) session_->StartWrite(&outgoing_.front());
  }
  void Written(bool ok) {
    const std::lock_guard lock(mutex_);
    outgoing_.pop_front();
    if (!ok) outgoing_.clear();
    if (!outgoing_.empty()) session_->StartWrite(&outgoing_.front());
  }
  void SessionEnded(const grpc::Status& status) {
    const std::lock_guard lock(mutex_);
    if (!ending_ && !fleet_.options_.reconnects) {
      std::fprintf(stderr, "%s: %s\n", id_.c_str(), status.error_message().c_str());
      LR_CHECK(false);
    }
    session_.reset();
    beat_ms_ = 0;
    reconnect_ms_ = BootMs() + static_cast<std::int64_t>(random_.Below(kReconnectMsMax));
    gone_.notify_all();
  }
  void Take(const v1::CoordinatorMessage& message) {
    {
      const std::lock_guard lock(mutex_);
      if (message.has_nack() || message.has_fenced()) {
        std::fprintf(stderr, "%s: %s\n", id_.c_str(), message.ShortDebugString().c_str());
        LR_CHECK(false);
      }
      if (message.has_welcome() && beat_ms_ == 0) {
        beat_ms_ = BootMs() + static_cast<std::int64_t>(random_.Below(kHeartbeatMs)) + 1;
        fleet_.Welcomed();
      } else if (message.has_start()) {
        start_ = message.start();
        task_ = TaskOf(*start_);
        finished_ = false;
        last_seq_ = 0;
        Send(AcceptedOf(*start_));
        fleet_.Offered(*start_);
      } else if (message.has_ack()) {
        if (message.ack().ended()) {
          start_.reset();
          fleet_.Ended();
        } else if (sent_at_ && message.ack().durable_seq() >= last_seq_) {
          fleet_.Acknowledged(1e3 * sent_at_->Seconds(), n_rows_);
          sent_at_.reset();
        }
      }
    }
    FinishIfMay();
  }

  Fleet& fleet_;
  const int number_;
  const bool is_busy_;
  const std::string id_;
  std::recursive_mutex mutex_;  // guards everything below
  std::condition_variable_any gone_;
  std::shared_ptr<Session> session_;
  std::deque<v1::WorkerMessage> outgoing_;  // the first one is being written
  std::optional<v1::Start> start_;
  TaskFile task_;  // of start_
  bool finished_ = false;
  bool ending_ = false;
  std::int64_t last_seq_ = 0;
  std::int64_t n_rows_ = 0;  // of the batch that is under way
  std::optional<Stopwatch> sent_at_;
  std::int64_t beat_ms_ = 0;  // 0: not welcomed
  std::int64_t n_beats_ = 0;
  std::int64_t reconnect_ms_ = std::numeric_limits<std::int64_t>::max();
  SeededRandom random_{static_cast<std::uint64_t>(number_)};
};

std::string FakeCheckpoint() { return std::string(kCheckpointBytes, 'c'); }

Fleet::Fleet(FleetOptions options) : options_(std::move(options)) {
  for (int i = 0; i < options_.n_workers; ++i) {
    workers_.push_back(std::make_unique<FakeWorker>(*this, i));
  }
  heart_ = std::thread([this] { Beat(); });
}

Fleet::~Fleet() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  heart_.join();
  for (const auto& worker : workers_) worker->End();
}

void Fleet::Connect() {
  for (const auto& worker : workers_) worker->Connect();
}

void Fleet::AwaitWelcomes(int n_times) {
  std::unique_lock lock(mutex_);
  LR_CHECK(changed_.wait_for(
      lock, kPatience, [&] { return n_welcomes_ >= std::int64_t{options_.n_workers} * n_times; }));
}

void Fleet::FinishAttempts(std::int64_t n) {
  std::int64_t wanted = 0;
  {
    const std::lock_guard lock(mutex_);
    wanted = n_ended_ + n;
    n_permits_ += n;
  }
  for (const auto& worker : workers_) worker->FinishIfMay();
  std::unique_lock lock(mutex_);
  LR_CHECK(changed_.wait_for(lock, kPatience, [&] { return n_ended_ >= wanted; }));
}

Fleet::Load Fleet::SendSeries(int n_records, std::int64_t period_ms, std::int64_t duration_ms) {
  {
    const std::lock_guard lock(mutex_);
    load_ = {};
    n_rows_ = 0;
  }
  const Stopwatch stopwatch;
  // Each worker at its own moment of the period.
  for (std::int64_t next = 0;; ++next) {
    const double due_s =
        1e-3 * double(period_ms) * double(next) / double(std::max(1, options_.n_busy));
    if (1e3 * due_s >= double(duration_ms)) break;
    const double left_s = due_s - stopwatch.Seconds();
    if (left_s > 0) std::this_thread::sleep_for(std::chrono::duration<double>(left_s));
    workers_[static_cast<std::size_t>(next % options_.n_busy)]->SendSeries(n_records);
  }
  const std::lock_guard lock(mutex_);
  load_.rows_per_s = double(n_rows_) / stopwatch.Seconds();
  return load_;
}

v1::Start Fleet::offer() const {
  const std::lock_guard lock(mutex_);
  return offer_;
}

void Fleet::Welcomed() {
  const std::lock_guard lock(mutex_);
  n_welcomes_ += 1;
  changed_.notify_all();
}
bool Fleet::TakePermit() {
  const std::lock_guard lock(mutex_);
  if (n_permits_ == 0) return false;
  n_permits_ -= 1;
  return true;
}
void Fleet::Ended() {
  const std::lock_guard lock(mutex_);
  n_ended_ += 1;
  changed_.notify_all();
}
void Fleet::Offered(const v1::Start& start) {
  const std::lock_guard lock(mutex_);
  if (offer_.attempt().empty()) offer_ = start;
}
void Fleet::Acknowledged(double ms, std::int64_t n_rows) {
  const std::lock_guard lock(mutex_);
  load_.ack_ms.push_back(ms);
  n_rows_ += n_rows;
}

void Fleet::Beat() {
  constexpr auto kLook = std::chrono::milliseconds(20);
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, kLook, [&] { return stopping_; })) {
    lock.unlock();
    const std::int64_t now_ms = BootMs();
    for (const auto& worker : workers_) {
      worker->BeatIfDue(now_ms);
      if (options_.reconnects) worker->ReconnectIfDue(now_ms);
    }
    lock.lock();
  }
}

// ---- the ceiling --------------------------------------------------------------------------------

namespace {

class EchoSession final
    : public grpc::ServerBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage> {
 public:
  explicit EchoSession(const v1::Start& offer) : offer_(offer) { StartRead(&incoming_); }

  void OnReadDone(bool ok) override {
    if (!ok) {
      const std::lock_guard lock(mutex_);
      closed_ = true;
      if (outgoing_.empty()) Finish(grpc::Status::OK);
      return;
    }
    Answer();
    StartRead(&incoming_);
  }
  void OnWriteDone(bool ok) override {
    const std::lock_guard lock(mutex_);
    outgoing_.pop_front();
    if (!ok) outgoing_.clear();
    if (!outgoing_.empty()) return StartWrite(&outgoing_.front());
    if (closed_) Finish(grpc::Status::OK);
  }
  void OnDone() override { delete this; }

 private:
  void Answer() {
    v1::CoordinatorMessage answer;
    if (incoming_.has_hello()) {
      is_busy_ = incoming_.hello().devices(0).memory_bytes() > 1;
      answer.mutable_welcome()->set_protocol_version(kProtocolNewest);
      Send(std::move(answer));
      if (is_busy_) Offer();
    } else if (incoming_.has_heartbeat()) {
      answer.mutable_heartbeat_reply()->set_number(incoming_.heartbeat().number());
      Send(std::move(answer));
    } else if (incoming_.has_journal_batch()) {
      const v1::JournalBatch& batch = incoming_.journal_batch();
      answer.mutable_ack()->set_attempt(batch.attempt());
      answer.mutable_ack()->set_durable_seq(batch.first_seq() + batch.lines_size() - 1);
      Send(std::move(answer));
    } else if (incoming_.has_attempt_ended()) {
      answer.mutable_ack()->set_attempt(incoming_.attempt_ended().attempt());
      answer.mutable_ack()->set_durable_seq(incoming_.attempt_ended().last_seq());
      answer.mutable_ack()->set_ended(true);
      Send(std::move(answer));
      Offer();
    }
  }
  void Offer() {
    v1::CoordinatorMessage message;
    *message.mutable_start() = offer_;
    Send(std::move(message));
  }
  void Send(v1::CoordinatorMessage message) {
    const std::lock_guard lock(mutex_);
    outgoing_.push_back(std::move(message));
    if (outgoing_.size() == 1) StartWrite(&outgoing_.front());
  }

  const v1::Start& offer_;
  v1::WorkerMessage incoming_;
  bool is_busy_ = false;
  std::recursive_mutex mutex_;  // guards everything below
  std::deque<v1::CoordinatorMessage> outgoing_;
  bool closed_ = false;
};

class EchoCoordinator final : public v1::WorkerSessionService::CallbackService {
 public:
  explicit EchoCoordinator(v1::Start offer) : offer_(std::move(offer)) {}
  grpc::ServerBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage>* Session(
      grpc::CallbackServerContext*) override {
    return new EchoSession(offer_);
  }

 private:
  const v1::Start offer_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeEchoCoordinator(v1::Start offer) {
  return std::make_unique<EchoCoordinator>(std::move(offer));
}

}  // namespace longrun::coordinator
