// The coordinator in memory.
#include "tests/worker/agent/fake_coordinator.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "base/check.h"
#include "base/hash.h"
#include "longrun/v1/artifacts.grpc.pb.h"
#include "longrun/v1/session.grpc.pb.h"
#include "sweeps/coordinator_address.h"

namespace longrun::agent {

struct FakeCoordinator::Server final : v1::WorkerSessionService::Service,
                                       v1::ArtifactService::Service {
  using Stream = grpc::ServerReaderWriter<v1::CoordinatorMessage, v1::WorkerMessage>;

  Server(FakeCoordinator& owner, std::string path) : state(owner), socket(std::move(path)) {}

  // Under the lock.
  v1::CoordinatorMessage Welcome(const v1::Hello& hello) {
    v1::CoordinatorMessage message;
    v1::Welcome& welcome = *message.mutable_welcome();
    welcome.set_protocol_version(state.protocol_version);
    welcome.set_coordinator_id("01J00000000000000000000000");
    welcome.set_boot_epoch(state.boot_epoch);
    welcome.set_heartbeat_ms(50);
    welcome.set_lease_ms(1000);
    for (const std::string& name : state.capabilities) welcome.add_capabilities(name);
    for (const v1::LiveAttempt& live : hello.attempts()) {
      Stored& stored = state.attempts[live.attempt()];
      if (const auto keep = state.forget_after.extract(live.attempt()); !keep.empty()) {
        const auto n_lines = static_cast<std::size_t>(keep.mapped());
        if (stored.lines.size() > n_lines) stored.lines.resize(n_lines);
        stored.ended.reset();
      }
      v1::AttemptVerdict& verdict = *welcome.add_attempts();
      verdict.set_attempt(live.attempt());
      verdict.set_durable_seq(static_cast<std::int64_t>(stored.lines.size()));
      const auto said = state.verdicts.find(live.attempt());
      verdict.set_verdict(said != state.verdicts.end() ? said->second
                          : stored.ended               ? v1::AttemptVerdict::VERDICT_ENDED
                                                       : v1::AttemptVerdict::VERDICT_CONTINUE);
    }
    return message;
  }

  v1::CoordinatorMessage Ack(const std::string& attempt) {
    const Stored& stored = state.attempts[attempt];
    v1::CoordinatorMessage message;
    message.mutable_ack()->set_attempt(attempt);
    message.mutable_ack()->set_durable_seq(static_cast<std::int64_t>(stored.lines.size()));
    message.mutable_ack()->set_ended(stored.ended.has_value());
    return message;
  }

  v1::CoordinatorMessage Nack(const std::string& attempt) {
    v1::CoordinatorMessage message;
    message.mutable_nack()->set_attempt(attempt);
    message.mutable_nack()->set_expected_seq(
        static_cast<std::int64_t>(state.attempts[attempt].lines.size()) + 1);
    return message;
  }

  // Under the lock; the answer, if any.
  std::optional<v1::CoordinatorMessage> Take(const v1::WorkerMessage& message) {
    switch (message.message_case()) {
      case v1::WorkerMessage::kHeartbeat: {
        state.n_heartbeats += 1;
        state.disk_wanted_bytes = message.heartbeat().disk_wanted_bytes();
        state.listed.clear();
        for (const v1::LiveAttempt& live : message.heartbeat().attempts()) {
          state.listed.insert(live.attempt());
        }
        v1::CoordinatorMessage reply;
        reply.mutable_heartbeat_reply()->set_number(message.heartbeat().number());
        return reply;
      }
      case v1::WorkerMessage::kAccepted:
        state.attempts[message.accepted().attempt()].accepted = true;
        return std::nullopt;
      case v1::WorkerMessage::kRejected: {
        Stored& stored = state.attempts[message.rejected().attempt()];
        stored.rejected_class = message.rejected().failure_class();
        stored.rejected_reason = message.rejected().reason();
        stored.rejected_cache_needed_bytes = message.rejected().cache_needed_bytes();
        stored.rejected_cache_limit_bytes = message.rejected().cache_limit_bytes();
        stored.rejected_lacks_disk = message.rejected().lacks_disk();
        return std::nullopt;
      }
      case v1::WorkerMessage::kJournalBatch:
        return Take(message.journal_batch());
      case v1::WorkerMessage::kAttemptEnded: {
        const v1::AttemptEnded& ended = message.attempt_ended();
        Stored& stored = state.attempts[ended.attempt()];
        if (ended.last_seq() > static_cast<std::int64_t>(stored.lines.size())) {
          return Nack(ended.attempt());
        }
        stored.ended = ended;
        if (!state.acknowledges) return std::nullopt;
        return Ack(ended.attempt());
      }
      case v1::WorkerMessage::kLogChunk: {
        const v1::LogChunk& chunk = message.log_chunk();
        std::string& log = state.attempts[chunk.attempt()].log;
        log.resize(static_cast<std::size_t>(chunk.offset()), ' ');
        log += chunk.data();
        return std::nullopt;
      }
      case v1::WorkerMessage::kDatasetsHeld:
        state.held = {message.datasets_held().digests().begin(),
                      message.datasets_held().digests().end()};
        return std::nullopt;
      case v1::WorkerMessage::kDrain: {
        state.n_drains += 1;
        v1::CoordinatorMessage reply;
        reply.mutable_drain();
        return reply;
      }
      default:
        return std::nullopt;
    }
  }

  std::optional<v1::CoordinatorMessage> Take(const v1::JournalBatch& batch) {
    Stored& stored = state.attempts[batch.attempt()];
    const auto n_stored = static_cast<std::int64_t>(stored.lines.size());
    const std::int64_t last_seq = batch.first_seq() + batch.lines_size() - 1;
    const auto nack = state.nack_once_at.find(batch.attempt());
    if (nack != state.nack_once_at.end() && nack->second <= last_seq) {
      state.nack_once_at.erase(nack);
      return Nack(batch.attempt());
    }
    if (batch.first_seq() > n_stored + 1) {
      state.n_gaps += 1;
      return Nack(batch.attempt());
    }
    for (const std::int64_t seq : batch.without_files()) stored.without_files.push_back(seq);
    for (int i = 0; i < batch.lines_size(); ++i) {
      const std::int64_t seq = batch.first_seq() + i;
      if (seq <= n_stored) {
        stored.n_repeated += 1;
        LR_CHECK(stored.lines[static_cast<std::size_t>(seq) - 1] == batch.lines(i));
      } else {
        stored.lines.push_back(batch.lines(i));
      }
    }
    if (!state.acknowledges) return std::nullopt;
    return Ack(batch.attempt());
  }

  grpc::Status Session(grpc::ServerContext*, Stream* opened) override {
    v1::WorkerMessage message;
    if (!opened->Read(&message) || !message.has_hello()) return grpc::Status::OK;
    {
      const std::scoped_lock lock(mutex);
      state.hellos.push_back(message.hello());
      opened->Write(Welcome(message.hello()));
      stream = opened;
      state.n_sessions += 1;
      changed.notify_all();
    }
    while (opened->Read(&message)) {
      const std::scoped_lock lock(mutex);
      if (const auto answer = Take(message)) opened->Write(*answer);
      changed.notify_all();
    }
    const std::scoped_lock lock(mutex);
    if (stream == opened) stream = nullptr;
    changed.notify_all();
    return grpc::Status::OK;
  }

  grpc::Status HasArtifacts(grpc::ServerContext*, const v1::HasArtifactsRequest* request,
                            v1::HasArtifactsResponse* response) override {
    const std::scoped_lock lock(mutex);
    for (const std::string& sha256 : request->sha256()) {
      response->add_present(state.artifacts.contains(sha256));
    }
    return grpc::Status::OK;
  }

  grpc::Status UploadArtifact(grpc::ServerContext*,
                              grpc::ServerReader<v1::UploadArtifactRequest>* reader,
                              v1::UploadArtifactResponse* response) override {
    v1::UploadArtifactRequest frame;
    std::string sha256, bytes;
    std::int64_t total_bytes = -1;
    while (reader->Read(&frame)) {
      if (total_bytes < 0) {
        sha256 = frame.sha256();
        total_bytes = frame.total_bytes();
      }
      bytes += frame.data();
    }
    if (static_cast<std::int64_t>(bytes.size()) != total_bytes || Sha256Hex(bytes) != sha256) {
      return {grpc::StatusCode::DATA_LOSS, "the digest does not hold"};
    }
    const std::scoped_lock lock(mutex);
    if (state.n_uploads_failing > 0) {
      state.n_uploads_failing -= 1;
      return {grpc::StatusCode::DATA_LOSS, "cannot sync the artifact: Input/output error"};
    }
    state.artifacts[sha256] = bytes;
    response->set_stored_bytes(total_bytes);
    changed.notify_all();
    return grpc::Status::OK;
  }

  grpc::Status DownloadArtifact(grpc::ServerContext* context,
                                const v1::DownloadArtifactRequest* request,
                                grpc::ServerWriter<v1::DownloadArtifactResponse>* writer) override {
    std::string bytes;
    {
      std::unique_lock lock(mutex);
      constexpr std::chrono::milliseconds kLook{10};  // nobody wakes us when the caller goes
      while (state.withholds_artifacts && !context->IsCancelled()) changed.wait_for(lock, kLook);
      state.downloads.emplace_back(request->sha256(), request->offset());
      const auto found = state.artifacts.find(request->sha256());
      if (found == state.artifacts.end()) return {grpc::StatusCode::NOT_FOUND, "not in the store"};
      bytes = found->second;
    }
    constexpr std::size_t kFrameBytes = 1u << 20;
    for (auto offset = static_cast<std::size_t>(request->offset()); offset < bytes.size();
         offset += kFrameBytes) {
      v1::DownloadArtifactResponse frame;
      frame.set_data(bytes.substr(offset, kFrameBytes));
      frame.set_total_bytes(static_cast<std::int64_t>(bytes.size()));
      if (!writer->Write(frame)) break;
    }
    return grpc::Status::OK;
  }

  FakeCoordinator& state;
  const std::string socket;
  std::mutex mutex;  // guards `state` and `stream`
  std::condition_variable changed;
  Stream* stream = nullptr;
  std::unique_ptr<grpc::Server> listener;
};

FakeCoordinator::FakeCoordinator(std::string socket)
    : server_(std::make_unique<Server>(*this, std::move(socket))) {}

FakeCoordinator::~FakeCoordinator() { Stop(); }

void FakeCoordinator::Start() {
  grpc::ServerBuilder builder;
  builder.AddListeningPort(GrpcTarget("unix:" + server_->socket),
                           grpc::InsecureServerCredentials());
  builder.RegisterService(static_cast<v1::WorkerSessionService::Service*>(server_.get()));
  builder.RegisterService(static_cast<v1::ArtifactService::Service*>(server_.get()));
  server_->listener = builder.BuildAndStart();
  LR_CHECK(server_->listener != nullptr);
}

void FakeCoordinator::Stop() {
  if (server_->listener == nullptr) return;
  server_->listener->Shutdown(std::chrono::system_clock::now());
  server_->listener->Wait();
  server_->listener.reset();
}

v1::Hello FakeCoordinator::FirstHello() {
  const std::scoped_lock lock(server_->mutex);
  return hellos.front();
}
v1::Hello FakeCoordinator::LastHello() {
  const std::scoped_lock lock(server_->mutex);
  return hellos.back();
}

bool FakeCoordinator::Await(const std::function<bool()>& condition) {
  std::unique_lock lock(server_->mutex);
  return server_->changed.wait_for(lock, std::chrono::seconds(60), condition);
}

bool FakeCoordinator::Send(const v1::CoordinatorMessage& message) {
  const std::scoped_lock lock(server_->mutex);
  return server_->stream != nullptr && server_->stream->Write(message);
}

}  // namespace longrun::agent
