#include "ipvs/records.h"

#include <string_view>

#include <fmt/format.h>

namespace lb::ipvs {
namespace {

std::string_view verb_of(Command::Kind kind) {
  switch (kind) {
    case Command::Kind::AddService:
      return "add service";
    case Command::Kind::SetService:
      return "set service";
    case Command::Kind::RemoveService:
      return "remove service";
    case Command::Kind::AddServer:
      return "add server";
    case Command::Kind::SetServer:
      return "set server";
    case Command::Kind::RemoveServer:
      return "remove server";
  }
  return "do nothing to";
}

std::string_view preposition_of(Command::Kind kind) {
  switch (kind) {
    case Command::Kind::AddServer:
      return " to ";
    case Command::Kind::RemoveServer:
      return " from ";
    default:
      return " of ";
  }
}

}  // namespace

std::string ServiceId::to_string() const {
  if (fwmark != 0) return fmt::format("fwmark {:#x} {}", fwmark, v6 ? "IPv6" : "IPv4");
  return ServiceKey{protocol, address, port}.to_string();
}

std::string Command::to_string() const {
  switch (kind) {
    case Kind::AddService:
    case Kind::SetService:
    case Kind::RemoveService:
      return fmt::format("{} {}", verb_of(kind), service.id.to_string());
    default:
      return fmt::format("{} {}{}{}", verb_of(kind), server.address.to_string(),
                         preposition_of(kind), service.id.to_string());
  }
}

}  // namespace lb::ipvs
