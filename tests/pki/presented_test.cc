// Against a TLS server of this test's own.
#include "pki/presented.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "base/files.h"
#include "pki/certificate.h"
#include "pki/files.h"

namespace longrun {
namespace {

constexpr std::int64_t kPatienceMs = 20'000;

// Listens on a free port of the loopback interface, and serves one connection with `serve`.
class OneConnection {
 public:
  template <typename Serve>
  explicit OneConnection(Serve serve) : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(listener_, 1), 0);
    socklen_t size = sizeof address;
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    place_ = {.host = "127.0.0.1", .port = ntohs(address.sin_port)};
    thread_ = std::thread([this, serve] {
      sigset_t pipe;  // OpenSSL may write to a client that has gone
      sigemptyset(&pipe);
      sigaddset(&pipe, SIGPIPE);
      pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
      const int fd = accept(listener_, nullptr, nullptr);
      serve(fd);
      close(fd);
    });
  }
  ~OneConnection() {
    thread_.join();
    close(listener_);
  }
  const HostPort& place() const { return place_; }

 private:
  int listener_;
  HostPort place_;
  std::thread thread_;
};

void ServeTls(int fd, const PkiPaths& paths, int version) {
  SSL_CTX* const context = SSL_CTX_new(TLS_server_method());
  SSL_CTX_set_min_proto_version(context, version);
  SSL_CTX_set_max_proto_version(context, version);
  EXPECT_EQ(SSL_CTX_use_certificate_chain_file(context, paths.chain.c_str()), 1);
  EXPECT_EQ(SSL_CTX_use_PrivateKey_file(context, paths.key.c_str(), SSL_FILETYPE_PEM), 1);
  SSL* const session = SSL_new(context);
  SSL_set_fd(session, fd);
  SSL_accept(session);
  char byte = 0;
  SSL_read(session, &byte, 1);  // until the client is gone
  SSL_free(session);
  SSL_CTX_free(context);
}

TEST(PresentedTest, ChainEndsWithTheAuthorityOfTheServer) {
  const TempFolder state;
  ASSERT_TRUE(InitPki(state.path(), {"127.0.0.1"}, 1'764'000'000'000).ok());
  const PkiPaths paths = PkiPathsOf(state.path());
  const OneConnection server([&](int fd) { ServeTls(fd, paths, TLS1_3_VERSION); });
  const auto chain = PresentedCertificates(server.place(), kPatienceMs);
  ASSERT_TRUE(chain.ok()) << chain.status().message();
  EXPECT_EQ(AuthorityOf(*chain, server.place()).value(), ReadFile(paths.authority).value());
  constexpr std::int64_t kNowMs = 1'764'000'000'000;
  EXPECT_TRUE(CheckServer(*chain, server.place(), kNowMs).ok());
  const Status late = CheckServer(*chain, server.place(), 2 * kNowMs);
  EXPECT_NE(late.message().find("this machine's clock says"), std::string::npos) << late.message();
  const Status other = CheckServer(*chain, {.host = "gpu", .port = 1}, kNowMs);
  EXPECT_NE(other.message().find("pki renew --name 127.0.0.1 --name gpu`"), std::string::npos)
      << other.message();
}

TEST(PresentedTest, ServerWithTls12IsRefused) {
  const TempFolder state;
  ASSERT_TRUE(InitPki(state.path(), {"127.0.0.1"}, 1'764'000'000'000).ok());
  const PkiPaths paths = PkiPathsOf(state.path());
  const OneConnection server([&](int fd) { ServeTls(fd, paths, TLS1_2_VERSION); });
  const auto chain = PresentedCertificates(server.place(), kPatienceMs);
  EXPECT_EQ(chain.status().code(), Code::kFailedPrecondition);
  EXPECT_NE(chain.status().message().find("does not speak TLS 1.3"), std::string::npos);
}

// As a proxy does whose coordinator is being started again.
TEST(PresentedTest, ConnectionThatIsCutMayBeTriedAgain) {
  for (const bool is_reset : {true, false}) {
    const OneConnection server([&](int fd) {
      char bytes[4096];
      EXPECT_GT(read(fd, bytes, sizeof bytes), 0);  // the client has begun
      const linger at_once = {.l_onoff = is_reset ? 1 : 0, .l_linger = 0};
      setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    });
    const auto chain = PresentedCertificates(server.place(), kPatienceMs);
    EXPECT_EQ(chain.status().code(), Code::kUnavailable) << chain.status().message();
    EXPECT_NE(chain.status().message().find("was cut before TLS began"), std::string::npos)
        << chain.status().message();
  }
}

TEST(PresentedTest, ServerThatSaysNothingIsGivenUp) {
  const OneConnection server([](int fd) {
    char bytes[4096];
    while (read(fd, bytes, sizeof bytes) > 0) {
    }
  });
  const auto chain = PresentedCertificates(server.place(), 200);
  EXPECT_EQ(chain.status().code(), Code::kUnavailable);
  EXPECT_NE(chain.status().message().find("says nothing in TLS"), std::string::npos);
}

TEST(PresentedTest, NameThatResolvesNowhereAndClosedPortAreTwoErrors) {
  const auto nowhere = PresentedCertificates({.host = "nowhere.invalid", .port = 1}, kPatienceMs);
  EXPECT_EQ(nowhere.status().code(), Code::kUnavailable);
  EXPECT_NE(nowhere.status().message().find("cannot be resolved"), std::string::npos);
  const auto closed = PresentedCertificates({.host = "127.0.0.1", .port = 1}, kPatienceMs);
  EXPECT_EQ(closed.status().code(), Code::kUnavailable);
  EXPECT_NE(closed.status().message().find("no coordinator answers"), std::string::npos);
}

}  // namespace
}  // namespace longrun
