#include "proto/artifact_transfer.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/thread.h"
#include "base/write_back.h"

namespace longrun {
namespace {

constexpr std::size_t kFrameBytes = 1u << 20;
constexpr std::size_t kDigestsPerCall = 1'000;
constexpr std::int64_t kPauseMsMin = 500;
constexpr std::int64_t kPauseMsMax = 15'000;
constexpr std::int64_t kExhaustedMs = 10'000;
constexpr std::int64_t kAskEveryMs = 120'000;  // the store keeps them for ten minutes
constexpr std::string_view kStoredFileRemedy =
    "`longrun doctor --deep` lists what is missing or damaged, each with its remedy";

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

// Reads up to `n_bytes_max` bytes of the file. kDataLoss at its end.
Result<std::string> ReadSome(std::FILE* file, const std::string& path, std::int64_t n_bytes_max) {
  std::string data(std::min<std::size_t>(kFrameBytes, static_cast<std::size_t>(n_bytes_max)), '\0');
  if (std::fread(data.data(), 1, data.size(), file) == data.size()) return data;
  if (std::ferror(file) != 0) return ErrnoStatus(errno, Str("cannot read ", path));
  return Status(Code::kDataLoss, "the file became shorter while it was read");
}

class Uploader {
 public:
  Uploader(v1::ArtifactService::Stub& stub, const std::vector<LocalArtifact>& files,
           const UploadOptions& options)
      : stub_(stub), files_(files), options_(options), facts_(files.size()) {}

  Status Run() {
    RETURN_IF_ERROR(Patiently([&] { return Ask(0, files_.size()); }));
    for (std::size_t i = 0; i < files_.size(); ++i) {
      bool is_first = true;
      const auto send = [&]() -> Status {
        if (!std::exchange(is_first, false)) RETURN_IF_ERROR(Ask(i, i + 1));
        return facts_[i].is_present ? Status() : Send(i);
      };
      RETURN_IF_ERROR(Patiently(send).In(Str("uploading ", files_[i].path)));
      n_bytes_before_ += files_[i].n_bytes;
      RETURN_IF_ERROR(Patiently([&] { return AskAgain(i + 1); }));
    }
    return Status();
  }

 private:
  struct Fact {
    bool is_present = false;
    std::int64_t n_kept = 0;  // of an earlier upload
  };

  // Repeats `attempt` after transient failures.
  Status Patiently(const std::function<Status()>& attempt) {
    std::int64_t pause_ms = kPauseMsMin;
    moved_ms_ = BootMs();
    while (true) {
      const std::int64_t began_ms = moved_ms_;
      Status status = attempt();
      if (status.ok() || !IsTransient(status)) return status;
      if (moved_ms_ != began_ms) pause_ms = kPauseMsMin;
      // A full disk does not become empty by waiting; too many calls at once do end.
      const std::int64_t patience_ms = status.code() == Code::kResourceExhausted
                                           ? std::min(options_.patience_ms, kExhaustedMs)
                                           : options_.patience_ms;
      if (BootMs() - moved_ms_ >= patience_ms) return status;
      options_.pause(status, pause_ms);
      pause_ms = std::min(2 * pause_ms, kPauseMsMax);
    }
  }

  Status Ask(std::size_t begin, std::size_t end) {
    for (std::size_t first = begin; first < end; first += kDigestsPerCall) {
      const std::size_t last = std::min(end, first + kDigestsPerCall);
      v1::HasArtifactsRequest request;
      v1::HasArtifactsResponse response;
      for (std::size_t i = first; i < last; ++i) request.add_sha256(files_[i].sha256);
      const auto context = options_.new_context(options_.question_deadline);
      RETURN_IF_ERROR(FromStore(StatusOfRpc(stub_.HasArtifacts(context.get(), request, &response)))
                          .In("asking for artifacts"));
      if (response.present_size() != request.sha256_size()) {
        return Status(Code::kInternal, Str("this program asked about ", request.sha256_size(),
                                           " artifacts, but the coordinator answered about ",
                                           response.present_size()));
      }
      for (std::size_t i = first; i < last; ++i) {
        const int at = static_cast<int>(i - first);
        facts_[i].is_present = response.present(at);
        // A coordinator of an earlier release keeps nothing, and does not say so.
        const std::int64_t n_kept =
            at < response.unfinished_bytes_size() ? response.unfinished_bytes(at) : 0;
        facts_[i].n_kept = std::clamp<std::int64_t>(n_kept, 0, files_[i].n_bytes);
      }
    }
    asked_ms_ = BootMs();
    return Status();
  }

  // An error for which no file is at fault.
  Status FromStore(const Status& status) const {
    const bool stays = status.ok() || IsTransient(status) ||
                       status.code() == Code::kInvalidArgument ||
                       !options_.store_errors_are_transient;
    return stays ? status : Status(Code::kUnavailable, status.message());
  }

