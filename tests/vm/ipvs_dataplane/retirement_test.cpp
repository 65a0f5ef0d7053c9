// Servers that their service lists no more stay in IPVS while anything runs over them: IPVS drops the packets of a connection
// whose server it has deleted. Each test knows that the servers were looked at by one that went meanwhile.
#include <gmock/gmock.h>

#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include <sys/socket.h>

#include "support/patience.h"
#include "vm/ipvs_dataplane/fixture.h"

namespace lb::test {
namespace {

constexpr auto kWeb = "127.0.0.1:8080";
constexpr auto kOwnServer = "10.9.0.11:9100";  // the test's, in `near`
// IPVS remembers a connection that was reset for 10 s (ip_vs_proto_tcp.c, CLOSE).
constexpr auto kListForgets = std::chrono::seconds(25);

// Both ends of a connection through IPVS, so that each can be closed by itself.
class Ends {
 public:
  explicit Ends(const UniqueFd& listener)
      : client_(open_socket(AF_INET, SOCK_STREAM)), failure_(try_connect(client_, kWeb)) {
    if (failure_ == 0)
      server_ = UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    const timeval limit{kPatient.count(), 0};
    for (const UniqueFd* fd : {&client_, &server_})
      ::setsockopt(fd->get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  [[nodiscard]] bool up() const { return passes(client_, server_); }
  [[nodiscard]] bool down() const { return passes(server_, client_); }
  // True once the other end has been told.
  [[nodiscard]] bool client_ends() const { return ends(client_, server_); }
  [[nodiscard]] bool server_ends() const { return ends(server_, client_); }
  void reset() {
    const linger at_once{1, 0};
    ::setsockopt(client_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    client_.reset();
  }

 private:
  static bool passes(const UniqueFd& from, const UniqueFd& to) {
    std::array<char, 8> got{};
    return ::send(from.get(), "message", 7, MSG_NOSIGNAL) == 7 &&
           ::recv(to.get(), got.data(), 7, MSG_WAITALL) == 7 &&
           std::string(got.data()) == "message";
  }
  static bool ends(const UniqueFd& from, const UniqueFd& to) {
    char none = 0;
    return ::shutdown(from.get(), SHUT_WR) == 0 && ::recv(to.get(), &none, 1, 0) == 0;
  }

  UniqueFd client_, server_;
  int failure_;
};

class IpvsRetirementVm : public IpvsVm {
 protected:
  static bool has_server(const std::string& server) {
    return ipvs().find("-r " + server + " ") != std::string::npos;
  }
  // Of the second backend a connection was closed in order, which IPVS remembers for two minutes: it goes once the list of
  // connections was read, and what has been idle for longer was looked up in it as well.
  static void close_one_to_second() {
    for (int i = 0; i < 20; ++i) {
      Held client(kWeb);
      if (!client.greeting().starts_with("second")) {
        client.abort();
        continue;
      }
      EXPECT_THAT(client.send_bytes(10), testing::EndsWith("bytes"));
      return;
    }
    FAIL() << "nothing from second";
  }
  void second_goes_by_the_list() {
    ASSERT_TRUE(has_server(kSecond)) << ipvs();
    change(service("web", kWeb, {kHost}));
    ASSERT_TRUE(eventually([] { return !has_server(kSecond); }, kListForgets)) << ipvs();
  }
  // Listed, and chosen no more.
  static bool stays_without_weight(const std::string& server) {
    return ipvs().find("-r " + server + " -m -w 0") != std::string::npos;
  }
};

TEST_F(IpvsRetirementVm, HalfClosedConnectionsKeepTheirServer) {
  UniqueFd listener;
  inside(network_->near, [&] { listener = listen_on(kOwnServer); });
  serve(service("web", kWeb, {kOwnServer}));
  Ends by_client(listener), by_server(listener);
  ASSERT_TRUE(by_client.up() && by_client.down() && by_server.up() && by_server.down());
  ASSERT_TRUE(by_client.client_ends());
  ASSERT_TRUE(by_server.server_ends());

  change(service("web", kWeb, {kHost, kSecond}));
  // For the drain there is no active connection left.
  ASSERT_TRUE(eventually([&] { return lbd_->backend("web", kOwnServer).state == "(none)"; }))
      << lbd_->json({"list"});
  close_one_to_second();
  second_goes_by_the_list();
  EXPECT_TRUE(stays_without_weight(kOwnServer)) << ipvs();
  EXPECT_TRUE(by_client.down());
  EXPECT_TRUE(by_server.up());

  by_client.reset();
  by_server.reset();
  EXPECT_TRUE(eventually([] { return !has_server(kOwnServer); }, kListForgets)) << ipvs();
}

TEST_F(IpvsRetirementVm, AServiceThatIsRemovedStaysForItsHalfClosedConnections) {
  UniqueFd listener;
  inside(network_->near, [&] { listener = listen_on(kOwnServer); });
  const std::string other = service("api", "127.0.0.1:8081", {kHost});
  serve(service("web", kWeb, {kOwnServer}) + other);
  Ends ends(listener);
  ASSERT_TRUE(ends.up());
  ASSERT_TRUE(ends.client_ends());
  change(service("web", kWeb, {kSecond}) + other);
  close_one_to_second();
  change(other);
  ASSERT_TRUE(eventually([] { return !has_server(kSecond); }, kListForgets)) << ipvs();
  EXPECT_TRUE(stays_without_weight(kOwnServer)) << ipvs();
  EXPECT_TRUE(ends.down());
  ends.reset();
  EXPECT_TRUE(eventually([] { return ipvs().find(kWeb) == std::string::npos; }, kListForgets))
      << ipvs();
}

TEST_F(IpvsRetirementVm, OpenConnectionsKeepAServerPastItsDrainDeadline) {
  write_services(service("web", kWeb, {kHost, kNear, kSecond}));
  configure("ipvs", "[drain]\ntimeout = \"1s\"");
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(eventually([&] { return programmed(); }, kPatient)) << lbd_->json({"list"});
  close_one_to_second();
  std::optional<Held> open;
  for (int i = 0; i < 20 && !(open && open->greeting().starts_with("near")); ++i) {
    if (open) open->abort();
    open.emplace(kWeb);
  }
  change(service("web", kWeb, {kHost, kSecond}));
  ASSERT_TRUE(eventually([&] { return lbd_->backend("web", kNear).reason == "lingering"; }))
      << lbd_->json({"list"});
  second_goes_by_the_list();
  EXPECT_TRUE(stays_without_weight(kNear)) << ipvs();
  EXPECT_TRUE(open->alive());
  open->reset();
  EXPECT_TRUE(eventually([] { return !has_server(kNear); }, kListForgets)) << ipvs();
}

}  // namespace
}  // namespace lb::test
