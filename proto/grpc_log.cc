// See grpc_log.h.
#include "proto/grpc_log.h"

#include <grpc/support/log.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <string_view>

#include "base/clock.h"
#include "base/exit_code.h"
#include "base/files.h"
#include "base/log.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr std::int64_t kPauseMs = 10'000;

void LogLine(gpr_log_func_args* line) {
  static std::atomic<std::int64_t> next_at_ms = 0;
  static std::atomic<std::int64_t> n_left_out = 0;
  if (line->severity < GPR_LOG_SEVERITY_ERROR) return;
  // gRPC never listens again after this: nobody could connect to the process any more. A new one
  // listens again; what is stored survives any end.
  if (std::string_view(line->message).find("Failed accept4") != std::string_view::npos) {
    LogError("no_more_connections",
             {{"error", line->message},
              {"remedy",
               "it ends, to be started again: raise its limit of open files (`ulimit -n`, or "
               "LimitNOFILE= in its unit)"}});
    _exit(kExitLimit);
  }
  const std::int64_t now_ms = BootMs();
  std::int64_t at_ms = next_at_ms.load();
  if (now_ms < at_ms || !next_at_ms.compare_exchange_strong(at_ms, now_ms + kPauseMs)) {
    n_left_out += 1;
    return;
  }
  LogWarning("grpc_error", {{"text", line->message},
                            {"source", Str(BaseName(line->file), ":", line->line)},
                            {"left_out", Str(n_left_out.exchange(0))}});
}

}  // namespace

void LogGrpcErrors() { gpr_set_log_function(&LogLine); }

void SilenceGrpc() {
  if (std::getenv("GRPC_VERBOSITY") != nullptr) return;
  gpr_set_log_function([](gpr_log_func_args*) {});
}

}  // namespace longrun
