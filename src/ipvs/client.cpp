#include "ipvs/client.h"

#include <linux/netlink.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include <fmt/format.h>

#include "ipvs/codec.h"
#include "ipvs/socket.h"

namespace lb::ipvs {
namespace {

// Commands per system call. Their acknowledgements wait in the socket until they are read, and must fit there.
constexpr std::size_t kBatch = 64;
// A dump that somebody changes while it runs is begun anew; this often is a fight, which a later reading wins.
constexpr int kDumpAttempts = 10;

Result<> outcome(const Command& command, int error) {
  if (error == 0) return {};
  std::string context = command.to_string();
  if (const std::string words = explain(command, error); !words.empty()) context += ": " + words;
  return fail(error, std::move(context));
}

tl::unexpected<Error> refused(int error, std::string what) {
  if (error == EPERM) what += ": lbd needs CAP_NET_ADMIN (run it as root or by its unit)";
  // The family's number is not in use any more.
  if (error == ENOENT) what += ": module ip_vs has been unloaded";
  return fail(error, std::move(what));
}

}  // namespace

// The socket and what to do when it may hold the rest of something given up: a new one, with the
// family asked for again.
struct Client::Connection {
  std::optional<Socket> socket;

  // Runs `use(socket)`; after an error of its own the next call gets a fresh socket.
  template <class Use>
  auto with(Use use) -> decltype(use(std::declval<Socket&>())) {
    if (!socket) {
      LB_TRY(socket, Socket::open());
    }
    auto result = use(*socket);
    if (!result) socket.reset();
    return result;
  }
};

namespace {

using Encode = std::function<void(Buffer&, const Envelope&)>;

// Sends one question and gives every message of the answer to `visit`, up to its end. Is true where the answer was consistent.
Result<bool> ask(Socket& socket, std::string_view what, const Encode& encode,
                 const Socket::Visit& visit) {
  const Envelope envelope{socket.family(), socket.next_sequence()};
  Buffer request;
  encode(request, envelope);
  LB_CHECK(socket.send(request));
  bool ended = false, consistent = true;
  const auto read = [&](const Message& message) -> Result<> {
    if (message.sequence != envelope.sequence || ended) return {};
    if ((message.flags & NLM_F_DUMP_INTR) != 0) consistent = false;
    if (message.type == envelope.family) return visit(message);
    if (message.type != NLMSG_ERROR && message.type != NLMSG_DONE) return {};
    ended = true;
    LB_TRY(const int error, decode_error(message));
    if (error != 0) return refused(error, std::string(what));
    return {};
  };
  while (!ended) LB_CHECK(socket.receive(Socket::Size::Large, read));
  return consistent;
}

// `begin` is called before every attempt, to forget what the one before has given.
Result<> dump(Socket& socket, std::string_view what, const Encode& encode,
              const std::function<void()>& begin, const Socket::Visit& visit) {
  for (int attempt = 0; attempt < kDumpAttempts; ++attempt) {
    begin();
    LB_TRY(const bool consistent, ask(socket, what, encode, visit));
    if (consistent) return {};
  }
  return fail(EAGAIN,
              fmt::format("{}: they changed during each of {} readings", what, kDumpAttempts));
}

Result<Info> read_info(Socket& socket) {
  std::optional<Info> out;
  LB_TRY([[maybe_unused]] const bool consistent,
         ask(socket, "read IPVS's version", encode_info_request,
             [&](const Message& message) -> Result<> {
               LB_TRY(out, decode_info(message));
               return {};
             }));
  if (!out) return fail(EBADMSG, "read IPVS's version: the kernel gave none");
  return *out;
}

Result<std::vector<VirtualService>> read_services(Socket& socket) {
  std::vector<VirtualService> out;
  LB_CHECK(dump(
      socket, "read IPVS's services", encode_services_request, [&] { out.clear(); },
      [&](const Message& message) -> Result<> {
        LB_TRY(auto service, decode_service(message));
        if (service) out.push_back(*std::move(service));
        return {};
      }));
  return out;
}

Result<std::vector<ObservedServer>> read_servers(Socket& socket, const ServiceId& service) {
  std::vector<ObservedServer> out;
  const auto encode = [&](Buffer& to, const Envelope& envelope) {
    encode_servers_request(to, envelope, service);
  };
  LB_CHECK(dump(
      socket, "read the servers of " + service.to_string(), encode, [&] { out.clear(); },
      [&](const Message& message) -> Result<> {
        LB_TRY(out.emplace_back(), decode_server(message, service.v6));
        return {};
      }));
  return out;
}

// One system call for all of `commands`, and as many as it takes to read what became of them.
Result<> apply_batch(Socket& socket, std::span<const Command> commands,
                     std::vector<Result<>>& results) {
  Buffer request;
  std::uint32_t first = 0;
  for (std::size_t i = 0; i < commands.size(); ++i) {
    const std::uint32_t sequence = socket.next_sequence();
    if (i == 0) first = sequence;
    encode_command(request, {socket.family(), sequence}, commands[i]);
  }
  LB_CHECK(socket.send(request));
  std::vector<std::optional<int>> errors(commands.size());
  std::size_t answered = 0;
  const auto read = [&](const Message& message) -> Result<> {
    const std::uint32_t at = message.sequence - first;  // wraps round, as the numbers do
    if (message.type != NLMSG_ERROR || at >= commands.size() || errors[at]) return {};
    LB_TRY(errors[at], decode_error(message));
    ++answered;
    return {};
  };
  while (answered < commands.size()) LB_CHECK(socket.receive(Socket::Size::Small, read));
  for (std::size_t i = 0; i < commands.size(); ++i)
    results.push_back(outcome(commands[i], *errors[i]));
  return {};
}

bool is_not_found(const Result<>& result) {
  return !result && result.error().code == std::errc::no_such_file_or_directory;
}

Result<std::vector<Result<>>> apply_all(Socket& socket, std::span<const Command> commands) {
  std::vector<Result<>> out;
  out.reserve(commands.size());
  while (!commands.empty()) {
    const auto batch = commands.first(std::min(kBatch, commands.size()));
    LB_CHECK(apply_batch(socket, batch, out));
    commands = commands.subspan(batch.size());
  }
  // ENOENT is also the answer to everything when the module has gone: then nothing it said of servers and schedulers is true.
  if (std::ranges::any_of(out, is_not_found)) LB_CHECK(read_info(socket));
  return out;
}

}  // namespace

Client::Client(std::unique_ptr<Connection> connection) : connection_(std::move(connection)) {}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;
Client::~Client() = default;

Result<Client> Client::open() {
  Client client(std::make_unique<Connection>());
  LB_CHECK(client.info());  // everybody may ask for the family, only CAP_NET_ADMIN for more
  return client;
}

Result<Info> Client::info() { return connection_->with(read_info); }

Result<std::vector<VirtualService>> Client::services() { return connection_->with(read_services); }

Result<std::vector<ObservedServer>> Client::servers(const ServiceId& service) {
  return connection_->with([&](Socket& socket) { return read_servers(socket, service); });
}

Result<std::vector<std::vector<ObservedServer>>> Client::servers(
    std::span<const ServiceId> services) {
  using Lists = std::vector<std::vector<ObservedServer>>;
  return connection_->with([&](Socket& socket) -> Result<Lists> {
    Lists out;
    out.reserve(services.size());
    for (const ServiceId& service : services) {
      LB_TRY(out.emplace_back(), read_servers(socket, service));
    }
    return out;
  });
}

Result<std::vector<Result<>>> Client::apply(std::span<const Command> commands) {
  return connection_->with([&](Socket& socket) { return apply_all(socket, commands); });
}

}  // namespace lb::ipvs
