// See sweeps.h.
#include "coordinator/rpc/sweeps.h"

#include <unistd.h>

#include <algorithm>
#include <set>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "base/clock.h"
#include "base/files.h"
#include "base/json.h"
#include "base/random.h"
#include "base/str.h"
#include "base/utf8.h"
#include "base/version.h"
#include "coordinator/rpc/models.h"
#include "coordinator/rpc/plan.h"
#include "coordinator/rpc/planned.h"
#include "coordinator/rpc/query.h"
#include "coordinator/rpc/upkeep.h"
#include "coordinator/rpc/views.h"
#include "longrun/v1/sweeps.grpc.pb.h"
#include "model/data/dataset.h"
#include "sweeps/limits.h"
#include "sweeps/sweep.h"

namespace longrun {
namespace {

using Context = grpc::CallbackServerContext;
using Unary = grpc::ServerUnaryReactor;

constexpr std::size_t kLogFrameBytes = 64 << 10;
constexpr std::size_t kFileNameBytesMax = 4096;

std::vector<std::pair<std::string, std::string>> Overrides(
    const google::protobuf::RepeatedPtrField<v1::Override>& overrides) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const v1::Override& one : overrides) pairs.emplace_back(one.path(), one.value());
  return pairs;
}

// Checks the file name and overrides, which are stored with the sweep and shown in messages.
Status CheckFile(const std::string& file_name,
                 const google::protobuf::RepeatedPtrField<v1::Override>& overrides) {
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (file_name.size() > kFileNameBytesMax || std::ranges::any_of(file_name, is_control)) {
    return Status(Code::kInvalidArgument,
                  Str("the sweep file's name has ", file_name.size(), " bytes: expected at most ",
                      kFileNameBytesMax, ", without control characters: rename the file"));
  }
  std::size_t n_bytes = 0;
  for (const v1::Override& one : overrides) n_bytes += one.path().size() + one.value().size();
  if (n_bytes > kSweepBytesMax) {
    return Status(Code::kInvalidArgument, Str("the overrides have ", n_bytes, " bytes: at most ",
                                              kSweepBytesMax, " are taken"));
  }
  return Status();
}

void FillDataset(const DatasetRow& row, v1::DatasetInfo* message) {
  message->set_name(row.info.name);
  message->set_digest(row.info.digest);
  message->set_folder(row.folder);
  message->set_tokenizer(row.info.tokenizer_fingerprint);
  message->set_vocab_size(row.info.vocab_size);
  for (const auto& [split, n_tokens] : row.info.split_tokens) {
    (*message->mutable_split_tokens())[split] = n_tokens;
  }
}

// What a table shows for a number that a task owes. "diverged" is an answer about the run; any other failure
// is about the machine and may be retried, as may a cancelled task.
std::string_view StatusOfOwed(const State& state, const Task& task) {
  const Task* failed = &task;
  if (task.state == TaskState::kSkipped) {
    const auto needed = state.tasks.find(task.needs);
    if (needed != state.tasks.end()) failed = &needed->second;
  }
  if (failed->state == TaskState::kCancelled) return "cancelled";
  if (failed->state != TaskState::kFailed) return "missing";
  return FailedForGood(state, task) ? "diverged" : "failed";
}

// The rows that unfinished tasks owe to a sweep: what a table is still waiting for.
std::vector<v1::ResultRow> MissingRows(const State& state, const std::string& sweep_id,
                                       const StoreReader::CellSet& cells) {
  std::vector<v1::ResultRow> rows;
  const auto tasks = state.sweep_tasks.find(sweep_id);
  if (tasks == state.sweep_tasks.end()) return rows;
  for (const std::string& id : tasks->second) {
    const Task& task = state.tasks.at(id);
    if (task.kind != TaskKind::kEvaluate || task.state == TaskState::kSucceeded) continue;
    if (!task.evaluation.is_object() || task.evaluation.empty()) continue;  // unreadable
    const Json& params = task.evaluation.begin().value();
    for (const ExpectedCell& cell : task.expected_cells) {
      if (!cells.contains(cell.cell)) continue;
      v1::ResultRow& row = rows.emplace_back();
      row.set_run_key(task.run_key);
      row.set_cell(cell.cell);
      row.set_body_json(OwedBody(cell, params, StatusOfOwed(state, task)));
      row.set_task(id);
      row.set_evaluation_json(CanonicalJson(task.evaluation));
    }
  }
  return rows;
}

