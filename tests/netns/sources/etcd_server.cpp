#include "netns/sources/etcd_server.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/spawn.h"
#include "base/text.h"
#include "support/free_port.h"
#include "support/patience.h"

namespace lb {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

}  // namespace

EtcdServer::EtcdServer(asio::io_context& io, std::string folder)
    : io_(io),
      folder_(std::move(folder)),
      url_(test::free_url()),
      peer_(test::free_url()),
      http_(io) {}

bool EtcdServer::installed() { return ::access("/usr/bin/etcd", X_OK) == 0; }

// Another process may have taken a port since it was chosen: then etcd ends at once.
Result<> EtcdServer::start() {
  constexpr int kPorts = 5;
  for (int i = 0; i < kPorts; ++i) {
    if (i > 0) {
      url_ = test::free_url();
      peer_ = test::free_url();
    }
    launch();
    if (answers()) return {};
    if (::waitpid(pid_, nullptr, WNOHANG) == 0) break;
    pid_ = -1;
    if (std::filesystem::exists(folder_ + "/data/member"))
      break;  // its ports are those of its data
  }
  return fail("etcd does not answer:\n" + read_file(folder_ + "/log").value_or("no log"));
}

void EtcdServer::launch() {
  pid_ = ::fork();
  if (pid_ == 0) {
    const std::string data = folder_ + "/data";
    const std::string log = folder_ + "/log";
    const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ::dup2(fd, 1);
    ::dup2(fd, 2);
    ::execl("/usr/bin/etcd", "etcd", "--data-dir", data.c_str(), "--listen-client-urls",
            url_.c_str(), "--advertise-client-urls", url_.c_str(), "--listen-peer-urls",
            peer_.c_str(), "--initial-advertise-peer-urls", peer_.c_str(), "--initial-cluster",
            ("default=" + peer_).c_str(), nullptr);
    ::_exit(127);
  }
}

// Reads only when it has a leader. False: it has ended, or takes too long.
bool EtcdServer::answers() {
  const auto end = std::chrono::steady_clock::now() + test::patient(30s);
  while (std::chrono::steady_clock::now() < end) {
    const std::string answer = call("/v3/kv/range", R"({"key":"YQ=="})");
    if (answer.find("revision") != std::string::npos) return true;
    siginfo_t ended{};
    if (::waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        ended.si_pid == pid_)
      return false;
    std::this_thread::sleep_for(20ms);
  }
  return false;
}

void EtcdServer::stop() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void EtcdServer::wipe() { std::filesystem::remove_all(folder_ + "/data"); }

std::string EtcdServer::call(const std::string& path, const std::string& body) {
  std::optional<Result<HttpResponse>> answer;
  spawn(io_, "etcd call", [&]() -> asio::awaitable<void> {
    HttpRequest request;
    request.method = "POST";
    request.url = url_ + path;
    request.body = body;
    answer = co_await http_.request(std::move(request));
  });
  io_.restart();
  while (!answer) io_.run_one();
  return *answer ? (*answer)->body : std::string();
}

std::int64_t EtcdServer::put(const std::string& key, const std::string& value, std::int64_t lease) {
  const json request{{"key", base64_encode(key)},
                     {"value", base64_encode(value)},
                     {"lease", std::to_string(lease)}};
  const json reply = json::parse(call("/v3/kv/put", request.dump()), nullptr, false);
  EXPECT_TRUE(reply.contains("header")) << reply.dump();
  return reply.contains("header") ? std::stoll(reply["header"]["revision"].get<std::string>()) : 0;
}

void EtcdServer::remove(const std::string& key) {
  EXPECT_NE(call("/v3/kv/deleterange", json{{"key", base64_encode(key)}}.dump()).find("deleted"),
            std::string::npos);
}

std::int64_t EtcdServer::grant(int seconds) {
  const json reply = json::parse(
      call("/v3/lease/grant", json{{"TTL", std::to_string(seconds)}}.dump()), nullptr, false);
  return std::stoll(reply.at("ID").get<std::string>());
}

void EtcdServer::revoke(std::int64_t lease) {
  (void)call("/v3/kv/lease/revoke", json{{"ID", std::to_string(lease)}}.dump());
}

void EtcdServer::compact(std::int64_t revision) {
  (void)call("/v3/kv/compaction",
             json{{"revision", std::to_string(revision)}, {"physical", true}}.dump());
}

}  // namespace lb
