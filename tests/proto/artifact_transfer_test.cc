// What a store of artifacts may do to those who copy files to it or from it. The store is a fake
// one on a socket, and does what the test says.
#include "proto/artifact_transfer.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <mutex>
#include <utility>

#include "base/files.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/str.h"
#include "tests/commit_seed.h"
#include "tests/deadline.h"

namespace longrun {
namespace {

constexpr std::size_t kFrameBytes = 1u << 20;
constexpr int kFrames = 12;  // more than are under way at a time

class Store final : public v1::ArtifactService::Service {
 public:
  using Writer = grpc::ServerWriter<v1::DownloadArtifactResponse>;

  std::function<grpc::Status(std::size_t offset, Writer& writer)> send;
  std::string kept;                       // of an upload that broke
  grpc::Status answer = {};               // to a question
  grpc::Status verdict;                   // about an upload
  bool is_hasty = false;                  // says it after the first frame
  std::string received = {};              // with `kept` before it
  std::vector<std::size_t> offsets = {};  // asked for

 private:
  grpc::Status HasArtifacts(grpc::ServerContext*, const v1::HasArtifactsRequest*,
                            v1::HasArtifactsResponse* response) override {
    response->add_present(false);
    response->add_unfinished_bytes(std::ssize(kept));
    return answer;
  }
  grpc::Status UploadArtifact(grpc::ServerContext*,
                              grpc::ServerReader<v1::UploadArtifactRequest>* reader,
                              v1::UploadArtifactResponse*) override {
    v1::UploadArtifactRequest frame;
    EXPECT_TRUE(reader->Read(&frame));
    EXPECT_EQ(frame.offset(), std::ssize(kept));
    received = kept;
    do {
      received += frame.data();
    } while (!is_hasty && reader->Read(&frame));
    return verdict;
  }
  grpc::Status DownloadArtifact(grpc::ServerContext*, const v1::DownloadArtifactRequest* request,
                                Writer* writer) override {
    offsets.push_back(static_cast<std::size_t>(request->offset()));
    return send(offsets.back(), *writer);
  }
};

class ArtifactTransferTest : public ::testing::Test {
 protected:
  ArtifactTransferTest() {
    SeededRandom random(testing::CommitSeed());
    while (bytes_.size() < kFrames * kFrameBytes) {
      bytes_.append(random.Below(1'000), static_cast<char>(random.Next()));
    }
    bytes_.resize(kFrames * kFrameBytes - 5);
    file_ = {.path = At("file"), .sha256 = Sha256Hex(bytes_), .n_bytes = std::ssize(bytes_)};
    const std::string socket = Str("unix:", At("socket"));
    grpc::ServerBuilder builder;
    builder.AddListeningPort(socket, grpc::InsecureServerCredentials());
    builder.RegisterService(&store_);
    server_ = builder.BuildAndStart();
    grpc::ChannelArguments own;
    own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    stub_ = v1::ArtifactService::NewStub(
        grpc::CreateCustomChannel(socket, grpc::InsecureChannelCredentials(), own));
    context_.set_deadline(Deadline());
  }
  ~ArtifactTransferTest() override { server_->Shutdown(Deadline()); }

  std::string At(const std::string& name) const { return JoinPath(folder_.path(), name); }
  std::string Stored() const { return ReadFile(file_.path).value(); }
  static std::chrono::system_clock::time_point Deadline() {
    return std::chrono::system_clock::now() + std::chrono::milliseconds(DeadlineMs(60'000));
  }

  // Sends all frames from `offset` to before `end`. False if the receiver wants no more.
  bool SendFrames(std::size_t offset, std::size_t end, Store::Writer& writer) const {
    for (; offset < end; offset += kFrameBytes) {
      v1::DownloadArtifactResponse frame;
      frame.set_data(bytes_.substr(offset, std::min(kFrameBytes, end - offset)));
      frame.set_total_bytes(std::ssize(bytes_));
      if (!writer.Write(frame)) return false;
    }
    return true;
  }
  // Sends frames until the receiver wants no more.
  grpc::Status SendForever(Store::Writer& writer) const {
    while (SendFrames(0, bytes_.size(), writer)) {
    }
    return grpc::Status::CANCELLED;
  }

  Status Upload(bool waits_for_store = true) {
    const auto new_context = [](std::chrono::system_clock::duration) {
      auto context = std::make_shared<grpc::ClientContext>();
      context->set_deadline(Deadline());
      return context;
    };
    return UploadFiles(*stub_, {file_},
                       {.new_context = new_context, .store_errors_are_transient = waits_for_store});
  }

  const TempFolder folder_;
  std::string bytes_;
  LocalArtifact file_;
  Store store_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::ArtifactService::Stub> stub_;
  grpc::ClientContext context_;
};

TEST_F(ArtifactTransferTest, FramesAreWrittenInTheirOrder) {
  store_.send = [&](std::size_t offset, Store::Writer& writer) {
    SendFrames(offset, bytes_.size(), writer);
    return grpc::Status::OK;
  };
  std::vector<std::int64_t> progress;
  const Status status = DownloadFile(*stub_, context_, file_,
                                     [&](std::int64_t n_bytes) { progress.push_back(n_bytes); });
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(Sha256Hex(Stored()), file_.sha256);
  EXPECT_EQ(std::ssize(progress), kFrames);
  EXPECT_TRUE(std::ranges::is_sorted(progress));
  EXPECT_EQ(progress.back(), file_.n_bytes);
}

TEST_F(ArtifactTransferTest, ADownloadGoesOnAfterTheFramesThatCameBeforeTheConnectionBroke) {
  constexpr std::size_t kBroken = 7 * kFrameBytes + 11;
  store_.send = [&](std::size_t offset, Store::Writer& writer) {
    const bool breaks = store_.offsets.size() == 1;
    SendFrames(offset, breaks ? kBroken : bytes_.size(), writer);
    return breaks ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "broken") : grpc::Status::OK;
  };
  EXPECT_EQ(ContinueDownload(*stub_, context_, file_, "").code(), Code::kUnavailable);
  EXPECT_EQ(Stored(), bytes_.substr(0, kBroken));
  grpc::ClientContext again;
  again.set_deadline(Deadline());
  const Status status = ContinueDownload(*stub_, again, file_, "");
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(store_.offsets, (std::vector<std::size_t>{0, kBroken}));
  EXPECT_EQ(Sha256Hex(Stored()), file_.sha256);
}

TEST_F(ArtifactTransferTest, AStoreThatSendsTooMuchOrWrongBytesIsFoundOut) {
  store_.send = [&](std::size_t, Store::Writer& writer) { return SendForever(writer); };
  const Status endless = DownloadFile(*stub_, context_, file_);
  EXPECT_EQ(endless.code(), Code::kDataLoss);
  EXPECT_NE(endless.message().find("longer than"), std::string::npos) << endless.message();

  store_.send = [&](std::size_t, Store::Writer& writer) {
    bytes_[5 * kFrameBytes] ^= 1;
    SendFrames(0, bytes_.size(), writer);
    return grpc::Status::OK;
  };
  grpc::ClientContext again;
  again.set_deadline(Deadline());
  const Status wrong = DownloadFile(*stub_, again, file_);
  EXPECT_EQ(wrong.code(), Code::kDataLoss);
  EXPECT_NE(wrong.message().find(Sha256Hex(bytes_)), std::string::npos) << wrong.message();
}

TEST_F(ArtifactTransferTest, AFullDiskEndsADownloadWhileFramesAreUnderWay) {
  store_.send = [&](std::size_t, Store::Writer& writer) { return SendForever(writer); };
  file_.path = "/dev/full";
  const Status status = DownloadFile(*stub_, context_, file_);
  EXPECT_EQ(status.code(), Code::kResourceExhausted);
  EXPECT_NE(status.message().find("/dev/full"), std::string::npos) << status.message();
}

TEST_F(ArtifactTransferTest, ADownloadThatIsCancelledEndsWhileFramesAreUnderWay) {
  store_.send = [&](std::size_t, Store::Writer& writer) { return SendForever(writer); };
  file_.n_bytes = std::int64_t{1} << 40;  // it never ends by itself
  const Status status = DownloadFile(*stub_, context_, file_, [&](std::int64_t n_bytes) {
    if (n_bytes > std::int64_t{2} << 20) context_.TryCancel();
  });
  EXPECT_EQ(status.code(), Code::kCancelled) << status.message();
}

TEST_F(ArtifactTransferTest, AnUploadLeavesOutTheBytesThatTheStoreHasKept) {
  ASSERT_TRUE(WriteFileAtomic(file_.path, bytes_).ok());
  store_.kept = bytes_.substr(0, 3 * kFrameBytes + 5);
  const Status status = Upload();
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(Sha256Hex(store_.received), file_.sha256);
}

TEST_F(ArtifactTransferTest, AnUploadThatTheStoreFindsWrongSaysWhetherTheFileIs) {
  ASSERT_TRUE(WriteFileAtomic(file_.path, bytes_).ok());
  const std::string text = "cannot sync artifact: Input/output error";
  const auto expect = [&](Code code, bool waits_for_store = true) {
    const Status status = Upload(waits_for_store);
    EXPECT_EQ(status.code(), code);
    EXPECT_NE(status.message().find(text), std::string::npos) << status.message();
  };
  // The store's own disk may fail in these ways. Whoever waits for the store may try again.
  for (const bool is_hasty : {false, true}) {
    store_.is_hasty = is_hasty;
    for (const auto code : {grpc::StatusCode::DATA_LOSS, grpc::StatusCode::PERMISSION_DENIED,
                            grpc::StatusCode::NOT_FOUND, grpc::StatusCode::FAILED_PRECONDITION}) {
      store_.verdict = {code, text};
      expect(Code::kUnavailable);
    }
    expect(Code::kFailedPrecondition, /*waits_for_store=*/false);
    store_.verdict = {grpc::StatusCode::INVALID_ARGUMENT, text};
    expect(Code::kInvalidArgument);
  }
  store_.answer = {grpc::StatusCode::PERMISSION_DENIED, text};
  expect(Code::kUnavailable);
  expect(Code::kPermissionDenied, /*waits_for_store=*/false);
  store_.answer = {};

  bytes_[4 * kFrameBytes] ^= 1;
  ASSERT_TRUE(WriteFileAtomic(file_.path, bytes_).ok());
  store_.verdict = {grpc::StatusCode::DATA_LOSS, "the store has other bytes"};
  // After an earlier connection, the store cannot know whose bytes are wrong: the file tells.
  for (const std::string& kept : {std::string(), bytes_.substr(0, kFrameBytes)}) {
    store_.is_hasty = false;
    store_.kept = kept;
    if (!kept.empty()) store_.verdict = {grpc::StatusCode::ABORTED, "send it again"};
    const Status status = Upload();
    EXPECT_EQ(status.code(), Code::kDataLoss);
    EXPECT_NE(status.message().find(Str("the file's SHA-256 is ", Sha256Hex(bytes_))),
              std::string::npos)
        << status.message();
  }
}

}  // namespace
}  // namespace longrun