// Active sweeps other than `sweep_id`; only those named `name` unless that is "".
Status FillActive(Core& core, StoreReader& reader, const std::string& name,
                  const std::string& sweep_id,
                  google::protobuf::RepeatedPtrField<v1::SweepInfo>* others) {
  ASSIGN_OR_RETURN(const std::vector<SweepRow> sweeps, reader.Sweeps());
  return core.LookAndWait([&](const State& state) {
    for (const SweepRow& sweep : sweeps) {
      if (sweep.id == sweep_id || (!name.empty() && sweep.name != name)) continue;
      if (!state.sweep_tasks.contains(sweep.id) || !IsActiveSweep(state, sweep.id)) continue;
      FillSweep(state, sweep, others->Add());
    }
  });
}

// Streams a sweep's state each time it changes. At most one of three is in progress: a wait for the
// ticker, a job, a write.
class Watch final : public grpc::ServerWriteReactor<v1::WatchSweepResponse> {
 public:
  Watch(Parts& parts, Context* context, const v1::WatchSweepRequest* request)
      : parts_(parts), context_(context), reference_(request->sweep()), first_(request->first()) {
    Work();
  }

 private:
  void Work() {
    if (!parts_.executor.Post([this](StoreReader& reader) { Look(reader); })) {
      End(Status(Code::kUnavailable, "the coordinator is stopping, or busy: try again"));
    }
  }

  void Wait() {
    parts_.ticker.Add([this] {
      if (parts_.stopping) return End(Status(Code::kUnavailable, "the coordinator is stopping"));
      if (context_->IsCancelled()) return End(Status(Code::kCancelled, "the client disconnected"));
      // A worker's silence does not change the version, so look once a second anyway.
      if (parts_.core.version() == seen_version_ && ++n_quiet_ < 4) return Wait();
      Work();
    });
  }

  void Look(StoreReader& reader) {
    if (context_->IsCancelled()) return End(Status(Code::kCancelled, "the client disconnected"));
    n_quiet_ = 0;
    seen_version_ = parts_.core.version();
    if (!view_) {
      auto sweep = reader.FindSweep(reference_);
      if (!sweep.ok()) {
        KeepDamage(reader);
        return End(sweep.status());
      }
      if (first_) {
        const StepResult result = parts_.core.PostAndWait(SweepPutFirst{.sweep_id = sweep->id});
        if (!result.status.ok()) return End(result.status);
      }
      view_ = std::make_unique<SweepView>(parts_.core, *sweep, SweepView::Durations::kOfEndedOnly,
                                          SweepView::Losses::kShown);
    }
    message_.Clear();
    const Status filled = view_->Fill(reader, &message_);
    KeepDamage(reader);
    if (!filled.ok()) return End(filled);
    std::string bytes = message_.SerializeAsString();
    if (bytes == sent_) return Wait();
    sent_ = std::move(bytes);
    StartWrite(&message_);
  }

  void KeepDamage(StoreReader& reader) {
    for (DamagedRow& row : reader.TakeDamaged()) damaged_.insert(std::move(row));
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return End(Status(Code::kCancelled, "the client disconnected"));
    if (message_.finished()) return End(Status());
    Wait();
  }

  void End(const Status& status) {
    AddDamage({damaged_.begin(), damaged_.end()}, context_);
    Finish(EndCall(parts_, "WatchSweep", status,
                   {.reason = status.code() == Code::kNotFound ? "SWEEP_NOT_FOUND" : "",
                    .subject = reference_},
                   context_));
  }

  void OnDone() override { delete this; }

  Parts& parts_;
  Context* context_;
  const std::string reference_;
  const bool first_;
  std::unique_ptr<SweepView> view_;
  v1::WatchSweepResponse message_;
  std::string sent_;
  std::set<DamagedRow> damaged_;
  std::int64_t seen_version_ = -1;
  int n_quiet_ = 0;
};

