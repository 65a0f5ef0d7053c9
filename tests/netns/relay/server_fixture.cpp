#include "netns/relay/server_fixture.h"

#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cstdio>
#include <stdexcept>

#include <fmt/format.h>
#include <spdlog/details/null_mutex.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

namespace lb::relay {
namespace {

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

// Keeps what is logged.
class Lines final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 public:
  explicit Lines(std::vector<std::string>& lines) : lines_(lines) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    lines_.emplace_back(message.payload.data(), message.payload.size());
  }
  void flush_() override {}

 private:
  std::vector<std::string>& lines_;
};

File open_file(const std::string& path, const char* mode) {
  File file(std::fopen(path.c_str(), mode));
  if (!file) throw std::runtime_error("cannot open " + path);
  return file;
}

}  // namespace

void RelayTest::SetUp() {
  const std::string obstacle = test::Sandbox::obstacle();
  if (!obstacle.empty()) GTEST_SKIP() << obstacle;
  sandbox_ = std::make_unique<test::Sandbox>();
  test::bring_up_loopback();
  spdlog::set_default_logger(
      std::make_shared<spdlog::logger>("test", std::make_shared<Lines>(log_)));
}

void RelayTest::TearDown() {
  server_.reset();
  wait(10ms);
  spdlog::set_default_logger(std::make_shared<spdlog::logger>("silent"));
}

bool RelayTest::until(const std::function<bool()>& condition, milliseconds limit) {
  const auto deadline = steady_clock::now() + limit;
  while (!condition()) {
    if (steady_clock::now() > deadline) return false;
    wait(5ms);
  }
  return true;
}

void RelayTest::wait(milliseconds time) {
  io_.restart();
  io_.run_for(time);
}

Result<> RelayTest::open(ServerConfig config) {
  if (config.listen.empty()) config.listen = "127.0.0.1:0";
  auto server =
      Server::open(io_, std::move(config), orders_, "updater-1", "0.1.0", [this] { ++adopted_; });
  if (!server) return tl::unexpected(server.error());
  server_ = *std::move(server);
  return {};
}

HostPort RelayTest::where() const { return HostPort::parse(server_->address()).value(); }

Result<ConnectionPtr> RelayTest::dial(TlsFiles tls, std::string host) {
  return run(Connection::dial(io_, HostPort{std::move(host), where().port}, std::move(tls), 5s));
}

ConnectionPtr RelayTest::listener(std::string node, std::optional<Position> have, bool wants,
                                  std::vector<FleetOrder> orders, TlsFiles tls) {
  auto connection = dial(std::move(tls));
  if (!connection) throw std::runtime_error(connection.error().message());
  say(**connection, ListenerHello{kProtocol, std::move(node), "0.1.0", std::move(have), wants,
                                  std::move(orders)});
  return *std::move(connection);
}

void RelayTest::say(Connection& to, const Message& message) { say_line(to, encode(message)); }

void RelayTest::say_line(Connection& to, std::string line) {
  const auto written = run(to.write(std::make_shared<const std::string>(std::move(line)), 5s));
  EXPECT_TRUE(written) << written.error().message();
}

Result<Message> RelayTest::hear(Connection& from, milliseconds patience) {
  for (;;) {
    LB_TRY(const std::string line, run(from.read_line(kLineLimit, patience)));
    LB_TRY(auto message, decode(line, IpAddress::parse("10.9.9.9").value()));
    if (message && !std::holds_alternative<Ping>(*message)) return *std::move(message);
  }
}

std::string RelayTest::last_words(Connection& from) {
  std::string words = "(none)";
  for (;;) {
    const Result<Message> message = hear(from, 30s);
    if (!message) return words;
    if (const auto* bye = std::get_if<Goodbye>(&*message)) words = bye->reason;
  }
}

std::string RelayTest::file(const std::string& name) const {
  return sandbox_->folder() + "/" + name;
}

std::size_t RelayTest::connected() const {
  const auto views = server_->listeners();
  return static_cast<std::size_t>(
      std::count_if(views.begin(), views.end(), [](const auto& view) { return view.connected; }));
}

int RelayTest::logged(const std::string& part) const {
  return static_cast<int>(std::count_if(log_.begin(), log_.end(), [&](const std::string& line) {
    return line.find(part) != std::string::npos;
  }));
}

void RelayTlsTest::SetUp() {
  RelayTest::SetUp();
  if (IsSkipped()) return;
  authority_ = std::make_unique<test::Certificates>(file("authority"));
  authority_->sign("server", "IP:127.0.0.1,DNS:localhost");
  authority_->sign("client", "DNS:n,DNS:n1,DNS:n2");
}

TlsFiles RelayTlsTest::files(const std::string& name) const {
  return {authority_->ca(), authority_->cert(name), authority_->key(name)};
}

std::string RelayTlsTest::refusal(TlsFiles tls, const std::string& host, const std::string& node) {
  auto connection = dial(std::move(tls), host);
  if (!connection) return connection.error().message();
  const Line hello = std::make_shared<const std::string>(
      encode(ListenerHello{kProtocol, node, "1", {}, false, {}}));
  (void)run((*connection)->write(hello, 5s));
  const auto answer = hear(**connection);
  if (!answer) return answer.error().message();
  if (const auto* bye = std::get_if<Goodbye>(&*answer)) return bye->reason;
  return std::holds_alternative<UpdaterHello>(*answer) ? "(let in)" : encode(*answer);
}

bool RelayTlsTest::refuses(TlsFiles tls, const std::string& why, const std::string& host) {
  const std::string words = refusal(std::move(tls), host);
  EXPECT_NE(words.find(why), std::string::npos) << words;
  return words.find(why) != std::string::npos;
}

// openssl's commands count in days.
void RelayTlsTest::sign_for(const std::string& name, std::chrono::seconds left) const {
  authority_->sign(name, "IP:127.0.0.1,DNS:n1");
  X509* certificate =
      PEM_read_X509(open_file(authority_->cert(name), "r").get(), nullptr, nullptr, nullptr);
  EVP_PKEY* key = PEM_read_PrivateKey(open_file(file("authority/ca.key"), "r").get(), nullptr,
                                      nullptr, nullptr);
  if (certificate == nullptr || key == nullptr) throw std::runtime_error("no certificate");
  X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate), static_cast<long>(left.count()));
  if (X509_sign(certificate, key, EVP_sha256()) == 0 ||
      PEM_write_X509(open_file(authority_->cert(name), "w").get(), certificate) != 1)
    throw std::runtime_error("cannot sign");
  X509_free(certificate);
  EVP_PKEY_free(key);
}

ServicePtr web(int port) {
  return offered("10.0.0.5:80", {listed(fmt::format("10.1.0.1:{}", port))});
}

}  // namespace lb::relay
