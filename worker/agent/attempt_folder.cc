// The records of an attempt's folder, as canonical JSON.
#include "worker/agent/attempt_folder.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/check.h"
#include "base/descriptor.h"
#include "base/files.h"
#include "base/json.h"
#include "base/process.h"
#include "base/str.h"

namespace longrun::agent {
namespace {

constexpr std::size_t kRecordBytesMax = 1u << 16;
constexpr std::size_t kExitBytesMax = 4096;

Result<Json> ReadRecord(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, kRecordBytesMax));
  Result<Json> json = ParseJson(bytes);
  if (!json) return std::move(json).status().In(path);
  return json;
}

Json NameToJson(const ProcessName& process) {
  return {{"pid", process.pid}, {"start_ticks", Str(process.start_ticks)}};
}

Result<ProcessName> NameFromJson(const Json& json, std::string_view path) {
  ASSIGN_OR_RETURN(const std::int64_t pid, GetInt(json, "pid", path));
  ASSIGN_OR_RETURN(const std::string ticks, GetString(json, "start_ticks", path));
  ProcessName process = {.pid = static_cast<int>(pid)};
  const char* const end = ticks.data() + ticks.size();
  if (const auto parsed = std::from_chars(ticks.data(), end, process.start_ticks);
      parsed.ec != std::errc() || parsed.ptr != end) {
    return Status(Code::kDataLoss, Str(path, ".start_ticks: expected a number, found ", ticks));
  }
  return process;
}

// Replaces the content of a file whose room is reserved, without allocating any.
Status OverwriteReserved(const std::string& path, std::string_view bytes) {
  const Descriptor fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.is_open()) return ErrnoStatus(errno, Str("cannot open ", path));
  const auto size = static_cast<off_t>(bytes.size());
  if (const ssize_t n = ::pwrite(fd.get(), bytes.data(), bytes.size(), 0); n != size) {
    return ErrnoStatus(n < 0 ? errno : ENOSPC, Str("cannot write ", path));
  }
  if (::ftruncate(fd.get(), size) != 0) return ErrnoStatus(errno, Str("cannot shorten ", path));
  if (::fsync(fd.get()) != 0) return ErrnoStatus(errno, Str("cannot sync ", path));
  return Status();
}

}  // namespace

bool SignalProcess(const ProcessName& process, int signal, bool group) {
  if (process.pid <= 1 || ProcessStartTicks(process.pid) != process.start_ticks) return false;
  return kill(group ? -process.pid : process.pid, signal) == 0;
}

bool IsRunning(const ProcessName& process) {
  if (process.pid <= 1 || ProcessStartTicks(process.pid) != process.start_ticks) return false;
  const Result<std::string> stat = ReadFile(Str("/proc/", process.pid, "/stat"));
  if (!stat) return false;
  // "pid (name) S ...": the name may contain anything, even brackets.
  const std::size_t bracket = stat->rfind(')');
  if (bracket == std::string::npos || bracket + 2 >= stat->size()) return false;
  const char state = (*stat)[bracket + 2];
  return state != 'Z' && state != 'X';
}

Status WriteAcked(const AttemptFolder& folder, const AckedRecord& acked) {
  return WriteFileAtomic(folder.Acked(), CanonicalJson({{"device_index", acked.device_index},
                                                        {"durable_seq", acked.durable_seq},
                                                        {"ended", acked.ended},
                                                        {"ended_wall_ms", acked.ended_wall_ms}}));
}

Result<AckedRecord> ReadAcked(const AttemptFolder& folder) {
  ASSIGN_OR_RETURN(const Json json, ReadRecord(folder.Acked()));
  AckedRecord acked;
  ASSIGN_OR_RETURN(const std::int64_t device_index, GetInt(json, "device_index", "acked"));
  acked.device_index = static_cast<int>(device_index);
  ASSIGN_OR_RETURN(acked.durable_seq, GetInt(json, "durable_seq", "acked"));
  ASSIGN_OR_RETURN(acked.ended, GetBool(json, "ended", "acked"));
  ASSIGN_OR_RETURN(acked.ended_wall_ms, GetInt(json, "ended_wall_ms", "acked"));
  return acked;
}

