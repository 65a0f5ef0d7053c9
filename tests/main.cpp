// The main of every gtest program: a skip in a tier named by LB_REQUIRE ("unit,bpf,netns") is a
// failure. A developer's machine may lack a capability; the machine that decides about a release
// may not, and must not call a test passed that never ran.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
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

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleMock(&argc, argv);
  // gtest deletes its listeners itself.
  if (is_required(LB_TEST_TIER)) testing::UnitTest::GetInstance()->listeners().Append(new NoSkips);
  return RUN_ALL_TESTS();
}
