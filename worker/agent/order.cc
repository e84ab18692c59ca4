#include "worker/agent/order.h"

#include <optional>
#include <utility>

#include "base/files.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/process.h"
#include "base/str.h"
#include "base/units.h"
#include "model/data/dataset_files.h"
#include "model/evaluation/evaluation.h"
#include "model/evaluation/input_file.h"
#include "model/hugging_face/manifest.h"
#include "model/instruction_set.h"
#include "model/matrix_path.h"
#include "sweeps/evaluated_dataset.h"
#include "worker/agent/datasets.h"

namespace longrun::agent {
namespace {

// The code paths of an Execution or a Slot, for a message. `attention` and `operators`: of a GPU.
template <typename T>
std::string PathsText(const T& paths, DeviceKind kind, std::string_view attention,
                      std::string_view operators, bool has_wide_head) {
  return Str(paths.linear, " and ", paths.simd,
             paths.bf16.empty() ? std::string() : Str(", bf16 by ", paths.bf16),
             has_wide_head ? ", wide chunks of logits" : "",
             kind == DeviceKind::kGpu ? Str(", attention ", attention, ", operators ", operators)
                                      : std::string());
}

constexpr const char* kManifestFile = "manifest.json";
constexpr const char* kDatasetRemedy =
    "on the coordinator's machine, `longrun data verify NAME` says what is damaged: import the "
    "dataset again";
constexpr const char* kInputFileRemedy = "submit the sweep again with the original file";

Status CheckCheckpoint(const CheckpointSource& source) {
  if (!IsSha256Hex(source.sha256) || source.files.size() > kFolderFilesMax + 1) {
    return Status(Code::kInvalidArgument,
                  Str("checkpoint \"", source.sha256, "\" with ", source.files.size(),
                      " files: expected a SHA-256 and at most ", kFolderFilesMax, " files"));
  }
  bool has_manifest = false;
  for (const ArtifactFile& file : source.files) {
    if (!IsSafeName(file.name) || !IsSha256Hex(file.sha256) || file.n_bytes < 0) {
      return Status(
          Code::kInvalidArgument,
          Str("checkpoint ", source.sha256, ": the file \"", file.name, "\" with SHA-256 \"",
              file.sha256, "\" and ", file.n_bytes, " bytes is not a valid entry"));
    }
    has_manifest |= file.name == kManifestFile && file.sha256 == source.sha256;
  }
  if (has_manifest) return Status();
  return Status(Code::kDataLoss, Str("checkpoint ", source.sha256,
                                     ": no manifest.json with this SHA-256 among its files"));
}

// The datasets that the order names. An older coordinator names only folders.
std::vector<DatasetSource> DatasetsOf(const StartMessage& start, const TaskFile& task) {
  if (!start.datasets.empty()) return start.datasets;
  const std::string problem = "no path was registered";
  std::vector<DatasetSource> datasets = {{.digest = start.dataset_digest,
                                          .files = {},
                                          .problem = problem,
                                          .folder = start.dataset_path}};
  if (const std::optional<EvaluatedDataset> read = EvaluatedDatasetOf(task.evaluation)) {
    datasets.push_back(
        {.digest = read->digest, .files = {}, .problem = problem, .folder = read->path});
  }
  return datasets;
}

class Preparer {
 public:
  Preparer(const StartMessage& start, const TaskFile& task, const std::string& state, Cache& cache,
           ArtifactTransfer& artifacts, const std::atomic<bool>& unwanted)
      : start_(start),
        task_(task),
        datasets_dir_(JoinPath(state, "datasets")),
        cache_(cache),
        artifacts_(artifacts),
        unwanted_(unwanted) {}

  Preparation Run() {
    Status status = Plan();
    if (status.ok()) status = CheckCacheLimit();
    if (status.ok()) status = GetAll();
    if (!status.ok()) return {.prepared = std::move(status), .cache_bytes = cache_bytes_};
    return {.prepared = std::move(prepared_), .cache_bytes = cache_bytes_};
  }

 private:
  // What must be in the cache.
  struct Wanted {
    CacheItem item;
    std::string remedy;        // if its bytes are damaged at the coordinator
    std::string* path;         // where to put the path, in prepared_
    std::string context = {};  // of its errors
  };

  Status Plan() {
    const std::optional<EvaluatedDataset> read = EvaluatedDatasetOf(task_.evaluation);
    for (const DatasetSource& source : DatasetsOf(start_, task_)) {
      const bool is_evaluated = read && read->digest == source.digest;
      const std::string context =
          is_evaluated ? Str("evaluated dataset \"", read->name, "\"") : std::string();
      Status status = PlanDataset(source, is_evaluated ? read->name : task_.dataset_name, context);
      if (!status.ok()) return is_evaluated ? std::move(status).In(context) : status;
    }
    for (const CheckpointSource& source : start_.checkpoints) {
      RETURN_IF_ERROR(CheckCheckpoint(source));
      wanted_.push_back(
          {.item = {.kind = CacheKind::kCheckpoint, .digest = source.sha256, .files = source.files},
           .remedy = "",
           .path = &prepared_.checkpoints[source.sha256]});
    }
    for (const ArtifactFile& file : start_.input_files) {
      if (!IsSha256Hex(file.sha256) || file.name != file.sha256 || file.n_bytes < 0) {
        return Status(Code::kInvalidArgument,
                      Str("the file \"", file.name, "\" of the evaluation with SHA-256 \"",
                          file.sha256, "\" and ", file.n_bytes, " bytes is not a valid entry"));
      }
      wanted_.push_back(
          {.item = {.kind = CacheKind::kInputFile, .digest = file.sha256, .files = {file}},
           .remedy = kInputFileRemedy,
           .path = &prepared_.input_files[InputFileIdOf(file.sha256)]});
    }
    return Status();
  }

