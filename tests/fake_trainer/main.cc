// longrun-fake-trainer: keeps the trainer's contract (task file, journal, checkpoints, exit codes,
// SIGTERM) without LibTorch. Its numbers are formula.h; a resumed run gives the same ones, and a
// checkpoint that does not hold is refused.
//
//   longrun-fake-trainer task TASK_FILE
//
// How it behaves stands in CACHE_DIR/behaviour.json, where cache_dir is the task file's; without
// the file it does well. "seeds" names behaviours by the run's seed, over "default":
//
//   {"default": {"ms_per_step": 1}, "seeds": {"7": {"fault": "crash", "fault_step": 3}}}
//
//   steps             of training; default: the run's own number, at most 20
//   ms_per_step       2      each step of training, and each evaluated cell
//   checkpoint_every  5      steps; the end always has one
//   checkpoint_bytes  65536  of its "weights" file
//   gate              ""     a step waits as long as the file CACHE_DIR/GATE is there
//   text_error        ""     of a row: "window" as of an earlier version, "block" as of this one
//   fault             ""     one of:
//     crash         abort() at fault_step
//     kill          SIGKILL to itself at fault_step
//     nan           a `failed` record of class numerical and exit 80 at fault_step
//     exit          exits with fault_exit_code at fault_step
//     no_final      exits with 0 without a final record
//     wrong_digest  a final record whose digest does not hold
//     missing_rows  evaluates all cells but the last
//     wrong_bytes   the last checkpoint's record has a digest that its file does not have
//     hang          never ends from fault_step on
//     ignore_stop   does not listen to SIGTERM
//     huge_log      writes 4 MiB to stderr at fault_step
//   fault_step        1      of training; for an evaluation, the cell (from 1)
//   fault_exit_code   70
//   fault_attempts    1e9    the fault strikes attempts n = 1 ... fault_attempts only
//   fault_kind        ""     train or evaluate; "" for both
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/status.h"
#include "base/str.h"
#include "base/version.h"
#include "sweeps/event.h"
#include "sweeps/task.h"
#include "tests/fake_trainer/formula.h"

