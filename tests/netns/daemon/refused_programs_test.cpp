// A kernel that refuses one of lbd's programs, seen by the operator: lbd runs, `status` and `doctor` say
// what is lost, drains end when the last connection has gone.
#include <gmock/gmock.h>

#include "ebpf/hooks.h"
#include "netns/daemon/fixture.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class RefusedPrograms : public DaemonNetns {
 protected:
  void refuse(const std::string& sections) const {
    lbd_->prefix = {"env", "LBD_TEST_REFUSE=" + sections};
  }
};

TEST_F(RefusedPrograms, EachOneInTurnIsSaidByStatusAndDoctor) {
  for (const bpf::Hook& hook : bpf::all_hooks()) {
    if (hook.loss == nullptr) continue;
    SCOPED_TRACE(hook.section);
    refuse(hook.section);
    serve_web({kOne, kTwo});
    const std::string status = lbd_->json({"status"});
    EXPECT_EQ(json_size(status, "/dataplane/lost"), 1) << status;
    EXPECT_EQ(json_at(status, "/dataplane/lost/0/what"), hook.section);
    EXPECT_EQ(json_at(status, "/dataplane/lost/0/loss"), hook.loss);
    EXPECT_THAT(lbd_->ctl({"status"}).out, AllOf(HasSubstr(hook.section), HasSubstr(hook.loss)));
    EXPECT_THAT(lbd_->ctl({"doctor"}).out,
                AllOf(HasSubstr(std::string("runs without ") + hook.section), HasSubstr(hook.loss),
                      HasSubstr("lbd can run here")));
    EXPECT_THAT(lbd_->log(), HasSubstr(std::string("lost=") + hook.section));
    EXPECT_FALSE(ask(kWeb).starts_with("errno"));
    EXPECT_EQ(lbd_->stop(), 0);
  }
}

TEST_F(RefusedPrograms, WithoutCountingADrainWaitsForTheLastConnection) {
  refuse(bpf::kCountingHook);
  serve_web({kOne});
  UniqueFd held = connect_to(kWeb);
  ASSERT_TRUE(held);
  EXPECT_EQ(lbd_->backend("web", kOne).active, -1) << "null: not counted";
  write_services(service_toml("web", kWeb, {kOne, kTwo}));
  ASSERT_TRUE(backend_becomes("web", kTwo, "active"));
  const Finished drained = lbd_->ctl({"drain", kOne, "--json"});
  EXPECT_EQ(json_at(drained.out, "/connections"), "1") << drained.all();
  EXPECT_EQ(lbd_->ctl({"drain", kOne, "--wait", "--timeout", "1s"}).code, 4) << "one is open";
  EXPECT_THAT(lbd_->ctl({"explain", kWeb}).out, HasSubstr("weighted random"));
  held.reset();
  EXPECT_EQ(lbd_->ctl({"drain", kOne, "--wait", "--timeout", "20s"}).code, 0);
}

TEST_F(RefusedPrograms, WithoutCountingABackendThatLeftGoesWithItsLastConnection) {
  refuse(bpf::kCountingHook);
  serve_web({kOne});
  UniqueFd held = connect_to(kWeb);
  write_services(service_toml("web", kWeb, {kTwo}));
  ASSERT_TRUE(backend_becomes("web", kOne, "draining"));
  lbd_->kill();
  ASSERT_TRUE(lbd_->start());
  EXPECT_TRUE(backend_becomes("web", kOne, "draining"));
  held.reset();
  EXPECT_TRUE(eventually([&] { return lbd_->backend("web", kOne).state == "(none)"; }, 20s));
}

TEST_F(RefusedPrograms, TheIndispensableOnesStopItAndAreNamed) {
  write_services(service_toml("web", kWeb, {kOne}));
  lbd_->configure(file_source());
  refuse("cgroup/connect6");
  const Finished done = lbd_->run_to_its_end({"--dataplane", "ebpf"});
  EXPECT_EQ(done.code, 1);
  EXPECT_THAT(done.err, AllOf(HasSubstr("cgroup/connect6"), HasSubstr("cannot do without"),
                              HasSubstr("lbctl doctor"), Not(HasSubstr("as root")),
                              Not(HasSubstr("ulimit"))));
}

// The kernel's own refusal: the connect hooks read the socket, which takes CAP_PERFMON.
TEST_F(RefusedPrograms, TheCapabilityThatIsMissingIsNamed) {
  write_services(service_toml("web", kWeb, {kOne}));
  lbd_->configure(file_source());
  lbd_->prefix = {"setpriv", "--bounding-set=-perfmon,-sys_admin",
                  "--inh-caps=-perfmon,-sys_admin"};
  const Finished done = lbd_->run_to_its_end({"--dataplane", "ebpf"});
  EXPECT_EQ(done.code, 1);
  EXPECT_THAT(done.err, AllOf(HasSubstr("CAP_PERFMON not held"), HasSubstr("as root"),
                              Not(HasSubstr("CAP_BPF not held"))));
}

}  // namespace
}  // namespace lb::test
