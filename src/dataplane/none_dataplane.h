// The dataplane that programs nothing: it only remembers. For looking at what sources say (mode
// "none"), and the base of the tests' FakeDataplane.
#pragma once

#include <map>

#include "dataplane/dataplane.h"

namespace lb {

class NoneDataplane : public Dataplane {
 public:
  [[nodiscard]] Result<std::vector<ServiceKey>> keys() override;
  [[nodiscard]] Result<Observed> read_some(std::span<const ServiceKey> keys) override;
  [[nodiscard]] Result<> upsert(const ProgrammedService& service) override;
  [[nodiscard]] Result<> remove(const ServiceKey& key) override;
  void settle(Settled done) override { done({}); }
  [[nodiscard]] Result<> collect() override { return {}; }
  [[nodiscard]] Result<std::uint64_t> count_sockets(const ServiceKey&, const Address&) override {
    return 0;
  }
  [[nodiscard]] Result<std::uint64_t> terminate(const ServiceKey&, const Address&) override {
    return 0;
  }
  void on_connect_failure(std::function<void(const ConnectFailure&)>) override {}
  [[nodiscard]] DataplaneInfo info() const override;

 protected:
  std::map<ServiceKey, ProgrammedService> services_;
};

}  // namespace lb
