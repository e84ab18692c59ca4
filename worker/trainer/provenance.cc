#include "worker/trainer/provenance.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "base/cpu.h"
#include "base/files.h"
#include "base/memory.h"
#include "base/str.h"
#include "base/version.h"
#include "model/net/device.h"
#include "sweeps/evaluated_dataset.h"

namespace longrun::trainer {
namespace {

constexpr std::size_t kValueBytesMax = 512;  // per variable or argument
constexpr std::size_t kFileBytesMax = 64 << 10;

constexpr std::array<std::string_view, 14> kPrefixes = {
    "LONGRUN_", "OMP_",  "GOMP_", "KMP_",  "MKL_",    "CUDA_",   "CUBLAS_",
    "CUDNN_",   "NCCL_", "ATEN_", "TORCH", "PYTORCH", "NVIDIA_", "MALLOC_"};
constexpr std::array<std::string_view, 2> kNames = {"LD_LIBRARY_PATH", "LD_PRELOAD"};
constexpr std::array<std::string_view, 4> kSecret = {"TOKEN", "SECRET", "PASSWORD", "KEY"};

std::string Bounded(std::string_view text) { return ToUtf8(text.substr(0, kValueBytesMax)); }

bool Matters(std::string_view name) {
  const auto holds = [&](std::string_view word) { return name.find(word) != name.npos; };
  if (std::ranges::any_of(kSecret, holds)) return false;
  return std::ranges::find(kNames, name) != kNames.end() ||
         std::ranges::any_of(kPrefixes, [&](std::string_view p) { return name.starts_with(p); });
}

Json Environment() {
  Json variables = Json::object();
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view variable = *entry;
    const std::size_t equals = variable.find('=');
    if (equals == std::string_view::npos || !Matters(variable.substr(0, equals))) continue;
    variables[Bounded(variable.substr(0, equals))] = Bounded(variable.substr(equals + 1));
  }
  return variables;
}

Json Command() {
  Json words = Json::array();
  const Result<std::string> line = ReadFile("/proc/self/cmdline", kFileBytesMax);
  if (!line.ok()) return words;
  for (const std::string& word : Split(*line, '\0')) {
    if (!word.empty()) words.push_back(Bounded(word));
  }
  return words;
}

// The value of PRETTY_NAME="value" in /etc/os-release.
std::string SystemName() {
  constexpr std::string_view kKey = "PRETTY_NAME=";
  const Result<std::string> text = ReadFile("/etc/os-release", kFileBytesMax);
  if (!text.ok()) return "unknown";
  for (const std::string& line : Split(*text, '\n')) {
    if (!line.starts_with(kKey)) continue;
    std::string name = line.substr(kKey.size());
    std::erase(name, '"');
    return Bounded(name);
  }
  return "unknown";
}

Json Host() {
  utsname names{};
  const bool known = uname(&names) == 0;
  return {{"name", known ? Bounded(names.nodename) : "unknown"},
          {"system", SystemName()},
          {"kernel",
           known ? Bounded(Str(names.sysname, " ", names.release, " ", names.machine)) : "unknown"},
          {"cpu", IdentifyCpu().name},
          {"cores", std::int64_t{sysconf(_SC_NPROCESSORS_ONLN)}},
          {"memory_bytes", PhysicalMemoryBytes()}};
}

std::string DriverVersion() {
  const Result<std::string> text = ReadFile("/sys/module/nvidia/version", 256);
  return text.ok() ? Bounded(Trim(*text)) : "";
}

constexpr std::string_view CompilerName() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}

}  // namespace

Json ProgramsOf(const Machine& machine) {
  const bool on_gpu = machine.device_kind == DeviceKind::kGpu;
  return {{"version", kVersion},
          {"commit", BuildCommit()},
          {"compiler", CompilerName()},
          {"torch", TorchVersion()},
          {"cuda", on_gpu ? CudaVersion() : ""},
          {"driver", on_gpu ? DriverVersion() : ""}};
}

Json StartedBody(const TaskFile& task, const Machine& machine, const std::string& initial_weights) {
  Json body = {{"dirty", BuildCommit().ends_with("-dirty")},
               {"numerics", kNumericsVersion},
               {"device", machine.ToJson()},
               {"host", Host()},
               {"execution", Completed(task.execution, machine).ToJson()},
               {"activation_checkpointing", task.activation_checkpointing},
               {"parameters", task.run.model.ParameterCount()},
               {"steps", task.kind == TaskKind::kTrain ? task.run.train.steps() : 0},
               {"seed", task.run.seed},
               {"dataset",
                {{"name", task.dataset_name},
                 {"digest", task.run.dataset_digest},
                 {"tokenizer", task.run.tokenizer_fingerprint}}},
               {"init", task.init     ? Json(task.init->sha256)
                        : task.resume ? Json(task.resume->sha256)
                                      : Json()},
               {"initial_weights", initial_weights.empty() ? Json() : Json(initial_weights)},
               {"command", Command()},
               {"environment", Environment()},
               {"pid", ::getpid()}};
  body.update(ProgramsOf(machine));
  if (const std::optional<EvaluatedDataset> read = EvaluatedDatasetOf(task.evaluation)) {
    body["evaluated_dataset"] = {{"name", read->name}, {"digest", read->digest}};
  }
  return body;
}

}  // namespace longrun::trainer
