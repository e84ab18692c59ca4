// See artifacts.h. The threads of `transfers` access the disk. Each stream has at most one frame at
// the disk and one at gRPC, and works on both at the same time.
#include "coordinator/rpc/artifacts.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <mutex>
#include <optional>
#include <utility>

#include "base/log.h"
#include "base/str.h"
#include "coordinator/rpc/caller.h"
#include "longrun/v1/artifacts.grpc.pb.h"

namespace longrun::coordinator {
namespace {

constexpr int kDigestsMax = 10'000;
// Hashing a smaller frame takes less time than waking another thread.
constexpr std::size_t kSplitBytesMin = std::size_t{64} << 10;
constexpr std::string_view kWorkerPrefix = "worker-";  // of a sender's name

Status Busy() {
  return Status(Code::kUnavailable, "the coordinator is stopping, or busy: try again");
}

// The name under which the bytes of a caller's broken uploads are kept. "" for callers on this
// machine, who lose no connection, and of whom any two may be different programs.
Result<std::string> SenderOf(const CoordinatorParts& parts,
                             const grpc::CallbackServerContext& context) {
  ASSIGN_OR_RETURN(const Principal caller, CallerOf(parts.access, context));
  switch (caller.kind) {
    case Principal::Kind::kLocal:
      return std::string();
    case Principal::Kind::kPerson:
      return Str("token-", caller.id);
    case Principal::Kind::kWorker:
      return Str(kWorkerPrefix, caller.id);
  }
  return Status(Code::kInternal, "the caller is of no known kind");
}

// Receives the next frame while jobs hash and write the one before. Whoever has set is_working_, a
// job or OnReadDone(), may start the next read or end the call, so neither happens after the end.
class Upload final : public grpc::ServerReadReactor<v1::UploadArtifactRequest> {
 public:
  Upload(CoordinatorParts& parts, grpc::CallbackServerContext* context,
         v1::UploadArtifactResponse* response)
      : parts_(parts), context_(context), response_(response) {
    StartRead(&next_);
  }

 private:
  void OnReadDone(bool ok) override {
    {
      const std::lock_guard lock(mutex_);
      next_is_frame_ = ok;
      if (std::exchange(is_working_, true)) return;
    }
    if (context_->IsCancelled()) return End(Status(Code::kCancelled, "the client disconnected"));
    Post(&Upload::TakeNext);
  }

  void Post(void (Upload::*job)()) {
    if (!parts_.transfers.PostWithoutReader([this, job] { (this->*job)(); })) End(Busy());
  }

  void TakeNext() {
    {
      const std::lock_guard lock(mutex_);
      if (!next_is_frame_) {
        is_working_ = false;
        return;
      }
      has_frame_ = *std::exchange(next_is_frame_, std::nullopt);
    }
    if (has_frame_) {
      frame_.Swap(&next_);
      StartRead(&next_);
    }
    Take();
  }

  void Take() {
    if (parts_.stopping) return End(Busy());
    if (context_->IsCancelled()) return End(Status(Code::kCancelled, "the client disconnected"));
    Status status = has_frame_ ? CheckFrame() : Status();
    if (status.ok() && upload_ != nullptr && upload_->HasUnhashed()) {
      status = upload_->HashKept();
      if (status.ok()) return Post(&Upload::Take);  // other calls need this thread, too
    }
    if (status.ok() && !has_frame_ && !is_there_) status = TakeEnd();
    if (!has_frame_ || !status.ok() || is_there_) return End(status);
    Store();
  }

  // Hashes and writes the frame, at the same time if another thread is free.
  void Store() {
    if (frame_.data().size() < kSplitBytesMin) {
      n_halves_ = 1;
      return EndHalf(upload_->Write(frame_.data()));
    }
    n_halves_ = 2;
    const auto hash = [this] {
      upload_->Hash(frame_.data());
      EndHalf(Status());
    };
    if (!parts_.transfers.PostWithoutReader(hash)) hash();
    EndHalf(upload_->Append(frame_.data()));
  }

  // Whichever half ends last goes on.
  void EndHalf(Status status) {
    if (!status.ok()) stored_ = std::move(status);
    if (--n_halves_ > 0) return;
    if (!stored_.ok()) return End(stored_);
    Post(&Upload::TakeNext);
  }

