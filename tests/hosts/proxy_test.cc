// The proxy of the tests does to connections what it says: otherwise, a test of a bad network would
// be a test of a good one.
#include "tests/hosts/proxy.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/descriptor.h"
#include "tests/deadline.h"

namespace longrun {
namespace {

constexpr int kLimitMs = static_cast<int>(DeadlineMs(30'000));
// How long a test looks for bytes that must not come.
constexpr int kQuietMs = 150;

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  return address;
}

class ProxyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    signal(SIGPIPE, SIG_IGN);
    sockaddr_in place = Loopback(0);
    socklen_t n_bytes = sizeof place;
    ASSERT_EQ(bind(server.get(), reinterpret_cast<sockaddr*>(&place), n_bytes), 0);
    ASSERT_EQ(listen(server.get(), 16), 0);
    ASSERT_EQ(getsockname(server.get(), reinterpret_cast<sockaddr*>(&place), &n_bytes), 0);
    proxy = Proxy::Listen("127.0.0.1", 1).value();
    proxy->SetTarget({.host = "127.0.0.1", .port = ntohs(place.sin_port)});
  }

  std::unique_ptr<Descriptor> Connect() const {
    auto fd = std::make_unique<Descriptor>(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in place = Loopback(proxy->place().port);
    EXPECT_EQ(connect(fd->get(), reinterpret_cast<const sockaddr*>(&place), sizeof place), 0);
    return fd;
  }
  std::unique_ptr<Descriptor> Accept() const {
    EXPECT_TRUE(HasInput(server.get(), kLimitMs));
    return std::make_unique<Descriptor>(accept4(server.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }
  static bool HasInput(int fd, int limit_ms) {
    pollfd one = {.fd = fd, .events = POLLIN, .revents = 0};
    return poll(&one, 1, limit_ms) == 1;
  }
  static void Say(const Descriptor& to, const std::string& what) {
    EXPECT_EQ(send(to.get(), what.data(), what.size(), MSG_NOSIGNAL), std::ssize(what));
  }
  // `n` bytes; fewer if the connection ends, nullopt if it is reset.
  static std::optional<std::string> Hear(const Descriptor& from, std::size_t n) {
    std::string heard;
    while (heard.size() < n && HasInput(from.get(), kLimitMs)) {
      char buffer[4096];
      const ssize_t more = read(from.get(), buffer, std::min(sizeof buffer, n - heard.size()));
      if (more < 0) return std::nullopt;
      if (more == 0) break;
      heard.append(buffer, static_cast<std::size_t>(more));
    }
    return heard;
  }

  Descriptor server{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  std::unique_ptr<Proxy> proxy;
};

TEST_F(ProxyTest, BytesAndEndsArriveInBothDirections) {
  const auto client = Connect();
  const auto target = Accept();
  const std::string long_text(3 << 20, 'x');
  Say(*client, "question");
  EXPECT_EQ(Hear(*target, 8), "question");
  std::thread speaker([&] { Say(*target, long_text); });
  EXPECT_EQ(Hear(*client, long_text.size()), long_text);
  speaker.join();
  shutdown(client->get(), SHUT_WR);
  EXPECT_EQ(Hear(*target, 1), "");
  Say(*target, "last");
  EXPECT_EQ(Hear(*client, 4), "last");
  target->Close();
  EXPECT_EQ(Hear(*client, 1), "");
}

TEST_F(ProxyTest, WhatIsHeldArrivesLater) {
  const auto client = Connect();
  const auto target = Accept();
  proxy->Set({.flow = Weather::Flow::kHeld});
  Say(*client, "up");
  Say(*target, "down");
  EXPECT_FALSE(HasInput(target->get(), kQuietMs));
  EXPECT_FALSE(HasInput(client->get(), kQuietMs));
  proxy->Set({});
  EXPECT_EQ(Hear(*target, 2), "up");
  EXPECT_EQ(Hear(*client, 4), "down");
}

TEST_F(ProxyTest, OneDirectionCanBeHeld) {
  const auto client = Connect();
  const auto target = Accept();
  proxy->Set({.flow = Weather::Flow::kDownHeld});
  Say(*client, "up");
  EXPECT_EQ(Hear(*target, 2), "up");
  Say(*target, "down");
  EXPECT_FALSE(HasInput(client->get(), kQuietMs));
  proxy->Set({.flow = Weather::Flow::kUpHeld});
  EXPECT_EQ(Hear(*client, 4), "down");
  Say(*client, "more");
  EXPECT_FALSE(HasInput(target->get(), kQuietMs));
  proxy->Set({});
  EXPECT_EQ(Hear(*target, 4), "more");
}

TEST_F(ProxyTest, ConnectionsAreResetAndRefused) {
  const auto client = Connect();
  const auto target = Accept();
  proxy->Reset();
  EXPECT_EQ(Hear(*client, 1), std::nullopt);
  EXPECT_EQ(Hear(*target, 1), std::nullopt);
  EXPECT_EQ(proxy->traffic().n_cut, 1);
  proxy->Set({.flow = Weather::Flow::kCut});
  const auto refused = Connect();
  EXPECT_EQ(Hear(*refused, 1), std::nullopt);
  proxy->Set({});
  const auto again = Connect();
  const auto target_again = Accept();
  Say(*again, "here");
  EXPECT_EQ(Hear(*target_again, 4), "here");
}

TEST_F(ProxyTest, OneConnectionOfSeveralIsReset) {
  proxy->Set({.cut_number = 2});
  const auto before = Connect();
  const auto target_before = Accept();
  const auto cut = Connect();
  EXPECT_EQ(Hear(*cut, 1), std::nullopt);
  const auto after = Connect();
  const auto target_after = Accept();
  Say(*before, "b");
  Say(*after, "a");
  EXPECT_EQ(Hear(*target_before, 1), "b");
  EXPECT_EQ(Hear(*target_after, 1), "a");
  EXPECT_EQ(proxy->traffic().n_cut, 1);
}

TEST_F(ProxyTest, ATargetThatIsGoneRefuses) {
  server.Close();
  const auto client = Connect();
  EXPECT_EQ(Hear(*client, 1), std::nullopt);
}

TEST_F(ProxyTest, BytesAreDelayedAndConnectionsOvertakeEachOther) {
  proxy->Set({.delay_ms = 40, .spread_ms = 200});
  std::vector<std::unique_ptr<Descriptor>> clients, targets;
  for (int i = 0; i < 8; ++i) {
    clients.push_back(Connect());
    targets.push_back(Accept());
  }
  const std::int64_t begin_ms = BootMs();
  for (const auto& client : clients) {
    Say(*client, "a");
    Say(*client, "b");
  }
  for (const auto& target : targets) EXPECT_EQ(Hear(*target, 2), "ab");
  EXPECT_GE(BootMs() - begin_ms, 40);
  // Eight delays that were drawn from 200: that all of them ascend is a matter of 1 in 40320.
  EXPECT_GT(proxy->traffic().n_overtaken, 0);
}

}  // namespace
}  // namespace longrun
