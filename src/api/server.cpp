#include "api/server.h"

#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <list>
#include <map>
#include <tuple>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include "api/routes.h"
#include "base/spawn.h"

namespace lb {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
using std::chrono::seconds;

constexpr std::uint32_t kHeaderLimit = 8 * 1024;
constexpr std::uint64_t kBodyLimit = 64 * 1024;
constexpr std::size_t kMaxConnections = 64;  // lbctl and a few pages; then idle ones give way
constexpr std::size_t kMostNames = 1024;     // of users, as they were when first seen
constexpr auto kIdle = seconds(30);          // from one request to the end of the next
constexpr auto kWrite = seconds(30);         // a reader that stopped reading holds up to 50 MB
// After accept() failed for want of file descriptors it would fail again at once, forever.
constexpr auto kAcceptPause = std::chrono::milliseconds(100);
constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);

using Stream = beast::basic_stream<asio::local::stream_protocol>;
using Reply = http::response<http::string_body>;

Reply to_http(ApiReply reply, unsigned version, bool keep_alive) {
  Reply out(static_cast<http::status>(reply.status), version);
  out.set(http::field::content_type, "application/json");
  out.set(http::field::cache_control, "no-store");
  if (!reply.allow.empty()) out.set(http::field::allow, reply.allow);
  out.keep_alive(keep_alive);
  out.body() = std::move(reply.body);
  out.body() += '\n';  // for people with curl
  out.prepare_payload();
  return out;
}

// What a broken request is answered with; nullopt: there is nobody to answer.
std::optional<ApiReply> refusal(beast::error_code ec) {
  if (ec == http::error::header_limit) return error_reply(431, "the header is above 8 KiB");
  if (ec == http::error::body_limit) return error_reply(413, "the body is above 64 KiB");
  if (ec == http::error::end_of_stream || ec == http::error::partial_message) return std::nullopt;
  if (ec.category() == http::make_error_code(http::error::bad_method).category())
    return error_reply(400, fmt::format("not HTTP: {}", ec.message()));
  return std::nullopt;
}

// The socket for those who are no strangers. CAP_CHOWN may be missing, and two groups cannot own one socket: then everybody may knock.
bool let_in(const std::string& socket, const ApiAccess& access) {
  if (!access.group && !access.read_group) return ::chmod(socket.c_str(), 0660) == 0;
  std::string folder = std::filesystem::path(socket).parent_path();
  if (folder.empty()) folder = ".";
  struct stat info {};
  if (::stat(folder.c_str(), &info) != 0) return false;
  const mode_t mode = info.st_mode & 07777;
  const bool one = access.group && !access.read_group &&
                   ::chown(socket.c_str(), static_cast<uid_t>(-1), *access.group) == 0 &&
                   ::chown(folder.c_str(), static_cast<uid_t>(-1), *access.group) == 0;
  if (one)
    return ::chmod(socket.c_str(), 0660) == 0 && ::chmod(folder.c_str(), mode | S_IXGRP) == 0;
  return ::chmod(socket.c_str(), 0666) == 0 &&
         ::chmod(folder.c_str(), mode | S_IXGRP | S_IXOTH) == 0;
}

// Bound under a name of our own, then renamed: nobody can connect before the mode is right, and a
// client never finds no socket at all while one replaces another.
Result<asio::local::stream_protocol::acceptor> listen_on(asio::io_context& io,
                                                         const std::string& path,
                                                         const ApiAccess& access) {
  struct stat old {};
  if (::lstat(path.c_str(), &old) == 0 && !S_ISSOCK(old.st_mode))
    return fail(EEXIST, fmt::format("{} is there and is not a socket", path));
  const std::string fresh = fmt::format("{}.{}", path, ::getpid());
  if (fresh.size() >= sizeof(sockaddr_un::sun_path))
    return fail(ENAMETOOLONG, fmt::format("socket path {} (use a shorter --runtime-dir)", path));
  ::unlink(fresh.c_str());
  asio::local::stream_protocol::acceptor acceptor(io);
  boost::system::error_code ec;
  acceptor.open(asio::local::stream_protocol(), ec);
  if (ec) return fail(ec.value(), "open a unix socket");
  acceptor.bind(asio::local::stream_protocol::endpoint(fresh), ec);
  if (ec) return fail(ec.value(), fmt::format("bind {}", fresh));
  const bool ready = let_in(fresh, access) && ::listen(acceptor.native_handle(), 128) == 0 &&
                     ::rename(fresh.c_str(), path.c_str()) == 0;
  if (!ready) {
    const int err = errno;
    ::unlink(fresh.c_str());
    return fail(err, fmt::format("listen on {}", path));
  }
  return acceptor;
}

}  // namespace