// Streams logs, one attempt after the other. As in Watch: a wait, a job or a write.
class Logs final : public grpc::ServerWriteReactor<v1::GetLogsResponse> {
 public:
  Logs(Parts& parts, Context* context, const v1::GetLogsRequest* request)
      : parts_(parts), context_(context), target_(request->target()), follow_(request->follow()) {
    Work();
  }

 private:
  void Work() {
    if (!parts_.executor.Post([this](StoreReader& reader) { Look(reader); })) {
      End(Status(Code::kUnavailable, "the coordinator is stopping, or busy: try again"));
    }
  }

  void Look(StoreReader& reader) {
    if (context_->IsCancelled()) return End(Status(Code::kCancelled, "the client disconnected"));
    if (!found_) {
      auto attempts = reader.FindLogs(target_);
      AddDamage(reader.TakeDamaged(), context_);
      if (!attempts.ok()) return End(attempts.status());
      attempts_ = std::move(attempts).value();
      found_ = true;
    }
    while (i_ < attempts_.size()) {
      const std::string& attempt = attempts_[i_];
      bool is_live = false;
      if (follow_) {
        const Status looked = parts_.core.LookAndWait([&](const State& state) {
          const auto found = state.attempts.find(attempt);
          is_live = found != state.attempts.end() && IsLive(found->second.state);
        });
        if (!looked.ok()) return End(looked);
      }
      auto bytes = parts_.logs.Read(attempt, offset_, kLogFrameBytes);
      if (!bytes.ok()) return End(bytes.status());
      message_.Clear();
      message_.set_attempt(attempt);
      const bool at_end = bytes->size() < kLogFrameBytes;
      const bool is_last = at_end && !is_live;
      const std::string_view whole = is_last ? *bytes : WithoutCutCharacter(*bytes);
      message_.set_text(ToUtf8(whole));
      offset_ += static_cast<std::int64_t>(whole.size());
      if (!whole.empty()) return StartWrite(&message_);
      if (is_live) return Wait();
      i_ += 1;
      offset_ = 0;
    }
    End(Status());
  }

  void Wait() {
    parts_.ticker.Add([this] {
      if (parts_.stopping) return End(Status(Code::kUnavailable, "the coordinator is stopping"));
      Work();
    });
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return End(Status(Code::kCancelled, "the client disconnected"));
    Work();
  }

  void End(const Status& status) {
    Finish(EndCall(
        parts_, "GetLogs", status,
        {.reason = status.code() == Code::kNotFound ? "TARGET_NOT_FOUND" : "", .subject = target_},
        context_));
  }

  void OnDone() override { delete this; }

  Parts& parts_;
  Context* context_;
  const std::string target_;
  const bool follow_;
  bool found_ = false;
  std::vector<std::string> attempts_;
  std::size_t i_ = 0;
  std::int64_t offset_ = 0;
  v1::GetLogsResponse message_;
};

class SweepService final : public v1::SweepService::CallbackService {
 public:
  explicit SweepService(Parts& parts) : parts_(parts), random_(EntropySeed()) {}

  Unary* GetServerInfo(Context* context, const v1::GetServerInfoRequest*,
                       v1::GetServerInfoResponse* response) override {
    return Handle(parts_, context, "GetServerInfo", [=, this](StoreReader& reader, RpcError&) {
      const Store& store = parts_.core.store();
      response->set_version(std::string(kVersion));
      response->set_commit(std::string(BuildCommit()));
      response->set_protocol_version(kProtocolVersion);
      response->set_state_folder(store.folder());
      response->set_coordinator_id(store.coordinator_id());
      response->set_boot_epoch(store.boot_epoch());
      response->set_pid(getpid());
      response->set_metrics_address(parts_.metrics_address);
      response->set_schema_version(Store::SchemaVersion());
      reader.NoteDamaged(InBrief(store.damaged()));
      return parts_.core.LookAndWait([&](const State& state) { FillUnknownRuns(state, response); });
    });
  }

