// See logs.h.
#include "coordinator/rpc/logs.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/str.h"
#include "base/utf8.h"

namespace longrun::coordinator {
namespace {

constexpr std::size_t kLogFrameBytes = 64 << 10;

// Streams logs, one attempt after the other. As in Watch: a wait, a job or a write.
class Logs final : public grpc::ServerWriteReactor<v1::GetLogsResponse> {
 public:
  Logs(CoordinatorParts& parts, grpc::CallbackServerContext* context,
       const v1::GetLogsRequest* request)
      : parts_(parts),
        context_(context),
        target_(request->target()),
        follow_(request->follow() && !parts.core.store().is_momentary()) {
    Work();
  }

 private:
  void Work() {
    if (!parts_.executor.Post([this](StoreReader& reader) { Look(reader); },
                              [this](const Status& why) { End(why); })) {
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
      if (context_->IsCancelled()) return End(Status(Code::kCancelled, "the client disconnected"));
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

  CoordinatorParts& parts_;
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

grpc::ServerWriteReactor<v1::GetLogsResponse>* GetLogs(CoordinatorParts& parts,
                                                       grpc::CallbackServerContext* context,
                                                       const v1::GetLogsRequest* request) {
  return new Logs(parts, context, request);
}

}  // namespace longrun::coordinator
