// Runs a coordinator as a separate process, from the program in the same folder as the running one.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <memory>
#include <string>

namespace longrun::coordinator {

class Daemon {
 public:
  // Starts serving the state folder over its socket, and at the address `network` if there is one
  // (127.0.0.1:PORT); returns when the coordinator answers.
  explicit Daemon(std::string state_folder, const std::string& network = {});
  ~Daemon();  // SIGTERM, and waits
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  const std::string& state_folder() const { return state_folder_; }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  double CpuSeconds() const;  // of all its threads so far
  int port() const;           // of the network address that it listens on
  void Kill();                // kill -9

 private:
  std::string LogPath() const;
  void End(int signal);

  std::string state_folder_;
  int pid_ = -1;
  std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace longrun::coordinator