  Unary* PlanSweep(Context* context, const v1::PlanSweepRequest* request,
                   v1::PlanSweepResponse* response) override {
    const auto body = [=, this](StoreReader& reader, RpcError& error) {
      error = {.reason = "SWEEP_INVALID", .subject = request->file_name()};
      RETURN_IF_ERROR(CheckFile(request->file_name(), request->overrides()));
      ASSIGN_OR_RETURN(
          const Sweep sweep,
          ParseSweep(request->yaml(), request->file_name(), Overrides(request->overrides()),
                     Catalogue(parts_.core.datasets(), parts_.core, reader)));
      error.reason.clear();
      return longrun::PlanSweep(parts_.core, reader, sweep, response);
    };
    return Handle(parts_, parts_.submitter, context, "PlanSweep", body);
  }

  Unary* SubmitSweep(Context* context, const v1::SubmitSweepRequest* request,
                     v1::SubmitSweepResponse* response) override {
    const auto body = [=, this](StoreReader& reader, RpcError& error) -> Status {
      error = {.reason = "DISK_LOW", .subject = request->file_name()};
      RETURN_IF_ERROR(parts_.core.CheckDiskSpace());
      error.reason = "SWEEP_INVALID";
      RETURN_IF_ERROR(CheckFile(request->file_name(), request->overrides()));
      const std::vector<DatasetRow> datasets = parts_.core.datasets();
      ASSIGN_OR_RETURN(Sweep sweep, ParseSweep(request->yaml(), request->file_name(),
                                               Overrides(request->overrides()),
                                               Catalogue(datasets, parts_.core, reader)));
      error.reason.clear();
      SweepSubmitted event;
      for (const DatasetRow& dataset : datasets) {
        event.dataset_paths[dataset.info.name] = dataset.folder;
      }
      // Submissions run one at a time, on the submitter's thread: the same file submitted twice at once is one
      // sweep. What can be computed here does not hold up the core.
      std::set<std::string> known_runs;
      RETURN_IF_ERROR(parts_.core.LookAndWait([&](const State& state) {
        for (const PlannedRun& run : sweep.runs) {
          const auto known = state.runs.find(run.run_key);
          if (known != state.runs.end() && !known->second.damaged) known_runs.insert(run.run_key);
        }
      }));
      event.texts = TextsOf(sweep, known_runs);
      ASSIGN_OR_RETURN(event.known_cells, reader.CellOwners(sweep, &event.unrecorded_cells));
      ASSIGN_OR_RETURN(event.sweep_id, reader.SameSweep(sweep.name, event.texts.digest));
      response->set_created(event.sweep_id.empty());
      if (event.sweep_id.empty()) event.sweep_id = MakeUlid(WallMs(), random_);
      response->set_sweep_id(event.sweep_id);
      response->set_name(sweep.name);
      event.sweep = std::move(sweep);
      event.first = request->first();
      const StepResult result = parts_.core.PostAndWait(std::move(event));
      RETURN_IF_ERROR(result.status);
      FillCounts(result.submit, response->mutable_counts());
      response->set_disk_bytes(result.submit.checkpoint_bytes);
      const Result<std::int64_t> disk_free_bytes = parts_.core.FreeDiskBytes();
      if (disk_free_bytes.ok())
        response->set_disk_free_bytes(*disk_free_bytes);  // otherwise left unset
      const std::string& id = response->sweep_id();
      RETURN_IF_ERROR(parts_.core.LookAndWait(
          [&](const State& state) { response->set_finished(!IsActiveSweep(state, id)); }));
      return FillActive(parts_.core, reader, "", id, response->mutable_others());
    };
    return Handle(parts_, parts_.submitter, context, "SubmitSweep", body);
  }

  Unary* ListSweeps(Context* context, const v1::ListSweepsRequest*,
                    v1::ListSweepsResponse* response) override {
    return Handle(parts_, context, "ListSweeps", [=, this](StoreReader& reader, RpcError&) {
      ASSIGN_OR_RETURN(const std::vector<SweepRow> sweeps, reader.Sweeps());
      RETURN_IF_ERROR(parts_.core.LookAndWait([&](const State& state) {
        const Instant now = BootMs();
        for (const SweepRow& sweep : sweeps) {
          v1::SweepInfo* info = response->add_sweeps();
          FillSweep(state, sweep, info);
          FillDuration(state, now, info);
        }
      }));
      return NoteKnownDamage(parts_, reader,
                             {"sweep", "sweep_label", "sweep_run", "sweep_task", "task"});
    });
  }