class ApiServer::Impl {
 public:
  Impl(asio::io_context& io, Control& control, ApiAccess access, std::string path,
       asio::local::stream_protocol::acceptor acceptor)
      : control_(control),
        access_(access),
        path_(std::move(path)),
        acceptor_(std::move(acceptor)),
        room_(io),
        io_(io) {
    struct stat mine {};
    if (::lstat(path_.c_str(), &mine) == 0) inode_ = mine.st_ino;
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  ~Impl() {
    struct stat now {};
    if (::lstat(path_.c_str(), &now) == 0 && now.st_ino == inode_) ::unlink(path_.c_str());
  }

  void start() {
    spawn(io_, "api", [this] { return accept_loop(); });
  }

  void stop() {
    stopping_ = true;
    boost::system::error_code ignored;
    acceptor_.close(ignored);
    room_.cancel();
    for (Connection& connection : connections_)
      if (connection.doing == Doing::Wait) connection.stream.cancel();
  }

 private:
  // In the order in which they give way to others. Wait: for a request, or for the rest of one.
  enum class Doing { Wait, Write, Work };

  struct Connection {
    explicit Connection(asio::local::stream_protocol::socket socket) : stream(std::move(socket)) {}
    Stream stream;
    Caller caller;
    void begin(Doing what) {
      doing = what;
      since = std::chrono::steady_clock::now();
    }
    Doing doing = Doing::Wait;
    std::chrono::steady_clock::time_point since = std::chrono::steady_clock::now();
  };

  asio::awaitable<void> accept_loop() {
    while (!stopping_) {
      auto [ec, socket] = co_await acceptor_.async_accept(kTuple);
      if (stopping_) co_return;
      if (ec) {
        spdlog::warn("api: cannot accept a connection: {}", ec.message());
        co_await pause(kAcceptPause);
        continue;
      }
      // Who has asked is served first; those behind in the backlog wait until serve() ends one.
      while (connections_.size() >= kMaxConnections && !stopping_) {
        close_longest_waiting();
        co_await pause(asio::steady_timer::duration::max());
      }
      if (stopping_) co_return;
      Caller caller = caller_of(socket.native_handle());
      const auto connection = connections_.emplace(connections_.end(), std::move(socket));
      connection->caller = std::move(caller);
      spawn(io_, "api connection", [this, connection] { return serve(connection); });
    }
  }

  // Who cannot be known is a stranger.
  Caller caller_of(int socket) {
    const auto peer = peer_of(socket);
    if (!peer) return {.right = Right::None, .who = peer.error().message()};
    ApiAccess access = access_;
    struct stat now {};
    if (!access.group && ::lstat(path_.c_str(), &now) == 0) access.group = now.st_gid;
    return {.right = right_of(*peer, access, ::geteuid()),
            .who = describe_peer(*peer, name_of(*peer))};
  }

  const std::string& name_of(const Peer& peer) {
    if (names_.size() >= kMostNames) names_.clear();
    const auto [name, fresh] = names_.try_emplace(peer.uid);
    if (fresh) name->second = find_user_name(peer.uid);
    return name->second;
  }

  // Idle ones first; then those whose client does not read its answer. None: all are in work.
  void close_longest_waiting() {
    const auto longest = std::min_element(
        connections_.begin(), connections_.end(), [](const Connection& a, const Connection& b) {
          return std::tie(a.doing, a.since) < std::tie(b.doing, b.since);
        });
    if (longest->doing != Doing::Work) longest->stream.cancel();
  }

  asio::awaitable<void> pause(asio::steady_timer::duration time) {
    room_.expires_after(time);
    (void)co_await room_.async_wait(kTuple);
  }

  asio::awaitable<void> serve(std::list<Connection>::iterator connection) {
    beast::flat_buffer buffer;
    bool more = true;
    while (more && !stopping_) more = co_await serve_one(*connection, buffer);
    connections_.erase(connection);
    room_.cancel();
  }

  // One request and its reply; false when the connection is to be closed.
  asio::awaitable<bool> serve_one(Connection& connection, beast::flat_buffer& buffer) {
    http::request_parser<http::string_body> parser;
    parser.header_limit(kHeaderLimit);
    parser.body_limit(kBodyLimit);
    connection.begin(Doing::Wait);
    if (connections_.size() >= kMaxConnections) room_.cancel();  // it may give way from now on
    connection.stream.expires_after(kIdle);
    auto [read_error, size] = co_await http::async_read(connection.stream, buffer, parser, kTuple);
    connection.begin(Doing::Work);
    ApiReply answer;
    if (read_error) {
      auto refused = refusal(read_error);
      if (!refused) co_return false;
      answer = *std::move(refused);
    } else {
      const auto& message = parser.get();
      ApiRequest request{std::string(message.method_string()), std::string(message.target()),
                         message.body()};
      connection.stream.expires_never();  // a drain settles as long as it takes
      answer = co_await handle(std::move(request), control_, connection.caller);
    }
    const bool keep_alive = !read_error && parser.get().keep_alive() && !stopping_;
    const unsigned version = read_error ? 11 : parser.get().version();
    const Reply reply = to_http(std::move(answer), version, keep_alive);
    connection.begin(Doing::Write);
    connection.stream.expires_after(kWrite);
    auto [write_error, written] = co_await http::async_write(connection.stream, reply, kTuple);
    co_return keep_alive && !write_error;
  }

  Control& control_;
  const ApiAccess access_;
  std::map<Uid, std::string> names_;
  const std::string path_;
  asio::local::stream_protocol::acceptor acceptor_;
  asio::steady_timer room_;  // wakes accept_loop when a connection ended
  std::list<Connection> connections_;
  asio::io_context& io_;
  ino_t inode_ = 0;
  bool stopping_ = false;
};

ApiServer::ApiServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ApiServer::ApiServer(ApiServer&&) noexcept = default;
ApiServer& ApiServer::operator=(ApiServer&&) noexcept = default;
ApiServer::~ApiServer() = default;

Result<ApiServer> ApiServer::open(asio::io_context& io, const std::string& path, Control& control,
                                  ApiAccess access) {
  LB_TRY(auto acceptor, listen_on(io, path, access));
  ApiServer server(std::make_unique<Impl>(io, control, access, path, std::move(acceptor)));
  server.impl_->start();
  return server;
}

void ApiServer::stop() { impl_->stop(); }

}  // namespace lb
