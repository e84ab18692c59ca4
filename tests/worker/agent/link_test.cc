// When the worker connects, sends heartbeats and gives up, with time as the test says. Where a
// session is needed, the coordinator is a fake one on a socket.
#include "worker/agent/link.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/files.h"
#include "base/str.h"
#include "base/version.h"
#include "tests/deadline.h"
#include "tests/worker/agent/fake_coordinator.h"

namespace longrun::agent {
namespace {

using Next = Link::Next;

class LinkTest : public testing::Test {
 protected:
  // The name has what a URI would read as a fragment, a query and another letter.
  LinkTest() : socket_(JoinPath(folder_.path(), "c #?%41.sock")), coordinator_(socket_) {
    Link::Hooks hooks;
    hooks.post = [this](std::function<void()> closure) {
      const std::scoped_lock lock(mutex_);
      posted_.push_back(std::move(closure));
      changed_.notify_all();
    };
    hooks.on_message = [this](const DownMessage& message) { messages_.push_back(message); };
    link_.emplace(ConnectTo(Str("unix:", socket_)).value(), std::move(hooks), SeededRandom(7));
  }
  ~LinkTest() override {
    link_.reset();
    coordinator_.Stop();
  }

  static HelloMessage Hello() {
    HelloMessage hello;
    hello.protocol_oldest = kProtocolOldest;
    hello.protocol_newest = kProtocolNewest;
    hello.worker_id = "w";
    hello.incarnation = "i";
    return hello;
  }
  // Runs what was posted until `done`, at most a minute.
  template <typename Done>
  bool RunPostedUntil(const Done& done) {
    const auto deadline =
        std::chrono::steady_clock::now() + std::chrono::milliseconds(DeadlineMs(60'000));
    while (!done()) {
      std::unique_lock lock(mutex_);
      if (!changed_.wait_until(lock, deadline, [&] { return !posted_.empty(); })) return false;
      const std::function<void()> closure = std::move(posted_.front());
      posted_.pop_front();
      lock.unlock();
      closure();
    }
    return true;
  }
  WelcomeMessage Welcome(std::int64_t boot_epoch) const {
    WelcomeMessage welcome;
    welcome.protocol_version = kProtocolNewest;
    welcome.coordinator_id = "c";
    welcome.boot_epoch = boot_epoch;
    welcome.heartbeat_ms = 1000;
    return welcome;
  }
  void OpenAndReadWelcome() {
    messages_.clear();
    link_->Open(Hello(), BootMs());
    ASSERT_TRUE(RunPostedUntil([&] { return !messages_.empty(); }));
    ASSERT_TRUE(std::holds_alternative<WelcomeMessage>(messages_.front()));
  }

  TempFolder folder_;
  std::string socket_;
  FakeCoordinator coordinator_;
  std::mutex mutex_;  // guards posted_
  std::condition_variable changed_;
  std::deque<std::function<void()>> posted_;
  std::vector<DownMessage> messages_;
  std::optional<Link> link_;
};

TEST(ConnectToTest, ASocketThatNobodyCanReachIsRefusedWithTheReason) {
  const auto refusal = [](const std::string& address) {
    return std::string(ConnectTo(address).status().message());
  };
  EXPECT_EQ(refusal("unix:"), "coordinator address \"unix:\": expected unix:PATH, or HOST:PORT");
  EXPECT_TRUE(refusal("unix:/a,b").starts_with("--coordinator: the path of the socket, /a,b, has"))
      << refusal("unix:/a,b");
  const std::string path = "/" + std::string(107, 'x');  // sun_path holds 107 bytes and a zero
  EXPECT_EQ(refusal("unix:" + path),
            Str("--coordinator: the socket path \"", path, "\" has 108 bytes: expected 1 to 107"));
}

TEST_F(LinkTest, WhereNobodyListensEachPauseIsLongerUpToTenSeconds) {
  double limit_ms = 200;
  for (int i = 0; i < 16; ++i) {
    ASSERT_EQ(link_->Look(link_->next_ms()), Next::kHello);
    link_->Open(Hello(), BootMs());
    const std::int64_t waiting = link_->next_ms();
    ASSERT_TRUE(RunPostedUntil([&] { return link_->next_ms() != waiting; }));
    EXPECT_EQ(link_->Look(link_->next_ms() - 1), Next::kNothing);
    EXPECT_LE(link_->next_ms() - BootMs(), static_cast<std::int64_t>(limit_ms) + 1) << i;
    limit_ms = std::min(limit_ms * 1.6, 10'000.0);
  }
  EXPECT_FALSE(link_->welcomed());
}

TEST_F(LinkTest, AWelcomedSessionBeatsAtTheCoordinatorsRate) {
  coordinator_.Start();
  OpenAndReadWelcome();
  const std::int64_t now_ms = BootMs();
  ASSERT_TRUE(link_->TakeWelcome(Welcome(1), now_ms));
  EXPECT_TRUE(link_->welcomed());
  EXPECT_EQ(link_->Look(now_ms + 999), Next::kNothing);
  EXPECT_EQ(link_->Look(now_ms + 1000), Next::kBeat);
  link_->Beat({}, now_ms + 1000);
  EXPECT_EQ(link_->Look(now_ms + 1999), Next::kNothing);
  EXPECT_TRUE(coordinator_.Await([&] { return coordinator_.n_heartbeats == 1; }));
}

TEST_F(LinkTest, ASilentCoordinatorsSessionIsGivenUpAfterHalfAMinute) {
  coordinator_.Start();
  OpenAndReadWelcome();
  const std::int64_t now_ms = BootMs();
  ASSERT_TRUE(link_->TakeWelcome(Welcome(1), now_ms));
  EXPECT_EQ(link_->Look(now_ms + 29'000), Next::kBeat);
  EXPECT_EQ(link_->Look(now_ms + 31'000), Next::kNothing);
  EXPECT_FALSE(link_->welcomed());
  // After a welcome a pause is at most two heartbeats.
  EXPECT_LE(link_->next_ms(), now_ms + 31'000 + 2'001);
  EXPECT_EQ(link_->Look(link_->next_ms()), Next::kHello);
}

// So does a coordinator whose disk is full: it ends the session at the first journal batch.
TEST_F(LinkTest, WhereSessionsEndAfterTheWelcomeEachPauseIsLonger) {
  coordinator_.Start();
  std::int64_t longest_ms = 0;
  for (int i = 0; i < 12; ++i) {
    OpenAndReadWelcome();
    ASSERT_TRUE(link_->TakeWelcome(Welcome(1), BootMs()));
    const std::int64_t end_ms = BootMs() + 31'000;
    ASSERT_EQ(link_->Look(end_ms), Next::kNothing);
    longest_ms = std::max(longest_ms, link_->next_ms() - end_ms);
  }
  EXPECT_GT(longest_ms, 500);
}

TEST_F(LinkTest, AfterAnAnswerToAHeartbeatThePauseIsShortAgain) {
  coordinator_.Start();
  for (int i = 0; i < 12; ++i) {
    OpenAndReadWelcome();
    ASSERT_TRUE(link_->TakeWelcome(Welcome(1), BootMs()));
    messages_.clear();
    link_->Beat({}, BootMs());
    ASSERT_TRUE(RunPostedUntil([&] { return !messages_.empty(); }));
    const std::int64_t end_ms = BootMs() + 31'000;
    ASSERT_EQ(link_->Look(end_ms), Next::kNothing);
    EXPECT_LE(link_->next_ms() - end_ms, 201);
  }
}

TEST_F(LinkTest, AnOlderCopyOfAServedDatabaseIsRefused) {
  coordinator_.Start();
  OpenAndReadWelcome();
  ASSERT_TRUE(link_->TakeWelcome(Welcome(4), BootMs()));
  coordinator_.Stop();
  ASSERT_TRUE(RunPostedUntil([&] { return !link_->welcomed(); }));
  coordinator_.Start();
  OpenAndReadWelcome();
  testing::internal::CaptureStderr();
  EXPECT_FALSE(link_->TakeWelcome(Welcome(3), BootMs()));
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("Stop the one on the earlier copy"), std::string::npos) << log;
  EXPECT_NE(log.find("or restart the workers"), std::string::npos) << log;
  EXPECT_FALSE(link_->welcomed());
  OpenAndReadWelcome();
  EXPECT_TRUE(link_->TakeWelcome(Welcome(4), BootMs()));
}

TEST_F(LinkTest, AProtocolOutsideOfOurRangeIsRefused) {
  coordinator_.Start();
  for (const int version : {kProtocolOldest - 1, kProtocolNewest + 1}) {
    OpenAndReadWelcome();
    WelcomeMessage welcome = Welcome(1);
    welcome.protocol_version = version;
    EXPECT_FALSE(link_->TakeWelcome(welcome, BootMs()));
    EXPECT_FALSE(link_->welcomed());
  }
}

TEST_F(LinkTest, EveryProtocolOfOurRangeIsTaken) {
  coordinator_.Start();
  for (int version = kProtocolOldest; version <= kProtocolNewest; ++version) {
    OpenAndReadWelcome();
    WelcomeMessage welcome = Welcome(1);
    welcome.protocol_version = version;
    EXPECT_TRUE(link_->TakeWelcome(welcome, BootMs()));
  }
}

TEST_F(LinkTest, MessagesOfAnEarlierSessionAreDropped) {
  coordinator_.Start();
  link_->Open(Hello(), BootMs());
  {
    std::unique_lock lock(mutex_);  // the first session's Welcome is posted, not yet run
    ASSERT_TRUE(changed_.wait_for(lock, std::chrono::milliseconds(DeadlineMs(60'000)),
                                  [&] { return !posted_.empty(); }));
  }
  link_->Open(Hello(), BootMs());
  ASSERT_TRUE(RunPostedUntil([&] { return !messages_.empty(); }));
  EXPECT_EQ(messages_.size(), 1u);
  EXPECT_EQ(link_->session_number(), 2);
  EXPECT_TRUE(coordinator_.Await([&] { return coordinator_.hellos.size() == 2; }));
}

}  // namespace
}  // namespace longrun::agent
