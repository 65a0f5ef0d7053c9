// Requests to Marathon: all apps, and the event stream. Which endpoint is asked is the caller's choice.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "http/client.h"
#include "marathon/access.h"
#include "marathon/app.h"
#include "marathon/auth.h"
#include "marathon/events.h"

namespace lb::marathon {

// An event stream that is open. Destroying it closes the connection.
class EventFeed {
 public:
  EventFeed(HttpStream stream, std::string from);

  // What has come; may be nothing but a heartbeat. ETIMEDOUT at the deadline; the end is an error, too.
  asio::awaitable<Result<std::vector<SseEvent>>> read(
      std::chrono::steady_clock::time_point deadline);
  [[nodiscard]] const std::string& from() const { return from_; }  // "http://marathon1:8080"

 private:
  HttpStream stream_;
  SseParser parser_;
  std::string from_;
};

class Client {
 public:
  // The largest answer that is taken, decompressed: some 100,000 tasks. What is above is a fault, and
  // would be paid for in memory.
  static constexpr std::size_t kLargestAnswer = std::size_t{128} << 20;

  // A large Marathon thinks for seconds; behind a standby it is given 10 s by that.
  static constexpr std::chrono::milliseconds kPatience{20'000};

  Client(asio::io_context& io, Access access);
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  [[nodiscard]] const Access& access() const { return access_; }

  struct Answer {
    std::string body;    // complete; status 200
    std::string leader;  // "http://host:port" as it names itself; "" by versions that do not
  };
  // Apps with their tasks; only those with `label`, if it is not "", from versions that can select.
  // Errors name the endpoint and the reason.
  asio::awaitable<Result<Answer>> apps(std::string endpoint, std::string label,
                                       std::chrono::milliseconds patience = kPatience);

  // One app by its id, with its tasks; nullopt: the leader says that there is none.
  asio::awaitable<Result<std::optional<App>>> app(std::string endpoint, std::string id,
                                                  std::chrono::milliseconds patience);

  // ENOTSUP: this version has no event stream, or what is before this endpoint hides it.
  asio::awaitable<Result<EventFeed>> events(std::string endpoint);

 private:
  // With credentials, new ones if those were refused.
  asio::awaitable<Result<HttpResponse>> get(HttpRequest request);
  asio::awaitable<Result<HttpStream>> open(HttpRequest request);
  asio::awaitable<std::string> ask_leader(std::string endpoint);
  // It says that none leads, or does not say: what it denies then may be there (0.8).
  asio::awaitable<bool> knows_no_leader(std::string endpoint, std::chrono::milliseconds patience);
  [[nodiscard]] tl::unexpected<Error> refusal(const std::string& what, int status,
                                              std::string_view body) const;

  Access access_;
  HttpClient http_;
  Auth auth_;
  bool no_selectors_ = false;  // it refused ours
};

}  // namespace lb::marathon
