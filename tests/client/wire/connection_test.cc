// What a connection accepts from a coordinator, here a service in this process.
#include "client/wire/connection.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "base/files.h"
#include "base/str.h"
#include "longrun/v1/sweeps.grpc.pb.h"

namespace longrun::client {
namespace {

class OneLargeAnswer final : public v1::SweepService::Service {
 public:
  explicit OneLargeAnswer(std::size_t n_bytes) : n_bytes_(n_bytes) {}

 private:
  grpc::Status ListDatasets(grpc::ServerContext*, const v1::ListDatasetsRequest*,
                            v1::ListDatasetsResponse* response) override {
    response->add_datasets()->mutable_folder()->assign(n_bytes_, 'a');
    return grpc::Status::OK;
  }

  const std::size_t n_bytes_;
};

// gRPC itself accepts 4 MiB, but the table of the largest sweep is far longer than 64 MiB.
TEST(ConnectionTest, AnswersOfMoreThan64MiBAreAccepted) {
  constexpr std::size_t kBytes = std::size_t{65} << 20;
  const TempFolder folder;
  const std::string address = Str("unix:", JoinPath(folder.path(), "coordinator.sock"));
  OneLargeAnswer service(kBytes);
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  ASSERT_NE(server, nullptr);

  CoordinatorConnection connection(address);
  const Result<v1::ListDatasetsResponse> answer = connection.ListDatasets();

  ASSERT_TRUE(answer.ok()) << answer.status().message();
  EXPECT_EQ(answer->datasets(0).folder().size(), kBytes);
}

}  // namespace
}  // namespace longrun::client
