// Deployments by `lbctl register`: python's web server is COMMAND, a real lbd steers the clients.
#include <signal.h>

#include <filesystem>
#include <map>
#include <thread>

#include "netns/merlion/fixture.h"
#include "netns/register/web_client.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Key;

constexpr auto kOld = "127.0.0.1:7101";
constexpr auto kNew = "127.0.0.1:7102";
constexpr std::size_t kBig = 32U << 20U;
constexpr auto kPatience = 30s;  // other tests may keep the CPUs busy

class RegisterNetns : public MerlionNetns {
 protected:
  void SetUp() override {
    MerlionNetns::SetUp();
    if (IsSkipped()) return;
    configure();
    start("no-backends");
  }
  void TearDown() override {
    registrations_.clear();
    MerlionNetns::TearDown();
  }

  static std::string port_of(const std::string& address) {
    return address.substr(address.find(':') + 1);
  }
  // A web server that says `who` it is.
  [[nodiscard]] Command server(const std::string& who, const std::string& address) const {
    const std::string folder = file(who);
    std::filesystem::create_directories(folder);
    replace_file(folder + "/who", who);
    replace_file(folder + "/big", std::string(kBig, who.front()));
    return {"python3",   "-m",          "http.server", "--bind",
            "127.0.0.1", "--directory", folder,        port_of(address)};
  }
  // The first member does not exist.
  [[nodiscard]] Command registering(const std::string& name, const std::string& address,
                                    const Command& flags, const Command& command) const {
    Command out{program("lbctl"), "register",
                "--etcd",         "http://127.0.0.1:1," + etcd_->url(0),
                "--api",          to_string(GetParam()),
                "--prefix",       kUpstream,
                "--name",         name,
                "--address",      address,
                "--interval",     "1s"};
    out.insert(out.end(), flags.begin(), flags.end());
    out.emplace_back("--");
    out.insert(out.end(), command.begin(), command.end());
    return out;
  }
  Process& start_registration(const std::string& name, const std::string& address,
                              const Command& flags = {}) {
    registrations_.push_back(std::make_unique<Process>(
        registering(name, address, flags, server(name, address)), file(name + ".log")));
    return *registrations_.back();
  }
  // ... and lbd steers to it.
  Process& deploy(const std::string& name, const std::string& address, const Command& flags = {}) {
    Process& out = start_registration(name, address, flags);
    EXPECT_TRUE(turns(address, "active", kPatience)) << out.log();
    return out;
  }
  static bool says(const Process& registration, const std::string& words) {
    return eventually([&] { return registration.log().find(words) != std::string::npos; },
                      kPatience);
  }
  [[nodiscard]] std::map<std::string, std::string> entry(const std::string& name) const {
    return keys_->list(fmt::format("{}/{}", kUpstream, name));
  }
  // COMMAND's pid; -1: none.
  static pid_t command_of(const Process& registration) {
    const std::string children =
        read_text(fmt::format("/proc/{0}/task/{0}/children", registration.pid()));
    return children.empty() ? -1 : std::stoi(children);
  }

  std::vector<std::unique_ptr<Process>> registrations_;
};

