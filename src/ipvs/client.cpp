#include "ipvs/client.h"

#include <optional>
#include <utility>

#include "ipvs/exchange.h"
#include "ipvs/socket.h"

namespace lb::ipvs {

struct Client::Connection {
  // None after an error: what was given up half way may still be answered there. The next call opens another, which also
  // loads the module again if it has been unloaded.
  std::optional<Socket> socket;

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

Result<std::vector<std::optional<VirtualService>>> Client::services(
    std::span<const ServiceId> ids) {
  using Found = std::vector<std::optional<VirtualService>>;
  return connection_->with([&](Socket& socket) -> Result<Found> {
    Found out;
    out.reserve(ids.size());
    for (const ServiceId& id : ids) {
      LB_TRY(out.emplace_back(), read_service(socket, id));
    }
    return out;
  });
}

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
  return connection_->with([&](Socket& socket) { return apply_commands(socket, commands); });
}

}  // namespace lb::ipvs