  // Begins the upload if this is the first frame.
  Status CheckFrame() {
    if (frame_.data().size() > kArtifactFrameBytesMax) {
      return Status(Code::kInvalidArgument, Str("a frame of an artifact has ", frame_.data().size(),
                                                " bytes: at most ", kArtifactFrameBytesMax));
    }
    if (upload_ != nullptr) return Status();
    sha256_ = frame_.sha256();
    const std::int64_t n_bytes = frame_.total_bytes();
    response_->set_stored_bytes(n_bytes);
    is_there_ = parts_.artifacts.MayBeReferredTo(sha256_);
    if (is_there_) return Status();
    ASSIGN_OR_RETURN(const std::string sender, SenderOf(parts_, *context_));
    if (sender.empty()) {
      if (frame_.offset() != 0) return Status(Code::kAborted, "no bytes are kept of this upload");
      ASSIGN_OR_RETURN(upload_, parts_.artifacts.Begin(sha256_, n_bytes));
    } else {
      ASSIGN_OR_RETURN(upload_,
                       parts_.artifacts.Resume(sender, sha256_, n_bytes, frame_.offset(),
                                               /*may_take_all=*/sender.starts_with(kWorkerPrefix)));
    }
    return Status();
  }

  Status TakeEnd() {
    if (!upload_) return Status(Code::kInvalidArgument, "the upload of an artifact has no frame");
    RETURN_IF_ERROR(upload_->Finish());
    // Until something refers to it, which what a person sends need not do.
    const Result<Principal> caller = CallerOf(parts_.access, *context_);
    if (caller.ok() && caller->kind == Principal::Kind::kPerson) {
      parts_.core.NoteUnreferenced({sha256_});
    }
    return Status();
  }

  void End(const Status& status) {
    upload_.reset();
    Finish(EndCall(parts_, "UploadArtifact", status, {.reason = "", .subject = sha256_}, context_));
  }
  void OnDone() override { delete this; }

  CoordinatorParts& parts_;
  grpc::CallbackServerContext* context_;
  v1::UploadArtifactResponse* response_;
  v1::UploadArtifactRequest frame_;  // the jobs'
  bool has_frame_ = false;           // false: the client has sent all frames
  std::string sha256_;
  bool is_there_ = false;
  std::unique_ptr<ArtifactStore::Upload> upload_;
  std::atomic<int> n_halves_ = 0;      // in progress
  Status stored_;                      // of the frame
  v1::UploadArtifactRequest next_;     // gRPC's while a read is in progress
  std::mutex mutex_;                   // guards the two below
  std::optional<bool> next_is_frame_;  // none: nothing was read since the last frame was taken
  bool is_working_ = false;            // a job runs or waits, or the call has ended
};

// A job reads the next frame while gRPC sends the one before, so at most two frames are in memory.
// Whichever of the two ends last goes on.
class Download final : public grpc::ServerWriteReactor<v1::DownloadArtifactResponse> {
 public:
  Download(CoordinatorParts& parts, grpc::CallbackServerContext* context,
           const v1::DownloadArtifactRequest* request)
      : parts_(parts), context_(context), sha256_(request->sha256()), offset_(request->offset()) {
    Read();
  }
  ~Download() override {
    if (fd_ >= 0) close(fd_);
  }

 private:
  void Read() {
    const auto job = [this] {
      next_status_ = ReadNext();
      GoOn(/*has_written=*/false);
    };
    if (parts_.transfers.PostWithoutReader(job)) return;
    next_status_ = Busy();
    GoOn(/*has_written=*/false);
  }

  Status ReadNext() {
    if (context_->IsCancelled()) return Status(Code::kCancelled, "the client disconnected");
    if (fd_ < 0) RETURN_IF_ERROR(Open());
    has_next_ = offset_ < n_bytes_ || !has_next_;  // the first frame goes even if it is empty
    if (!has_next_) return Status();
    next_.set_total_bytes(n_bytes_);
    std::string& data = *next_.mutable_data();
    data.resize(std::min(kArtifactFrameBytesMax, static_cast<std::size_t>(n_bytes_ - offset_)));
    const ssize_t n = pread(fd_, data.data(), data.size(), offset_);
    if (n < 0) return ErrnoStatus(errno, Str("cannot read artifact ", sha256_));
    // The file of a registered dataset may change at any time.
    if (n == 0 && offset_ < n_bytes_) {
      return Status(Code::kAborted, Str("artifact ", sha256_, " became shorter while it was sent"));
    }
    data.resize(static_cast<std::size_t>(n));
    offset_ += n;
    return Status();
  }

  void GoOn(bool has_written) {
    {
      const std::lock_guard lock(mutex_);
      (has_written ? is_writing_ : is_reading_) = false;
      if (is_writing_ || is_reading_) return;
      is_writing_ = is_reading_ = true;
    }
    if (is_broken_) return End(Status(Code::kCancelled, "the client disconnected"));
    if (!next_status_.ok() || !has_next_) return End(next_status_);
    frame_.Swap(&next_);
    StartWrite(&frame_);
    Read();
  }