namespace longrun {
namespace {

constexpr int kExitYielded = 75;
constexpr int kExitData = 65;
constexpr int kExitStorage = 74;
constexpr int kExitInvalid = 78;
constexpr int kExitNumerical = 80;

volatile sig_atomic_t g_stop = 0;
void OnStop(int) { g_stop = 1; }

struct Behaviour {
  std::int64_t steps = 0;
  std::int64_t ms_per_step = 2;
  std::int64_t checkpoint_every = 5;
  std::int64_t checkpoint_bytes = 65536;
  std::string gate;
  std::string text_error;
  std::string fault;
  std::int64_t fault_step = 1;
  std::int64_t fault_exit_code = 70;
  std::int64_t fault_attempts = 1'000'000'000;
  std::string fault_kind;
};

Status ReadBehaviour(const Json& json, Behaviour& behaviour) {
  const std::pair<const char*, std::int64_t*> numbers[] = {
      {"steps", &behaviour.steps},
      {"ms_per_step", &behaviour.ms_per_step},
      {"checkpoint_every", &behaviour.checkpoint_every},
      {"checkpoint_bytes", &behaviour.checkpoint_bytes},
      {"fault_step", &behaviour.fault_step},
      {"fault_exit_code", &behaviour.fault_exit_code},
      {"fault_attempts", &behaviour.fault_attempts}};
  const std::pair<const char*, std::string*> texts[] = {{"gate", &behaviour.gate},
                                                        {"text_error", &behaviour.text_error},
                                                        {"fault", &behaviour.fault},
                                                        {"fault_kind", &behaviour.fault_kind}};
  for (const auto& [key, value] : json.items()) {
    bool known = false;
    for (const auto& [name, number] : numbers) {
      if (key != name) continue;
      ASSIGN_OR_RETURN(*number, GetInt(json, key, "behaviour"));
      known = true;
    }
    for (const auto& [name, text] : texts) {
      if (key != name) continue;
      ASSIGN_OR_RETURN(*text, GetString(json, key, "behaviour"));
      known = true;
    }
    if (!known) return Status(Code::kInvalidArgument, Str("behaviour.", key, ": unknown key"));
  }
  return Status();
}

Result<Behaviour> BehaviourFor(const TaskFile& task) {
  Behaviour behaviour;
  behaviour.steps = std::min<std::int64_t>(20, task.run.train.steps());
  const std::string path = JoinPath(task.cache_dir, "behaviour.json");
  if (PathExists(path)) {
    ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
    ASSIGN_OR_RETURN(const Json json, ParseJson(text));
    if (json.contains("default")) RETURN_IF_ERROR(ReadBehaviour(json["default"], behaviour));
    const std::string seed = Str(task.run.seed);
    if (json.contains("seeds") && json["seeds"].contains(seed)) {
      RETURN_IF_ERROR(ReadBehaviour(json["seeds"][seed], behaviour));
    }
  }
  const auto n = static_cast<std::int64_t>(task.epoch & 0xffffffffu);
  const bool other_kind =
      !behaviour.fault_kind.empty() && behaviour.fault_kind != EnumName(task.kind);
  if (n > behaviour.fault_attempts || other_kind) behaviour.fault.clear();
  return behaviour;
}

// A safetensors file with one tensor of int64: the weights, then bytes that follow from them.
std::string WeightsFile(std::uint64_t weights, std::int64_t n_bytes) {
  const std::int64_t n_words = std::max<std::int64_t>(1, n_bytes / 8);
  std::string header = CanonicalJson(
      {{"weights", {{"dtype", "I64"}, {"shape", {n_words}}, {"data_offsets", {0, n_words * 8}}}}});
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const std::uint64_t header_bytes = header.size();
  std::string file(reinterpret_cast<const char*>(&header_bytes), 8);
  file += header;
  for (std::int64_t i = 0; i < n_words; ++i) {
    const std::uint64_t word = i == 0 ? weights : Sm64(weights + static_cast<std::uint64_t>(i));
    file.append(reinterpret_cast<const char*>(&word), 8);
  }
  return file;
}

Result<std::uint64_t> WeightsOf(const std::string& file) {
  std::uint64_t header_bytes = 0, weights = 0;
  if (file.size() < 16) return Status(Code::kDataLoss, "the weights file is too short");
  std::memcpy(&header_bytes, file.data(), 8);
  if (header_bytes > file.size() - 16) return Status(Code::kDataLoss, "the weights file is torn");
  std::memcpy(&weights, file.data() + 8 + header_bytes, 8);
  return weights;
}

// The weights of a checkpoint folder, with every digest checked.
Result<std::uint64_t> LoadCheckpoint(const CheckpointRef& ref) {
  ASSIGN_OR_RETURN(const std::string manifest, ReadFile(JoinPath(ref.checkpoint, "manifest.json")));
  if (Sha256Hex(manifest) != ref.sha256) {
    return Status(Code::kDataLoss, Str(ref.checkpoint, "/manifest.json is not ", ref.sha256));
  }
  ASSIGN_OR_RETURN(const Json json, ParseJson(manifest));
  for (const auto& [name, digest] : json["files"].items()) {
    ASSIGN_OR_RETURN(const std::string found, Sha256OfFile(JoinPath(ref.checkpoint, name)));
    if (const auto expected = digest.get<std::string>(); found != expected) {
      return Status(Code::kDataLoss, Str(ref.checkpoint, "/", name, " is not ", expected));
    }
  }
  ASSIGN_OR_RETURN(const std::string file, ReadFile(JoinPath(ref.checkpoint, "model.safetensors")));
  return WeightsOf(file);
}

class FakeTrainer {
 public:
  FakeTrainer(TaskFile task, Behaviour behaviour, JournalWriter journal)
      : task_(std::move(task)),
        behaviour_(std::move(behaviour)),
        journal_(std::move(journal)),
        position_(task_.run.model.position.method) {}

