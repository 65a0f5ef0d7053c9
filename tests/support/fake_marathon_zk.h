// What the nodes of a fake Marathon cluster share: a folder. Who holds the lock leads, so that the death of
// a leader's process makes another one lead.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "base/unique_fd.h"

namespace lb::test {

class FakeZookeeper {
 public:
  FakeZookeeper(std::string folder, unsigned node) : folder_(std::move(folder)), node_(node) {}

  struct Leader {
    unsigned node = 0;
    std::string address;  // "host:port"
    std::string control;  // its control socket
  };
  [[nodiscard]] std::optional<Leader> leader() const;

  // Takes the lock if it is free and nobody else was elected.
  [[nodiscard]] bool campaign();
  // After campaign(): tells the others.
  void lead(const std::string& address, const std::string& control) const;
  // Another node was elected, or nobody for now.
  [[nodiscard]] bool unwanted() const;
  void abdicate();
  // 0: nobody. Lasts until that node leads.
  void elect(unsigned node, std::chrono::milliseconds lasts) const;

  void save(const std::string& state) const;
  [[nodiscard]] std::string load() const;  // "": nothing yet

 private:
  std::string folder_;
  unsigned node_;
  UniqueFd lock_;
};

}  // namespace lb::test
