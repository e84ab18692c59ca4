// A coordinator's own certificates, and workers that have joined it, for benchmarks over TLS.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <vector>

namespace longrun::coordinator {

// Prints the error and ends the program if the call failed.
void Check(const grpc::Status& status);

// A connection of its own, which shares none with other channels of this process.
std::shared_ptr<grpc::Channel> OwnChannel(
    const std::string& address, const std::shared_ptr<grpc::ChannelCredentials>& credentials);

struct ServerFiles {
  std::string key, chain;  // paths
};

// Makes the certificates of the coordinator of `state_folder`, whose name is localhost, and lets
// workers w-0, w-1, ... join it. The coordinator must not run.
class Members {
 public:
  Members(const std::string& state_folder, int n_workers);

  std::shared_ptr<grpc::ChannelCredentials> CredentialsOf(int worker) const;
  // For a service that takes the place of the coordinator.
  std::shared_ptr<grpc::ServerCredentials> ServerCredentials() const;

  const std::string& authority() const { return authority_; }  // PEM
  const ServerFiles& server() const { return server_; }

 private:
  struct Member {
    std::string key, certificate;  // PEM
  };
  std::string authority_;
  ServerFiles server_;
  std::vector<Member> members_;
};

}  // namespace longrun::coordinator