  // Asks for the first `n` files if that was long ago.
  Status AskAgain(std::size_t n) {
    return BootMs() - asked_ms_ < kAskEveryMs ? Status() : Ask(0, n);
  }

  Status Send(std::size_t index) {
    const LocalArtifact& ref = files_[index];
    const File input(std::fopen(ref.path.c_str(), "rbe"));
    if (input == nullptr) return ErrnoStatus(errno, Str("cannot open ", ref.path));
    ASSIGN_OR_RETURN(const std::int64_t n_bytes, FileBytes(ref.path));
    if (n_bytes != ref.n_bytes) {
      return Status(Code::kDataLoss,
                    Str("the file has ", n_bytes, " bytes; its record says ", ref.n_bytes));
    }
    const std::int64_t n_kept = facts_[index].n_kept;
    if (std::fseek(input.get(), n_kept, SEEK_SET) != 0) {
      return ErrnoStatus(errno, Str("cannot read ", ref.path));
    }
    const auto context = options_.new_context(options_.file_deadline);
    v1::UploadArtifactResponse response;
    const auto writer = stub_.UploadArtifact(context.get(), &response);
    v1::UploadArtifactRequest frame;
    frame.set_sha256(ref.sha256);
    frame.set_total_bytes(n_bytes);
    frame.set_offset(n_kept);
    Status broken;
    // An empty file is one frame without data.
    std::int64_t n_left = n_bytes - n_kept;
    while (true) {
      Result<std::string> data = ReadSome(input.get(), ref.path, n_left);
      if (!data.ok()) {
        broken = data.status();
        break;
      }
      n_left -= std::ssize(*data);
      frame.set_data(std::move(data).value());
      if (!writer->Write(frame)) break;  // Finish says why
      moved_ms_ = BootMs();
      if (options_.progress) options_.progress(n_bytes_before_ + n_bytes - n_left);
      if (n_left == 0) break;
      frame.clear_sha256();
      frame.clear_total_bytes();
      frame.clear_offset();
      (void)AskAgain(index).ok();  // the next call tells of a failure, too
    }
    if (!broken.ok()) context->TryCancel();
    writer->WritesDone();
    const Status sent = StatusOfRpc(writer->Finish());
    if (!broken.ok()) return broken;
    // The store hashes what it receives. Only if that is wrong, find out whether the file is, too.
    // An error of the store's disk is kDataLoss, too.
    const bool is_wrong = sent.code() == Code::kDataLoss ||
                          (sent.code() == Code::kAborted && n_kept > 0 && n_left == 0);
    if (is_wrong) RETURN_IF_ERROR(CheckAgainstRecord(ref));
    return FromStore(sent);
  }

  v1::ArtifactService::Stub& stub_;
  const std::vector<LocalArtifact>& files_;
  const UploadOptions& options_;
  std::vector<Fact> facts_;          // by file
  std::int64_t n_bytes_before_ = 0;  // of the files before the present one
  std::int64_t asked_ms_ = 0;
  std::int64_t moved_ms_ = 0;  // when the last frame went, or the first attempt began
};

// Frames that one thread receives and another one writes, so that neither waits for the other while
// it works. They are used again and again, in order, as are their buffers.
class Frames {
 public:
  // The next frame to fill, once it is empty. null: the other thread wants no more.
  v1::DownloadArtifactResponse* AwaitEmpty() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return has_ended_ || n_filled_ - n_emptied_ < frames_.size(); });
    return has_ended_ ? nullptr : &frames_[n_filled_ % frames_.size()];
  }
  void Fill() { Add(n_filled_); }

  // The next frame to empty, once it is full. null: there are no more.
  v1::DownloadArtifactResponse* AwaitFull() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return has_ended_ || n_filled_ > n_emptied_; });
    return n_filled_ > n_emptied_ ? &frames_[n_emptied_ % frames_.size()] : nullptr;
  }
  void Empty() { Add(n_emptied_); }

  // Either thread does no more.
  void End() {
    {
      const std::lock_guard lock(mutex_);
      has_ended_ = true;
    }
    changed_.notify_all();
  }

 private:
  void Add(std::size_t& n) {
    {
      const std::lock_guard lock(mutex_);
      n += 1;
    }
    changed_.notify_all();
  }

  std::array<v1::DownloadArtifactResponse, 3> frames_;  // one at each end, and one on the way
  std::mutex mutex_;                                    // guards the members below
  std::condition_variable changed_;
  std::size_t n_filled_ = 0;
  std::size_t n_emptied_ = 0;
  bool has_ended_ = false;
};

// The first bytes of a file that is being downloaded.
struct Begun {
  std::FILE* output = nullptr;  // at the end of these bytes
  Sha256 hash = Sha256();
  std::int64_t n_bytes = 0;
};