TEST_P(RegisterNetns, ADeploymentLosesNoConnectAndNoDownload) {
  Process& old = deploy("old", kOld);
  WebLoad load(kListen);
  const auto failures = [&] {
    auto answers = load.answers();
    std::erase_if(answers, [](const auto& a) { return a.first == "old" || a.first == "new"; });
    return answers;
  };
  SlowDownload download(kListen, "/big");
  std::string got = download.read(100'000);
  deploy("new", kNew);
  ASSERT_TRUE(eventually([&] { return load.answers().contains("new"); }, kPatience));

  old.signal(SIGTERM);
  ASSERT_TRUE(turns(kOld, "disabled", kPatience));
  EXPECT_THAT(failures(), testing::IsEmpty());
  load.forget();
  // Longer than a backend without connections would be given.
  EXPECT_FALSE(old.wait(5s)) << "it ended before its last download";
  got += download.read_all();
  EXPECT_EQ(got.substr(got.find("\r\n\r\n") + 4), std::string(kBig, 'o'));
  EXPECT_EQ(old.wait(kPatience), 128 + SIGTERM) << old.log();
  EXPECT_THAT(old.log(), HasSubstr("draining: 1 connection left"));

  EXPECT_THAT(entry("old"), testing::IsEmpty());
  load.stop();
  auto answers = load.answers();
  // One request may have been on its way to the old one.
  EXPECT_LE(answers["old"], 1);
  EXPECT_GT(answers["new"], 10);
  answers.erase("old");
  EXPECT_THAT(answers, ElementsAre(Key("new")));
}

TEST_P(RegisterNetns, OneNameMovesToItsNewAddress) {
  Process& old = deploy("web", kOld);
  WebLoad load(kListen);
  ASSERT_TRUE(eventually([&] { return load.answers().contains("web"); }, kPatience));
  registrations_.push_back(std::make_unique<Process>(
      registering("web", kNew, {}, server("next", kNew)), file("next.log")));
  ASSERT_TRUE(turns(kNew, "active", kPatience)) << registrations_.back()->log();
  EXPECT_TRUE(says(old, std::string("web is registered at ") + kNew));
  old.signal(SIGTERM);
  EXPECT_EQ(old.wait(kPatience), 128 + SIGTERM) << old.log();
  EXPECT_EQ(entry("web")[key("web", "listen-address")], kNew);
  EXPECT_FALSE(entry("web").contains(key("web", "disabled")));
  EXPECT_THAT(load.answers(), ElementsAre(Key("next"), Key("web")));
  load.forget();
  ASSERT_TRUE(eventually([&] { return load.answers()["next"] > 10; }, kPatience));
  load.stop();
  EXPECT_THAT(load.answers(), ElementsAre(Key("next")));
}

TEST_P(RegisterNetns, NothingIsRegisteredBeforeItAccepts) {
  const std::string gate = file("gate");
  Command late{"sh", "-c", "while [ ! -e " + gate + " ]; do sleep 0.05; done; exec \"$@\"", "sh"};
  const Command serve = server("late", kOld);
  late.insert(late.end(), serve.begin(), serve.end());
  registrations_.push_back(
      std::make_unique<Process>(registering("late", kOld, {}, late), file("late.log")));
  std::this_thread::sleep_for(1s);  // ten looks
  EXPECT_THAT(entry("late"), testing::IsEmpty());
  replace_file(gate, "");
  EXPECT_TRUE(turns(kOld, "active", kPatience)) << registrations_.back()->log();
  EXPECT_EQ(who_serves(kListen), "late");
}

TEST_P(RegisterNetns, ACommandThatDiesIsGoneAtOnceWithItsStatus) {
  Process& registration = deploy("old", kOld);
  ::kill(command_of(registration), SIGKILL);
  EXPECT_EQ(registration.wait(kPatience), 128 + SIGKILL);
  EXPECT_THAT(entry("old"), testing::IsEmpty());
  EXPECT_TRUE(turns(kOld, "(none)", kPatience));
}

TEST_P(RegisterNetns, AnEtcdThatIsAwayNeverStopsTheCommand) {
  Process& registration = deploy("old", kOld);
  const pid_t command = command_of(registration);
  etcd_->kill_all();
  EXPECT_TRUE(says(registration, "trying on"));
  EXPECT_EQ(who_serves(kListen), "old");
  etcd_->restart_all();
  EXPECT_TRUE(says(registration, "answers"));
  EXPECT_EQ(command_of(registration), command);
  const std::string before = entry("old")[key("old", "last-seen-at")];
  EXPECT_TRUE(
      eventually([&] { return entry("old")[key("old", "last-seen-at")] != before; }, kPatience));
}

TEST_P(RegisterNetns, WhatNoLongerAcceptsIsNotRefreshed) {
  Process& registration = deploy("old", kOld);
  const pid_t command = command_of(registration);
  // A full backlog: connects are neither accepted nor refused.
  ::kill(command, SIGSTOP);
  std::vector<UniqueFd> fill;
  for (int i = 0; i < 16; ++i) {
    fill.push_back(open_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK));
    (void)try_connect(fill.back(), kOld);
  }
  EXPECT_TRUE(says(registration, "last-seen-at is not refreshed")) << registration.log();
  const std::string before = entry("old")[key("old", "last-seen-at")];
  std::this_thread::sleep_for(2500ms);  // more than two intervals
  EXPECT_EQ(entry("old")[key("old", "last-seen-at")], before);
  fill.clear();
  ::kill(command, SIGCONT);
  EXPECT_TRUE(says(registration, "accepts again"));
  EXPECT_TRUE(
      eventually([&] { return entry("old")[key("old", "last-seen-at")] != before; }, kPatience));
}

