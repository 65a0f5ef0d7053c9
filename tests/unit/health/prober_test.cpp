// The prober against servers in the same thread.
#include "health/prober.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <boost/asio/ip/tcp.hpp>

#include "base/spawn.h"
#include "support/fake_http.h"

namespace lb {
namespace {

using namespace std::chrono_literals;
using asio::ip::tcp;
using test::FakeReply;
using testing::HasSubstr;
using testing::SizeIs;

class ProberTest : public testing::Test {
 protected:
  // "" for a good one.
  std::string probe(const Address& to, const HealthCheck& check) {
    std::optional<Result<>> found;
    spawn(io_, "probe",
          [&]() -> asio::awaitable<void> { found = co_await prober_.probe(to, check); });
    while (!found) io_.run_one();
    return *found ? "" : found->error().message();
  }
  // What a server that answers so is found to be; the path is "/health".
  std::string probe_http(FakeReply reply, std::chrono::milliseconds timeout = 5s) {
    server_.emplace(io_, [reply](const test::FakeRequest&) { return reply; });
    HealthCheck check;
    check.type = HealthCheck::Type::Http;
    check.path = "/health";
    check.timeout = timeout;
    return probe(Address::parse(server_->url().substr(7)).value(), check);
  }
  static Address at(const tcp::acceptor& acceptor) {
    return {IpAddress::parse("127.0.0.1").value(), acceptor.local_endpoint().port()};
  }

  asio::io_context io_{1};
  Prober prober_{io_};
  std::optional<test::FakeHttp> server_;
};

TEST_F(ProberTest, ConnectIsEnoughForTcp) {
  const tcp::acceptor acceptor(io_, {asio::ip::address_v4::loopback(), 0});
  EXPECT_EQ(probe(at(acceptor), {}), "");
}

TEST_F(ProberTest, WorksForIpv6) {
  const tcp::acceptor acceptor(io_, {asio::ip::address_v6::loopback(), 0});
  EXPECT_EQ(probe({IpAddress::parse("::1").value(), acceptor.local_endpoint().port()}, {}), "");
}

TEST_F(ProberTest, RefusedConnectSaysSo) {
  tcp::acceptor acceptor(io_, {asio::ip::address_v4::loopback(), 0});
  const Address to = at(acceptor);
  acceptor.close();
  EXPECT_EQ(probe(to, {}), "connect: Connection refused");
}

TEST_F(ProberTest, LeavesNoSocketInTimeWait) {
  tcp::acceptor acceptor(io_, {asio::ip::address_v4::loopback(), 0});
  EXPECT_EQ(probe(at(acceptor), {}), "");
  tcp::socket accepted = acceptor.accept();
  char byte = 0;
  boost::system::error_code ec;
  accepted.receive(asio::buffer(&byte, 1), 0, ec);
  EXPECT_EQ(ec, asio::error::connection_reset);
}

TEST_F(ProberTest, StatusTwoAndThreeHundredAreHealthy) {
  for (const int status : {200, 204, 301, 399})
    EXPECT_EQ(probe_http(test::answer(status, "")), "") << status;
}

TEST_F(ProberTest, OtherStatusIsNamed) {
  for (const int status : {400, 404, 500, 503})
    EXPECT_EQ(probe_http(test::answer(status, "down for a while")),
              fmt::format("GET /health: status {}", status));
}

TEST_F(ProberTest, AsksThePathOfTheAddressOnceAndCloses) {
  EXPECT_EQ(probe_http(test::answer(200, "fine")), "");
  ASSERT_THAT(server_->requests(), SizeIs(1));
  const test::FakeRequest& request = server_->requests()[0];
  EXPECT_EQ(request.method, "GET");
  EXPECT_EQ(request.path, "/health");
  EXPECT_EQ(request.headers.at("host"), server_->url().substr(7));
  EXPECT_EQ(request.headers.at("connection"), "close");
}

// An updater's path once made it "http://10.0.0.1:80@127.0.0.1:2379/", with a header of the part before the @.
TEST_F(ProberTest, AsksNoOtherHostWhateverThePathIs) {
  const Address to = Address::parse("10.0.0.1:80").value();
  EXPECT_EQ(probe_url(to, "/@127.0.0.1:2379/v2/keys").value(),
            "http://10.0.0.1:80/@127.0.0.1:2379/v2/keys");
  server_.emplace(io_, [](const test::FakeRequest&) { return test::answer(200, ""); });
  const std::string there = server_->url().substr(7);
  for (const std::string& path : std::vector<std::string>{
           "@" + there + "/v2/keys/secret", ":80@" + there, "." + there, std::string(),
           "/ HTTP/1.1\r\nX: y", "?@" + there + "/", "#@" + there}) {
    HealthCheck check;
    check.type = HealthCheck::Type::Http;
    check.path = path;
    EXPECT_NE(probe(to, check), "") << path;
    EXPECT_FALSE(probe_url(to, path)) << path;
  }
  EXPECT_THAT(server_->requests(), SizeIs(0));
}

TEST_F(ProberTest, SendsNoHeaderThatAPeerChose) {
  EXPECT_EQ(probe_http(test::answer(200, "fine")), "");
  ASSERT_THAT(server_->requests(), SizeIs(1));
  std::string names;
  for (const auto& [name, value] : server_->requests()[0].headers) names += name + " ";
  EXPECT_EQ(names, "accept connection host user-agent ");
}

TEST_F(ProberTest, StatusDecidesHoweverLargeTheBodyIs) {
  EXPECT_EQ(probe_http(test::answer(200, std::string(10 << 20, 'x'))), "");
}

TEST_F(ProberTest, BodyThatNeverEndsEndsAtTheTimeout) {
  FakeReply reply = test::stream("first");
  EXPECT_EQ(probe_http(reply, 50ms), "") << "the status was good";
}

TEST_F(ProberTest, SilenceTimesOut) {
  EXPECT_THAT(probe_http({"", FakeReply::Then::Hang}, 50ms), HasSubstr("timed out"));
}

TEST_F(ProberTest, WhatIsNotHttpIsBad) {
  EXPECT_NE(probe_http({"SSH-2.0-OpenSSH_9.2\r\n", FakeReply::Then::Close}), "");
  EXPECT_NE(probe_http({"HTTP/1.1 200", FakeReply::Then::Close}), "");
}

TEST_F(ProberTest, FollowsNoRedirect) {
  FakeReply reply{
      "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
      FakeReply::Then::Next};
  EXPECT_EQ(probe_http(reply), "");
}

TEST(TellsOfBackend, NotWhenThisHostLacksSomething) {
  for (const int error : {EMFILE, ENFILE, ENOBUFS, EADDRNOTAVAIL}) {
    EXPECT_FALSE(tells_of_backend(Error{std::error_code(error, std::generic_category()), ""}));
    EXPECT_FALSE(tells_of_backend(Error{std::error_code(error, std::system_category()), ""}));
  }
  for (const int error : {ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ECONNRESET})
    EXPECT_TRUE(tells_of_backend(Error{std::error_code(error, std::system_category()), ""}));
  EXPECT_TRUE(tells_of_backend(Error{{}, "GET /: status 503"}));
}

}  // namespace
}  // namespace lb