  Unary* GetSweep(Context* context, const v1::GetSweepRequest* request,
                  v1::GetSweepResponse* response) override {
    return Handle(parts_, context, "GetSweep", [=, this](StoreReader& reader, RpcError& error) {
      error = {.reason = "SWEEP_NOT_FOUND", .subject = request->sweep()};
      ASSIGN_OR_RETURN(SweepRow sweep, reader.FindSweep(request->sweep()));
      error.reason.clear();
      ASSIGN_OR_RETURN(SweepBody body, reader.BodyOfSweep(sweep.id));
      const bool brief = request->brief();
      if (!brief) response->set_yaml(std::move(body.yaml));
      response->set_axes_json(std::move(body.axes_json));
      SweepView view(parts_.core, std::move(sweep), SweepView::Durations::kAlsoOfLive,
                     brief ? SweepView::Losses::kLeftOut : SweepView::Losses::kShown);
      v1::WatchSweepResponse shown;
      RETURN_IF_ERROR(view.Fill(reader, &shown));
      response->mutable_info()->Swap(shown.mutable_info());
      response->mutable_runs()->Swap(shown.mutable_runs());
      response->mutable_notices()->Swap(shown.mutable_notices());
      if (shown.has_time_left()) response->mutable_time_left()->Swap(shown.mutable_time_left());
      for (int i = 0; i < response->runs_size(); ++i) {
        v1::RunInfo* run = response->mutable_runs(i);
        if (!brief) run->set_run_json(view.runs()[static_cast<std::size_t>(i)].run_json);
        for (v1::TaskInfo& task : *run->mutable_tasks()) {
          const auto known = view.lengths().find(task.task());
          if (known == view.lengths().end()) {
            RETURN_IF_ERROR(FillLengths(reader, &task));  // it is new
          } else {
            task.mutable_context_lengths()->Assign(known->second.begin(), known->second.end());
          }
        }
      }
      return Status();
    });
  }

  Unary* GetRun(Context* context, const v1::GetRunRequest* request,
                v1::GetRunResponse* response) override {
    return Handle(parts_, context, "GetRun", [=, this](StoreReader& reader, RpcError& error) {
      error = {.reason = "RUN_NOT_FOUND", .subject = request->run()};
      ASSIGN_OR_RETURN(const SweepRunRow row, reader.FindRun(request->run()));
      error.reason.clear();
      v1::RunInfo* run = response->mutable_run();
      FillRun(row, run);
      run->set_run_json(row.run_json);
      ASSIGN_OR_RETURN(const std::vector<std::string> tasks, reader.TasksOfRun(row.run_key));
      RETURN_IF_ERROR(parts_.core.LookAndWait([&](const State& state) {
        const Instant now = BootMs();
        for (const std::string& id : tasks) {
          const auto task = state.tasks.find(id);
          if (task == state.tasks.end()) continue;
          v1::TaskInfo* info = run->add_tasks();
          FillTask(state, task->second, "", now, info);
          const std::optional<std::int64_t> ran_ms = RunningMs(state, task->second, now);
          if (ran_ms) info->set_duration_ms(*ran_ms);
        }
        AddMissedWorkers(state, now, WallMs(), response->mutable_notices());
      }));
      AddFullDisk(parts_.core, response->mutable_notices());
      for (v1::TaskInfo& task : *run->mutable_tasks()) {
        ASSIGN_OR_RETURN(const std::vector<AttemptRow> attempts,
                         reader.AttemptsOfTask(task.task()));
        for (const AttemptRow& attempt : attempts) FillAttempt(attempt, task.add_attempt_list());
        RETURN_IF_ERROR(FillLengths(reader, &task));
      }
      return Status();
    });
  }

  grpc::ServerWriteReactor<v1::WatchSweepResponse>* WatchSweep(
      Context* context, const v1::WatchSweepRequest* request) override {
    return new Watch(parts_, context, request);
  }

