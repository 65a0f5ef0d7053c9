#include "api/render.h"

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <nlohmann/json.hpp>

#include "api/json.h"

namespace lb {
namespace {

constexpr std::size_t kServicesPerTurn = 64;  // some milliseconds

}  // namespace

asio::awaitable<std::string> render_services(std::vector<ServiceView> services) {
  std::string out = "{\"services\":[";
  for (std::size_t i = 0; i < services.size(); ++i) {
    if (i > 0) out += ',';
    out += dump(service_json(services[i]));
    if (i % kServicesPerTurn == kServicesPerTurn - 1) co_await asio::post(asio::use_awaitable);
  }
  out += "]}";
  co_return out;
}

}  // namespace lb
