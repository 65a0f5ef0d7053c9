#include "support/daemon.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <utility>

#include <cstdlib>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/unique_fd.h"
#include "support/sockets.h"

namespace lb::test {
namespace {

using Json = nlohmann::json;

std::string address_of(const Json& json) {
  const std::string ip = json.at("address");
  const int port = json.at("port");
  return ip.find(':') == std::string::npos ? fmt::format("{}:{}", ip, port)
                                           : fmt::format("[{}]:{}", ip, port);
}

ListedBackend to_backend(const Json& json) {
  const Json& active = json.at("active_connections");
  return {.id = json.at("id"),
          .host = json.at("host"),
          .address = address_of(json),
          .state = json.at("state"),
          .reason = json.at("reason"),
          .since = json.at("since"),
          .weight = json.at("weight"),
          .effective_weight = json.at("effective_weight"),
          .active = active.is_null() ? -1 : active.get<std::int64_t>(),
          .total = json.at("total_connections")};
}

ListedService to_service(const Json& json) {
  ListedService out{.name = json.at("name"),
                    .listen = address_of(json),
                    .condition = json.at("condition"),
                    .text = json.at("text"),
                    .backends = {}};
  for (const Json& backend : json.at("backends")) out.backends.push_back(to_backend(backend));
  return out;
}

const Json* find(const Json& json, const std::string& pointer) {
  const Json::json_pointer at(pointer);
  return json.contains(at) ? &json.at(at) : nullptr;
}

}  // namespace

std::string json_at(const std::string& json, const std::string& pointer) {
  const Json parsed = Json::parse(json, nullptr, false);
  if (parsed.is_discarded()) return "(no JSON)";
  const Json* found = find(parsed, pointer);
  if (!found) return "(none)";
  return found->is_string() ? found->get<std::string>() : found->dump();
}

int json_size(const std::string& json, const std::string& pointer) {
  const Json parsed = Json::parse(json, nullptr, false);
  const Json* found = parsed.is_discarded() ? nullptr : find(parsed, pointer);
  return found && (found->is_array() || found->is_object()) ? static_cast<int>(found->size()) : -1;
}

std::string program(std::string_view name) {
  const char* elsewhere = std::getenv("LB_BIN_DIR");
  return fmt::format("{}/{}", elsewhere == nullptr ? LB_BIN_DIR : elsewhere, name);
}

Daemon::Daemon(const Sandbox& sandbox)
    : runtime_dir(sandbox.folder() + "/run"),
      state_dir(sandbox.folder() + "/state"),
      cgroup(sandbox.cgroup()),
      bpffs(sandbox.bpffs()),
      lbd_path(program("lbd")),
      folder_(sandbox.folder()) {}

void Daemon::live_in(const std::string& folder, const std::string& its_cgroup,
                     const std::string& its_bpffs) {
  folder_ = folder;
  runtime_dir = folder + "/run";
  state_dir = folder + "/state";
  cgroup = its_cgroup;
  bpffs = its_bpffs;
}

Command Daemon::preset(std::string_view verb, const Command& words) const {
  Command out = prefix;
  out.push_back(lbd_path);
  out.emplace_back(verb);
  out.insert(out.end(), words.begin(), words.end());
  for (const auto& [flag, value] :
       {std::pair("--runtime-dir", &runtime_dir), std::pair("--state-dir", &state_dir),
        std::pair("--cgroup", &cgroup), std::pair("--bpffs", &bpffs)}) {
    out.emplace_back(flag);
    out.push_back(*value);
  }
  return out;
}

Command Daemon::command(std::string_view verb, const Command& more_flags) const {
  Command words{"--config", config_path()};
  words.insert(words.end(), more_flags.begin(), more_flags.end());
  // The same tests on another dataplane.
  if (const char* dataplane = std::getenv("LB_DATAPLANE"))
    words.insert(words.end(), {"--dataplane", dataplane});
  return preset(verb, words);
}

bool Daemon::launch(const Command& command) {
  process_.reset();
  process_ = std::make_unique<Process>(command, folder_ + "/lbd.log");
  const bool ready =
      eventually([&] { return !process_->running() || listens(); }, std::chrono::seconds(60));
  if (!ready || !process_->running()) {
    ADD_FAILURE() << "lbd does not start:\n" << log();
    return false;
  }
  // Files are there at once, and tests count on it; but one may hang on purpose.
  (void)eventually([&] { return files_are_read(); }, std::chrono::seconds(2));
  return true;
}

// It, and not an lbd before it.
bool Daemon::listens() const {
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const std::string path = socket();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ucred peer{};
  socklen_t size = sizeof peer;
  return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
         ::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
         peer.pid == process_->pid();
}

bool Daemon::files_are_read() const {
  const Json answer = Json::parse(json({"sources"}), nullptr, false);
  if (!answer.is_object()) return false;
  const Json& all = answer.at("sources");
  return std::none_of(all.begin(), all.end(), [](const Json& source) {
    return source.at("type") == "file" && source.at("state") != "failing" &&
           (source.at("state") == "waiting" || source.at("saved") == true);
  });
}

void Daemon::kill() {
  if (process_) process_->kill();
}

int Daemon::stop() {
  process_->signal(SIGTERM);
  return process_->wait().value_or(-1);
}

void Daemon::reload() const { process_->signal(SIGHUP); }

Finished Daemon::run_to_its_end(const Command& more_flags) const {
  return run(command("run", more_flags), std::chrono::seconds(10));
}

Finished Daemon::ctl(const Command& words) const {
  Command command{program("lbctl"), "--socket", socket()};
  command.insert(command.end(), words.begin(), words.end());
  return run(command);
}

std::string Daemon::json(const Command& words) const {
  Command with_json = words;
  with_json.emplace_back("--json");
  const Finished done = ctl(with_json);
  return done.code == 0 ? done.out : "";
}

std::vector<ListedService> Daemon::list() const {
  const Json parsed = Json::parse(json({"list"}), nullptr, false);
  std::vector<ListedService> out;
  if (parsed.is_discarded()) return out;
  for (const Json& service : parsed.at("services")) out.push_back(to_service(service));
  return out;
}

ListedService Daemon::service(std::string_view name) const {
  for (ListedService& service : list())
    if (service.name == name) return std::move(service);
  return {.name = {}, .listen = {}, .condition = "(none)", .text = {}, .backends = {}};
}

ListedBackend Daemon::backend(std::string_view service_name, std::string_view address) const {
  for (ListedBackend& backend : service(service_name).backends)
    if (backend.address == address) return std::move(backend);
  ListedBackend none;
  none.state = "(none)";
  return none;
}

}  // namespace lb::test
