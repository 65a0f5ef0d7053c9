#include "daemon/commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "support/temp_folder.h"

namespace lb {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

struct CommandOutcome {
  int code = 0;
  std::string out, err;
};

CommandOutcome run(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "lbd");
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  CommandOutcome outcome;
  outcome.code = run_command(static_cast<int>(arguments.size()), arguments.data());
  outcome.out = testing::internal::GetCapturedStdout();
  outcome.err = testing::internal::GetCapturedStderr();
  return outcome;
}

TEST(Commands, HelpAndVersionSucceed) {
  EXPECT_EQ(run({"--help"}).code, kExitOk);
  EXPECT_THAT(run({"run", "--help"}).out, HasSubstr("--runtime-dir"));
  EXPECT_THAT(run({"--version"}).out, HasSubstr("lbd "));
}

TEST(Commands, WrongUsageIsExit2) {
  EXPECT_EQ(run({}).code, kExitUsage);
  EXPECT_EQ(run({"fly"}).code, kExitUsage);
  EXPECT_EQ(run({"run", "--nonsense"}).code, kExitUsage);
  EXPECT_EQ(run({"merlion"}).code, kExitUsage);
  const CommandOutcome outcome = run({"merlion", "no-prefix"});
  EXPECT_EQ(outcome.code, kExitUsage);
  EXPECT_THAT(outcome.err, HasSubstr("PREFIX: 'no-prefix'"));
}

TEST(Commands, CheckConfigNamesFileAndLine) {
  const TempFolder folder;
  const std::string good =
      folder.write("good.toml", "[[source]]\ntype = \"file\"\npath = \"/x\"\n");
  const std::string bad = folder.write("bad.toml", "[dataplane]\nmodus = \"none\"\n");
  EXPECT_EQ(run({"check-config", good.c_str()}).code, kExitOk);
  const CommandOutcome outcome = run({"check-config", bad.c_str()});
  EXPECT_EQ(outcome.code, kExitFailed);
  EXPECT_THAT(outcome.err, HasSubstr("bad.toml:2"));
}

TEST(Commands, MissingConfigurationKeepsFromStarting) {
  const std::vector<const char*> arguments{"lbd", "run", "--config", "/nonexistent/lbd.toml"};
  EXPECT_THROW(run_command(4, arguments.data()), StartError);
}

TEST(Overrides, FlagsWinOverTheFile) {
  Config config;
  Overrides o;
  o.runtime_dir = "/a";
  o.state_dir = "/b";
  o.cgroup = "/c";
  o.bpffs = "/d";
  o.dataplane = "none";
  o.log_level = "debug";
  const auto result = with_overrides(config, o);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->daemon.runtime_dir, "/a");
  EXPECT_EQ(result->daemon.state_dir, "/b");
  EXPECT_EQ(result->dataplane.cgroup, "/c");
  EXPECT_EQ(result->dataplane.bpffs, "/d");
  EXPECT_EQ(result->dataplane.mode, DataplaneMode::None);
  EXPECT_EQ(result->daemon.log_level, LogLevel::Debug);
}

TEST(Overrides, WrongWordNamesTheFlag) {
  Overrides o;
  o.dataplane = "magic";
  const auto result = with_overrides({}, o);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message(), HasSubstr("--dataplane"));
}

TEST(Hints, SayWhatToDoWithoutPrivileges) {
  const Error refused{std::make_error_code(std::errc::operation_not_permitted),
                      "load the BPF program of cgroup/connect4"};
  EXPECT_THAT(hint_for(refused, 0), HasSubstr("CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON not held"));
  EXPECT_THAT(hint_for(refused, 1ULL << 39 | 1ULL << 12), HasSubstr("CAP_PERFMON not held"));
  constexpr std::uint64_t kAll = ~0ULL;
  EXPECT_THAT(hint_for(refused, kAll),
              AllOf(HasSubstr("although"), HasSubstr("lbctl doctor"), Not(HasSubstr("root"))));
}

}  // namespace
}  // namespace lb
