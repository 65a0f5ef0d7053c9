// Strangers, the stuck and the silent at a server, and what keeps it from listening.
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>

#include <boost/asio/connect.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include "base/limits.h"
#include "netns/relay/server_fixture.h"
#include "support/patience.h"

namespace lb::relay {
namespace {

using tcp = asio::ip::tcp;

class ServerFaults : public RelayTest {
 protected:
  // Speaks no protocol.
  tcp::socket stranger(const std::string& bytes) {
    tcp::socket out(io_);
    out.connect({asio::ip::make_address(where().host), where().port});
    asio::write(out, asio::buffer(bytes));
    return out;
  }
  // All that it is told until it is cut off.
  std::string told(tcp::socket socket) {
    socket.non_blocking(true);
    std::string out;
    std::array<char, 4096> bytes{};
    EXPECT_TRUE(until([&] {
      boost::system::error_code error;
      const std::size_t size = socket.read_some(asio::buffer(bytes), error);
      out.append(bytes.data(), size);
      return error && error != asio::error::would_block;
    })) << "not cut off";
    return out;
  }
};

TEST_F(ServerFaults, TellsStrangersWhatTheyDidWrongAndLogsItOnce) {
  ASSERT_TRUE(open());
  const auto good = listener("n1");
  for (int i = 0; i < 3; ++i) {
    EXPECT_NE(told(stranger("GET / HTTP/1.1\r\nHost: x\r\n\r\n")).find("speaks HTTP"),
              std::string::npos);
    EXPECT_NE(told(stranger("SSH-2.0-x\r\n")).find("begins with 'SSH"), std::string::npos);
    EXPECT_NE(told(stranger("{\"t\":\n")).find("parse error"), std::string::npos);
    EXPECT_NE(told(stranger("{\"t\":\"ping\"}\n")).find("no hello"), std::string::npos);
    EXPECT_NE(told(stranger("{\"t\":\"hello\",\"wants_state\":true}\n")).find("protocol number"),
              std::string::npos);
    EXPECT_NE(
        told(stranger(R"({"t":"hello","proto":1,"node":"u","version":"1","epoch":"e","seq":1})"
                      "\n"))
            .find("updater"),
        std::string::npos);
  }
  EXPECT_EQ(logged("127.0.0.1: "), 6);
  EXPECT_EQ(logged("speaks HTTP"), 1);
  EXPECT_EQ(connected(), 1u);
  EXPECT_EQ(server_->listeners().size(), 1u);
}

TEST_F(ServerFaults, CutsOffWhoeverSaysNoHello) {
  ASSERT_TRUE(open());
  const auto before = steady_clock::now();
  (void)told(stranger("{"));
  EXPECT_GT(steady_clock::now() - before, 4s);
  EXPECT_TRUE(until([&] { return logged("said no hello") == 1; }));
}

TEST_F(ServerFaults, ReadsNoEndlessHello) {
  ASSERT_TRUE(open());
  // They go with the last byte, or the loop: it still runs when this has ended.
  const auto socket = std::make_shared<tcp::socket>(stranger("{"));
  const auto much = std::make_shared<const std::string>(std::size_t{2} << 20, ' ');
  asio::async_write(*socket, asio::buffer(*much),
                    [socket, much](const boost::system::error_code&, std::size_t) {});
  ASSERT_TRUE(until([&] { return logged("more than 1048576 bytes") == 1; }));
}

TEST_F(ServerFaults, CutsOffAListenerThatSendsGarbageLater) {
  ASSERT_TRUE(open());
  const auto one = listener("n1");
  (void)hear_a<UpdaterHello>(*one);
  say_line(*one, "{\"t\":\"ack\"}\n");
  EXPECT_NE(last_words(*one).find("a ack of the push protocol"), std::string::npos);
  const auto two = listener("n2");
  (void)hear_a<UpdaterHello>(*two);
  say(*two, SnapshotMessage{});
  EXPECT_NE(last_words(*two).find("must not send"), std::string::npos);
  ASSERT_TRUE(until([&] { return connected() == 0; }));
}

TEST_F(ServerFaults, CutsOffTheStuckAndTheSilentAndServesTheOthers) {
  ASSERT_TRUE(open());
  std::vector<ServicePtr> services;
  for (int i = 0; i < 400; ++i)  // more than the kernel's buffers take
    services.push_back(
        offered("10.0.0.5:" + std::to_string(1000 + i), {}, std::string(60'000, 'x')));
  server_->publish(services, {});
  const auto stuck = listener("stuck");  // reads nothing, and goes on talking
  const auto silent = listener("silent", {}, false);
  const auto good = listener("good", server_->position());
  (void)hear_a<UpdaterHello>(*good);
  ASSERT_TRUE(until([&] { return connected() == 3; }));
  const auto before = steady_clock::now();
  const auto talk = [&] {
    say(*good, Ping{});
    if (connected() == 3) say(*stuck, Ping{});
    wait(500ms);
    return connected() == 1;
  };
  ASSERT_TRUE(until(talk, 40s));
  EXPECT_GT(steady_clock::now() - before, 10s);
  EXPECT_EQ(logged("stuck: the other side does not read"), 1);
  EXPECT_EQ(logged("silent: nothing was heard"), 1);
  services.pop_back();
  server_->publish(services, {});
  EXPECT_EQ(hear_a<Delta>(*good).removed.size(), 1u);
}

// A byte now and then is no hello: the time for one is absolute.
TEST_F(ServerFaults, CutsOffAHelloThatComesByteByByte) {
  ASSERT_TRUE(open());
  tcp::socket slow = stranger("{");
  slow.non_blocking(true);
  const auto before = steady_clock::now();
  bool cut = false;
  ASSERT_TRUE(until(
      [&] {
        boost::system::error_code error;
        wait(300ms);
        (void)slow.write_some(asio::buffer(" ", 1), error);
        std::array<char, 4096> bytes{};
        while (!error) (void)slow.read_some(asio::buffer(bytes), error);
        cut = error != asio::error::would_block;
        return cut;
      },
      20s));
  EXPECT_LT(steady_clock::now() - before, test::patient(12s));
}

// One after the other leaves much behind, under a new name each time.
TEST_F(ServerFaults, ForgetsTheCountsOfThoseThatHaveGone) {
  ASSERT_TRUE(open());
  Counts counts{.complete = true, .items = {}};
  for (unsigned i = 0; i < 2'000; ++i)
    counts.items.push_back({ServiceKey::parse("127.0.0.1:80").value(),
                            Address{IpAddress::v4(0x0a000000U + i), 80}, 1});
  for (int i = 0; i < 3; ++i) {
    const auto one = listener("n" + std::to_string(i));
    say(*one, counts);
    ASSERT_TRUE(until([&] {
      const auto views = server_->listeners();
      return std::any_of(views.begin(), views.end(),
                         [](const auto& view) { return view.counts.size() == 2'000; });
    }));
  }
  ASSERT_TRUE(until([&] { return connected() == 0; }));
  ASSERT_EQ(server_->listeners().size(), 3U);
  for (const ListenerView& view : server_->listeners()) EXPECT_TRUE(view.counts.empty());
}

// What is not whole is kept of so many bytes for all together; the small ones lose nothing by it.
TEST_F(ServerFaults, UnfinishedMessagesOfManyAreBoundedTogether) {
  ASSERT_TRUE(open());
  const std::string half = encode(ListenerHello{1, "junk", "1", {}, false, {}}) +
                           R"({"t":"counts","x":")" + std::string(limits::kListenerLine - 100, 'x');
  std::vector<std::shared_ptr<tcp::socket>> senders;
  for (std::size_t i = 0; i <= limits::kUnfinished / limits::kListenerLine; ++i) {
    senders.push_back(std::make_shared<tcp::socket>(stranger("")));
    const auto socket = senders.back();
    const auto text = std::make_shared<const std::string>(half);
    asio::async_write(*socket, asio::buffer(*text),
                      [socket, text](const boost::system::error_code&, std::size_t) {});
  }
  EXPECT_TRUE(until([&] { return logged("too many of them") >= 1; }));
  const auto good = listener("n1");
  (void)hear_a<UpdaterHello>(*good);
}

// A listener whose file is older than the limits still gets in, and the drain that is good is taken.
TEST_F(ServerFaults, AnOrderOverTheLimitsDoesNotCutItsListenerOff) {
  ASSERT_TRUE(open());
  FleetOrder huge{"huge", sys_now(), std::string(500'000, 'x'), "", true, {}};
  FleetOrder good{"good", sys_now(), "host-7", "", true, {}};
  const auto one = listener("n1", {}, true, {huge, good});
  EXPECT_EQ(hear_a<UpdaterHello>(*one).orders, (std::vector{good}));
  EXPECT_EQ(orders_.all().size(), 1U);
  EXPECT_EQ(logged("fleet drains are not taken over"), 1);
}

TEST_F(ServerFaults, WaitsForFilesWhenThereAreNone) {
  ASSERT_TRUE(open());
  std::vector<tcp::socket> waiting;
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  for (int i = 0; i < 8; ++i)
    waiting.push_back(stranger(encode(ListenerHello{1, "n", "1", {}, false, {}})));
  const auto open_files = static_cast<rlim_t>(std::distance(
      std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator()));
  const rlimit low{open_files + 2, limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  EXPECT_TRUE(until([&] { return logged("cannot accept a connection") == 1; }));
  EXPECT_LT(connected(), 8u);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_TRUE(until([&] { return connected() == 8; }));
  EXPECT_EQ(logged("cannot accept a connection"), 1);
}

TEST_F(ServerFaults, SaysWhyItCannotListen) {
  ASSERT_TRUE(open());
  ServerConfig config;
  config.listen = server_->address();
  const auto open_error = [&] {
    const auto other = Server::open(io_, config, orders_, "n", "1", {});
    return other ? "(listens)" : other.error().message();
  };
  EXPECT_NE(open_error().find("listen on " + config.listen + ": Address already in use"),
            std::string::npos);
  config.listen = "somewhere:7676";
  EXPECT_NE(open_error().find("relay.listen 'somewhere:7676' is not ADDR:PORT"), std::string::npos);
  config.listen = "127.0.0.1:70000";
  EXPECT_NE(open_error().find("'127.0.0.1:70000'"), std::string::npos);
  config = {"127.0.0.1:0", {}, true};
  EXPECT_NE(open_error().find("require_tls is set, and tls_cert and tls_key are not"),
            std::string::npos);
}

TEST_F(ServerFaults, WarnsAboutPlainTcpThatOthersReach) {
  ASSERT_TRUE(open({"127.0.0.1:0", {}, false}));
  EXPECT_TRUE(server_->warnings().empty());
  ASSERT_TRUE(open({"0.0.0.0:0", {}, false}));
  ASSERT_EQ(server_->warnings().size(), 1u);
  EXPECT_NE(server_->warnings()[0].find("plain TCP"), std::string::npos);
  ASSERT_TRUE(open({"[::]:0", {}, false}));
  EXPECT_TRUE(run(Connection::dial(io_, {"127.0.0.1", where().port}, {}, 5s)));
}

}  // namespace
}  // namespace lb::relay
