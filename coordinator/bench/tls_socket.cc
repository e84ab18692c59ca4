// See tls_socket.h.
#include "coordinator/bench/tls_socket.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <memory>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/descriptor.h"
#include "base/measurement.h"

namespace longrun::coordinator {
namespace {

constexpr std::size_t kFrameBytes = std::size_t{1} << 20;  // as the artifact service's

using Context = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;
using Connection = std::unique_ptr<SSL, decltype(&SSL_free)>;

Context NewContext(const SSL_METHOD* method) {
  Context context(SSL_CTX_new(method), &SSL_CTX_free);
  LR_CHECK(context != nullptr);
  LR_CHECK(SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION) == 1);
  return context;
}

Connection NewConnection(const Context& context, int fd) {
  Connection connection(SSL_new(context.get()), &SSL_free);
  LR_CHECK(connection != nullptr && SSL_set_fd(connection.get(), fd) == 1);
  return connection;
}

// Both ends of a new connection over the loopback interface.
struct Ends {
  Ends() {
    sockaddr_in place{};
    place.sin_family = AF_INET;
    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t n_bytes = sizeof place;
    auto* const address = reinterpret_cast<sockaddr*>(&place);
    const Descriptor listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    LR_CHECK(listener.is_open() && bind(listener.get(), address, n_bytes) == 0);
    LR_CHECK(listen(listener.get(), 1) == 0 && getsockname(listener.get(), address, &n_bytes) == 0);
    LR_CHECK(sending.is_open() && connect(sending.get(), address, n_bytes) == 0);
    receiving = accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC);
    LR_CHECK(receiving >= 0);
  }
  ~Ends() { close(receiving); }
  Ends(const Ends&) = delete;
  Ends& operator=(const Ends&) = delete;

  const Descriptor sending{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  int receiving = -1;
};

}  // namespace

double TlsSocketSeconds(const std::string& key_path, const std::string& chain_path,
                        const std::string& file_path) {
  const Ends ends;
  const Context server = NewContext(TLS_server_method()), client = NewContext(TLS_client_method());
  LR_CHECK(SSL_CTX_use_certificate_chain_file(server.get(), chain_path.c_str()) == 1);
  LR_CHECK(SSL_CTX_use_PrivateKey_file(server.get(), key_path.c_str(), SSL_FILETYPE_PEM) == 1);
  const Descriptor file(open(file_path.c_str(), O_RDONLY | O_CLOEXEC));
  LR_CHECK(file.is_open());
  std::thread receiver([&] {
    const Connection connection = NewConnection(server, ends.receiving);
    LR_CHECK(SSL_accept(connection.get()) == 1);
    std::vector<char> frame(kFrameBytes);
    while (SSL_read(connection.get(), frame.data(), static_cast<int>(frame.size())) > 0) {
    }
  });
  double seconds = 0;
  {
    const Connection connection = NewConnection(client, ends.sending.get());
    LR_CHECK(SSL_connect(connection.get()) == 1);
    const Stopwatch stopwatch;
    std::vector<char> frame(kFrameBytes);
    for (ssize_t n = 0; (n = read(file.get(), frame.data(), frame.size())) > 0;) {
      LR_CHECK(SSL_write(connection.get(), frame.data(), static_cast<int>(n)) == n);
    }
    LR_CHECK(SSL_shutdown(connection.get()) >= 0);
    receiver.join();
    seconds = stopwatch.Seconds();
  }
  return seconds;
}

}  // namespace longrun::coordinator
