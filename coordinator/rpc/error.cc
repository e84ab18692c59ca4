// See error.h.
#include "coordinator/rpc/error.h"

#include <set>

#include "base/str.h"
#include "base/utf8.h"
#include "longrun/v1/sweeps.pb.h"

namespace longrun::coordinator {
namespace {

constexpr const char* kTrailer = "longrun-error-bin";
// Message and trailer share a frame, which gRPC limits to 8 KiB by default; base64 adds a third.
constexpr std::size_t kTrailerBytesMax = 3000;
constexpr std::size_t kViolationBytesMax = 500;
constexpr std::size_t kMessageBytesMax = 3000;

constexpr const char* kDamagedTrailer = "longrun-damaged-bin";

}  // namespace

void AddDamage(const std::vector<DamagedRow>& rows, grpc::ServerContextBase* context) {
  if (rows.empty()) return;
  std::set<std::string> texts;
  for (const DamagedRow& row : rows) texts.insert(DamageText(row));
  v1::ErrorDetail detail;
  detail.set_reason("DAMAGED");
  int n_left = static_cast<int>(texts.size());
  for (const std::string& text : texts) {
    if (detail.ByteSizeLong() + text.size() > kTrailerBytesMax) break;
    detail.add_violations(text);
    n_left -= 1;
  }
  if (n_left > 0) {
    detail.add_violations(
        Str("and ", n_left, " more damaged objects: `longrun doctor --deep` lists all of them"));
  }
  context->AddTrailingMetadata(kDamagedTrailer, detail.SerializeAsString());
}

grpc::Status ToRpc(const Status& status, const RpcError& error, grpc::ServerContextBase* context) {
  if (status.ok()) return grpc::Status::OK;
  v1::ErrorDetail detail;
  detail.set_reason(error.reason.empty() ? std::string(CodeName(status.code())) : error.reason);
  detail.set_subject(Shortened(error.subject, 256));
  if (error.reason == "SWEEP_INVALID") {
    for (const std::string& whole : Split(status.message(), '\n')) {
      if (whole.empty()) continue;
      const std::string line = Shortened(whole, kViolationBytesMax);
      if (detail.ByteSizeLong() + line.size() > kTrailerBytesMax) {
        detail.add_violations("... and more");
        break;
      }
      detail.add_violations(line);
    }
  }
  context->AddTrailingMetadata(kTrailer, detail.SerializeAsString());
  return grpc::Status(static_cast<grpc::StatusCode>(static_cast<int>(status.code())),
                      Shortened(status.message(), kMessageBytesMax));
}

}  // namespace longrun::coordinator
