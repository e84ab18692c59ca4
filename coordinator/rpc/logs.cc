// See logs.h.
#include "coordinator/rpc/logs.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace longrun {
namespace {

constexpr std::size_t kLogFrameBytes = 64 << 10;

// Appends bytes that should be UTF-8 as text: a broken sequence becomes U+FFFD; one that is still
// incomplete waits for the rest. Returns the number of bytes taken.
std::size_t AppendText(std::string_view bytes, bool is_last, std::string& text) {
  std::size_t i = 0;
  while (i < bytes.size()) {
    const auto lead = static_cast<unsigned char>(bytes[i]);
    const std::size_t n = lead < 0x80                   ? 1
                          : lead >= 0xc2 && lead < 0xe0 ? 2
                          : lead >= 0xe0 && lead < 0xf0 ? 3
                          : lead >= 0xf0 && lead < 0xf5 ? 4
                                                        : 0;
    const std::size_t n_here = std::min(n, bytes.size() - i);
    bool is_whole = n > 0;
    for (std::size_t k = 1; k < n_here; ++k) {
      is_whole = is_whole && (static_cast<unsigned char>(bytes[i + k]) & 0xc0) == 0x80;
    }
    if (is_whole && n_here >= 2) {  // overlong forms, surrogates, beyond U+10FFFF
      const auto next = static_cast<unsigned char>(bytes[i + 1]);
      if ((lead == 0xe0 && next < 0xa0) || (lead == 0xed && next >= 0xa0) ||
          (lead == 0xf0 && next < 0x90) || (lead == 0xf4 && next >= 0x90)) {
        is_whole = false;
      }
    }
    if (is_whole && n_here < n && !is_last) return i;
    if (is_whole && n_here == n) {
      text += bytes.substr(i, n);
      i += n;
    } else {
      text += "\xef\xbf\xbd";
      i += 1;
    }
  }
  return i;
}

// Streams logs, one attempt after the other. As in Watch: a wait, a job or a write.
class Logs final : public grpc::ServerWriteReactor<v1::GetLogsResponse> {
 public:
  Logs(Parts& parts, grpc::CallbackServerContext* context, const v1::GetLogsRequest* request)
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
      const std::size_t n_taken = AppendText(*bytes, at_end && !is_live, *message_.mutable_text());
      offset_ += static_cast<std::int64_t>(n_taken);
      if (n_taken > 0) return StartWrite(&message_);
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
  grpc::CallbackServerContext* context_;
  const std::string target_;
  const bool follow_;
  bool found_ = false;
  std::vector<std::string> attempts_;
  std::size_t i_ = 0;
  std::int64_t offset_ = 0;
  v1::GetLogsResponse message_;
};

}  // namespace

grpc::ServerWriteReactor<v1::GetLogsResponse>* GetLogs(Parts& parts,
                                                       grpc::CallbackServerContext* context,
                                                       const v1::GetLogsRequest* request) {
  return new Logs(parts, context, request);
}

}  // namespace longrun