Status WriteShim(const AttemptFolder& folder, const ShimRecord& shim) {
  return WriteFileAtomic(
      folder.Shim(),
      CanonicalJson({{"shim", NameToJson(shim.shim)},
                     {"trainer", shim.trainer ? NameToJson(*shim.trainer) : Json()}}));
}

Result<ShimRecord> ReadShim(const AttemptFolder& folder) {
  ASSIGN_OR_RETURN(const Json json, ReadRecord(folder.Shim()));
  ASSIGN_OR_RETURN(const Json shim, GetMember(json, "shim", "shim.json"));
  ASSIGN_OR_RETURN(const Json trainer, GetMember(json, "trainer", "shim.json"));
  ShimRecord record;
  ASSIGN_OR_RETURN(record.shim, NameFromJson(shim, "shim"));
  if (!trainer.is_null()) {
    ASSIGN_OR_RETURN(record.trainer, NameFromJson(trainer, "trainer"));
  }
  return record;
}

Status ReserveExit(const AttemptFolder& folder) {
  const std::string path = folder.ExitRoom();
  const Descriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  if (!fd.is_open()) return ErrnoStatus(errno, Str("cannot create ", path));
  if (const int error_number = ::posix_fallocate(fd.get(), 0, kExitBytesMax); error_number != 0) {
    return ErrnoStatus(error_number, Str("cannot reserve room in ", path));
  }
  if (::fsync(fd.get()) != 0) return ErrnoStatus(errno, Str("cannot sync ", path));
  return Status();
}

Status WriteExit(const AttemptFolder& folder, const ExitRecord& exit) {
  const std::string json = CanonicalJson({{"code", exit.code},
                                          {"signal", exit.signal},
                                          {"oom_kill", exit.oom_kill},
                                          {"stop_requested", exit.stop_requested},
                                          {"usage",
                                           {{"user_ms", exit.user_ms},
                                            {"system_ms", exit.system_ms},
                                            {"rss_bytes_max", exit.rss_bytes_max}}}});
  LR_CHECK(json.size() <= kExitBytesMax);
  const std::string reserved = folder.ExitRoom();
  if (!PathExists(reserved)) return WriteFileAtomic(folder.Exit(), json);
  RETURN_IF_ERROR(OverwriteReserved(reserved, json));
  return RenameSync(reserved, folder.Exit());
}

Result<ExitRecord> ReadExit(const AttemptFolder& folder) {
  ASSIGN_OR_RETURN(const Json json, ReadRecord(folder.Exit()));
  ExitRecord exit;
  ASSIGN_OR_RETURN(const std::int64_t code, GetInt(json, "code", "exit.json"));
  ASSIGN_OR_RETURN(const std::int64_t signal, GetInt(json, "signal", "exit.json"));
  exit.code = static_cast<int>(code);
  exit.signal = static_cast<int>(signal);
  ASSIGN_OR_RETURN(exit.oom_kill, GetBool(json, "oom_kill", "exit.json"));
  ASSIGN_OR_RETURN(exit.stop_requested, GetBool(json, "stop_requested", "exit.json"));
  ASSIGN_OR_RETURN(const Json usage, GetMember(json, "usage", "exit.json"));
  ASSIGN_OR_RETURN(exit.user_ms, GetInt(usage, "user_ms", "exit.json: usage"));
  ASSIGN_OR_RETURN(exit.system_ms, GetInt(usage, "system_ms", "exit.json: usage"));
  ASSIGN_OR_RETURN(exit.rss_bytes_max, GetInt(usage, "rss_bytes_max", "exit.json: usage"));
  return exit;
}

Result<TaskFile> ReadTaskFile(const AttemptFolder& folder) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(folder.TaskFilePath()));
  ASSIGN_OR_RETURN(const Json json, ParseJson(text));
  return TaskFile::FromJson(json);
}

}  // namespace longrun::agent
