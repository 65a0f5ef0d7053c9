// What lbd refuses: to start where it cannot work, and services that it must not publish. Each time it
// says what and why.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>

#include <fmt/format.h>

#include "ebpf/kernel_objects.h"
#include "netns/daemon/fixture.h"

namespace lb::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Key;
using testing::Not;
using testing::UnorderedElementsAre;

class Refusal : public DaemonNetns {
 protected:
  void SetUp() override {
    DaemonNetns::SetUp();
    if (IsSkipped()) return;
    write_services(service_toml("web", kWeb, {kOne}));
    lbd_->configure(file_source());
  }
  // Exit 1, and words that a person can act on.
  void expect_refused(const Daemon& lbd, const std::vector<std::string>& words) {
    const Finished done = lbd.run_to_its_end();
    EXPECT_EQ(done.code, 1) << done.all();
    for (const std::string& word : words) EXPECT_THAT(done.err, HasSubstr(word));
  }
  // As nobody, who can neither read what root hides nor load BPF programs.
  void become_nobody(Daemon& lbd) const {
    // The build folder may be closed to others.
    lbd.lbd_path = file("lbd");
    std::filesystem::copy_file(program("lbd"), lbd.lbd_path);
    ::chmod(lbd.config_path().c_str(), 0644);
    lbd.prefix = {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"};
    for (const std::string& folder : {lbd.runtime_dir, lbd.state_dir}) {
      std::filesystem::create_directory(folder);
      ASSERT_EQ(::chown(folder.c_str(), 65534, 65534), 0);
    }
  }
  std::string sources() const { return lbd_->json({"sources"}); }
};

TEST_F(Refusal, SecondLbdOnTheSameStateFolder) {
  ASSERT_TRUE(lbd_->start());
  Daemon second(*sandbox_);
  second.runtime_dir += "2";
  expect_refused(second, {lbd_->state_dir, std::to_string(lbd_->pid()), "--state-dir"});
  EXPECT_EQ(ask(kWeb), "1");
}

TEST_F(Refusal, SecondLbdOnTheSameRuntimeFolder) {
  ASSERT_TRUE(lbd_->start());
  Daemon second(*sandbox_);
  second.state_dir += "2";
  expect_refused(second, {lbd_->runtime_dir, std::to_string(lbd_->pid()), "--runtime-dir"});
}

TEST_F(Refusal, SecondLbdOnTheSameCgroup) {
  ASSERT_TRUE(lbd_->start());
  Daemon second(*sandbox_);
  second.runtime_dir += "2";
  second.state_dir += "2";
  second.bpffs += "2";
  expect_refused(second, {"another lbd", lbd_->bpffs, lbd_->cgroup});
  EXPECT_FALSE(std::filesystem::exists(second.bpffs));
  EXPECT_EQ(ask(kWeb), "1");
}

TEST_F(Refusal, SecondLbdOnTheSamePinFolder) {
  ASSERT_TRUE(lbd_->start());
  Daemon second(*sandbox_);
  second.runtime_dir += "2";
  second.state_dir += "2";
  expect_refused(second, {lbd_->bpffs});
  EXPECT_EQ(ask(kWeb), "1");
}

TEST_F(Refusal, DeadOwnerBlocksNobody) {
  ASSERT_TRUE(lbd_->start());
  lbd_->kill();
  EXPECT_TRUE(lbd_->start());
}

TEST_F(Refusal, WithoutRoot) {
  become_nobody(*lbd_);
  expect_refused(*lbd_, {"ermi", "root", "CAP_BPF", "lbctl doctor"});
}

TEST_F(Refusal, WithoutCapabilities) {
  lbd_->prefix = {"setpriv", "--bounding-set=-all", "--inh-caps=-all"};
  expect_refused(*lbd_, {"CAP_BPF", "lbctl doctor"});
}

TEST_F(Refusal, WithoutCgroup2) {
  // A mount namespace without it, and nobody names one.
  Command command{"unshare",           "-m", "sh", "-c", "umount -l \"$0\" && exec \"$@\"",
                  *bpf::find_cgroup2()};
  for (const std::string& word : lbd_->command("run")) command.push_back(word);
  for (auto it = command.begin(); it != command.end(); ++it)
    if (*it == "--cgroup") it = command.erase(it, it + 2);
  const Finished done = run(command);
  EXPECT_EQ(done.code, 1) << done.all();
  EXPECT_THAT(done.err, AllOf(HasSubstr("cgroup2"), HasSubstr("mount")));
}

TEST_F(Refusal, CgroupThatIsNone) {
  lbd_->cgroup = sandbox_->folder();
  expect_refused(*lbd_, {sandbox_->folder(), "cgroup"});
  lbd_->cgroup += "/absent";
  expect_refused(*lbd_, {sandbox_->folder() + "/absent", "No such file"});
}

// A mistake in the configuration has nothing to do with the other dataplane.
TEST_F(Refusal, AMistakeInTheConfigurationIsNamedFirstAndAlone) {
  const auto says_nothing_of_ipvs = [&](const std::string& named) {
    const Finished done = lbd_->run_to_its_end({"--dataplane", "auto"});
    EXPECT_EQ(done.code, 1);
    EXPECT_THAT(done.err, AllOf(HasSubstr(named), Not(HasSubstr("ipvs")), Not(HasSubstr("IPVS")),
                                Not(HasSubstr("modprobe"))));
  };
  const std::string good = lbd_->cgroup;
  lbd_->cgroup = "/no/such/group";
  says_nothing_of_ipvs("/no/such/group");
  lbd_->cgroup = good;
  lbd_->bpffs = file("bpf");
  says_nothing_of_ipvs("is not on a bpffs");
}

TEST_F(Refusal, FolderThatIsNoBpffs) {
  lbd_->bpffs = file("bpf");
  expect_refused(*lbd_, {sandbox_->folder(), "is not on a bpffs", "mount -t bpf"});
  lbd_->bpffs = file("absent/bpf");
  expect_refused(*lbd_, {file("absent"), "No such file"});
}

TEST_F(Refusal, BrokenConfigurationNamesEachMistake) {
  lbd_->configure("[dataplane]\nmode = \"magic\"\ncolour = 1\n[drain]\ntimeout = \"soon\"\n");
  const std::string path = lbd_->config_path();
  expect_refused(*lbd_, {path + ":2:", path + ":3:", "colour", path + ":5:"});
  lbd_->configure("[dataplane\n");
  expect_refused(*lbd_, {path + ":1:"});
  std::filesystem::remove(path);
  expect_refused(*lbd_, {path, "No such file"});
}

TEST_F(Refusal, UnreadableFileKeepsLbdRunningAndIsNamed) {
  become_nobody(*lbd_);
  ::chmod(services_path().c_str(), 0);
  ASSERT_TRUE(lbd_->start({"--dataplane", "none"}));
  EXPECT_TRUE(eventually([&] {
    return json_at(sources(), "/sources/0/error").find("Permission denied") != std::string::npos;
  })) << sources();
  EXPECT_THAT(json_at(sources(), "/sources/0/error"), HasSubstr(services_path()));
  ::chmod(services_path().c_str(), 0644);
  EXPECT_TRUE(eventually([&] { return lbd_->service("web").name == "web"; }));
}

TEST_F(Refusal, UnreadableFolderIsNamed) {
  std::filesystem::create_directory(file("services.d"));
  lbd_->configure(file_source(file("services.d")));
  become_nobody(*lbd_);
  ::chmod(file("services.d").c_str(), 0);
  ASSERT_TRUE(lbd_->start({"--dataplane", "none"}));
  EXPECT_TRUE(eventually([&] {
    return json_at(sources(), "/sources/0/error").find("Permission denied") != std::string::npos;
  })) << sources();
  EXPECT_THAT(json_at(sources(), "/sources/0/error"), HasSubstr(file("services.d")));
}

TEST_F(Refusal, ServicePortOutsideTheAllowedRange) {
  write_services(service_toml("web", kWeb, {kOne}) + service_toml("api", "127.0.0.1:6000", {kTwo}));
  lbd_->configure(file_source() + "ports = \"6000-6999\"\n");
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(becomes("web", "refused") && becomes("api", "ok"));
  EXPECT_THAT(lbd_->service("web").text, AllOf(HasSubstr("5000"), HasSubstr("6000-6999")));
  EXPECT_EQ(ask("127.0.0.1:6000"), "2");
  const UniqueFd listener = listen_on(kWeb);
  EXPECT_TRUE(connect_to(kWeb)) << "whoever listens there is left alone";
}

TEST_F(Refusal, LoopbackBackendWithScopeAll) {
  ASSERT_EQ(run({"ip", "address", "add", "10.9.0.1/32", "dev", "lo"}).code, 0);
  const Server far("10.9.0.1:7004", "4");
  write_services(service_toml("web", kWeb, {kOne, "10.9.0.1:7004"}));
  lbd_->configure("[dataplane]\nscope = \"all\"\n" + file_source());
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(becomes("web", "ok"));
  EXPECT_THAT(ask_often(kWeb, 10), UnorderedElementsAre(Key("4")));
  EXPECT_THAT(json_at(lbd_->json({"status"}), "/warnings"),
              AllOf(HasSubstr(services_path()), HasSubstr(kOne), HasSubstr("scope")));
}

TEST_F(Refusal, DuplicateServiceInAFileRejectsTheFile) {
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(becomes("web", "ok"));
  write_services(service_toml("a", kWeb, {kTwo}) + service_toml("b", kWeb, {kThree}));
  EXPECT_TRUE(eventually([&] {
    return json_at(sources(), "/sources/0/error").find(services_path() + ":") != std::string::npos;
  })) << sources();
  EXPECT_EQ(ask(kWeb), "1");
}

TEST_F(Refusal, DuplicateServiceInAFolderGoesToTheFirstFile) {
  std::filesystem::create_directory(file("services.d"));
  replace_file(file("services.d/a.toml"), service_toml("a", kWeb, {kOne}));
  replace_file(file("services.d/b.toml"), service_toml("b", kWeb, {kTwo}));
  lbd_->configure(file_source(file("services.d")));
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(becomes("a", "ok"));
  EXPECT_THAT(ask_often(kWeb, 10), UnorderedElementsAre(Key("1")));
  EXPECT_THAT(json_at(sources(), "/sources/0/warnings"),
              AllOf(HasSubstr("b.toml"), HasSubstr("a.toml"), HasSubstr("5000")));
}

TEST_F(Refusal, DuplicateServiceOfASecondSourceIsALostClaim) {
  replace_file(file("more.toml"), service_toml("other", kWeb, {kTwo}));
  lbd_->configure(file_source() + "[[source]]\ntype = \"file\"\nname = \"more\"\npath = \"" +
                  file("more.toml") + "\"\n");
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(becomes("web", "ok"));
  EXPECT_TRUE(eventually([&] {
    return json_at(sources(), "/sources/1/lost_claims/0/winner") == "file";
  })) << sources();
  EXPECT_EQ(ask(kWeb), "1");
  write_services("# gone\n");
  EXPECT_TRUE(eventually([] { return ask(kWeb) == "2"; })) << "the winner dropped it";
}

}  // namespace
}  // namespace lb::test