  Unary* GetResults(Context* context, const v1::GetResultsRequest* request,
                    v1::GetResultsResponse* response) override {
    return Handle(parts_, context, "GetResults", [=, this](StoreReader& reader, RpcError& error) {
      if (!request->run().empty()) return ResultsOfRun(reader, *request, response, error);
      error = {.reason = "SWEEP_NOT_FOUND", .subject = request->sweep()};
      ASSIGN_OR_RETURN(const SweepRow sweep, reader.FindSweep(request->sweep()));
      error.reason.clear();
      ASSIGN_OR_RETURN(const SweepBody body, reader.BodyOfSweep(sweep.id));
      ASSIGN_OR_RETURN(const Json axes, ParseJson(body.axes_json));
      for (const Json& axis : axes) response->add_axes(axis.get<std::string>());
      SweepNumbers numbers;
      ASSIGN_OR_RETURN(numbers.runs, reader.RunsOfSweep(sweep.id));
      // Cells first, so that a row that arrives in between is not missed.
      ASSIGN_OR_RETURN(const StoreReader::CellSet cells, reader.CellsOfSweep(sweep.id));
      RETURN_IF_ERROR(parts_.core.LookAndWait([&](const State& state) {
        numbers.missing = MissingRows(state, sweep.id, cells);
        FillSweep(state, sweep, response->mutable_info());
      }));
      ASSIGN_OR_RETURN(numbers.results, reader.ResultsOfSweep(sweep.id));
      ASSIGN_OR_RETURN(std::vector<ResultBody> lost,
                       reader.LostOfSweep(sweep.id, cells, numbers.results));
      RETURN_IF_ERROR(FillLost(std::move(lost), numbers.results));
      ASSIGN_OR_RETURN(const bool is_whole, reader.IsWhole(sweep.id, numbers.runs));
      if (!is_whole) RETURN_IF_ERROR(MarkDamaged(parts_.core, reader, body, numbers));
      std::unordered_set<std::string_view> run_keys;
      for (const SweepRunRow& row : numbers.runs) {
        run_keys.insert(row.run_key);
        v1::RunInfo* run = response->add_runs();
        FillRun(row, run);
        run->set_run_json(row.run_json);
      }
      StoreReader::CellSet known;
      for (ResultBody& result : numbers.results) {
        if (!numbers.missing.empty()) known.insert(result.cell);
        if (!run_keys.contains(result.run_key)) continue;
        FillResult(std::move(result), response->add_rows());
      }
      for (v1::ResultRow& row : numbers.missing) {
        if (known.contains(row.cell()) || !run_keys.contains(row.run_key())) continue;
        *response->add_rows() = std::move(row);
      }
      return Status();
    });
  }

  Unary* GetSeries(Context* context, const v1::GetSeriesRequest* request,
                   v1::GetSeriesResponse* response) override {
    return Handle(parts_, context, "GetSeries", [=](StoreReader& reader, RpcError& error) {
      error = {.reason = "RUN_NOT_FOUND", .subject = request->run()};
      ASSIGN_OR_RETURN(const SweepRunRow run, reader.FindRun(request->run()));
      error.reason.clear();
      ASSIGN_OR_RETURN(const std::vector<CurvePoint> points,
                       reader.Curve(TrainTaskKey(run.run_key), request->metric()));
      for (const CurvePoint& point : points) {
        response->add_step(point.step);
        response->add_value(point.value);
      }
      return Status();
    });
  }

  Unary* CancelSweep(Context* context, const v1::CancelSweepRequest* request,
                     v1::CancelSweepResponse* response) override {
    return Handle(parts_, context, "CancelSweep", [=, this](StoreReader& reader, RpcError& error) {
      error = {.reason = "SWEEP_NOT_FOUND", .subject = request->sweep()};
      ASSIGN_OR_RETURN(const SweepRow sweep, reader.FindSweep(request->sweep()));
      error.reason.clear();
      const StepResult result = parts_.core.PostAndWait(SweepCancelled{.sweep_id = sweep.id});
      RETURN_IF_ERROR(result.status);
      response->set_tasks_cancelled(static_cast<std::int32_t>(result.cancel.cancelled));
      response->set_tasks_stopping(static_cast<std::int32_t>(result.cancel.stopping));
      response->set_sweep_id(sweep.id);
      return FillActive(parts_.core, reader, sweep.name, sweep.id, response->mutable_others());
    });
  }