  // `context` names the dataset, if it is not the run's own.
  Status PlanDataset(const DatasetSource& source, const std::string& name,
                     const std::string& context) {
    std::string& path = prepared_.datasets[source.digest];
    path = FindDataset(source.digest, datasets_dir_);
    if (!path.empty()) return Status();
    const bool is_cached = cache_.Has(CacheKind::kDataset, source.digest);
    std::string why = source.problem;
    if (!is_cached && !source.folder.empty()) {
      const Status there = CheckDatasetFolder(source.digest, source.folder);
      if (there.ok()) path = source.folder;
      if (there.ok() || there.code() != Code::kNotFound) return there;
      why = there.message();
    }
    if (!is_cached && source.files.empty()) {
      const std::string what = context.empty() ? Str("dataset \"", name, "\" (", source.digest, ")")
                                               : Str("dataset ", source.digest);
      return Status(
          Code::kNotFound,
          Str(what, " is not on this worker: none in ", datasets_dir_, " has this digest, and ",
              why, "; if it was moved, register its new folder with `longrun data register ", name,
              " FOLDER`; else copy or import it again"));
    }
    if (!source.files.empty()) {
      RETURN_IF_ERROR(CheckListing({.digest = source.digest, .files = source.files}));
    }
    wanted_.push_back(
        {.item = {.kind = CacheKind::kDataset, .digest = source.digest, .files = source.files},
         .remedy = kDatasetRemedy,
         .path = &path,
         .context = context});
    return Status();
  }

  Status CheckCacheLimit() {
    for (Wanted& wanted : wanted_) wanted.item.is_linked = artifacts_.IsSharing();
    bool fetches = false;
    std::int64_t n_bytes = 0;
    for (const Wanted& wanted : wanted_) {
      if (wanted.item.is_linked) continue;
      fetches |= !cache_.Has(wanted.item.kind, wanted.item.digest);
      n_bytes += BytesOf(wanted.item.files);
    }
    if (!fetches) return Status();
    cache_bytes_ = n_bytes;
    if (n_bytes <= cache_.bytes_max()) return Status();
    return Status(Code::kResourceExhausted, Str("the task reads ", FormatBytes(n_bytes),
                                                " by way of the worker's cache, which may take ",
                                                FormatBytes(cache_.bytes_max()),
                                                ": start the worker with larger --cache-bytes"));
  }

  Status GetAll() {
    for (const Wanted& wanted : wanted_) {
      // To hash the rest again and again while another order fetches would be of no use.
      if (wanted.item.kind != CacheKind::kDataset && prepared_.waits) return Status();
      Status status = Get(wanted);
      if (!status.ok()) {
        return wanted.context.empty() ? status : std::move(status).In(wanted.context);
      }
    }
    return Status();
  }

  // What the shared folder does not give comes over the network, and the log says why.
  Status Get(const Wanted& wanted) {
    if (!wanted.item.is_linked) return GetItem(wanted, wanted.item);
    const Status linked = GetItem(wanted, wanted.item);
    if (linked.ok() || unwanted_ || IsTransient(linked)) return linked;
    LogWarning("shared_folder_not_used", {{"digest", wanted.item.digest},
                                          {"error", linked.message()},
                                          {"instead", "it is fetched from the coordinator"}});
    CacheItem fetched = wanted.item;
    fetched.is_linked = false;
    return GetItem(wanted, fetched);
  }

  Status GetItem(const Wanted& wanted, const CacheItem& item) {
    const auto receive = [&](const ArtifactFile& file, const std::string& to) {
      return item.is_linked ? artifacts_.Link(file, to, wanted.remedy, unwanted_)
                            : artifacts_.Receive(file, to, wanted.remedy, unwanted_);
    };
    ASSIGN_OR_RETURN(const std::optional<std::string> path,
                     cache_.Get(item, start_.attempt, receive));
    if (!path) prepared_.waits = true;  // another order is fetching it
    *wanted.path = path.value_or("");
    return Status();
  }

