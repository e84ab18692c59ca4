#include "client/doctor/machine.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>

#include "base/clock.h"
#include "base/files.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/str.h"
#include "base/user_folders.h"
#include "client/wire/writable.h"

namespace longrun::client {
namespace {

constexpr std::string_view kNvidiaVendor = "0x10de";
constexpr std::int64_t kVersionMs = 60'000;  // a trainer loads LibTorch first

std::int64_t SoftLimit(__rlimit_resource resource) {
  rlimit limit{};
  if (getrlimit(resource, &limit) != 0) return 0;
  if (limit.rlim_cur == RLIM_INFINITY) return std::numeric_limits<std::int64_t>::max();
  return static_cast<std::int64_t>(limit.rlim_cur);
}

// The median time of an fsync of 4 KiB in the folder, in milliseconds; 0 when it cannot be written.
double SyncMs(const std::string& folder) {
  constexpr int kTries = 9;
  const std::string path = JoinPath(folder, Str("doctor.", getpid()));
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return 0;
  std::array<double, kTries> times{};
  const std::array<char, 4096> bytes{};
  bool ok = true;
  for (double& ms : times) {
    const auto begin = std::chrono::steady_clock::now();
    ok = ok && write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()) &&
         fsync(fd) == 0;
    ms =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  }
  close(fd);
  unlink(path.c_str());
  std::ranges::sort(times);
  return ok ? times[kTries / 2] : 0;
}

std::int64_t NewestFileMs(const std::string& folder) {
  const Result<std::vector<std::string>> names = ListFolder(folder);
  std::int64_t newest = 0;
  if (!names.ok()) return 0;
  for (const std::string& name : *names) {
    struct stat info {};
    if (stat(JoinPath(folder, name).c_str(), &info) != 0) continue;
    newest = std::max<std::int64_t>(newest, std::int64_t{info.st_mtim.tv_sec} * 1000);
  }
  return newest;
}

bool HasNvidiaDevice() {
  constexpr const char* kDevices = "/sys/bus/pci/devices";
  const Result<std::vector<std::string>> names = ListFolder(kDevices);
  if (!names.ok()) return PathExists("/proc/driver/nvidia/version");
  return std::ranges::any_of(*names, [&](const std::string& name) {
    const std::string device = JoinPath(kDevices, name);
    const Result<std::string> vendor = ReadFile(JoinPath(device, "vendor"), 64);
    const Result<std::string> kind = ReadFile(JoinPath(device, "class"), 64);
    // 0x03....: a display controller, which compute devices are as well.
    return vendor.ok() && kind.ok() && Trim(*vendor) == kNvidiaVendor && kind->starts_with("0x03");
  });
}

// What NVIDIA's management library counts; -1 when it is there and does not answer.
std::optional<int> CountGpus() {
  void* library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return std::nullopt;
  const auto init = reinterpret_cast<int (*)()>(dlsym(library, "nvmlInit_v2"));
  const auto count = reinterpret_cast<int (*)(unsigned*)>(dlsym(library, "nvmlDeviceGetCount_v2"));
  unsigned n = 0;
  if (init == nullptr || count == nullptr || init() != 0 || count(&n) != 0) return -1;
  return static_cast<int>(n);
}

// In "longrun-trainer 0.1.0 (3f2a91c0b7d4), numerics 1, ...", the part up to the parenthesis.
std::string VersionIn(std::string_view said) {
  constexpr std::string_view kName = "longrun-";
  const std::size_t begin = said.find(' ');
  const std::size_t end = said.substr(0, said.find('\n')).find(')');
  if (!said.starts_with(kName) || end == std::string_view::npos || begin > end) return "";
  return std::string(said.substr(begin + 1, end - begin));
}

// Whether the child ended within the time. If it did not, it is killed.
bool HasEnded(int pid, std::int64_t timeout_ms) {
  const auto ended = WaitFor(pid, timeout_ms);
  if (ended.ok() && *ended) return true;
  kill(pid, SIGKILL);
  (void)WaitFor(pid, -1);
  return false;
}

// Asks all at once, so that they share one timeout.
std::vector<ProgramVersion> AskVersions(const std::vector<std::string>& programs) {
  const TempFolder temporary;
  const auto said = [&](std::size_t i) { return JoinPath(temporary.path(), Str("said-", i)); };
  std::vector<Result<int>> pids;
  for (std::size_t i = 0; i < programs.size(); ++i) {
    pids.push_back(Spawn({.argv = {programs[i], "--version"},
                          .env = {"PATH=/usr/bin:/bin"},
                          .stdout_path = said(i),
                          .stderr_path = "/dev/null",
                          .die_with_parent = true}));
  }
  const std::int64_t deadline_ms = BootMs() + kVersionMs;
  std::vector<ProgramVersion> versions;
  for (std::size_t i = 0; i < programs.size(); ++i) {
    const bool has_ended =
        pids[i].ok() && HasEnded(*pids[i], std::max<std::int64_t>(deadline_ms - BootMs(), 0));
    const Result<std::string> text = has_ended ? ReadFile(said(i), 4096) : std::string();
    versions.push_back({.program = programs[i], .version = text.ok() ? VersionIn(*text) : ""});
  }
  return versions;
}

}  // namespace

std::string NearestFolder(std::string folder) {
  while (!IsFolder(folder) && folder.size() > 1) folder = FolderOf(folder);
  return folder;
}

MachineFacts LookAtMachine(const std::string& state) {
  MachineFacts machine{
      .state = state,
      .trainer =
          GetEnv("LONGRUN_WORKER_TRAINER").value_or(JoinPath(ProgramFolder(), "longrun-trainer"))};
  // A folder that is not there yet will lie on the disk of the nearest one that is.
  const std::string there = NearestFolder(state);
  machine.wall_ms = WallMs();
  machine.newest_file_wall_ms = NewestFileMs(state);
  if (const auto memory = ReadHostMemory()) machine.memory_bytes = memory->available_bytes();
  const Result<std::int64_t> free = DiskFreeBytes(there);
  if (free.ok()) machine.disk_free_bytes = *free;
  if (there == state) {
    machine.write_errno = WriteErrno(state);
    machine.sync_ms = SyncMs(state);
  } else {
    machine.write_errno = MakeErrno(there);
  }
  machine.open_files = SoftLimit(RLIMIT_NOFILE);
  machine.processes = SoftLimit(RLIMIT_NPROC);
  machine.file_bytes = SoftLimit(RLIMIT_FSIZE);
  machine.cpu_paths = DetectCpuPaths();
  machine.has_nvidia_device = HasNvidiaDevice();
  machine.nvidia_gpus = CountGpus();
  machine.metrics_address = GetEnv("LONGRUN_METRICS").value_or("");
  machine.ignored_variables = IgnoredFolderVariables();
  machine.programs = AskVersions({JoinPath(ProgramFolder(), "longrun-coordinator"),
                                  JoinPath(ProgramFolder(), "longrun-worker"), machine.trainer});
  return machine;
}

}  // namespace longrun::client
