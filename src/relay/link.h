// The connection to one updater, kept for the whole time: dials again whenever it has ended. Knows
// the protocol's form (hello, pings, silence), and not what a state is good for.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/event.h"
#include "relay/complaint.h"
#include "relay/connection.h"
#include "relay/decoder.h"
#include "relay/message.h"
#include "relay/outbox.h"
#include "relay/redial.h"
#include "sources/clocks.h"

namespace lb::relay {

class Link {
 public:
  // What all links of a source share; owned by the source, outlives their coroutines.
  struct Shared {
    asio::io_context& io;
    const TlsFiles& tls;
    const IpAddress& publish;
    const Clocks& clocks;
    Decoder& decoder;
    std::function<ListenerHello()> hello;
    std::function<const std::vector<FleetOrders::Known>*()> orders;
    std::function<void(std::size_t, const UpdaterHello&)> up;
    // Pings, states, orders. An error ends the connection, and is told to the updater.
    std::function<Result<>(std::size_t, Message)> take;
    std::function<void(std::size_t)> down;  // has ended, or could not be made
  };

  Link(const Shared& shared, std::size_t index, HostPort updater);

  // Until stop(), and then until what is under way has ended: a dial takes some seconds. After stop()
  // nothing of Shared's functions is called any more.
  asio::awaitable<void> run();
  void stop();

  // What to say; say() has it said.
  [[nodiscard]] Outbox& outbox() { return outbox_; }
  void say() { wake_.notify(); }

  [[nodiscard]] const HostPort& updater() const { return updater_; }
  [[nodiscard]] bool connected() const { return connected_; }
  [[nodiscard]] std::chrono::steady_clock::time_point connected_at() const { return connected_at_; }
  [[nodiscard]] const std::string& error() const { return error_; }  // "" while connected
  [[nodiscard]] Complaint& complaint() { return complaint_; }
  [[nodiscard]] const Complaint& complaint() const { return complaint_; }

 private:
  asio::awaitable<Result<>> session();
  asio::awaitable<Result<UpdaterHello>> greet();
  asio::awaitable<void> listen();
  asio::awaitable<void> talk();
  asio::awaitable<void> say_all();
  void end(Error error, bool tell = false);
  void check_certificate();
  asio::awaitable<void> check_revoked();
  void failed(const Error& error);

  const Shared& shared_;
  std::size_t index_;
  HostPort updater_;
  Event wake_;
  asio::steady_timer pause_;
  std::minstd_rand random_;
  Redial redial_;
  Outbox outbox_;
  Complaint complaint_;
  std::string error_;
  std::unique_ptr<Connection> connection_;
  std::string lists_stamp_;  // of the files that check_revoked() has read
  std::string lists_error_;
  Stage stage_ = Stage::Dial;
  std::chrono::steady_clock::time_point connected_at_{};
  bool connected_ = false;
  bool writing_ = false;
  bool stopped_ = false;
  std::optional<Error> ended_;  // why the connection is about to end
  std::string goodbye_;         // what the updater is told of it
};

}  // namespace lb::relay
