// See proxy.h.
#include "tests/hosts/proxy.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr std::size_t kHeldBytesMax = 1 << 20;  // per direction, as a socket's buffers would hold

sockaddr_in AddressOf(const HostPort& place) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(place.port));
  LR_CHECK(inet_pton(AF_INET, place.host.c_str(), &address.sin_addr) == 1);
  return address;
}

}  // namespace

Result<std::unique_ptr<Proxy>> Proxy::Listen(const std::string& address, std::uint64_t seed) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_in place = AddressOf({.host = address, .port = 0});
  socklen_t n_bytes = sizeof place;
  int ends[2] = {-1, -1};
  if (fd < 0 || bind(fd, reinterpret_cast<sockaddr*>(&place), sizeof place) != 0 ||
      listen(fd, 128) != 0 || getsockname(fd, reinterpret_cast<sockaddr*>(&place), &n_bytes) != 0 ||
      pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
    const int error = errno;
    if (fd >= 0) close(fd);
    return Status(Code::kUnavailable, Str("the proxy cannot listen on ", address, ": ",
                                          std::strerror(error), "; expected an address of ours"));
  }
  return std::unique_ptr<Proxy>(
      new Proxy(fd, ends[0], ends[1], {.host = address, .port = ntohs(place.sin_port)}, seed));
}

Proxy::Proxy(int listener, int wake_read, int wake_write, HostPort place, std::uint64_t seed)
    : listener_(listener),
      wake_read_(wake_read),
      wake_write_(wake_write),
      place_(std::move(place)),
      random_(seed),
      thread_([this] { Run(); }) {}

Proxy::~Proxy() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  Wake();
  thread_.join();
  for (Connection& connection : connections_) Close(connection);
  for (const int fd : {listener_, wake_read_, wake_write_}) close(fd);
}

void Proxy::Wake() {
  // A full pipe wakes as well.
  [[maybe_unused]] const ssize_t written = write(wake_write_, "w", 1);
}

void Proxy::SetTarget(const HostPort& target) {
  const std::lock_guard lock(mutex_);
  target_ = target;
}

void Proxy::Set(const Weather& weather) {
  {
    const std::lock_guard lock(mutex_);
    weather_ = weather;
  }
  Wake();
}

void Proxy::Reset() {
  {
    const std::lock_guard lock(mutex_);
    resets_ = true;
  }
  Wake();
}

Traffic Proxy::traffic() const {
  const std::lock_guard lock(mutex_);
  return traffic_;
}

bool Proxy::Holds(const Direction& direction) const {
  switch (weather_.flow) {
    case Weather::Flow::kHeld:
      return true;
    case Weather::Flow::kUpHeld:
      return direction.is_up;
    case Weather::Flow::kDownHeld:
      return !direction.is_up;
    case Weather::Flow::kOpen:
    case Weather::Flow::kCut:
      return false;
  }
  return false;
}

void Proxy::Close(Connection& connection) {
  for (int* const fd : {&connection.client, &connection.target}) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
  }
}

void Proxy::Cut(Connection& connection) {
  const linger at_once = {.l_onoff = 1, .l_linger = 0};
  for (const int fd : {connection.client, connection.target}) {
    if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  }
  Close(connection);
  traffic_.n_cut += 1;
}

void Proxy::Accept() {
  while (true) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    traffic_.n_connections += 1;
    Connection connection{.client = fd};
    if (traffic_.n_connections == weather_.cut_number) {
      Cut(connection);
      continue;
    }
    if (weather_.spread_ms > 0) {
      connection.slower_ms =
          static_cast<std::int64_t>(random_.Below(static_cast<std::uint64_t>(weather_.spread_ms)));
    }
    connection.up.from = connection.down.to = fd;
    connections_.push_back(std::move(connection));
  }
}

// False if the target refuses.
bool Proxy::Connect(Connection& connection) {
  if (target_.port == 0) return false;
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return false;
  connection.target = connection.up.to = connection.down.from = fd;
  const sockaddr_in address = AddressOf(target_);
  return connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
         errno == EINPROGRESS;
}

