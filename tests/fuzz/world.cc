// See world.h.
#include "tests/fuzz/world.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/stubs/logging.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <future>
#include <iterator>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/random.h"
#include "base/str.h"
#include "coordinator/rpc/artifacts.h"
#include "coordinator/rpc/identity.h"
#include "coordinator/rpc/session.h"
#include "coordinator/rpc/sweep_service.h"
#include "coordinator/store/deep_check.h"
#include "longrun/v1/sweeps.pb.h"
#include "model/data/dataset.h"
#include "model/data/dataset_files.h"
#include "model/hugging_face/manifest.h"
#include "pki/certificate.h"
#include "pki/files.h"
#include "sweeps/task.h"
#include "tests/fuzz/calls.h"
#include "tests/fuzz/target.h"

namespace longrun::coordinator {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr std::int64_t kInputsMax = 1000;  // on one copy
constexpr std::int64_t kInputsBetweenNews = 10'000;
constexpr std::int64_t kSeeds = 5;  // of a sweep with work; it has two runs for each
constexpr std::int64_t kFreeBytes = std::int64_t{1} << 30;
constexpr std::int64_t kDayMs = 24 * 3600 * 1000;
constexpr const char* kDepths = "a/b/c/d";  // so that a few ".." do not lead out of the root
constexpr const char* kUnknownUlid = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
constexpr const char* kModelConfig =
    R"({"activation_function":"gelu_new","layer_norm_epsilon":1e-05,
"model_type":"gpt2","n_embd":16,"n_head":2,"n_layer":2,"n_positions":64,"vocab_size":256})";

constexpr std::string_view kStateEntries[] = {"artifacts",
                                              "coordinator.lock",
                                              "database.id",
                                              "datasets",
                                              "dropped_artifacts.json",
                                              "files",
                                              "logs",
                                              "longrun.db",
                                              "longrun.db-mark",
                                              "longrun.db-shm",
                                              "longrun.db-wal",
                                              "pki"};

std::string SweepYaml(std::string_view name, std::int64_t first_seed, std::int64_t n_seeds) {
  std::vector<std::string> seeds;
  for (std::int64_t i = 0; i < n_seeds; ++i) seeds.push_back(Str(first_seed + i));
  return Str("apiVersion: longrun/v1\nkind: Sweep\nmetadata: {name: ", name,
             "}\nspec:\n  model: {architecture: gpt2, size: micro}\n  matrix: {position: "
             "[alibi, rope], train_length: [64], dataset: [words], seed: [",
             Join(seeds, ", "),
             "]}\n  train: {tokens: 20480, batch_tokens: 1024}\n  evaluate:\n"
             "    - perplexity: {context_lengths: [64, 128], split: validation, "
             "protocol: nonoverlap, score_tokens: 2048}\n");
}

// Soon after an input, later ones may have its tasks.
SchedulerLimits Hurried() {
  SchedulerLimits limits;
  limits.offer_ms = 250;
  limits.back_off = {.base_ms = 1, .limit_ms = 10};
  return limits;
}

std::string WordSalad(std::uint64_t seed, std::size_t n_bytes) {
  SeededRandom random(seed);
  std::string text;
  while (text.size() < n_bytes) {
    for (std::uint64_t n = 2 + random.Below(6); n > 0; --n) {
      text += static_cast<char>('a' + random.Below(26));
    }
    text += random.Chance(0.1) ? '\n' : ' ';
  }
  return text;
}

template <typename Request>
void Do(LocalCoordinator& daemon, const Request& request, Message* response = nullptr) {
  const grpc::Status status =
      CallMethod(daemon, {.is_local = true}, /*is_gone=*/false, request, response);
  if (status.ok()) return;
  std::fprintf(stderr, "the world cannot be made: %s\n", status.error_message().c_str());
  LR_CHECK(status.ok());
}

std::string Put(LocalCoordinator& daemon, const std::string& bytes) {
  v1::UploadArtifactRequest frame;
  frame.set_sha256(Sha256Hex(bytes));
  frame.set_total_bytes(std::ssize(bytes));
  frame.set_data(bytes);
  LR_CHECK(CallUpload(daemon, {.is_local = true}, /*is_gone=*/false, {&frame}).ok());
  return frame.sha256();
}

