// The coordinator's network port. We accept the connections ourselves and hand them to gRPC, since
// gRPC 1.51 has no limit on their number: anybody who reaches the port could take all files that
// the process may open, after which gRPC never accepts again.
//
// A connection beyond the limits is closed at once. One client's address may have half of them, so
// that somebody who fills his share locks out only callers at his own address.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/descriptor.h"
#include "base/host_port.h"
#include "base/status.h"

namespace longrun::coordinator {

using ConnectionAcceptor = grpc::experimental::ExternalConnectionAcceptor;

// How many connections a process may have that may open so many files: half, but fewer if the
// database, the transfers and the callers on this machine need more than the other half.
std::int64_t ConnectionsMax(std::int64_t files_max);

// Which connections are open. gRPC closes them, and tells nobody: one is open as long as its
// descriptor is still the same socket.
class OpenConnections {
 public:
  explicit OpenConnections(std::int64_t n_max) : n_max_(n_max) {}

  // Whether there is room for one more from this address; then it counts. `fd` is its socket.
  bool Admit(int fd, const std::string& address);
  std::int64_t n() const { return static_cast<std::int64_t>(by_fd_.size()); }

 private:
  struct Connection {
    std::uint64_t socket = 0;  // its inode
    std::string address;
  };

  bool HasRoom(const std::string& address) const;
  void Drop(int fd);
  void DropClosed();

  const std::int64_t n_max_;
  std::map<int, Connection> by_fd_;
  std::map<std::string, std::int64_t> n_of_address_;
  std::int64_t looked_at_ = 0;  // on the boot clock
};

class Listener {
 public:
  // Listens on all addresses of `place`, which CheckListenPlace() has accepted. Sets its port if
  // that is 0.
  static Result<std::unique_ptr<Listener>> Open(HostPort& place);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // Accepts from now on, until Stop(). The server of `acceptor` must have been started.
  void Start(std::unique_ptr<ConnectionAcceptor> acceptor);
  // Then nobody listens on the port any more. The connections stay.
  void Stop();

 private:
  Listener(std::vector<std::unique_ptr<Descriptor>> sockets, int stop_fd);
  void Run();
  void AcceptFrom(int listening);
  void NoteRefused(const std::string& address);

  std::vector<std::unique_ptr<Descriptor>> sockets_;
  Descriptor stop_;  // an eventfd
  std::unique_ptr<ConnectionAcceptor> acceptor_;
  std::thread thread_;
  // Of that thread.
  OpenConnections open_;
  std::int64_t n_refused_ = 0;  // since the last line of the log
  std::int64_t logged_at_ = 0;
  std::int64_t failed_at_ = 0;  // when it was last logged that accept() fails
};

}  // namespace longrun::coordinator
