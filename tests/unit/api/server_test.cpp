// Real bytes over a real unix socket: what routes_test cannot see.
#include "api/server.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "base/unique_fd.h"
#include "support/fake_control.h"

namespace lb {
namespace {

UniqueFd connect_to(const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fd.reset();
  return fd;
}

void write_all(const UniqueFd& fd, std::string_view bytes) {
  // The server may answer and close before it has read everything: EPIPE is an answer, too.
  while (!bytes.empty()) {
    const auto n = ::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

// Until `end` appears or the server closes.
std::string read_until(const UniqueFd& fd, std::string_view end) {
  std::string out;
  std::array<char, 4096> chunk{};
  while (out.find(end) == std::string::npos) {
    const auto n = ::recv(fd.get(), chunk.data(), chunk.size(), 0);
    if (n <= 0) break;
    out.append(chunk.data(), static_cast<std::size_t>(n));
  }
  return out;
}

class Server : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/lbd-api-XXXXXX";
    folder = ::mkdtemp(name);
    path = folder + "/lbd.sock";
  }
  void TearDown() override {
    stop();
    std::filesystem::remove_all(folder);
  }
  void start() {
    auto opened = ApiServer::open(io, path, control);
    ASSERT_TRUE(opened) << opened.error().message();
    server.emplace(*std::move(opened));
    loop = std::thread([this] { io.run(); });
  }
  void stop() {
    if (!loop.joinable()) return;
    asio::post(io, [this] { server->stop(); });
    loop.join();  // ends because stop() leaves nothing to wait for
    server.reset();
  }
  std::string ask(std::string_view bytes, std::string_view end = "\n}") {
    const UniqueFd fd = connect_to(path);
    write_all(fd, bytes);
    return read_until(fd, end);
  }

  std::string folder, path;
  test::FakeControl control;
  asio::io_context io{1};
  std::optional<ApiServer> server;
  std::thread loop;
};

constexpr std::string_view kStatus =
    "GET /v1/status HTTP/1.1\r\nHost: lbd\r\nConnection: close\r\n\r\n";

TEST_F(Server, AnswersWithJson) {
  start();
  const std::string answer = ask(kStatus);
  EXPECT_EQ(answer.rfind("HTTP/1.1 200 OK\r\n", 0), 0U) << answer;
  EXPECT_NE(answer.find("Content-Type: application/json"), std::string::npos);
  EXPECT_NE(answer.find("\"pid\":4242"), std::string::npos);
}

TEST_F(Server, KeepsTheConnectionForTheNextRequest) {
  start();
  const UniqueFd fd = connect_to(path);
  for (int i = 0; i < 3; ++i) {
    write_all(fd, "GET /v1/services?filter=none HTTP/1.1\r\nHost: lbd\r\n\r\n");
    EXPECT_NE(read_until(fd, "[]}\n").find("200 OK"), std::string::npos);
  }
}

TEST_F(Server, SocketIsForOwnerAndGroup) {
  start();
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_TRUE(S_ISSOCK(info.st_mode));
  EXPECT_EQ(info.st_mode & 0777U, 0660U);
}

TEST_F(Server, ReplacesTheSocketOfADeadLbdAndRemovesItsOwn) {
  UniqueFd stale(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(stale.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  stale.reset();
  start();
  EXPECT_NE(ask(kStatus).find("200 OK"), std::string::npos);
  stop();
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(Server, LeavesAnythingElseInTheWayAlone) {
  std::ofstream(path) << "precious";
  const auto opened = ApiServer::open(io, path, control);
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message().find("is not a socket"), std::string::npos);
  EXPECT_TRUE(std::filesystem::is_regular_file(path));
}

TEST_F(Server, LeavesTheSocketOfItsSuccessor) {
  // Nothing runs on this loop: a server must outlive that.
  auto first = ApiServer::open(io, path, control);
  const auto second = ApiServer::open(io, path, control);
  ASSERT_TRUE(first && second);
  first = fail("gone");
  EXPECT_TRUE(std::filesystem::exists(path));
}

TEST_F(Server, NamesTheFlagWhenThePathIsTooLong) {
  const auto opened = ApiServer::open(io, folder + "/" + std::string(120, 'x'), control);
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message().find("--runtime-dir"), std::string::npos);
}

TEST_F(Server, RefusesALongHeader) {
  start();
  const std::string big(9000, 'a');
  EXPECT_NE(ask("GET /v1/status HTTP/1.1\r\nX: " + big + "\r\n\r\n").find(" 431 "),
            std::string::npos);
}

TEST_F(Server, RefusesALongBody) {
  start();
  const std::string answer = ask("POST /v1/drains HTTP/1.1\r\nContent-Length: 70000\r\n\r\n");
  EXPECT_NE(answer.find(" 413 "), std::string::npos) << answer;
}

TEST_F(Server, RefusesWhatIsNotHttp) {
  start();
  EXPECT_NE(ask("hello\r\n\r\n").find(" 400 "), std::string::npos);
}

TEST_F(Server, MethodNotAllowedNamesTheRightOnes) {
  start();
  const std::string answer =
      ask("PUT /v1/drains HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
  EXPECT_NE(answer.find("Allow: GET, POST, DELETE"), std::string::npos) << answer;
}

// Each is served once: all 64 are accepted, none only queued.
std::vector<UniqueFd> sixty_four_idle(const std::string& path) {
  std::vector<UniqueFd> idle;
  for (int i = 0; i < 64; ++i) {
    idle.push_back(connect_to(path));
    write_all(idle.back(), "GET /v1/services?filter=none HTTP/1.1\r\nHost: lbd\r\n\r\n");
    EXPECT_NE(read_until(idle.back(), "[]}\n").find("200 OK"), std::string::npos);
  }
  return idle;
}

TEST_F(Server, TheLongestIdleConnectionGivesWayToAnother) {
  start();
  const std::vector<UniqueFd> idle = sixty_four_idle(path);
  EXPECT_NE(ask(kStatus).find("200 OK"), std::string::npos);
  EXPECT_EQ(read_until(idle.front(), "\n"), "") << "closed";
  write_all(idle.back(), kStatus);
  EXPECT_NE(read_until(idle.back(), "\n}").find("200 OK"), std::string::npos) << "not this one";
}

TEST_F(Server, ConnectionsWithHalfARequestGiveWayToo) {
  start();
  std::vector<UniqueFd> half;
  for (int i = 0; i < 200; ++i) {
    half.push_back(connect_to(path));
    write_all(half.back(), "GET /v1/services HTTP/1.1\r\nHo");
  }
  EXPECT_NE(ask(kStatus).find("200 OK"), std::string::npos);
}

TEST_F(Server, ClientsThatDoNotReadTheirAnswersGiveWayToo) {
  control.state.config = std::string(2'000'000, 'x');  // more than a socket holds
  start();
  std::vector<UniqueFd> deaf;
  for (int i = 0; i < 64; ++i) {
    deaf.push_back(connect_to(path));
    write_all(deaf.back(), kStatus);
    EXPECT_NE(read_until(deaf.back(), "HTTP/1.1 200 OK"), "") << "it has begun";
  }
  EXPECT_NE(
      ask("GET /v1/services?filter=none HTTP/1.1\r\nHost: lbd\r\n\r\n", "[]}\n").find("200 OK"),
      std::string::npos);
}

}  // namespace
}  // namespace lb