  Result<int> Work() {
    RETURN_IF_ERROR(journal_.Append(RecordKind::kAttempt,
                                    {{"format", 1},
                                     {"attempt", task_.attempt},
                                     {"task", task_.task},
                                     {"run_key", task_.run_key},
                                     {"epoch", Str(task_.epoch)},
                                     {"kind", EnumName(task_.kind)},
                                     {"resume", task_.resume ? task_.resume->ToJson() : Json()}}));
    RETURN_IF_ERROR(journal_.Append(
        RecordKind::kStarted, {{"version", kVersion},
                               {"commit", BuildCommit()},
                               {"numerics", kNumericsVersion},
                               {"torch", "none"},
                               {"device", {{"kind", "cpu"}, {"name", "fake"}, {"memory_bytes", 0}}},
                               {"parameters", task_.run.model.ParameterCount()},
                               {"execution", task_.execution.ToJson()},
                               {"pid", getpid()},
                               {"steps", behaviour_.steps}}));
    if (behaviour_.fault == "ignore_stop") signal(SIGTERM, SIG_IGN);
    ASSIGN_OR_RETURN(const int code, task_.kind == TaskKind::kTrain ? Train() : Evaluate());
    if (code != 0 || behaviour_.fault == "no_final") return code;
    RETURN_IF_ERROR(Finish());
    return 0;
  }

 private:
  Status Finish() {
    if (behaviour_.fault != "wrong_digest") return journal_.Finish();
    return journal_.Append(RecordKind::kFinal,
                           {{"counts", Json::object()}, {"digest", std::string(64, '0')}});
  }

  // One step's time; a signal ends it early.
  void Spend() {
    const std::string gate = JoinPath(task_.cache_dir, behaviour_.gate);
    poll(nullptr, 0, static_cast<int>(behaviour_.ms_per_step));
    while (!behaviour_.gate.empty() && PathExists(gate) && g_stop == 0) poll(nullptr, 0, 5);
  }

  // The exit code when the program is to end now.
  Result<std::optional<int>> Strike(std::int64_t step) {
    if (step != behaviour_.fault_step) return std::optional<int>();
    const std::string& fault = behaviour_.fault;
    if (fault == "crash") std::abort();
    if (fault == "kill") kill(getpid(), SIGKILL);
    if (fault == "exit") return std::optional<int>(static_cast<int>(behaviour_.fault_exit_code));
    if (fault == "huge_log") std::cerr << std::string(4u << 20, 'x') << std::endl;
    while (fault == "hang" && g_stop == 0) poll(nullptr, 0, 1000);
    if (fault != "nan") return std::optional<int>();
    RETURN_IF_ERROR(journal_.Append(RecordKind::kFailed,
                                    {{"class", "numerical"},
                                     {"message", Str("the loss is NaN at step ", step)},
                                     {"where", "fake"}},
                                    step));
    return std::optional<int>(kExitNumerical);
  }

  Result<int> Train() {
    std::uint64_t weights = FakeWeightsAtStart(task_.run.seed, position_);
    std::int64_t step = 0;
    if (task_.resume) {
      ASSIGN_OR_RETURN(weights, LoadCheckpoint(*task_.resume));
      step = task_.resume->step;
    }
    const std::int64_t steps = behaviour_.steps;
    const double tokens_per_s =
        1000.0 * static_cast<double>(task_.run.train.batch_tokens) /
        static_cast<double>(std::max<std::int64_t>(1, behaviour_.ms_per_step));
    std::int64_t saved_step = -1;
    while (step < steps && g_stop == 0) {
      Spend();
      weights = FakeStep(weights, step);
      step += 1;
      RETURN_IF_ERROR(journal_.Append(RecordKind::kSeries,
                                      {{"loss", FakeLoss(weights, step)},
                                       {"lr", task_.run.train.optimizer.lr},
                                       {"grad_norm", FakeUnit(weights)},
                                       {"tokens_per_s", tokens_per_s}},
                                      step));
      ASSIGN_OR_RETURN(const std::optional<int> end, Strike(step));
      if (end) return *end;
      if (step < steps && step % behaviour_.checkpoint_every == 0) {
        RETURN_IF_ERROR(Save(weights, step, /*final=*/false));
        saved_step = step;
        RETURN_IF_ERROR(Progress("train", step, steps, tokens_per_s));
      }
    }
    if (step < steps) {
      if (saved_step != step) RETURN_IF_ERROR(Save(weights, step, /*final=*/false));
      return kExitYielded;
    }
    RETURN_IF_ERROR(Save(weights, step, /*final=*/true));
    RETURN_IF_ERROR(Progress("train", step, steps, tokens_per_s));
    return 0;
  }