  Unary* RemoveSweep(Context* context, const v1::RemoveSweepRequest* request,
                     v1::RemoveSweepResponse* response) override {
    return HandleRemoveSweep(parts_, context, request, response);
  }
  Unary* AnnotateSweep(Context* context, const v1::AnnotateSweepRequest* request,
                       v1::AnnotateSweepResponse* response) override {
    return HandleAnnotate(parts_, context, request, response);
  }
  Unary* RetryTasks(Context* context, const v1::RetryTasksRequest* request,
                    v1::RetryTasksResponse* response) override {
    return HandleRetry(parts_, context, request, response);
  }
  Unary* CollectGarbage(Context* context, const v1::CollectGarbageRequest* request,
                        v1::CollectGarbageResponse* response) override {
    return HandleGarbage(parts_, context, request, response);
  }

  grpc::ServerWriteReactor<v1::GetLogsResponse>* GetLogs(
      Context* context, const v1::GetLogsRequest* request) override {
    return new Logs(parts_, context, request);
  }

  Unary* ListWorkers(Context* context, const v1::ListWorkersRequest*,
                     v1::ListWorkersResponse* response) override {
    return Handle(parts_, context, "ListWorkers", [=, this](StoreReader& reader, RpcError&) {
      RETURN_IF_ERROR(parts_.core.LookAndWait([&](const State& state) {
        const Instant now = BootMs();
        const std::int64_t wall_ms = WallMs();
        for (const auto& [id, worker] : state.workers) {
          v1::WorkerInfo* info = response->add_workers();
          FillWorker(state, worker, now, info);
          info->set_heard_ms_ago(std::max<std::int64_t>(now - worker.heard_at, 0));
          const bool came = worker.last_session != 0;  // since this process started
          if (came) info->set_heard_wall_ms(wall_ms - info->heard_ms_ago());
        }
        AddMissedWorkers(state, now, wall_ms, response->mutable_notices());
      }));
      for (v1::WorkerInfo& info : *response->mutable_workers()) {
        if (info.heard_wall_ms() != 0) continue;
        ASSIGN_OR_RETURN(const std::int64_t wall_ms, reader.LastStoredOfWorker(info.worker_id()));
        info.set_heard_wall_ms(wall_ms);
      }
      return Status();
    });
  }

  Unary* RegisterDataset(Context* context, const v1::RegisterDatasetRequest* request,
                         v1::RegisterDatasetResponse* response) override {
    return Handle(parts_, context, "RegisterDataset", [=, this](StoreReader&, RpcError& error) {
      error = {.reason = "DATASET_INVALID", .subject = request->name()};
      if (!IsSafeName(request->name())) {
        return Status(Code::kInvalidArgument,
                      Str("\"", request->name(),
                          "\" is not a name for a dataset: expected 1 to 128 letters, digits, '.', "
                          "'_' or '-', not starting with '.'"));
      }
      if (!request->folder().starts_with('/')) {
        return Status(Code::kInvalidArgument,
                      Str("the folder \"", request->folder(), "\" is not an absolute path"));
      }
      ASSIGN_OR_RETURN(const Dataset dataset, Dataset::Open(request->folder()));
      DatasetRow row{.info = {.name = request->name(),
                              .digest = dataset.digest(),
                              .tokenizer_fingerprint = dataset.tokenizer_fingerprint(),
                              .vocab_size = dataset.vocab_size(),
                              .split_tokens = {},
                              .n_tokens = dataset.n_tokens(),
                              .mask_token = dataset.mask_id()},
                     .folder = request->folder()};
      for (const std::string& name : dataset.split_names()) {
        ASSIGN_OR_RETURN(const TokenSplit* split, dataset.Split(name));
        row.info.split_tokens[name] = split->n_tokens();
      }
      error.reason.clear();
      ASSIGN_OR_RETURN(const bool changed, parts_.core.RegisterDataset(row));
      response->set_digest(row.info.digest);
      response->set_changed(changed);
      return Status();
    });
  }

  Unary* ListDatasets(Context* context, const v1::ListDatasetsRequest*,
                      v1::ListDatasetsResponse* response) override {
    return Handle(parts_, context, "ListDatasets", [=, this](StoreReader&, RpcError&) {
      for (const DatasetRow& row : parts_.core.datasets()) {
        FillDataset(row, response->add_datasets());
      }
      return Status();
    });
  }

