// Connections to those who are no updaters, and the limits of what one reads.
#include <cerrno>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "netns/relay/server_fixture.h"

namespace lb::relay {
namespace {

using tcp = asio::ip::tcp;

class ConnectionTest : public RelayTest {
 protected:
  void SetUp() override {
    RelayTest::SetUp();
    acceptor_.emplace(io_, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  }
  // Dials a server that answers with these bytes and, if so told, hangs up.
  ConnectionPtr to_one_who_says(std::string bytes, bool hang_up = true) {
    auto connection =
        run(Connection::dial(io_, {"127.0.0.1", acceptor_->local_endpoint().port()}, {}, 5s));
    peer_.emplace(acceptor_->accept());
    asio::write(*peer_, asio::buffer(bytes));
    if (hang_up) peer_->close();
    return *std::move(connection);
  }
  Result<std::string> line(Connection& from, std::size_t limit = 1000, milliseconds patience = 5s) {
    return run(from.read_line(limit, patience));
  }
  std::optional<tcp::acceptor> acceptor_;
  std::optional<tcp::socket> peer_;
};

TEST_F(ConnectionTest, CutsWhatComesIntoLines) {
  const auto connection = to_one_who_says("{a}\n{}\n\n{b");
  EXPECT_EQ(line(*connection).value(), "{a}");
  EXPECT_EQ(line(*connection).value(), "{}");
  EXPECT_EQ(line(*connection).value(), "");
  EXPECT_EQ(line(*connection).error().code.value(), ENODATA);
}

TEST_F(ConnectionTest, ReadsLongLinesAndStopsAtTheLimit) {
  const std::string text = "{" + std::string(100'000, 'x');
  const auto good = to_one_who_says(text + "\n");
  EXPECT_EQ(line(*good, text.size()).value(), text);
  const auto above = to_one_who_says(text + "\n");
  EXPECT_EQ(line(*above, text.size() - 1).error().code.value(), EMSGSIZE);
  const auto endless = to_one_who_says(text, false);
  EXPECT_EQ(line(*endless, 50'000).error().code.value(), EMSGSIZE);
}

TEST_F(ConnectionTest, SaysThatTheOtherSideIsHttp) {
  const auto connection = to_one_who_says("HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n");
  EXPECT_NE(line(*connection).error().message().find("HTTP: is that port an lbd updater?"),
            std::string::npos);
}

TEST_F(ConnectionTest, QuotesGarbage) {
  const auto connection = to_one_who_says("\x01\x02garbage", false);
  EXPECT_NE(line(*connection).error().message().find("'\\x01\\x02garbage'"), std::string::npos);
  const auto word = to_one_who_says("OK");
  EXPECT_NE(line(*word).error().message().find("'OK"), std::string::npos);
}

TEST_F(ConnectionTest, GivesUpOnSilence) {
  const auto connection = to_one_who_says("", false);
  EXPECT_EQ(line(*connection, 1000, 50ms).error().code.value(), ETIMEDOUT);
  EXPECT_EQ(line(*connection, 1000, 50ms).error().code.value(), ETIMEDOUT);
}

TEST_F(ConnectionTest, GivesUpOnAPeerThatDoesNotRead) {
  const auto connection = to_one_who_says("", false);
  const Line huge = std::make_shared<const std::string>(std::size_t{64} << 20, 'x');
  const auto written = run(connection->write(huge, 200ms));
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code.value(), ETIMEDOUT);
  EXPECT_NE(written.error().message().find("does not read"), std::string::npos);
}

TEST_F(ConnectionTest, EndsAReadThatWaitsWhenItIsClosed) {
  const auto connection = to_one_who_says("", false);
  asio::post(io_, [&] { connection->close(); });
  EXPECT_EQ(line(*connection).error().code.value(), ECANCELED);
  EXPECT_EQ(line(*connection).error().code.value(), ECANCELED);
  const Line word = std::make_shared<const std::string>("x");
  EXPECT_EQ(run(connection->write(word, 1s)).error().code.value(), ECANCELED);
}

TEST_F(ConnectionTest, SaysWhyItCannotConnect) {
  const Port port = acceptor_->local_endpoint().port();
  acceptor_->close();
  const auto refused = run(Connection::dial(io_, {"127.0.0.1", port}, {}, 5s));
  EXPECT_EQ(refused.error().code.value(), ECONNREFUSED);
  const auto unknown = run(Connection::dial(io_, {"no-such-host.invalid", port}, {}, 3s));
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().message().find("no-such-host.invalid"), std::string::npos);
}

TEST_F(ConnectionTest, ResolvesNames) {
  const auto named =
      run(Connection::dial(io_, {"localhost", acceptor_->local_endpoint().port()}, {}, 5s));
  ASSERT_TRUE(named) << named.error().message();
  EXPECT_EQ((*named)->peer(), "127.0.0.1:" + std::to_string(acceptor_->local_endpoint().port()));
}

}  // namespace
}  // namespace lb::relay
