// Files of tests/data/ipvs, cut into messages.
#pragma once

#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/file.h"
#include "ipvs/netlink.h"

namespace lb::test {

inline ipvs::Buffer read_bytes(const std::string& path) {
  const auto text = read_file(path);
  if (!text) throw std::runtime_error(text.error().message());
  return {text->begin(), text->end()};
}

inline ipvs::ServiceId id(const std::string& key) {
  return ipvs::ServiceId::of(ServiceKey::parse(key).value());
}

// The messages are views of `bytes`.
struct Answer {
  ipvs::Buffer bytes;
  std::vector<ipvs::Message> messages;

  explicit Answer(ipvs::Buffer of) : bytes(std::move(of)) {
    auto cut = ipvs::split_messages(bytes);
    if (!cut) throw std::runtime_error(cut.error().message());
    messages = *std::move(cut);
  }
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;

  // All but the one that ends it.
  [[nodiscard]] std::vector<ipvs::Message> data() const {
    return {messages.begin(), messages.end() - 1};
  }
};

}  // namespace lb::test
