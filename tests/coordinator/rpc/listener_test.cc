// The network port and the limits on its connections.
#include "coordinator/rpc/listener.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <mutex>
#include <vector>

#include "base/descriptor.h"
#include "tests/deadline.h"
#include "tests/wait_until.h"

namespace longrun::coordinator {
namespace {

constexpr std::int64_t kPatienceMs = DeadlineMs(20'000);

Descriptor Socket(int family = AF_INET) {
  return Descriptor(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

TEST(OpenConnectionsTest, OneAddressHasHalfOfThemAndOthersTheRest) {
  OpenConnections open(4);
  std::array<Descriptor, 6> fds = {Socket(), Socket(), Socket(), Socket(), Socket(), Socket()};
  EXPECT_TRUE(open.Admit(fds[0].get(), "a"));
  EXPECT_TRUE(open.Admit(fds[1].get(), "a"));
  EXPECT_FALSE(open.Admit(fds[2].get(), "a"));
  EXPECT_TRUE(open.Admit(fds[3].get(), "b"));
  EXPECT_TRUE(open.Admit(fds[4].get(), "c"));
  EXPECT_FALSE(open.Admit(fds[5].get(), "d"));
  EXPECT_EQ(open.n(), 4);
}

TEST(OpenConnectionsTest, AClosedOneMakesRoomAlsoIfAFileHasItsNumber) {
  OpenConnections open(2);
  Descriptor first = Socket();
  ASSERT_TRUE(open.Admit(first.get(), "a"));
  const int number = first.get();
  first.Close();
  const Descriptor file(dup(STDERR_FILENO));
  EXPECT_EQ(file.get(), number) << "the system gives the lowest free number";
  const Descriptor second = Socket(), third = Socket();

  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] { return open.Admit(second.get(), "a"); }));
  EXPECT_FALSE(open.Admit(third.get(), "a"));
  EXPECT_EQ(open.n(), 1);
}

TEST(OpenConnectionsTest, ANumberThatComesAgainIsOneConnection) {
  OpenConnections open(2);
  {
    const Descriptor first = Socket();
    ASSERT_TRUE(open.Admit(first.get(), "a"));
  }
  const Descriptor second = Socket();
  EXPECT_TRUE(open.Admit(second.get(), "a"));
  EXPECT_EQ(open.n(), 1);
}

TEST(ListenerTest, ConnectionsTakeHalfOfTheFiles) {
  EXPECT_EQ(ConnectionsMax(65'536), 32'768);
  EXPECT_EQ(ConnectionsMax(256), 128);
  EXPECT_EQ(ConnectionsMax(100), 20);
  EXPECT_EQ(ConnectionsMax(80), 1);
}

// Keeps what it is given.
class Keeper final : public ConnectionAcceptor {
 public:
  struct Kept {
    std::mutex mutex;
    std::vector<std::unique_ptr<Descriptor>> connections;
  };
  explicit Keeper(Kept& kept) : kept_(kept) {}
  void HandleNewConnection(NewConnectionParameters* connection) override {
    const std::lock_guard lock(kept_.mutex);
    kept_.connections.push_back(std::make_unique<Descriptor>(connection->fd));
  }

 private:
  Kept& kept_;
};

int ConnectTo(const Descriptor& fd, int family, int port) {
  const auto number = htons(static_cast<std::uint16_t>(port));
  if (family == AF_INET) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = number;
    return connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  }
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_addr = in6addr_loopback;
  address.sin6_port = number;
  return connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

TEST(ListenerTest, EveryAddressIsThatOfBothFamiliesUntilItStops) {
  Keeper::Kept kept;
  const auto n_kept = [&] {
    const std::lock_guard lock(kept.mutex);
    return kept.connections.size();
  };
  HostPort place = {.host = "0.0.0.0", .port = 0};
  auto listener = Listener::Open(place);
  ASSERT_TRUE(listener.ok()) << listener.status().message();
  ASSERT_NE(place.port, 0);
  (*listener)->Start(std::make_unique<Keeper>(kept));

  const Descriptor v4 = Socket();
  ASSERT_EQ(ConnectTo(v4, AF_INET, place.port), 0);
  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] { return n_kept() == 1; }));
  const Descriptor v6 = Socket(AF_INET6);
  if (v6.is_open() && ConnectTo(v6, AF_INET6, place.port) == 0) {
    EXPECT_TRUE(WaitUntil(kPatienceMs, [&] { return n_kept() == 2; }));
  }
  (*listener)->Stop();
  const Descriptor late = Socket();
  EXPECT_NE(ConnectTo(late, AF_INET, place.port), 0);
}

}  // namespace
}  // namespace longrun::coordinator