  Status Open() {
    ASSIGN_OR_RETURN(const ByteSources::Found found, parts_.core.bytes().Find(sha256_));
    n_bytes_ = found.n_bytes;
    if (offset_ < 0 || offset_ > n_bytes_) {
      return Status(Code::kOutOfRange, Str("offset ", offset_, " of artifact ", sha256_,
                                           ", which has ", n_bytes_, " bytes"));
    }
    fd_ = open(found.path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd_ < 0) return ErrnoStatus(errno, Str("cannot open artifact ", sha256_));
    return Status();
  }

  void OnWriteDone(bool ok) override {
    is_broken_ = !ok;
    GoOn(/*has_written=*/true);
  }
  void End(const Status& status) {
    Finish(
        EndCall(parts_, "DownloadArtifact", status, {.reason = "", .subject = sha256_}, context_));
  }
  void OnDone() override { delete this; }

  CoordinatorParts& parts_;
  grpc::CallbackServerContext* context_;
  const std::string sha256_;
  std::int64_t offset_;
  std::int64_t n_bytes_ = 0;
  int fd_ = -1;
  v1::DownloadArtifactResponse frame_;  // gRPC's while a write is in progress
  bool is_broken_ = false;
  v1::DownloadArtifactResponse next_;  // the job's while it reads, as are the two below
  Status next_status_;
  bool has_next_ = false;  // false after all frames were read
  std::mutex mutex_;       // guards the two below
  bool is_writing_ = false;
  bool is_reading_ = true;
};

class ArtifactService final : public v1::ArtifactService::CallbackService {
 public:
  explicit ArtifactService(CoordinatorParts& parts) : parts_(parts) {}

  grpc::ServerUnaryReactor* HasArtifacts(grpc::CallbackServerContext* context,
                                         const v1::HasArtifactsRequest* request,
                                         v1::HasArtifactsResponse* response) override {
    return Handle(parts_, context, "HasArtifacts", [=, this](Call&) {
      if (request->sha256_size() > kDigestsMax) {
        return Status(Code::kInvalidArgument,
                      Str("the request asks about ", request->sha256_size(),
                          " artifacts; one request may ask about at most ", kDigestsMax));
      }
      ASSIGN_OR_RETURN(const std::string sender, SenderOf(parts_, *context));
      for (const std::string& sha256 : request->sha256()) {
        response->add_present(parts_.artifacts.MayBeReferredTo(sha256));
        response->add_unfinished_bytes(
            sender.empty() ? 0 : parts_.artifacts.UnfinishedBytes(sender, sha256));
      }
      return Status();
    });
  }

  grpc::ServerUnaryReactor* AdoptArtifacts(grpc::CallbackServerContext* context,
                                           const v1::AdoptArtifactsRequest* request,
                                           v1::AdoptArtifactsResponse* response) override {
    return Handle(parts_, parts_.transfers, context, "AdoptArtifacts", [=, this](Call&) -> Status {
      const auto go_on = [&]() -> Status {
        if (parts_.stopping) return Busy();
        if (!context->IsCancelled()) return Status();
        return Status(Code::kCancelled, "the client disconnected");
      };
      if (request->sha256_size() != request->bytes_size() || request->sha256_size() > kDigestsMax) {
        return Status(
            Code::kInvalidArgument,
            Str("the request has ", request->sha256_size(), " digests and ", request->bytes_size(),
                " sizes: expected as many, and at most ", kDigestsMax));
      }
      for (int i = 0; i < request->sha256_size(); ++i) {
        Status status = parts_.artifacts.Adopt(request->sha256(i), request->bytes(i), go_on);
        // Of these, another one may be what was expected.
        if (status.code() != Code::kNotFound && status.code() != Code::kDataLoss) {
          RETURN_IF_ERROR(status);
        }
        response->add_adopted(status.ok());
        if (!status.ok()) {
          LogWarning("artifact_not_adopted",
                     {{"sha256", request->sha256(i)}, {"error", status.message()}});
        }
      }
      return Status();
    });
  }

  grpc::ServerReadReactor<v1::UploadArtifactRequest>* UploadArtifact(
      grpc::CallbackServerContext* context, v1::UploadArtifactResponse* response) override {
    return new Upload(parts_, context, response);
  }

  grpc::ServerWriteReactor<v1::DownloadArtifactResponse>* DownloadArtifact(
      grpc::CallbackServerContext* context, const v1::DownloadArtifactRequest* request) override {
    return new Download(parts_, context, request);
  }

 private:
  CoordinatorParts& parts_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeArtifactService(CoordinatorParts& parts) {
  return std::make_unique<ArtifactService>(parts);
}

}  // namespace longrun::coordinator