  Status Progress(std::string_view phase, std::int64_t done, std::int64_t of, double tokens_per_s) {
    return journal_.Append(RecordKind::kProgress,
                           {{"phase", phase},
                            {"done", done},
                            {"of", of},
                            {"tokens_per_s", tokens_per_s},
                            {"eta_ms", (of - done) * behaviour_.ms_per_step}},
                           done);
  }

  Status Save(std::uint64_t weights, std::int64_t step, bool final) {
    const std::string name = Str("checkpoints/step-", step);
    const std::string folder = JoinPath(task_.attempt_dir, name);
    const std::string temporary = folder + ".tmp";
    RETURN_IF_ERROR(RemoveAll(temporary));
    RETURN_IF_ERROR(MakeFolder(FolderOf(folder)));
    RETURN_IF_ERROR(MakeFolder(temporary));
    const std::pair<std::string, std::string> contents[] = {
        {"config.json", CanonicalJson({{"model_type", "fake"}, {"position", position_}})},
        {"model.safetensors", WeightsFile(weights, behaviour_.checkpoint_bytes)},
        {"state.json", CanonicalJson({{"step", step}, {"seed", task_.run.seed}})}};
    Json manifest = {{"files", Json::object()}};
    Json files = Json::array();
    const auto add = [&](const std::string& file, const std::string& bytes) -> Status {
      RETURN_IF_ERROR(WriteFileAtomic(JoinPath(temporary, file), bytes));
      files.push_back({{"name", file}, {"sha256", Sha256Hex(bytes)}, {"bytes", bytes.size()}});
      return Status();
    };
    for (const auto& [file, bytes] : contents) {
      RETURN_IF_ERROR(add(file, bytes));
      manifest["files"][file] = Sha256Hex(bytes);
    }
    const std::string manifest_bytes = CanonicalJson(manifest);
    RETURN_IF_ERROR(add("manifest.json", manifest_bytes));
    if (final && behaviour_.fault == "wrong_bytes") files[1]["sha256"] = std::string(64, '0');
    Failpoint("trainer_mid_checkpoint");
    RETURN_IF_ERROR(RenameSync(temporary, folder));
    saved_.push_back(folder);
    RETURN_IF_ERROR(journal_.Append(RecordKind::kCheckpoint,
                                    {{"path", name},
                                     {"step", step},
                                     {"sha256", Sha256Hex(manifest_bytes)},
                                     {"files", std::move(files)},
                                     {"final", final},
                                     {"best", false}},
                                    step));
    while (static_cast<std::int64_t>(saved_.size()) > task_.checkpoint_keep) {
      RETURN_IF_ERROR(RemoveAll(saved_.front()));
      saved_.erase(saved_.begin());
    }
    return Status();
  }

  // What a row says of its error.
  Json Extra(double nll) const {
    if (behaviour_.text_error.empty()) return Json::object();
    Json extra = {{"clusters", behaviour_.text_error}, {"n_clusters", 2}};
    if (behaviour_.text_error != "block") return extra;
    const Json n = {kFakeScored / 2, kFakeScored - kFakeScored / 2};
    extra["df"] = 1;
    extra["blocks"] = {
        {"begin", {0, kFakeScored / 2}}, {"n", n}, {"nll", {nll - 0.01, nll + 0.01}}};
    return extra;
  }

