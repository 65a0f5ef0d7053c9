#include "sim/file_script.h"

#include <fmt/format.h>

#include "daemon/source_slot.h"

namespace lb::sim {

void FileScript::edited() {
  due_ =
      std::min(due_, world_.now.steady + world_.random.between(milliseconds(0), milliseconds(60)));
}

void FileScript::step() {
  if (due_ > world_.now.steady) return;
  due_ = SteadyTime::max();
  if (mood() == Mood::Fails) {
    due_ = world_.now.steady + milliseconds(1'000);
    connected_ = false;
    out_ = fail(EACCES, "read the services files");
    return;
  }
  connected_ = true;
  std::map<ServiceKey, Service> services;
  for_each_listed([&](const Instance& instance) {
    Service& service = services[instance.service];
    service.key = instance.service;
    service.name = service.origin = instance.origin;
    if (checks_) service.check = HealthCheck{};
    Backend backend;
    backend.id = backend.host = instance.address.to_string();
    backend.host = instance.address.ip.to_string();
    backend.address = instance.address;
    backend.origin = instance.origin;
    service.backends.push_back(std::move(backend));
  });
  Snapshot said;
  said.as_of = world_.now.wall;
  for (auto& [key, service] : services) {
    ServicePtr& last = last_[key];
    if (!last || *last != service) last = std::make_shared<const Service>(std::move(service));
    said.services.push_back(last);
  }
  if (world_.trace)
    world_.say(fmt::format("the files say {} services, {} backends", said.services.size(),
                           count_backends(said)));
  out_ = std::move(said);
}

}  // namespace lb::sim
