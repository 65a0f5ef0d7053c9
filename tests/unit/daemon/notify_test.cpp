#include "daemon/notify.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/unique_fd.h"
#include "support/temp_folder.h"

namespace lb {
namespace {

// A service manager, as far as it can be heard.
class Notify : public testing::Test {
 protected:
  Notify() : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    const std::string path = folder_.file("notify");
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
              0);
    ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
  }
  ~Notify() override {
    for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) ::unsetenv(name);
  }
  [[nodiscard]] std::string heard() const {
    std::array<char, 100> buffer{};
    const ssize_t size = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    return {buffer.data(), size > 0 ? static_cast<std::size_t>(size) : 0};
  }

  TempFolder folder_;
  UniqueFd socket_;
};

TEST_F(Notify, IsOneDatagram) {
  ASSERT_TRUE(notify_service_manager("READY=1"));
  EXPECT_EQ(heard(), "READY=1");
}

TEST_F(Notify, DoesNotWaitForAManagerThatDoesNotRead) {
  Result<> told;
  while (told) told = notify_service_manager("WATCHDOG=1");
  EXPECT_EQ(told.error().code, std::errc::resource_unavailable_try_again);
}

TEST_F(Notify, WatchdogIsForThisProcessOnly) {
  EXPECT_FALSE(service_watchdog());
  ::setenv("WATCHDOG_USEC", "3000000", 1);
  EXPECT_EQ(service_watchdog(), std::chrono::seconds(3));
  ::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1);
  EXPECT_EQ(service_watchdog(), std::chrono::seconds(3));
  ::setenv("WATCHDOG_PID", std::to_string(::getpid() + 1).c_str(), 1);
  EXPECT_FALSE(service_watchdog());
  ::unsetenv("WATCHDOG_PID");
  for (const char* wrong : {"", "0", "-5", "soon", "3s"}) {
    ::setenv("WATCHDOG_USEC", wrong, 1);
    EXPECT_FALSE(service_watchdog()) << wrong;
  }
}

}  // namespace
}  // namespace lb