std::string NewRoot() {
  struct statvfs memory {};
  const bool has_room = statvfs("/dev/shm", &memory) == 0 &&
                        memory.f_bavail * memory.f_frsize >= (std::uint64_t{128} << 20);
  const char* const temporary = std::getenv("TMPDIR");
  std::string path = JoinPath(has_room               ? "/dev/shm"
                              : temporary != nullptr ? temporary
                                                     : "/tmp",
                              "longrun-fuzz-XXXXXX");
  LR_CHECK(mkdtemp(path.data()) != nullptr);
  return path;
}

// A program that ends as it should leaves nothing.
std::string& RootToRemove() {
  static auto& root = *new std::string();
  return root;
}
void RemoveRoot() { (void)RemoveAll(RootToRemove()); }

// The offers that a worker gets.
class Offers final : public SessionSink {
 public:
  void Send(DownMessage message) override {
    const auto* const start = std::get_if<StartMessage>(&message);
    if (start == nullptr) return;
    const std::lock_guard lock(mutex_);
    tasks_.push_back(TaskFile::FromJson(ParseJson(start->task_json).value()).value());
    changed_.notify_all();
  }
  void Close(const std::string&) override {}
  TaskFile Next() {
    std::unique_lock lock(mutex_);
    LR_CHECK(changed_.wait_for(lock, RpcEnd::kPatience, [&] { return !tasks_.empty(); }));
    TaskFile task = std::move(tasks_.front());
    tasks_.pop_front();
    return task;
  }

 private:
  std::mutex mutex_;  // guards tasks_
  std::condition_variable changed_;
  std::deque<TaskFile> tasks_;
};

// The whole journal of an attempt that succeeds. Its checkpoint consists of `blob`.
std::vector<BatchRecord> JournalOf(const TaskFile& task, const std::string& blob) {
  std::vector<BatchRecord> records;
  JournalTally tally;
  const auto add = [&](std::string_view kind, const Json& body, const Json& step = nullptr) {
    std::string text = CanonicalJson(
        {{"body", body}, {"kind", kind}, {"seq", records.size() + 1}, {"step", step}, {"t_ms", 1}});
    text.pop_back();
    BatchRecord& record = records.emplace_back();
    record.line = CloseJournalLine(text);
    record.record = ParseJournalLine(record.line).value();
    tally.Add(record.record.kind, record.line);
  };
  add("attempt", {{"format", 1}, {"attempt", task.attempt}, {"task", task.task}});
  add("started", {{"version", "0.1.0"}, {"steps", 20}});
  if (task.kind == TaskKind::kTrain) {
    for (int step = 1; step <= 4; ++step) add("series", {{"loss", 4.0 - step}}, step);
    add("checkpoint",
        {{"path", "checkpoints/20"},
         {"step", 20},
         {"sha256", Sha256Hex(blob)},
         {"files",
          {{{"name", "manifest.json"}, {"sha256", Sha256Hex(blob)}, {"bytes", blob.size()}}}},
         {"final", true},
         {"best", true}},
        20);
  }
  for (const ExpectedCell& cell : task.expected_cells) {
    add("result", {{"cell", cell.cell},
                   {"metric", cell.metric},
                   {"context_length", cell.context_length},
                   {"split", "validation"},
                   {"protocol", "nonoverlap"},
                   {"averaging", "token"},
                   {"depth", nullptr},
                   {"variant", cell.variant.empty() ? Json() : Json(cell.variant)},
                   {"value", 2.5},
                   {"se", 0.01},
                   {"n", 1000},
                   {"nll_sum", 2500.0},
                   {"bytes", 1000},
                   {"status", "ok"},
                   {"extra", Json::object()}});
  }
  add("final", tally.Final().ToJson());
  return records;
}

std::unique_ptr<CoordinatorWorld>& SharedWorld() {
  static auto& world = *new std::unique_ptr<CoordinatorWorld>();
  return world;
}

}  // namespace

