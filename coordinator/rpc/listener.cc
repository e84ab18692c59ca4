// See listener.h.
#include "coordinator/rpc/listener.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "base/thread.h"
#include "coordinator/rpc/network.h"

namespace longrun::coordinator {
namespace {

// While there is no room, closed connections are looked for at most so often: that takes
// milliseconds if there are many.
constexpr std::int64_t kLookEachMs = 100;
constexpr std::int64_t kLogEachMs = 10'000;
// Without a descriptor or memory, accept() would fail at once again.
constexpr int kPauseMs = 100;
// What a peer has not acknowledged for so long has not reached it, as with gRPC's own sockets.
constexpr int kUnacknowledgedMs = 10'000;

// 0: `fd` is not open.
std::uint64_t SocketOf(int fd) {
  struct stat info {};
  return fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode) ? info.st_ino : 0;
}

// The address without its port. Of IPv6, one network: a client has as many addresses there as it
// likes.
std::string AddressOf(const sockaddr_storage& peer) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (peer.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(peer);
    inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
    return text.data();
  }
  in6_addr address = reinterpret_cast<const sockaddr_in6&>(peer).sin6_addr;
  if (IN6_IS_ADDR_V4MAPPED(&address)) {
    inet_ntop(AF_INET, &address.s6_addr[12], text.data(), text.size());
    return text.data();
  }
  std::fill(std::begin(address.s6_addr) + 8, std::end(address.s6_addr), 0);
  inet_ntop(AF_INET6, &address, text.data(), text.size());
  return Str(text.data(), "/64");
}

struct FreeAddresses {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};

bool IsWildcard(const HostPort& place) { return place.host == "0.0.0.0" || place.host == "::"; }

int PortOf(int fd) {
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size) != 0) return 0;
  return ntohs(bound.ss_family == AF_INET ? reinterpret_cast<const sockaddr_in&>(bound).sin_port
                                          : reinterpret_cast<const sockaddr_in6&>(bound).sin6_port);
}

// A descriptor of -1, with errno, if it could not listen there.
std::unique_ptr<Descriptor> ListenOn(sockaddr_storage address, socklen_t size, int port) {
  const auto number = htons(static_cast<std::uint16_t>(port));
  auto* const v4 = reinterpret_cast<sockaddr_in*>(&address);
  auto* const v6 = reinterpret_cast<sockaddr_in6*>(&address);
  (address.ss_family == AF_INET ? v4->sin_port : v6->sin6_port) = number;
  auto fd = std::make_unique<Descriptor>(
      socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd->is_open()) return fd;
  const int yes = 1;
  setsockopt(fd->get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (address.ss_family == AF_INET6) {
    const int only_v6 = IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr) ? 0 : 1;
    setsockopt(fd->get(), IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, sizeof only_v6);
  }
  if (bind(fd->get(), reinterpret_cast<const sockaddr*>(&address), size) == 0 &&
      listen(fd->get(), SOMAXCONN) == 0) {
    return fd;
  }
  const int error_number = errno;
  fd->Close();
  errno = error_number;
  return fd;
}

std::int64_t FilesMax() {
  constexpr rlim_t kEnough = 1 << 20;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return kEnough;
  return static_cast<std::int64_t>(std::min(limit.rlim_cur, kEnough));
}

}  // namespace

std::int64_t ConnectionsMax(std::int64_t files_max) {
  // What the coordinator needs itself (server.cc), and what it was started with.
  constexpr std::int64_t kOwnFiles = 80;
  return std::max<std::int64_t>(1, std::min(files_max / 2, files_max - kOwnFiles));
}

// ---- open connections --------------------------------------------------------------------------

bool OpenConnections::Admit(int fd, const std::string& address) {
  Drop(fd);  // the number was that of a connection that has been closed
  if (!HasRoom(address)) {
    const std::int64_t now = BootMs();
    if (now - looked_at_ < kLookEachMs) return false;
    looked_at_ = now;
    DropClosed();
    if (!HasRoom(address)) return false;
  }
  by_fd_[fd] = {.socket = SocketOf(fd), .address = address};
  n_of_address_[address] += 1;
  return true;
}

bool OpenConnections::HasRoom(const std::string& address) const {
  const auto found = n_of_address_.find(address);
  const std::int64_t n_of_address = found == n_of_address_.end() ? 0 : found->second;
  return n() < n_max_ && n_of_address < (n_max_ + 1) / 2;
}

void OpenConnections::Drop(int fd) {
  const auto found = by_fd_.find(fd);
  if (found == by_fd_.end()) return;
  const auto count = n_of_address_.find(found->second.address);
  if (--count->second == 0) n_of_address_.erase(count);
  by_fd_.erase(found);
}

