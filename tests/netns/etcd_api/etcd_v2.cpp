#include "netns/etcd_api/etcd_v2.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "support/free_port.h"

namespace lb::etcd {
namespace {

using namespace std::chrono_literals;

constexpr auto kEtcd = "/usr/bin/etcd";

[[noreturn]] void become(std::vector<std::string> words, const std::string& log) {
  const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::dup2(fd, 1);
  ::dup2(fd, 2);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::execv(kEtcd, argv.data());
  ::_exit(127);
}

}  // namespace

EtcdV2::EtcdV2(asio::io_context& io)
    : io_(io), url_(test::free_url()), peer_(test::free_url()), http_(io) {}

bool EtcdV2::installed() { return ::access(kEtcd, X_OK) == 0; }

Access EtcdV2::access() const {
  Access out;
  out.endpoints = {url_};
  return out;
}

Result<> EtcdV2::start(bool with_v2) {
  std::vector<std::string> words{kEtcd,
                                 "--data-dir",
                                 folder_.file("data"),
                                 "--listen-client-urls",
                                 url_,
                                 "--advertise-client-urls",
                                 url_,
                                 "--listen-peer-urls",
                                 peer_,
                                 "--initial-advertise-peer-urls",
                                 peer_,
                                 "--initial-cluster",
                                 "default=" + peer_};
  if (with_v2) words.emplace_back("--enable-v2");
  pid_ = ::fork();
  if (pid_ == 0) become(words, folder_.file("log"));
  // It answers reads only when it has a leader.
  for (int i = 0; i < 500; ++i) {
    if (call("POST", "/v3/kv/range", R"({"key":"YQ=="})").find("revision") != std::string::npos)
      return {};
    std::this_thread::sleep_for(20ms);
  }
  return fail("etcd does not answer:\n" + folder_.read("log"));
}

void EtcdV2::stop() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void EtcdV2::freeze(bool frozen) const { ::kill(pid_, frozen ? SIGSTOP : SIGCONT); }

void EtcdV2::wipe() const { std::filesystem::remove_all(folder_.file("data")); }

std::string EtcdV2::call(const std::string& method, const std::string& path,
                         const std::string& body, const std::string& user,
                         const std::string& content) {
  HttpRequest request;
  request.method = method;
  request.url = url_ + path;
  request.body = body;
  if (!content.empty()) request.headers = {"Content-Type: " + content};
  if (!user.empty()) {
    request.username = user;
    request.password = "secret";
  }
  const auto answer = run_on(io_, http_.request(std::move(request)));
  return answer ? answer->body : std::string();
}

}  // namespace lb::etcd