TEST_P(RegisterNetns, WaitsForWhatEveryLbdPublishes) {
  const std::string state = "/elsewhere";
  const auto publish = [&](const std::string& host, const std::string& name,
                           const std::string& value) {
    keys_->put(fmt::format("{}/hosts/{}/backends/old/{}", state, host, name), value);
  };
  publish("a", "active-connections", "2");
  publish("a", "disabled", "false");
  publish("b", "active-connections", "0");
  publish("b", "disabled", "true");
  Process& registration = deploy("old", kOld, {"--state", state, "--json"});
  registration.signal(SIGTERM);
  EXPECT_TRUE(says(registration, "draining: 2 connections left, and not every lbd knows yet"));
  publish("a", "disabled", "true");
  EXPECT_TRUE(says(registration, "draining: 2 connections left\n"));
  EXPECT_FALSE(registration.wait(3s));
  publish("a", "active-connections", "0");
  EXPECT_EQ(registration.wait(kPatience), 128 + SIGTERM) << registration.log();
  EXPECT_THAT(registration.log(), HasSubstr("\"event\":\"drained\",\"name\":\"old\""));
}

TEST_P(RegisterNetns, ASecondSignalSkipsTheDrain) {
  Process& registration = deploy("old", kOld);
  SlowDownload download(kListen, "/big");
  ASSERT_FALSE(download.read(100'000).empty());
  registration.signal(SIGINT);
  ASSERT_TRUE(says(registration, "draining: 1 connection left"));
  registration.signal(SIGINT);
  EXPECT_EQ(registration.wait(5s), 128 + SIGTERM) << registration.log();
  EXPECT_THAT(entry("old"), testing::IsEmpty());
}

TEST_P(RegisterNetns, KilledItTakesTheCommandAlongAndLeavesTheKeys) {
  Process& registration = deploy("old", kOld);
  const pid_t command = command_of(registration);
  registration.kill();
  EXPECT_TRUE(eventually([&] { return who_serves(kOld) == "errno 111"; }, kPatience)) << command;
  EXPECT_TRUE(entry("old").contains(key("old", "listen-address")));
  // The next one of that name begins anew.
  keys_->put(key("old", "disabled"), "true");
  deploy("old", kOld);
  EXPECT_FALSE(entry("old").contains(key("old", "disabled")));
}

TEST_P(RegisterNetns, ACommandThatCannotStartOrStayIsAFailure) {
  const Finished missing = run(registering("old", kOld, {}, {"/no/such/program"}));
  EXPECT_EQ(missing.code, 1);
  EXPECT_THAT(missing.err, HasSubstr("run /no/such/program: No such file or directory"));
  const Finished brief = run(registering("old", kOld, {}, {"sh", "-c", "exit 7"}));
  EXPECT_EQ(brief.code, 1);
  EXPECT_THAT(brief.err, HasSubstr("status 7 before anything accepted at 127.0.0.1:7101"));
  const Finished deaf =
      run(registering("old", kOld, {"--ready-timeout", "500ms"}, {"sleep", "60"}));
  EXPECT_EQ(deaf.code, 1);
  EXPECT_THAT(deaf.err, HasSubstr("nothing accepts at 127.0.0.1:7101 after 500ms"));
  EXPECT_THAT(entry("old"), testing::IsEmpty());
}

// Members that demand a client certificate, and a user with rights to no more than is needed.
class RegisterSecureNetns : public RegisterNetns {
 protected:
  [[nodiscard]] EtcdOptions etcd_options() const override {
    EtcdOptions out;
    out.tls = true;
    out.auth = true;
    out.readable = {std::string(kSite) + "/", std::string(kUpstream) + "/"};
    out.writable = {std::string(kUpstream) + "/"};
    return out;
  }
};

TEST_P(RegisterSecureNetns, RegistersWithACertificateAndAPassword) {
  const Certificates& certificates = *etcd_->certificates();
  replace_file(file("register-password"), "secret\n");
  const Command secured{
      "--ca",  certificates.ca(),          "--cert",     certificates.cert("client"),
      "--key", certificates.key("client"), "--username", "lbd"};
  Command right = secured;
  right.insert(right.end(), {"--password-file", file("register-password")});
  Process& registration = deploy("old", kOld, right);
  registration.signal(SIGTERM);
  EXPECT_EQ(registration.wait(kPatience), 128 + SIGTERM) << registration.log();
  EXPECT_THAT(entry("old"), testing::IsEmpty());

  Process& stranger = start_registration("stranger", kNew);
  EXPECT_TRUE(says(stranger, "etcd: ")) << stranger.log();
  EXPECT_EQ(who_serves(kNew), "stranger") << "it serves, whatever etcd thinks of it";
  EXPECT_THAT(entry("stranger"), testing::IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Etcd, RegisterSecureNetns, testing::ValuesIn(kStores), store_name);
INSTANTIATE_TEST_SUITE_P(Etcd, RegisterNetns, testing::ValuesIn(kStores), store_name);

}  // namespace
}  // namespace lb::test
