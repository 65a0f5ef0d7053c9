// A dataplane in memory whose connections the test sets, and that fails on request.
#pragma once

#include <algorithm>
#include <cerrno>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/none_dataplane.h"

namespace lb {

class FakeDataplane : public NoneDataplane {
 public:
  using Id = std::pair<ServiceKey, Address>;

  // --- what the test arranges
  std::set<std::size_t> failing_calls;     // of upsert and remove together, counted from 0
  std::map<ServiceKey, int> failing_keys;  // errno of each write of this service
  std::map<Id, std::uint64_t> active;      // connections, TCP and UDP
  std::map<Id, std::uint64_t> survivors;   // how many a terminate() leaves
  std::map<Address, std::string> refused;  // backends that it cannot use, and why
  std::map<Address, Ejection> ejected;     // and those that it passes over
  std::string mode = "none";               // of info()
  std::vector<std::string> notes;          // of info()
  std::vector<std::string> problems;       // of info()
  std::map<ServiceKey, std::string> local_only, left_out;
  std::set<ServiceKey> left;  // removed, and known by connections that are left
  bool failing_reads = false;
  bool counts = true;  // false: active_connections is null, as where the kernel refuses to count
  bool slow_to_settle = false;  // then the test calls what is in `unsettled`

  // --- what the test looks at
  std::size_t writes = 0;
  std::size_t most_read_at_once = 0;
  std::size_t keys_read = 0;
  std::vector<std::string> calls;  // "upsert tcp://127.0.0.1:80", "remove ...", "settle"
  std::vector<Settled> unsettled;
  std::function<void(const ConnectFailure&)> on_failure;

  [[nodiscard]] const std::map<ServiceKey, ProgrammedService>& services() const {
    return services_;
  }
  [[nodiscard]] const ProgrammedService* service(const ServiceKey& key) const {
    const auto it = services_.find(key);
    return it == services_.end() ? nullptr : &it->second;
  }
  // What somebody else does to the kernel.
  void tamper(const ServiceKey& key) { services_.erase(key); }
  void plant(const ProgrammedService& service) { services_.insert_or_assign(service.key, service); }

  [[nodiscard]] Result<std::vector<ServiceKey>> keys() override {
    if (failing_reads) return fail(EIO, "read");
    LB_TRY(std::vector<ServiceKey> out, NoneDataplane::keys());
    out.insert(out.end(), left.begin(), left.end());
    std::sort(out.begin(), out.end());
    return out;
  }
  [[nodiscard]] Result<Observed> read_some(std::span<const ServiceKey> keys) override {
    if (failing_reads) return fail(EIO, "read");
    most_read_at_once = std::max(most_read_at_once, keys.size());
    keys_read += keys.size();
    LB_TRY(Observed observed, NoneDataplane::read_some(keys));
    for (ObservedService& s : observed.services) fill(s);
    for (const ServiceKey& key : keys) {
      if (!left.contains(key)) continue;
      ObservedService& gone = observed.services.emplace_back();
      gone.key = key;
      gone.programmed = false;
    }
    std::sort(observed.services.begin(), observed.services.end(),
              [](const auto& a, const auto& b) { return a.key < b.key; });
    return observed;
  }
  [[nodiscard]] Result<> upsert(const ProgrammedService& service) override {
    LB_CHECK(write("upsert", service.key));
    return NoneDataplane::upsert(service);
  }
  [[nodiscard]] Result<> remove(const ServiceKey& key) override {
    LB_CHECK(write("remove", key));
    return NoneDataplane::remove(key);
  }
  void settle(Settled done) override {
    calls.emplace_back("settle");
    if (slow_to_settle)
      unsettled.push_back(std::move(done));
    else
      done({});
  }
  [[nodiscard]] Result<std::uint64_t> count_sockets(const ServiceKey& key,
                                                    const Address& backend) override {
    return active[{key, backend}];
  }
  [[nodiscard]] Result<std::uint64_t> terminate(const ServiceKey& key,
                                                const Address& backend) override {
    calls.push_back("terminate " + backend.to_string());
    const Id id{key, backend};
    const std::uint64_t surviving = std::min(survivors[id], active[id]);
    survivors[id] = 0;
    return std::exchange(active[id], surviving) - surviving;
  }
  void on_connect_failure(std::function<void(const ConnectFailure&)> handler) override {
    on_failure = std::move(handler);
  }
  [[nodiscard]] DataplaneInfo info() const override {
    DataplaneInfo out = NoneDataplane::info();
    out.mode = mode;
    out.notes = notes;
    out.counts_connections = counts;
    out.problems = problems;
    return out;
  }

 private:
  [[nodiscard]] Result<> write(const std::string& what, const ServiceKey& key) {
    const std::size_t call = writes++;
    calls.push_back(what + " " + key.to_string());
    if (failing_calls.contains(call)) return fail(EIO, calls.back());
    if (const auto it = failing_keys.find(key); it != failing_keys.end())
      return fail(it->second, calls.back());
    return {};
  }

  // The connections that were set, also of backends that are no longer listed.
  void fill(ObservedService& service) {
    if (const auto it = local_only.find(service.key); it != local_only.end())
      service.local_only = it->second;
    if (const auto it = left_out.find(service.key); it != left_out.end())
      service.left_out = it->second;
    if (service.key.protocol != Protocol::Tcp) return;
    for (ObservedBackend& b : service.backends) {
      b.active_connections.reset();
      if (counts) b.active_connections = active[{service.key, b.address}];
      if (const auto why = refused.find(b.address); why != refused.end()) b.refused = why->second;
      if (const auto out = ejected.find(b.address); out != ejected.end()) b.ejected = out->second;
    }
    for (const auto& [id, count] : active) {
      if (id.first != service.key || count == 0) continue;
      const bool listed =
          std::any_of(service.backends.begin(), service.backends.end(),
                      [&](const ObservedBackend& b) { return b.address == id.second; });
      if (listed) continue;
      ObservedBackend gone;
      gone.address = id.second;
      gone.active_connections = count;
      service.backends.push_back(gone);
    }
    std::sort(service.backends.begin(), service.backends.end(),
              [](const auto& a, const auto& b) { return a.address < b.address; });
  }
};

}  // namespace lb