  const StartMessage& start_;
  const TaskFile& task_;
  const std::string datasets_dir_;
  Cache& cache_;
  ArtifactTransfer& artifacts_;
  const std::atomic<bool>& unwanted_;
  std::vector<Wanted> wanted_;
  std::int64_t cache_bytes_ = 0;
  Prepared prepared_;
};

}  // namespace

Status CheckStart(const StartMessage& start, const TaskFile& task, const Slot& slot) {
  if (task.attempt != start.attempt || task.epoch != start.epoch ||
      task.run.dataset_digest != start.dataset_digest) {
    return Status(
        Code::kInvalidArgument,
        Str("the task file is for attempt ", task.attempt, " and epoch ", task.epoch,
            ", but the order is for attempt ", start.attempt, " and epoch ", start.epoch));
  }
  const Execution& wanted = task.execution;
  const std::int64_t head_dim = task.run.model.attention_shape().head_dim;
  if (wanted.device_kind != slot.kind || !HonoursMatrixPath(slot.linear, wanted.linear) ||
      (!wanted.simd.empty() && !RunsSimd(slot.simd, wanted.simd)) ||
      (!wanted.bf16.empty() && wanted.bf16 != slot.bf16) ||
      (wanted.head == HeadChunks::kByWidth && !HasWideHead(slot)) ||
      (slot.kind == DeviceKind::kGpu &&
       (wanted.device_name != slot.name ||
        (wanted.attention == AttentionBackend::kFused && head_dim > FusedHeadDimMax(slot)) ||
        (wanted.operators == OperatorSet::kLongrun && !HasOperators(slot))))) {
    return Status(
        Code::kFailedPrecondition,
        Str("the run uses ", EnumName(wanted.device_kind), " \"", wanted.device_name, "\" with ",
            PathsText(wanted, wanted.device_kind, EnumName(wanted.attention),
                      wanted.operators ? EnumName(*wanted.operators) : "of any kind",
                      wanted.head == HeadChunks::kByWidth),
            "; this worker has ", EnumName(slot.kind), " \"", slot.name, "\" with ",
            PathsText(slot, slot.kind, BestAttention(slot, head_dim), BestOperators(slot),
                      HasWideHead(slot)),
            ": the results would not be bit for bit the same"));
  }
  return Status();
}

Preparation PrepareOrder(const StartMessage& start, const TaskFile& task, const std::string& state,
                         Cache& cache, ArtifactTransfer& artifacts,
                         const std::atomic<bool>& unwanted) {
  return Preparer(start, task, state, cache, artifacts, unwanted).Run();
}

Result<TaskFile> PlacedTask(const Order& order, const Prepared& prepared,
                            const AttemptFolder& folder, const std::string& state) {
  TaskFile task = order.task;
  const auto place = [](const std::map<std::string, std::string>& places, const std::string& what,
                        const std::string& name) -> Result<std::string> {
    const auto found = places.find(name);
    if (found != places.end()) return found->second;
    return Status(Code::kInvalidArgument,
                  Str("the order does not say where ", what, " ", name, " of the task file is"));
  };
  for (std::optional<CheckpointRef>* ref : {&task.init, &task.resume}) {
    if (!ref->has_value()) continue;
    ASSIGN_OR_RETURN((*ref)->checkpoint, place(prepared.checkpoints, "checkpoint", (*ref)->sha256));
  }
  ASSIGN_OR_RETURN(task.dataset_path, place(prepared.datasets, "dataset", task.run.dataset_digest));
  if (std::optional<EvaluatedDataset> read = EvaluatedDatasetOf(task.evaluation)) {
    ASSIGN_OR_RETURN(read->path, place(prepared.datasets, "dataset", read->digest));
    task.evaluation = WithEvaluatedDataset(std::move(task.evaluation), *read);
  }
  for (Json* const file : InputFilesOf(task.evaluation)) {
    // An older coordinator has put the path there.
    if (!file->is_string() || !IsInputFileId(file->get_ref<const std::string&>())) continue;
    ASSIGN_OR_RETURN(*file, place(prepared.input_files, "file", file->get<std::string>()));
  }
  task.attempt_dir = folder.path;
  task.cache_dir = JoinPath(state, "cache");
  // CUDA_VISIBLE_DEVICES shows the trainer its one GPU, as ordinal 0.
  if (task.execution.device_kind == DeviceKind::kGpu) task.devices = {0};
  return task;
}

std::vector<std::string> TrainerEnvironment(const TaskFile& task, const std::string& gpu) {
  std::vector<std::string> env = {
      "LANG=C.UTF-8",
      // Threads that spin while waiting take the processor from those that they wait for.
      "OMP_WAIT_POLICY=passive",
      Str("OMP_NUM_THREADS=", task.execution.threads),
      Str("MKL_NUM_THREADS=", task.execution.threads),
      Str("ATEN_CPU_CAPABILITY=", CapabilityOfSimd(task.execution.simd)),
  };
  const bool on_gpu = task.execution.device_kind == DeviceKind::kGpu;
  // CUDA may number GPUs in another way than NVML, and MIG devices have no number. An empty list
  // hides all GPUs.
  env.push_back(on_gpu ? Str("CUDA_VISIBLE_DEVICES=", gpu) : "CUDA_VISIBLE_DEVICES=");
  for (const char* const name :
       {"PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "LONGRUN_GPU_GRAPHS", "LONGRUN_FAILPOINTS"}) {
    if (const auto value = GetEnv(name)) env.push_back(Str(name, "=", *value));
  }
  return env;
}

}  // namespace longrun::agent
