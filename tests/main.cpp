// The main of every gtest program. A test of the tier netns gets a network namespace. A skip in a
// tier named by LB_REQUIRE ("unit,bpf,netns") is a failure. A developer's machine may lack a
// capability; the machine that decides about a release may not, and must not call a test passed
// that never ran.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>

namespace {

bool is_required(const std::string& tier) {
  const char* list = std::getenv("LB_REQUIRE");
  return list != nullptr &&
         ("," + std::string(list) + ",").find("," + tier + ",") != std::string::npos;
}

class NoSkips : public testing::EmptyTestEventListener {
  // Called before the printer's, because listeners are called in reverse order at the end of a
  // test.
  void OnTestEnd(const testing::TestInfo& info) override {
    if (info.result()->Skipped()) ADD_FAILURE() << "skipped, but LB_REQUIRE demands it";
  }
};

// Ports of its own, as tests run beside each other: a server that was stopped finds its port free
// when it comes back. Without root the test stays on the machine's network.
void enter_own_network() {
  if (::unshare(CLONE_NEWNET) != 0) return;
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  ::ioctl(fd, SIOCSIFFLAGS, &request);
  ::close(fd);
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleMock(&argc, argv);
  if (LB_TEST_TIER == std::string("netns") && !GTEST_FLAG_GET(list_tests)) enter_own_network();
  // gtest deletes its listeners itself.
  if (is_required(LB_TEST_TIER)) testing::UnitTest::GetInstance()->listeners().Append(new NoSkips);
  return RUN_ALL_TESTS();
}