// An end that was cut is passed on as an end: nobody is told before it can arrive.
bool Proxy::Read(Connection& connection, Direction& direction) {
  char buffer[64 << 10];
  const ssize_t n = read(direction.from, buffer, sizeof buffer);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n < 0 && errno != ECONNRESET) return false;
  Piece piece{.bytes = {},
              .due_ms = BootMs() + weather_.delay_ms + connection.slower_ms,
              .number = n_pieces_++};
  if (n > 0) piece.bytes.assign(buffer, static_cast<std::size_t>(n));
  direction.is_read = n <= 0;
  direction.n_held += piece.bytes.size();
  direction.pieces.push_back(std::move(piece));
  return true;
}

bool Proxy::Write(Direction& direction) {
  while (!direction.pieces.empty() && direction.pieces.front().due_ms <= BootMs()) {
    Piece& piece = direction.pieces.front();
    if (piece.number < newest_arrived_) traffic_.n_overtaken += 1;
    newest_arrived_ = std::max(newest_arrived_, piece.number);
    if (piece.bytes.empty()) {
      shutdown(direction.to, SHUT_WR);
      direction.is_over = true;
      direction.pieces.clear();
      return true;
    }
    const ssize_t n = send(direction.to, piece.bytes.data(), piece.bytes.size(), MSG_NOSIGNAL);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    traffic_.n_bytes += n;
    direction.n_held -= static_cast<std::size_t>(n);
    piece.bytes.erase(0, static_cast<std::size_t>(n));
    if (!piece.bytes.empty()) return true;
    direction.pieces.pop_front();
  }
  return true;
}

void Proxy::Run() {
  struct Watched {
    Connection* connection;
    Direction* direction;
    bool writes;
  };
  std::vector<pollfd> polled;
  std::vector<Watched> watched;
  while (true) {
    polled.clear();
    watched.clear();
    int wait_ms = -1;
    {
      const std::lock_guard lock(mutex_);
      if (ends_) return;
      if (weather_.flow == Weather::Flow::kCut || resets_) {
        for (Connection& connection : connections_) Cut(connection);
        resets_ = false;
      }
      const std::int64_t now_ms = BootMs();
      for (Connection& connection : connections_) {
        if (connection.client >= 0 && connection.target < 0 && !Holds(connection.up) &&
            !Connect(connection)) {
          Cut(connection);
        }
      }
      std::erase_if(connections_, [](Connection& connection) {
        const bool over = connection.up.is_over && connection.down.is_over;
        if (over) Close(connection);
        return connection.client < 0;
      });
      for (const int fd : {listener_, wake_read_}) {
        polled.push_back({.fd = fd, .events = POLLIN, .revents = 0});
      }
      for (Connection& connection : connections_) {
        for (Direction* const direction : {&connection.up, &connection.down}) {
          if (direction->from >= 0 && !direction->is_read && direction->n_held < kHeldBytesMax) {
            polled.push_back({.fd = direction->from, .events = POLLIN, .revents = 0});
            watched.push_back({&connection, direction, false});
          }
          if (direction->to < 0 || direction->pieces.empty() || Holds(*direction)) continue;
          const std::int64_t until_ms = direction->pieces.front().due_ms - now_ms;
          if (until_ms <= 0) {
            polled.push_back({.fd = direction->to, .events = POLLOUT, .revents = 0});
            watched.push_back({&connection, direction, true});
          } else if (wait_ms < 0 || until_ms < wait_ms) {
            wait_ms = static_cast<int>(until_ms);
          }
        }
      }
    }
    if (poll(polled.data(), polled.size(), wait_ms) < 0 && errno != EINTR) return;
    const std::lock_guard lock(mutex_);
    if (polled[1].revents != 0) {
      char bytes[64];
      while (read(wake_read_, bytes, sizeof bytes) > 0) {
      }
    }
    for (std::size_t i = 0; i < watched.size(); ++i) {
      if (polled[i + 2].revents == 0) continue;
      const auto& [connection, direction, writes] = watched[i];
      if (connection->client < 0) continue;  // was cut just now
      if (writes ? !Write(*direction) : !Read(*connection, *direction)) Cut(*connection);
    }
    if (polled[0].revents != 0) Accept();
  }
}

}  // namespace longrun