  Result<int> Evaluate() {
    ASSIGN_OR_RETURN(const std::uint64_t weights, LoadCheckpoint(*task_.init));
    const Json params = task_.evaluation.begin().value();
    const Json protocol = params.value("protocol", Json());
    const std::string split =
        params.contains("split") ? params["split"].get<std::string>() : "validation";
    std::int64_t n_cells = static_cast<std::int64_t>(task_.expected_cells.size());
    if (behaviour_.fault == "missing_rows") n_cells -= 1;
    for (std::int64_t i = 0; i < n_cells; ++i) {
      Spend();
      if (g_stop != 0) return kExitYielded;
      ASSIGN_OR_RETURN(const std::optional<int> end, Strike(i + 1));
      if (end) return *end;
      const ExpectedCell& cell = task_.expected_cells[static_cast<std::size_t>(i)];
      const double nll = FakeNll(weights, cell.variant.empty() ? position_ : cell.variant,
                                 task_.run.train.train_length, cell.context_length);
      RETURN_IF_ERROR(journal_.Append(
          RecordKind::kResult, {{"cell", cell.cell},
                                {"metric", cell.metric},
                                {"context_length", cell.context_length},
                                {"split", split},
                                {"protocol", protocol},
                                {"averaging", "token"},
                                {"depth", cell.depth ? Json(*cell.depth) : Json()},
                                {"variant", cell.variant.empty() ? Json() : Json(cell.variant)},
                                {"value", nll},
                                {"se", 0.01},
                                {"n", kFakeScored},
                                {"nll_sum", nll * static_cast<double>(kFakeScored)},
                                {"bytes", kFakeScored},
                                {"status", "ok"},
                                {"extra", Extra(nll)}}));
    }
    const std::string table = Str("doc,n,nll_sum,bytes\n0,", kFakeScored, ",1,", kFakeScored, "\n");
    RETURN_IF_ERROR(WriteFileAtomic(JoinPath(task_.attempt_dir, "documents.csv"), table));
    RETURN_IF_ERROR(journal_.Append(RecordKind::kArtifact, {{"name", "documents"},
                                                            {"path", "documents.csv"},
                                                            {"sha256", Sha256Hex(table)},
                                                            {"bytes", table.size()}}));
    return 0;
  }

  const TaskFile task_;
  const Behaviour behaviour_;
  JournalWriter journal_;
  const std::string position_;
  std::vector<std::string> saved_;  // folders of this attempt, oldest first
};

Result<int> RunTask(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  ASSIGN_OR_RETURN(const Json json, ParseJson(text));
  ASSIGN_OR_RETURN(TaskFile task, TaskFile::FromJson(json));
  ASSIGN_OR_RETURN(Behaviour behaviour, BehaviourFor(task));
  ASSIGN_OR_RETURN(JournalWriter journal,
                   JournalWriter::Create(JoinPath(task.attempt_dir, kJournalName)));
  std::cerr << "fake trainer: attempt " << task.attempt << std::endl;
  return FakeTrainer(std::move(task), std::move(behaviour), std::move(journal)).Work();
}

int Main(int argc, char** argv) {
  // Can it compute on the GPU? A worker asks when it starts.
  if (argc == 2 && std::string_view(argv[1]) == "gpu") return 0;
  if (argc != 3 || std::string_view(argv[1]) != "task") {
    std::cerr << "usage: longrun-fake-trainer gpu | task TASK_FILE\n";
    return 64;
  }
  struct sigaction action = {};
  action.sa_handler = &OnStop;
  sigaction(SIGTERM, &action, nullptr);
  const Result<int> code = RunTask(argv[2]);
  if (code) return *code;
  std::cerr << "longrun-fake-trainer: " << code.status().message() << "\n";
  switch (code.status().code()) {
    case Code::kDataLoss:
    case Code::kNotFound:
      return kExitData;
    case Code::kResourceExhausted:
      return kExitStorage;
    default:
      return kExitInvalid;
  }
}

}  // namespace
}  // namespace longrun

int main(int argc, char** argv) { return longrun::Main(argc, argv); }
