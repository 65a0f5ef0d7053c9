// One connection of the push protocol: lines over TCP or TLS 1.3. Knows no message.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>

#include "base/result.h"
#include "model/address.h"
#include "relay/line.h"

namespace lb::relay {

namespace asio = boost::asio;

// PEM files. `ca` checks the peer: of a server's client certificates, of a client's server
// certificate (whose name must be that of the updater). Empty `ca` and `cert`: plain TCP.
struct TlsFiles {
  std::string ca;
  std::string cert;
  std::string key;
  std::string crl{};  // lists of certificates that `ca` has revoked; needs it

  [[nodiscard]] bool used() const { return !ca.empty() || !cert.empty() || !crl.empty(); }
  bool operator==(const TlsFiles&) const = default;
};

// How long a line may take to come, and how much of it may be there before it is whole.
struct Reading {
  std::size_t limit = 0;                                     // bytes: EMSGSIZE
  std::chrono::milliseconds silence;                         // without a byte: ETIMEDOUT
  std::chrono::milliseconds whole{std::chrono::minutes(5)};  // from its first byte on: ETIMEDOUT
  std::optional<std::chrono::steady_clock::time_point> until{};  // whatever has come: ETIMEDOUT
  std::function<Result<>(std::size_t)>
      grows{};  // before so many bytes are kept; its error ends the call
};

class Connection {
 public:
  // Resolves, connects, and shakes hands, within `timeout`.
  [[nodiscard]] static asio::awaitable<Result<std::unique_ptr<Connection>>> dial(
      asio::io_context& io, HostPort to, TlsFiles tls, std::chrono::milliseconds timeout);
  // The server's side; `tls` null: plain. The files were read into the context at accept, so that
  // renewed certificates count for new connections.
  [[nodiscard]] static asio::awaitable<Result<std::unique_ptr<Connection>>> accept(
      asio::ip::tcp::socket socket, std::shared_ptr<asio::ssl::context> tls,
      std::chrono::milliseconds timeout);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // The next line without its newline; ENODATA at the orderly end. One call at a time.
  asio::awaitable<Result<std::string>> read_line(Reading reading);
  asio::awaitable<Result<std::string>> read_line(std::size_t limit,
                                                 std::chrono::milliseconds silence);
  // Returns when it has been handed to the kernel. One call at a time, beside a read. ETIMEDOUT
  // when the peer takes nothing for `timeout`.
  asio::awaitable<Result<>> write(Line line, std::chrono::milliseconds timeout);
  // Reads what comes and keeps nothing of it, until the other side closes, for at most so long.
  asio::awaitable<void> discard(std::chrono::milliseconds within);
  // Hands this to the kernel as far as it takes it at once; over TLS nothing. While no write is under
  // way, before close().
  void last_words(const std::string& line);
  // Ends both calls with ECANCELED; idempotent.
  void close();

  [[nodiscard]] const std::string& peer() const;  // "10.0.0.7:41234"
  [[nodiscard]] bool is_tls() const;
  // When the peer's certificate runs out; nullopt without one.
  [[nodiscard]] std::optional<std::chrono::system_clock::time_point> peer_expiry() const;
  // The nodes that the peer's certificate names; none without one.
  [[nodiscard]] std::vector<std::string> peer_names() const;
  // Whether the lists of a context, which may be newer than the handshake, revoke the peer's certificate.
  [[nodiscard]] bool revoked_by(asio::ssl::context& lists) const;

 private:
  class Impl;
  explicit Connection(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;  // calls that are under way hold it, too
};

// Reads the files; the error names the file and what is wrong with it.
[[nodiscard]] Result<std::shared_ptr<asio::ssl::context>> server_context(const TlsFiles& files);

}  // namespace lb::relay
