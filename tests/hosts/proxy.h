// A TCP proxy between hosts, whose network the test makes bad: bytes are delayed, connections
// overtake each other, are held (a cable that is pulled: nothing arrives, nobody is told), or are
// cut with RST. The bytes of one connection keep their order, as TCP promises.
//
// What is held arrives later, as it does after a real interruption: TCP sends it again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/host_port.h"
#include "base/random.h"
#include "base/status.h"

namespace longrun {

struct Weather {
  enum class Flow {
    kOpen,
    kHeld,      // both directions
    kUpHeld,    // only what goes to the target
    kDownHeld,  // only what comes from the target
    kCut,       // existing and new connections get RST
  };
  Flow flow = Flow::kOpen;
  std::int64_t delay_ms = 0;
  // Each connection is slower than delay_ms by a number of its own below this: so one that began
  // later overtakes one that began earlier.
  std::int64_t spread_ms = 0;
  // This connection, counted from 1, gets RST as soon as it begins. 0: none.
  std::int64_t cut_number = 0;
};

struct Traffic {
  std::int64_t n_connections = 0;
  std::int64_t n_bytes = 0;  // that arrived, in both directions
  std::int64_t n_cut = 0;    // connections that got RST
  std::int64_t n_overtaken =
      0;  // pieces that arrived before an earlier piece of another connection
};

class Proxy {
 public:
  // Listens on a free port of `address`; connections go to the target once there is one.
  static Result<std::unique_ptr<Proxy>> Listen(const std::string& address, std::uint64_t seed);
  ~Proxy();
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  const HostPort& place() const { return place_; }
  void SetTarget(const HostPort& target);
  void Set(const Weather& weather);
  void Reset();  // RST for the connections of this moment
  Traffic traffic() const;

 private:
  struct Piece {
    std::string bytes;  // empty: the end of this direction
    std::int64_t due_ms = 0;
    std::int64_t number = 0;  // in the order of arrival at the proxy
  };
  struct Direction {
    int from = -1;
    int to = -1;
    bool is_up = false;
    std::deque<Piece> pieces = {};
    std::size_t n_held = 0;  // bytes of the pieces
    bool is_read = false;    // its end was read
    bool is_over = false;    // and was passed on
  };
  struct Connection {
    int client = -1;
    int target = -1;  // -1: not connected yet
    std::int64_t slower_ms = 0;
    Direction up = {.is_up = true};
    Direction down = {};
  };

  Proxy(int listener, int wake_read, int wake_write, HostPort place, std::uint64_t seed);
  void Run();
  void Wake();
  void Accept();
  bool Connect(Connection& connection);
  bool Holds(const Direction& direction) const;
  bool Read(Connection& connection, Direction& direction);
  bool Write(Direction& direction);
  void Cut(Connection& connection);  // closes both ends with RST
  static void Close(Connection& connection);

  const int listener_;
  const int wake_read_;
  const int wake_write_;
  const HostPort place_;
  mutable std::mutex mutex_;
  HostPort target_;
  Weather weather_;
  Traffic traffic_;
  bool resets_ = false;
  bool ends_ = false;
  SeededRandom random_;
  std::list<Connection> connections_;  // of the thread
  std::int64_t n_pieces_ = 0;
  std::int64_t newest_arrived_ = -1;
  std::thread thread_;
};

}  // namespace longrun