// ---- the daemon ---------------------------------------------------------------------------------

LocalCoordinator::LocalCoordinator(const std::string& state, bool ticks)
    : store_(Store::Open(state).value()),
      artifacts_(ArtifactStore::Open({.folder = JoinPath(state, "artifacts")}).value()),
      logs_(JoinPath(state, "logs")),
      core_(Core::Start(*store_, *artifacts_, metrics_,
                        {.limits = Hurried(),
                         .disk_free_bytes = []() -> Result<std::int64_t> { return kFreeBytes; },
                         .seed = 1,
                         .on_fatal =
                             [](const Status& status) {
                               std::fprintf(stderr, "the core ends: %s\n",
                                            status.message().c_str());
                               LR_CHECK(status.ok());
                             }})
                .value()),
      access_(*core_, store_->LoadIdentity().value(), {.calls_per_s = 1e9, .calls_burst = 1e9}),
      audit_(*core_),
      calls_(access_, 64),
      authenticator_(MakeAuthenticator(access_, audit_, calls_)),
      executor_(Executor::Start(*store_, 1, 10'000)),
      parts{.core = *core_,
            .artifacts = *artifacts_,
            .logs = logs_,
            .metrics = metrics_,
            .executor = *executor_,
            .submitter = *executor_,
            .planner = *executor_,
            .receiver = *executor_,
            .transfers = *executor_,
            .log_writer = *executor_,
            .querier = *executor_,
            .ticker = ticker_,
            .overlaps = overlaps_,
            .access = access_,
            .audit = audit_,
            .pilots = pilots_,
            .session_memory = session_memory_,
            .metrics_address = "",
            .query_program = LONGRUN_BIN_DIR "/longrun-answer-query"},
      sweeps(MakeSweepService(parts)),
      sessions(MakeWorkerSessionService(parts)),
      artifact_service(MakeArtifactService(parts)),
      identity(MakeIdentityService(parts)) {
  if (!ticks) ticker_.Stop();
}

LocalCoordinator::~LocalCoordinator() {
  parts.stopping = true;
  ticker_.Stop();
  executor_->Stop();
  core_->Stop();
  LR_CHECK(store_->damaged().empty());
  LR_CHECK(store_->CheckpointWal(true).ok());
}

void LocalCoordinator::Settle() {
  std::promise<void> done;
  LR_CHECK(executor_->PostWithoutReader([&] { done.set_value(); }));
  done.get_future().get();
  LR_CHECK(core_->LookAndWait([](const State&) {}).ok());
}

grpc::Status LocalCoordinator::LetIn(FuzzContext& context, const RpcPeer& peer,
                                     const std::string& method) {
  if (peer.is_local) return grpc::Status::OK;
  const std::string path = Str("/longrun.v1.", method);
  const std::string authorization = Str("Bearer ", peer.token);
  grpc::AuthMetadataProcessor::InputMetadata metadata = {{":path", path}};
  if (!peer.token.empty()) metadata.emplace("authorization", authorization);
  grpc::AuthMetadataProcessor::OutputMetadata consumed, response;
  return authenticator_->Process(metadata, &context.connection(), &consumed, &response);
}

// ---- the world ----------------------------------------------------------------------------------

CoordinatorWorld::CoordinatorWorld(bool ticks) : ticks_(ticks), root_(NewRoot()) {
  google::protobuf::SetLogHandler(nullptr);
  RootToRemove() = root_;
  LR_CHECK(std::atexit(&RemoveRoot) == 0);
  state_ = JoinPath(root_, Str(kDepths, "/state"));
  words_ = {{"@root", root_}, {"@state", state_}};
  MakeTemplate();
  LR_CHECK(MakeFolders(JoinPath(root_, kDepths)).ok());
  LR_CHECK(MakeFolders(JoinPath(root_, "inputs")).ok());
  entries_ = ListFolder(root_).value();
  TakeCopy();
}

CoordinatorWorld& CoordinatorWorld::Shared(bool ticks) {
  if (SharedWorld() == nullptr) {
    SharedWorld() = std::make_unique<CoordinatorWorld>(ticks);
    // The daemon must end before RemoveRoot takes its folder, and before the destruction of what it
    // has used until here.
    LR_CHECK(std::atexit(&LongrunFuzzFinish) == 0);
  }
  return *SharedWorld();
}

CoordinatorWorld::~CoordinatorWorld() {
  CheckCopy();
  LR_CHECK(RemoveAll(root_).ok());
}

void CoordinatorWorld::MakeTemplate() {
  const std::string state = JoinPath(root_, "template");
  LR_CHECK(MakeFolders(state, 0700).ok());
  LR_CHECK(InitPki(state, {"localhost"}, WallMs()).ok());
  const std::string train = JoinPath(root_, "train.txt");
  const std::string validation = JoinPath(root_, "validation.txt");
  LR_CHECK(WriteFileAtomic(train, WordSalad(1, 40'000)).ok());
  LR_CHECK(WriteFileAtomic(validation, WordSalad(2, 8'000)).ok());
  LR_CHECK(ImportText({.splits = {{"train", {train}}, {"validation", {validation}}}},
                      JoinPath(root_, "words"))
               .ok());

  daemon_ = std::make_unique<LocalCoordinator>(state, ticks_);
  RegisterData();
  v1::SubmitSweepRequest submit;
  v1::SubmitSweepResponse submitted;
  submit.set_yaml(SweepYaml("ended", 1, 1));
  submit.set_file_name("ended.yaml");
  Do(*daemon_, submit, &submitted);
  words_["@sweep"] = submitted.sweep_id();
  CarryOut(4);
  AddWork();
  first_busy_ = busy_sweep();

  const auto new_token = [&](const std::string& role) {
    v1::CreateTokenRequest create;
    create.set_role(role);
    create.set_valid_ms(30 * kDayMs);
    v1::CreateTokenResponse created;
    Do(*daemon_, create, &created);
    return created;
  };
  peers_[fuzz::CALLER_LOCAL] = {.is_local = true};
  peers_[fuzz::CALLER_ADMIN] = {.token = new_token("admin").token()};
  peers_[fuzz::CALLER_OPERATOR] = {.token = new_token("operator").token()};
  peers_[fuzz::CALLER_SUBMITTER] = {.token = new_token("submitter").token()};
  peers_[fuzz::CALLER_UNKNOWN_WORKER] = workers_[2];
  peers_[fuzz::CALLER_UNKNOWN_WORKER].common_name = "worker-9";
  peers_[fuzz::CALLER_JOIN_TOKEN] = {.token = new_token("worker").token()};
  peers_[fuzz::CALLER_NOBODY] = {};
  const v1::CreateTokenResponse viewer = new_token("viewer"), revoked = new_token("admin");
  peers_[fuzz::CALLER_VIEWER] = {.token = viewer.token()};
  peers_[fuzz::CALLER_REVOKED_TOKEN] = {.token = revoked.token()};
  v1::RevokeTokenRequest revoke;
  revoke.set_id(revoked.info().id());
  Do(*daemon_, revoke);
  words_["@token"] = viewer.info().id();
  const std::string key = NewPrivateKey().value();
  words_["@csr"] = NewSigningRequest(key, "worker").value();
  for (const std::uint32_t stream : {2U, 3U}) {
    v1::JoinWorkerRequest join;
    join.set_token(new_token("worker").token());
    RpcPeer& worker = workers_[stream];
    worker.common_name = Str("worker-", stream);
    join.set_worker_id(worker.common_name);
    join.set_signing_request(words_["@csr"]);
    v1::JoinWorkerResponse joined;
    Do(*daemon_, join, &joined);
    worker.certificate = joined.certificate();
  }
  peers_[fuzz::CALLER_WORKER] = PeerOfStream(2);
  words_["@join"] = new_token("worker").token();
  daemon_.reset();
}

void CoordinatorWorld::RegisterData() {
  const std::string folder = JoinPath(root_, "words");
  v1::RegisterDatasetRequest dataset;
  dataset.set_name("words");
  dataset.set_folder(folder);
  Do(*daemon_, dataset);
  const DatasetListing listing = ListDataset(folder).value();
  words_["@dataset"] = listing.digest;
  for (std::size_t i = 0; i < listing.files.size(); ++i) {
    Put(*daemon_, ReadFile(JoinPath(folder, listing.files[i].name)).value());
    words_[Str("@file", i)] = listing.files[i].sha256;
  }

  const std::string blob = "a checkpoint's only file";
  words_["@blob"] = Put(*daemon_, blob);
  const std::vector<FolderFile> files = {
      {.name = "config.json",
       .sha256 = Put(*daemon_, kModelConfig),
       .n_bytes = std::ssize(std::string_view(kModelConfig))},
      {.name = "model.safetensors", .sha256 = words_["@blob"], .n_bytes = std::ssize(blob)}};
  v1::RegisterModelRequest model;
  model.set_name("imported");
  model.set_sha256(Put(*daemon_, FolderManifest(files)));
  model.set_source("/models/imported");
  Do(*daemon_, model);
  words_["@manifest"] = model.sha256();
}

void CoordinatorWorld::Renew() {
  Core& core = daemon_->parts.core;
  const std::string sweep = busy_sweep();
  RetryRequested retry{.sweep_id = sweep, .tasks = {}};
  LR_CHECK(core.LookAndWait([&](const State& state) {
                 const auto& tasks = state.sweep_tasks.at(sweep);
                 retry.tasks.assign(tasks.begin(), tasks.end());
               })
               .ok());
  LR_CHECK(core.PostAndWait(std::move(retry)).status.ok());
  LR_CHECK(core.PostAndWait(SweepResumed{.sweep_id = sweep}).status.ok());
}

void CoordinatorWorld::AddWork() {
  n_sweeps_ += 1;
  v1::SubmitSweepRequest submit;
  v1::SubmitSweepResponse submitted;
  submit.set_yaml(SweepYaml(Str("busy", n_sweeps_), kSeeds * n_sweeps_, kSeeds));
  submit.set_file_name("busy.yaml");
  Do(*daemon_, submit, &submitted);
  words_["@busy"] = submitted.sweep_id();
}

void CoordinatorWorld::CarryOut(std::size_t n_tasks) {
  Core& core = daemon_->parts.core;
  const auto offers = std::make_shared<Offers>();
  const SessionId session = core.AddSession(offers);
  WorkerArrived arrived{.session = session, .worker = {}, .attempts = {}};
  arrived.worker.id = "worker-0";
  arrived.worker.incarnation = kUnknownUlid;
  arrived.worker.host = "machine";
  arrived.worker.version = "0.1.0";
  arrived.worker.slots = {{.index = 0,
                           .kind = DeviceKind::kCpu,
                           .name = "EPYC",
                           .memory_bytes = std::int64_t{8} << 30,
                           .threads = 1,
                           .simd = "avx2",
                           .linear = "aten/AuthenticAMD"}};
  LR_CHECK(core.PostAndWait(arrived).status.ok());
  for (; n_tasks > 0; --n_tasks) {
    const TaskFile task = offers->Next();
    words_["@attempt"] = task.attempt;
    words_["@task"] = task.task;
    words_["@run"] = task.run_key;
    LR_CHECK(core.PostAndWait(AttemptAccepted{
                                  .session = session, .attempt = task.attempt, .epoch = task.epoch})
                 .status.ok());
    JournalReceived journal{.session = session,
                            .attempt = task.attempt,
                            .epoch = task.epoch,
                            .first_seq = 1,
                            .records = JournalOf(task, "a checkpoint's only file")};
    AttemptFinished finished;
    finished.session = session;
    finished.attempt = task.attempt;
    finished.epoch = task.epoch;
    finished.last_seq = std::ssize(journal.records);
    finished.evidence.exit_known = true;
    LR_CHECK(core.PostAndWait(std::move(journal)).status.ok());
    LR_CHECK(core.PostAndWait(std::move(finished)).status.ok());
    LR_CHECK(daemon_->parts.logs.Append(task.attempt, 0, "a line of its log, with \xff\n").ok());
  }
  core.RemoveSession(session);
}

void CoordinatorWorld::TakeCopy() {
  daemon_.reset();
  LR_CHECK(RemoveAll(state_).ok());
  std::filesystem::copy(
      JoinPath(root_, "template"), state_,
      std::filesystem::copy_options::recursive | std::filesystem::copy_options::copy_symlinks);
  LR_CHECK(RemoveAll(JoinPath(root_, "inputs")).ok());
  LR_CHECK(MakeFolders(JoinPath(root_, "inputs")).ok());
  daemon_ = std::make_unique<LocalCoordinator>(state_, ticks_);
  words_["@busy"] = first_busy_;
  n_sweeps_ = 1;
  n_inputs_ = 0;
  is_used_up_ = false;
}

// Hostile input must not leave damage for the next start.
void CoordinatorWorld::CheckCopy() {
  daemon_.reset();
  const Result<DeepCheck> check = CheckDeep(state_);
  LR_CHECK(check.ok());
  for (const DamagedObject& object : check->damaged) {
    std::fprintf(stderr, "damaged: %s\n", object.object.c_str());
  }
  LR_CHECK(check->damaged.empty());
}

void CoordinatorWorld::Begin(std::string_view input) {
  if (is_used_up_ || n_inputs_ >= kInputsMax) {
    CheckCopy();
    TakeCopy();
  }
  if (++n_inputs_ever_ % kInputsBetweenNews == 0) {
    const double s = static_cast<double>(BootMs() - began_at_) / 1000;
    std::fprintf(stderr, "%s %d: %lld inputs, %.0f a second\n", program_invocation_short_name,
                 getpid(), static_cast<long long>(n_inputs_ever_),
                 static_cast<double>(n_inputs_ever_) / s);
  }
  char name[16];
  std::snprintf(name, sizeof name, "%06d", static_cast<int>(n_inputs_++));
  std::FILE* const file = std::fopen(JoinPath(root_, Str("inputs/", name)).c_str(), "w");
  LR_CHECK(file != nullptr);
  LR_CHECK(std::fwrite(input.data(), 1, input.size(), file) == input.size());
  LR_CHECK(std::fclose(file) == 0);
}

void CoordinatorWorld::End(bool is_used_up) {
  daemon_->Settle();
  CheckFolders();
  CheckNames();
  is_used_up_ = is_used_up;
}

// Nothing is made outside the state folder, and in it nothing beside what belongs there.
void CoordinatorWorld::CheckFolders() const {
  LR_CHECK(ListFolder(root_).value() == entries_);
  const std::vector<std::string> depths = Split(Str(kDepths, "/state"), '/');
  std::string at = JoinPath(root_, depths.front());
  for (std::size_t i = 1; i < depths.size(); ++i) {
    LR_CHECK(ListFolder(at).value() == std::vector<std::string>{depths[i]});
    at = JoinPath(at, depths[i]);
  }
  const std::vector<std::string> entries = ListFolder(state_).value();
  for (const std::string& name : entries) {
    if (std::ranges::find(kStateEntries, name) != std::end(kStateEntries)) continue;
    std::fprintf(stderr, "not expected in the state folder: %s\n", name.c_str());
    LR_CHECK(false);
  }
}

// No name that came from outside may lead elsewhere when it becomes part of a path.
void CoordinatorWorld::CheckNames() {
  std::vector<std::string> names;
  CoordinatorParts& parts = daemon_->parts;
  LR_CHECK(parts.core
               .LookAndWait([&](const State& state) {
                 for (const auto& [id, worker] : state.workers) names.push_back(id);
               })
               .ok());
  for (const DatasetRow& dataset : parts.core.datasets()) names.push_back(dataset.info.name);
  for (const ModelRow& model : parts.core.models()) names.push_back(model.name);
  for (const v1::PilotInfo& pilot : parts.pilots.List(BootMs())) names.push_back(pilot.name());
  for (const std::string& name : names) {
    if (IsSafeName(name)) continue;
    std::fprintf(stderr, "not a name: \"%s\"\n", name.c_str());
    LR_CHECK(false);
  }
}

std::int64_t CoordinatorWorld::BytesOf(const std::string& sha256) const {
  const Result<ArtifactStore::Found> found = daemon_->parts.artifacts.Find(sha256);
  return found.ok() ? found->n_bytes : 0;
}

RpcPeer CoordinatorWorld::PeerOf(fuzz::Caller caller) const {
  const auto found = peers_.find(caller);
  return found == peers_.end() ? RpcPeer() : found->second;
}

RpcPeer CoordinatorWorld::PeerOfStream(std::uint32_t stream) const {
  const auto found = workers_.find(stream);
  return found == workers_.end() ? RpcPeer{.is_local = true} : found->second;
}

std::string CoordinatorWorld::Expand(std::string_view text, const Words& more) const {
  std::string expanded;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t next = std::min(text.find('@', at), text.size());
    expanded += text.substr(at, next - at);
    at = next;
    if (at == text.size()) break;
    std::size_t end = at + 1;
    while (end < text.size() &&
           ((text[end] >= 'a' && text[end] <= 'z') || (text[end] >= '0' && text[end] <= '9'))) {
      end += 1;
    }
    const std::string_view word = text.substr(at, end - at);
    const auto own = more.find(word);
    const auto common = words_.find(word);
    if (own != more.end()) {
      expanded += own->second;
    } else if (common != words_.end()) {
      expanded += common->second;
    } else {
      expanded += word;
    }
    at = end;
  }
  return expanded;
}

void CoordinatorWorld::Expand(Message& message, const Words& more) const {
  const auto& access = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  access.ListFields(message, &fields);
  for (const FieldDescriptor* const field : fields) {
    const int n = field->is_repeated() ? access.FieldSize(message, field) : 1;
    const bool is_text = field->cpp_type() == FieldDescriptor::CPPTYPE_STRING;
    if (!is_text && field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    for (int i = 0; i < n; ++i) {
      if (!is_text) {
        Expand(field->is_repeated() ? *access.MutableRepeatedMessage(&message, field, i)
                                    : *access.MutableMessage(&message, field),
               more);
        continue;
      }
      const std::string text = field->is_repeated() ? access.GetRepeatedString(message, field, i)
                                                    : access.GetString(message, field);
      if (text.find('@') == std::string::npos) continue;
      if (field->is_repeated()) {
        access.SetRepeatedString(&message, field, i, Expand(text, more));
      } else {
        access.SetString(&message, field, Expand(text, more));
      }
    }
  }
}

std::vector<std::string> HostileWords() {
  return {"",
          ".",
          "..",
          "../x",
          "../../x",
          "../../../../../x",
          "/x",
          "@root/x",
          "@state/x",
          "a/../../x",
          "datasets/../x",
          "..\\x",
          ".hidden",
          "-x",
          "a\nb",
          "a\x1b[2Jb",
          std::string("a\0b", 3),
          "\xc3\xa9",
          "\xe2\x80\xae",
          "%s%n",
          "'; DROP TABLE task; --",
          "*",
          "%",
          "NaN",
          "1e999",
          "worker-0",
          "worker-1",
          "worker-2",
          "worker-3",
          "words",
          "imported",
          "ended",
          "busy",
          "datasets",
          "hold",
          "cpu",
          "gpu",
          "last",
          "best",
          "loss",
          "data",
          "storage",
          "manifest.json",
          "dataset.json",
          "01ARZ3NDEKTSV4RRFFQ69G5FAV",
          "sha256:@blob",
          "@sweep",
          "@busy",
          "@run",
          "@task",
          "@attempt",
          "@dataset",
          "@manifest",
          "@blob",
          "@file0",
          "@file1",
          "@file2",
          "@file3",
          "@join",
          "@csr",
          "@token"};
}

}  // namespace longrun::coordinator

// At exit, the thread_local variables of the main thread are destroyed already, so another thread
// destroys the world.
void LongrunFuzzFinish() {
  std::thread([] { longrun::coordinator::SharedWorld().reset(); }).join();
}
