#include "http/host_lookup.h"

#include <curl/curl.h>

#include <cerrno>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/event.h"
#include "base/resolver.h"

namespace lb {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::seconds kHolds{60}, kAskAgain{5};  // the second: when DNS was silent

struct UrlHost {
  std::string name, port;
};

std::optional<std::string> part_of(CURLU* url, CURLUPart what) {
  char* text = nullptr;
  if (curl_url_get(url, what, &text, CURLU_DEFAULT_PORT) != CURLUE_OK) return std::nullopt;
  std::string out(text);
  curl_free(text);
  return out;
}

std::optional<UrlHost> host_of(const std::string& text) {
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> url(curl_url(), &curl_url_cleanup);
  if (!url || curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK)
    return std::nullopt;
  auto name = part_of(url.get(), CURLUPART_HOST);
  auto port = part_of(url.get(), CURLUPART_PORT);
  if (!name || !port || name->empty()) return std::nullopt;
  boost::system::error_code no_literal;
  (void)asio::ip::make_address(*name, no_literal);
  if (name->starts_with('[') || !no_literal) return std::nullopt;
  return UrlHost{*std::move(name), *std::move(port)};
}

}  // namespace

asio::awaitable<Result<HostLookup::Addresses>> HostLookup::ask(std::shared_ptr<HostLookup> self,
                                                               std::string name,
                                                               std::chrono::milliseconds within) {
  struct Look {
    explicit Look(asio::io_context& io) : done(io.get_executor()) {}
    Event done;
    Resolver::Answer answer = fail("no DNS server has answered in time");
  };
  const auto look = std::make_shared<Look>(self->io_);
  const auto question =
      asio::use_service<Resolver>(self->io_).ask(name, [look](Resolver::Answer answer) {
        look->answer = std::move(answer);
        look->done.notify();
      });
  const Event::Woken woken = co_await look->done.wait(steady_clock::now() + within);
  if (woken == Event::Woken::Cancelled) co_return fail(ECANCELED, "look up " + name);
  if (!look->answer)
    co_return fail(EHOSTUNREACH, fmt::format("Could not resolve host: {}: {}", name,
                                             look->answer.error().message()));
  co_return *look->answer;
}

asio::awaitable<Result<std::string>> HostLookup::find(std::shared_ptr<HostLookup> self,
                                                      std::string url,
                                                      std::chrono::milliseconds within) {
  const auto host = host_of(url);
  if (!host) co_return std::string();
  const auto before = self->known_.find(host->name);
  if (before == self->known_.end() || before->second.ask_again <= steady_clock::now()) {
    auto asked = co_await ask(self, host->name, within);
    if (asked)
      self->known_[host->name] = {*std::move(asked), steady_clock::now() + kHolds};
    else if (asked.error().code == std::errc::operation_canceled ||
             !self->known_.contains(host->name))
      co_return tl::unexpected(asked.error());
    else
      self->known_[host->name].ask_again = steady_clock::now() + kAskAgain;
  }
  std::string out = fmt::format("+{}:{}:", host->name, host->port);
  const char* comma = "";
  for (const asio::ip::address& address : self->known_[host->name].addresses) {
    out += comma + (address.is_v6() ? "[" + address.to_string() + "]" : address.to_string());
    comma = ",";
  }
  co_return out;
}

}  // namespace lb
