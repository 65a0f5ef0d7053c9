// Any bytes as a line of the push protocol. What comes out is encoded again and means the same, and a
// delta is applied to the state that the first half of the input makes.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/text.h"
#include "relay/message.h"
#include "relay/peer_bytes.h"
#include "relay/replica.h"

namespace {

using namespace lb::relay;

void require(bool truth) {
  if (!truth) std::abort();
}

void check_sorted(const std::vector<lb::ServicePtr>& services) {
  for (std::size_t i = 1; i < services.size(); ++i) require(before(services[i - 1], services[i]));
  for (const lb::ServicePtr& service : services)
    for (std::size_t i = 1; i < service->backends.size(); ++i)
      require(service->backends[i - 1].address < service->backends[i].address);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const lb::IpAddress publish = lb::IpAddress::v4(0x0a000001);
  std::vector<lb::ServicePtr> services;
  (void)not_our_protocol(text);
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::string_view line = text.substr(begin, text.find('\n', begin) - begin);
    begin += line.size() + 1;
    const auto message = decode(line, publish);
    if (!message) {
      require(message.error().context.size() < 2'000);
      require(lb::printable(message.error().context, 2'000) == message.error().context);
      continue;
    }
    if (!*message) continue;
    std::string again = encode(**message);
    require(again.find('\n') == again.size() - 1);
    again.pop_back();
    const auto twice = decode(again, publish);
    require(twice && *twice && (*twice)->index() == (*message)->index());
    require(encode(**twice) == again + "\n");
    if (const auto* snapshot = std::get_if<SnapshotMessage>(&**message))
      services = snapshot->services;
    if (const auto* delta = std::get_if<Delta>(&**message))
      (void)lb::relay::apply(*delta, services);
    check_sorted(services);
    std::vector<std::string> warnings;
    require(visible(services, warnings).size() + warnings.size() == services.size());
  }
  return 0;
}