Status StoredFileDamaged(const LocalArtifact& file, const std::string& how,
                         std::string_view remedy) {
  return Status(Code::kDataLoss,
                Str("the stored file ", file.sha256, " is damaged: ", how, "; ", remedy));
}

// Downloads the rest of the file, checks all of it, and syncs it.
Status Receive(v1::ArtifactService::Stub& stub, grpc::ClientContext& context,
               const LocalArtifact& file, Begun begun, std::string_view remedy,
               const TransferProgress& progress) {
  const std::string& path = file.path;
  std::int64_t n_bytes = begun.n_bytes;
  if (n_bytes < file.n_bytes || n_bytes == 0) {
    v1::DownloadArtifactRequest request;
    request.set_sha256(file.sha256);
    request.set_offset(n_bytes);
    // Without room for a thread, only this download fails, and not the whole program.
    RETURN_IF_ERROR(CheckThreadRoom(1));
    const auto reader = stub.DownloadArtifact(&context, request);
    Frames frames;
    std::thread receiver = StartThread([&] {
      while (v1::DownloadArtifactResponse* const frame = frames.AwaitEmpty()) {
        if (!reader->Read(frame)) break;
        frames.Fill();
      }
      frames.End();
    });
    Status broken;
    WriteBack write_back;
    while (const v1::DownloadArtifactResponse* const frame = frames.AwaitFull()) {
      const std::string& data = frame->data();
      begun.hash.Update(data);
      n_bytes += static_cast<std::int64_t>(data.size());
      if (n_bytes > file.n_bytes) {
        broken =
            StoredFileDamaged(file, Str("it is longer than its ", file.n_bytes, " bytes"), remedy);
      } else if (std::fwrite(data.data(), 1, data.size(), begun.output) != data.size()) {
        broken = ErrnoStatus(errno, Str("cannot write ", path));
      } else {
        write_back.Note(fileno(begun.output), n_bytes);
      }
      if (progress) progress(n_bytes);
      if (!broken.ok()) break;
      frames.Empty();
    }
    if (!broken.ok()) context.TryCancel();
    frames.End();
    receiver.join();
    const Status received = StatusOfRpc(reader->Finish());
    RETURN_IF_ERROR(broken);
    if (!received.ok()) {
      std::fflush(begun.output);  // a later call continues there
      if (received.code() != Code::kNotFound) return received;
      return Status(Code::kNotFound, Str(received.message(), "; ", remedy));
    }
  }
  if (const std::string found = begun.hash.FinishHex(); found != file.sha256) {
    return StoredFileDamaged(file,
                             n_bytes == file.n_bytes
                                 ? Str("its bytes have the SHA-256 ", found)
                                 : Str("it has ", n_bytes, " of its ", file.n_bytes, " bytes"),
                             remedy);
  }
  if (std::fflush(begun.output) != 0) return ErrnoStatus(errno, Str("cannot write ", path));
  return SyncFile(path);
}

}  // namespace

Status StatusOfRpc(const grpc::Status& status) {
  if (status.ok()) return Status();
  if (status.error_code() == grpc::StatusCode::UNAUTHENTICATED) {
    return Status(Code::kPermissionDenied, status.error_message());
  }
  return Status(static_cast<Code>(status.error_code()), status.error_message());
}

Status UploadFiles(v1::ArtifactService::Stub& stub, const std::vector<LocalArtifact>& files,
                   const UploadOptions& options) {
  return Uploader(stub, files, options).Run();
}

Status DownloadFile(v1::ArtifactService::Stub& stub, grpc::ClientContext& context,
                    const LocalArtifact& file, const TransferProgress& progress) {
  const File output(std::fopen(file.path.c_str(), "wbe"));
  if (output == nullptr) return ErrnoStatus(errno, Str("cannot create ", file.path));
  return Receive(stub, context, file, Begun{.output = output.get()}, kStoredFileRemedy, progress);
}

Status ContinueDownload(v1::ArtifactService::Stub& stub, grpc::ClientContext& context,
                        const LocalArtifact& file, const std::string& remedy,
                        const TransferProgress& progress) {
  const File output(std::fopen(file.path.c_str(), "a+be"));
  if (output == nullptr) return ErrnoStatus(errno, Str("cannot create ", file.path));
  Begun begun{.output = output.get()};
  std::rewind(output.get());
  std::string data(kFrameBytes, '\0');
  while (const std::size_t n = std::fread(data.data(), 1, data.size(), output.get())) {
    begun.hash.Update(data.data(), n);
    begun.n_bytes += static_cast<std::int64_t>(n);
  }
  if (std::ferror(output.get()) != 0) return ErrnoStatus(errno, Str("cannot read ", file.path));
  std::fseek(output.get(), 0, SEEK_END);  // as C wants it between reading and writing
  return Receive(stub, context, file, std::move(begun),
                 remedy.empty() ? kStoredFileRemedy : std::string_view(remedy), progress);
}

}  // namespace longrun
