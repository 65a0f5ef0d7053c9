// Whatever changes, and however many states a listener misses: what it makes of the messages is what the
// updater has.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include <fmt/format.h>

#include "relay/feed.h"
#include "relay/replica.h"
#include "support/snapshot_builder.h"
#include "unit/relay/compare.h"

namespace lb::relay {
namespace {

class World {
 public:
  explicit World(unsigned seed) : random_(seed) {}

  unsigned pick(unsigned below) { return std::uniform_int_distribution(0u, below - 1)(random_); }

  void edit() {
    const unsigned edits = 1 + pick(4);
    for (unsigned i = 0; i < edits; ++i) edit_one();
  }

  [[nodiscard]] std::vector<ServicePtr> services() const {
    std::vector<ServicePtr> out;
    for (const auto& [key, service] : services_) out.push_back(service);
    return out;
  }

 private:
  // Some at the listener's own address, where those without an address will be as well.
  ServiceRef some_ref() {
    static const char* const kAddresses[] = {"127.0.0.1", "10.9.9.9", "10.0.0.1"};
    const unsigned which = pick(3);
    const char* scheme = pick(4) == 0 ? "udp" : "tcp";
    const auto text = fmt::format("{}://{}:{}", scheme, kAddresses[which], 80 + pick(4));
    return {ServiceKey::parse(text).value(), which == 0};
  }

  Backend some_backend() {
    Backend out = listed(fmt::format("10.1.0.{}:{}", 1 + pick(8), 80 + pick(2)), pick(3));
    if (pick(2) == 0) out.id = fmt::format("task {}", pick(5));
    if (pick(3) == 0) out.state = BackendState::Draining;
    if (pick(3) == 0) out.reason = Reason::Source;
    if (pick(3) == 0) out.origin = "/app";
    return out;
  }

  void edit_one() {
    const ServiceRef ref = some_ref();
    if (pick(5) == 0) {
      services_.erase(ref.key);
      return;
    }
    const auto known = services_.find(ref.key);
    Service next = known == services_.end() ? Service{} : *known->second;
    next.key = ref.key;
    next.default_address = ref.default_address;
    if (pick(6) == 0) next.name = fmt::format("name {}", pick(3));
    if (pick(8) == 0) next.drain_timeout = std::chrono::seconds(pick(3));
    if (pick(8) == 0) next.check = HealthCheck{};
    if (pick(8) == 0) next.launder = pick(2) == 0;
    edit_backends(next.backends);
    services_[ref.key] = std::make_shared<const Service>(std::move(next));
  }

  void edit_backends(std::vector<Backend>& backends) {
    std::map<Address, Backend> by_address;
    for (Backend& backend : backends) by_address[backend.address] = std::move(backend);
    for (unsigned i = pick(4); i > 0; --i) {
      const Backend backend = some_backend();
      if (pick(3) == 0)
        by_address.erase(backend.address);
      else
        by_address[backend.address] = backend;
    }
    backends.clear();
    for (const auto& [address, backend] : by_address) backends.push_back(backend);
  }

  std::mt19937 random_;
  std::map<ServiceKey, ServicePtr> services_;
};

std::vector<ServicePtr> expected(const std::vector<ServicePtr>& services) {
  std::vector<ServicePtr> out;
  for (const ServicePtr& service : services) {
    auto copy = std::make_shared<Service>(*service);
    if (copy->default_address) copy->key.address = kPublish;
    out.push_back(std::move(copy));
  }
  std::sort(out.begin(), out.end(), before);
  return out;
}

struct Listener {
  std::optional<Position> have;
  std::vector<ServicePtr> services;

  Result<> take(const std::string& line) {
    const auto message =
        decode(std::string_view(line).substr(0, line.size() - 1), kPublish).value();
    if (const auto* snapshot = std::get_if<SnapshotMessage>(&*message)) {
      services = snapshot->services;
      have = snapshot->at;
      return {};
    }
    const Delta& delta = std::get<Delta>(*message);
    if (!follows(delta, have)) return fail("a gap");
    LB_CHECK(relay::apply(delta, services));
    have = delta.at;
    return {};
  }
};

TEST(RelayProperty, ListenersHaveWhatTheUpdaterHas) {
  for (unsigned seed = 0; seed < 40; ++seed) {
    World world(seed);
    StateFeed feed("e");
    std::vector<Listener> listeners(3);
    int deltas = 0;
    for (int step = 0; step < 60; ++step) {
      world.edit();
      feed.publish(world.services(), {});
      for (Listener& listener : listeners) {
        if (world.pick(3) == 0) continue;  // it reads slowly
        std::optional<std::uint64_t> base;
        if (listener.have && feed.knows(*listener.have)) base = listener.have->sequence;
        if (base == feed.at().sequence) continue;
        deltas += base ? 1 : 0;
        const StateFeed::Step next = feed.next(base);
        const auto taken = listener.take(*next.line);
        ASSERT_TRUE(taken) << taken.error().message() << "\n" << *next.line;
        ASSERT_EQ(listener.have, (Position{"e", next.sequence}));
        ASSERT_TRUE(same(listener.services, expected(world.services())))
            << "seed " << seed << " step " << step << "\n"
            << *next.line;
      }
    }
    EXPECT_GT(deltas, 60);
  }
}

TEST(RelayProperty, NoDeltaWhereNothingChanged) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    World world(seed);
    for (int step = 0; step < 10; ++step) world.edit();
    const Delta delta = make_delta(world.services(), world.services());
    EXPECT_TRUE(delta.changed.empty() && delta.patched.empty() && delta.removed.empty());
  }
}

}  // namespace
}  // namespace lb::relay
