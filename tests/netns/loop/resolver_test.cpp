// A DNS server that is silent for most names, behind an /etc/resolv.conf of this process alone.
#include "base/resolver.h"

#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/direct_socket.h"
#include "base/unique_fd.h"
#include "support/temp_folder.h"

namespace lb {
namespace {

using namespace std::chrono_literals;

// Answers for names that begin with "good" that their address is 10.9.8.7, and for no other.
class SilentDns {
 public:
  SilentDns() : socket_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(53);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
              0);
    thread_ = std::thread([this] { serve(); });
  }
  ~SilentDns() {
    (void)::shutdown(socket_.get(), SHUT_RDWR);
    thread_.join();
  }
  SilentDns(const SilentDns&) = delete;
  SilentDns& operator=(const SilentDns&) = delete;

  [[nodiscard]] int asked() const { return asked_; }

 private:
  void serve() {
    for (;;) {
      std::string packet(512, '\0');
      sockaddr_in from{};
      socklen_t length = sizeof from;
      const ssize_t size = ::recvfrom(socket_.get(), packet.data(), packet.size(), 0,
                                      reinterpret_cast<sockaddr*>(&from), &length);
      if (size <= 12) return;
      ++asked_;
      packet.resize(static_cast<std::size_t>(size));
      if (packet.compare(13, 4, "good") != 0) continue;
      const std::string reply = answer(packet);
      (void)::sendto(socket_.get(), reply.data(), reply.size(), 0,
                     reinterpret_cast<const sockaddr*>(&from), length);
    }
  }
  // An address for A (type 1), nothing for AAAA.
  static std::string answer(const std::string& question) {
    std::size_t end = 12;
    while (question[end] != '\0') end += 1 + static_cast<unsigned char>(question[end]);
    const bool four = question[end + 2] == 1;
    end += 5;
    std::string out = question.substr(0, end);
    out[2] = '\x81';  // an answer, recursion desired
    out[3] = '\x80';
    for (std::size_t i = 6; i < 12; ++i) out[i] = '\0';
    if (!four) return out;
    out[7] = 1;
    // A pointer to the name, type A, class IN, 60 s, four bytes.
    return out + std::string("\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x0a\x09\x08\x07", 16);
  }

  UniqueFd socket_;
  std::atomic<int> asked_ = 0;
  std::thread thread_;
};

// For good: each test is a process.
bool enter_own_namespaces() {
  if (::unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) return false;
  const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq up{};
  std::strcpy(up.ifr_name, "lo");
  up.ifr_flags = IFF_UP | IFF_RUNNING;
  return ::ioctl(fd.get(), SIOCSIFFLAGS, &up) == 0;
}

class SilentDnsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!enter_own_namespaces()) GTEST_SKIP() << "needs root";
    const std::string file = folder_.write("resolv.conf", "nameserver 127.0.0.1\n");
    ASSERT_EQ(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    ASSERT_EQ(::mount(file.c_str(), "/etc/resolv.conf", nullptr, MS_BIND, nullptr), 0);
    dns_.emplace();
  }
  // "" when the answer is an error, or has not come yet.
  std::string address_of(const std::string& name) {
    const auto found = answers_.find(name);
    return found == answers_.end() || !found->second ? "" : found->second->front().to_string();
  }
  void ask(const std::string& name) {
    questions_.push_back(asio::use_service<Resolver>(io_).ask(name, [this, name](auto answer) {
      answers_.insert_or_assign(name, std::move(answer));
      io_.stop();
    }));
  }

  TempFolder folder_;
  std::optional<SilentDns> dns_;
  asio::io_context io_{1};
  std::vector<std::shared_ptr<Resolver::Question>> questions_;
  std::map<std::string, Resolver::Answer> answers_;
};

TEST_F(SilentDnsTest, NamesDoNotWaitForEachOther) {
  for (int i = 0; i < 200; ++i) ask("silent" + std::to_string(i) + ".example");
  ask("good.example");
  io_.run_for(20s);
  EXPECT_EQ(address_of("good.example"), "10.9.8.7");
  EXPECT_EQ(answers_.size(), 1U) << "the others are still asked";
  io_.restart();
  ask("good2.example");
  io_.run_for(20s);
  EXPECT_EQ(address_of("good2.example"), "10.9.8.7");
  EXPECT_EQ(answers_.size(), 2U);
}

TEST_F(SilentDnsTest, ASilentNameEndsWithAnError) {
  ask("silent.example");
  io_.run_for(60s);
  ASSERT_EQ(answers_.size(), 1U);
  EXPECT_FALSE(answers_.begin()->second);
  EXPECT_FALSE(answers_.begin()->second.error().message().empty());
}

// lbd's hooks would send what is meant for the DNS server to a service on its address.
TEST_F(SilentDnsTest, QuestionsAreAskedByDirectSockets) {
  const auto connected = [](int fd) {
    sockaddr_in peer{};
    socklen_t length = sizeof peer;
    return ::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) == 0 &&
           peer.sin_family == AF_INET && peer.sin_port == htons(53);
  };
  dial_directly();
  ask("silent.example");
  int found = 0;
  for (int i = 0; i < 200 && found == 0; ++i) {
    io_.run_for(50ms);
    for (int fd = 3; fd < 256; ++fd) {
      int priority = 0;
      socklen_t length = sizeof priority;
      if (!connected(fd)) continue;
      ASSERT_EQ(::getsockopt(fd, SOL_SOCKET, SO_PRIORITY, &priority, &length), 0);
      EXPECT_EQ(priority, kDirectPriority);
      ++found;
    }
  }
  EXPECT_GT(found, 0);
}

TEST_F(SilentDnsTest, WhoAsksNoMoreIsNotCalledAndKeepsNoLoopRunning) {
  ask("silent.example");
  questions_.clear();
  io_.run();  // ends
  EXPECT_TRUE(answers_.empty());
}

TEST_F(SilentDnsTest, HostsFileAndLiteralsNeedNoServer) {
  ask("localhost");
  io_.run_for(20s);
  io_.restart();
  ask("10.1.2.3");
  io_.run_for(20s);
  EXPECT_TRUE(address_of("localhost") == "127.0.0.1" || address_of("localhost") == "::1");
  EXPECT_EQ(address_of("10.1.2.3"), "10.1.2.3");
  EXPECT_EQ(dns_->asked(), 0);
}

}  // namespace
}  // namespace lb