void OpenConnections::DropClosed() {
  std::vector<int> closed;
  for (const auto& [fd, connection] : by_fd_) {
    if (SocketOf(fd) != connection.socket) closed.push_back(fd);
  }
  for (const int fd : closed) Drop(fd);
}

// ---- listening ---------------------------------------------------------------------------------

Result<std::unique_ptr<Listener>> Listener::Open(HostPort& place) {
  std::vector<std::unique_ptr<Descriptor>> sockets;
  int error_number = 0;
  const auto add = [&](const sockaddr_storage& address, socklen_t size) {
    std::unique_ptr<Descriptor> fd = ListenOn(address, size, place.port);
    if (!fd->is_open()) {
      error_number = errno;
      return;
    }
    place.port = PortOf(fd->get());
    sockets.push_back(std::move(fd));
  };
  if (IsWildcard(place)) {  // both families, where there are two
    sockaddr_storage any{};
    any.ss_family = AF_INET6;
    add(any, sizeof(sockaddr_in6));
  }
  if (sockets.empty()) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE;
    addrinfo* found = nullptr;
    if (getaddrinfo(place.host.c_str(), nullptr, &hints, &found) != 0) error_number = EADDRNOTAVAIL;
    const std::unique_ptr<addrinfo, FreeAddresses> addresses(found);
    for (const addrinfo* one = addresses.get(); one != nullptr; one = one->ai_next) {
      sockaddr_storage address{};
      std::memcpy(&address, one->ai_addr, one->ai_addrlen);
      add(address, one->ai_addrlen);
    }
  }
  if (sockets.empty()) return CannotListen(error_number, place);
  const int stop_fd = eventfd(0, EFD_CLOEXEC);
  if (stop_fd < 0) return ErrnoStatus(errno, "cannot make an eventfd");
  return std::unique_ptr<Listener>(new Listener(std::move(sockets), stop_fd));
}

Listener::Listener(std::vector<std::unique_ptr<Descriptor>> sockets, int stop_fd)
    : sockets_(std::move(sockets)), stop_(stop_fd), open_(ConnectionsMax(FilesMax())) {}

Listener::~Listener() { Stop(); }

void Listener::Start(std::unique_ptr<ConnectionAcceptor> acceptor) {
  acceptor_ = std::move(acceptor);
  thread_ = StartThread([this] { Run(); });
}

void Listener::Stop() {
  if (thread_.joinable()) {
    eventfd_write(stop_.get(), 1);
    thread_.join();
  }
  sockets_.clear();
}

void Listener::Run() {
  std::vector<pollfd> watched;
  const auto watch = [&](const Descriptor& fd) {
    watched.push_back({.fd = fd.get(), .events = POLLIN, .revents = 0});
  };
  for (const auto& one : sockets_) watch(*one);
  watch(stop_);
  while (true) {
    if (poll(watched.data(), watched.size(), -1) < 0) continue;  // interrupted
    if (watched.back().revents != 0) return;
    for (const pollfd& one : watched) {
      if (one.revents != 0) AcceptFrom(one.fd);
    }
  }
}

// One connection, so that a flood on one address does not keep us from another one.
void Listener::AcceptFrom(int listening) {
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  Descriptor fd(
      accept4(listening, reinterpret_cast<sockaddr*>(&peer), &size, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd.is_open()) {
    if (errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS) return;
    const Status why = ErrnoStatus(errno, "accept");
    if (const std::int64_t now = BootMs(); now - failed_at_ >= kLogEachMs) {
      failed_at_ = now;
      LogWarning("cannot_accept", {{"error", why.message()}});
    }
    poll(nullptr, 0, kPauseMs);
    return;
  }
  const std::string address = AddressOf(peer);
  if (!open_.Admit(fd.get(), address)) return NoteRefused(address);
  const int yes = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  setsockopt(fd.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, &kUnacknowledgedMs, sizeof kUnacknowledgedMs);
  ConnectionAcceptor::NewConnectionParameters connection;
  connection.listener_fd = listening;
  connection.fd = fd.Release();
  acceptor_->HandleNewConnection(&connection);
}

void Listener::NoteRefused(const std::string& address) {
  n_refused_ += 1;
  const std::int64_t now = BootMs();
  if (logged_at_ != 0 && now - logged_at_ < kLogEachMs) return;
  logged_at_ = now;
  LogWarning("connections_refused",
             {{"n", Str(std::exchange(n_refused_, 0))},
              {"last", address},
              {"open", Str(open_.n())},
              {"remedy",
               "there are as many connections as allowed, which is half of the files that the "
               "coordinator may open, and half of these for one address: let only your machines "
               "reach the port, or raise the limit (`ulimit -n`, or LimitNOFILE= in its unit)"}});
}

}  // namespace longrun::coordinator