  Unary* RemoveDataset(Context* context, const v1::RemoveDatasetRequest* request,
                       v1::RemoveDatasetResponse* response) override {
    return HandleRemoveDataset(parts_, context, request, response);
  }

  Unary* RegisterModel(Context* context, const v1::RegisterModelRequest* request,
                       v1::RegisterModelResponse* response) override {
    return HandleRegisterModel(parts_, context, request, response);
  }
  Unary* ListModels(Context* context, const v1::ListModelsRequest*,
                    v1::ListModelsResponse* response) override {
    return HandleListModels(parts_, context, response);
  }
  Unary* RemoveModel(Context* context, const v1::RemoveModelRequest* request,
                     v1::RemoveModelResponse* response) override {
    return HandleRemoveModel(parts_, context, request, response);
  }
  Unary* FindCheckpoint(Context* context, const v1::FindCheckpointRequest* request,
                        v1::FindCheckpointResponse* response) override {
    return HandleFindCheckpoint(parts_, context, request, response);
  }

  Unary* Query(Context* context, const v1::QueryRequest* request,
               v1::QueryResponse* response) override {
    return AnswerQuery(parts_, context, request, response);
  }

  Unary* ListViews(Context* context, const v1::ListViewsRequest*,
                   v1::ListViewsResponse* response) override {
    return AnswerListViews(parts_, context, response);
  }

 private:
  static void FillRun(const SweepRunRow& row, v1::RunInfo* run) {
    run->set_run_key(row.run_key);
    run->set_axes_json(row.axes_json);
    run->set_dataset(row.dataset);
    run->set_execution_json(row.execution_json);
  }

  static Status FillLengths(StoreReader& reader, v1::TaskInfo* task) {
    if (task->kind() != TaskKindName(TaskKind::kEvaluate)) return Status();
    ASSIGN_OR_RETURN(const std::vector<std::int64_t> lengths, reader.LengthsOfTask(task->task()));
    for (const std::int64_t length : lengths) task->add_context_lengths(length);
    return Status();
  }

  static void FillResult(ResultBody result, v1::ResultRow* row) {
    row->set_run_key(std::move(result.run_key));
    row->set_cell(std::move(result.cell));
    row->set_body_json(std::move(result.body_json));
    row->set_task(std::move(result.task));
    row->set_attempt(std::move(result.attempt));
    row->set_evaluation_json(std::move(result.evaluation_json));
  }

  static Status ResultsOfRun(StoreReader& reader, const v1::GetResultsRequest& request,
                             v1::GetResultsResponse* response, RpcError& error) {
    error = {.reason = "RUN_NOT_FOUND", .subject = request.run()};
    ASSIGN_OR_RETURN(const SweepRunRow row, reader.FindRun(request.run()));
    error.reason.clear();
    v1::RunInfo* run = response->add_runs();
    FillRun(row, run);
    run->set_run_json(row.run_json);
    ASSIGN_OR_RETURN(std::vector<ResultBody> results, reader.ResultsOfRun(row.run_key));
    ASSIGN_OR_RETURN(std::vector<ResultBody> lost, reader.LostOfRun(row.run_key, results));
    RETURN_IF_ERROR(FillLost(std::move(lost), results));
    for (ResultBody& result : results) FillResult(std::move(result), response->add_rows());
    return Status();
  }

  static void FillAttempt(const AttemptRow& row, v1::AttemptInfo* attempt) {
    attempt->set_attempt(row.id);
    attempt->set_n(static_cast<std::int32_t>(row.n));
    attempt->set_state(row.state);
    attempt->set_failure_class(row.failure_class);
    attempt->set_message(row.message);
    attempt->set_worker(row.worker);
    attempt->set_started_ms(row.started_wall_ms);
    attempt->set_ended_ms(row.ended_wall_ms);
    attempt->set_duration_ms(row.duration_ms);
    attempt->set_durable_seq(row.durable_seq);
    attempt->set_resume_step(row.resume_step);
    attempt->set_started_json(row.started_json);
  }

  Parts& parts_;
  SeededRandom random_;  // used only on the submitter's thread
};

}  // namespace

std::unique_ptr<grpc::Service> MakeSweepService(Parts& parts) {
  return std::make_unique<SweepService>(parts);
}

}  // namespace longrun
