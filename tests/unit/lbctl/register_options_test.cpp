#include "tools/lbctl/options.h"

#include "unit/lbctl/harness.h"

namespace lb::lbctl {
namespace {

using namespace std::chrono_literals;

class RegisterOptionsTest : public Lbctl {
 protected:
  RegisterOptions parse(std::vector<std::string> args) {
    args.insert(args.begin(), {"register", "--prefix", "/svc/web/", "--address", "web.test:8023"});
    const auto options = parse_options(env, args);
    EXPECT_TRUE(options) << err();
    return options ? options->registration : RegisterOptions{};
  }
};

TEST_F(RegisterOptionsTest, DefaultsServeACommandOnThisMachine) {
  const RegisterOptions out = parse({"--name", "web1", "--", "nginx", "-g", "daemon off;", "--"});
  EXPECT_EQ(out.command, (std::vector<std::string>{"nginx", "-g", "daemon off;", "--"}));
  EXPECT_EQ(out.prefix, "/svc/web");
  EXPECT_EQ(out.name, "web1");
  EXPECT_EQ(out.address, (HostPort{"web.test", 8023}));
  EXPECT_EQ(out.access.endpoints, std::vector<std::string>{"http://127.0.0.1:2379"});
  EXPECT_EQ(out.access.mode, etcd::Mode::Auto);
  EXPECT_EQ(out.interval, 10s);
  EXPECT_TRUE(out.wait_ready);
  EXPECT_TRUE(out.check);
  EXPECT_FALSE(out.keep);
}

TEST_F(RegisterOptionsTest, WithoutACommandNothingIsWaitedForOrChecked) {
  const RegisterOptions out = parse({});
  EXPECT_TRUE(out.command.empty());
  EXPECT_FALSE(out.wait_ready);
  EXPECT_FALSE(out.check);
  EXPECT_TRUE(parse({"--wait-ready", "--check", "tcp"}).wait_ready);
  EXPECT_TRUE(parse({"--wait-ready", "--check", "tcp"}).check);
}

TEST_F(RegisterOptionsTest, EverythingCanBeSaid) {
  const RegisterOptions out = parse({"--etcd",
                                     "https://a:1/,http://b:2",
                                     "--api",
                                     "v2",
                                     "--ca",
                                     "ca.pem",
                                     "--cert",
                                     "c.pem",
                                     "--key",
                                     "k.pem",
                                     "--username",
                                     "u",
                                     "--password-file",
                                     "pw",
                                     "--interval",
                                     "500ms",
                                     "--ready-timeout",
                                     "1m",
                                     "--drain-timeout",
                                     "2m",
                                     "--state",
                                     "/state/web/",
                                     "--check",
                                     "none",
                                     "--no-wait-ready",
                                     "--keep",
                                     "--",
                                     "run"});
  EXPECT_EQ(out.access.endpoints, (std::vector<std::string>{"https://a:1", "http://b:2"}));
  EXPECT_EQ(out.access.mode, etcd::Mode::V2);
  EXPECT_EQ(out.access.tls, (HttpTls{"ca.pem", "c.pem", "k.pem"}));
  EXPECT_EQ(out.access.username, "u");
  EXPECT_EQ(out.access.password_file, "pw");
  EXPECT_EQ(out.interval, 500ms);
  EXPECT_EQ(out.ready_timeout, 60s);
  EXPECT_EQ(out.drain_timeout, 120s);
  EXPECT_EQ(out.state_prefix, "/state/web");
  EXPECT_FALSE(out.check);
  EXPECT_FALSE(out.wait_ready);
  EXPECT_TRUE(out.keep);
}

TEST_F(RegisterOptionsTest, OptionsMayStandBeforeTheNoun) {
  const std::vector<std::string> args{"--prefix", "/p",       "--address", "[::1]:80", "--name",
                                      "n",        "register", "--",        "list"};
  const auto options = parse_options(env, args);
  ASSERT_TRUE(options) << err();
  EXPECT_EQ(options->command, "register");
  EXPECT_EQ(options->registration.address, (HostPort{"::1", 80}));
  EXPECT_EQ(options->registration.command, std::vector<std::string>{"list"});
}

TEST_F(RegisterOptionsTest, TheNameIsThisHostsAndThePort) {
  EXPECT_EQ(default_backend_name("host1", 8023), "host1-8023");
  EXPECT_EQ(default_backend_name("host 1/x.example", 80), "host-1-x.example-80");
  EXPECT_EQ(default_backend_name("_h", 80), "host_h-80");
  EXPECT_EQ(default_backend_name("", 80), "host-80");
  EXPECT_TRUE(parse({}).name.ends_with("-8023")) << parse({}).name;
}

struct Mistake {
  std::vector<std::string> args;
  std::string words;
};

TEST_F(Lbctl, RegisterNamesWhatIsWrongWithItsFlags) {
  const std::vector<Mistake> mistakes{
      {{"--address", "h:1"}, "--prefix is required"},
      {{"--prefix", "/p"}, "--address is required"},
      {{"--prefix", "p", "--address", "h:1"}, "--prefix 'p' is not a prefix like /services/web"},
      {{"--prefix", "/", "--address", "h:1"}, "--prefix '/' is not a prefix"},
      {{"--prefix", "/p", "--address", "h"}, "--address 'h' is not HOST:PORT"},
      {{"--prefix", "/p", "--address", "h:0"}, "--address 'h:0' is not HOST:PORT"},
      {{"--prefix", "/p", "--address", "a b:1"}, "no usable host name"},
      {{"--prefix", "/p", "--address", "*:80"}, "the address at which clients reach it"},
      {{"--prefix", "/p", "--address", "[::]:80"}, "the address at which clients reach it"},
      {{"--prefix", "/p", "--address", "h:1", "--name", "a/b"}, "--name 'a/b': use letters"},
      {{"--prefix", "/p", "--address", "h:1", "--name", "_a"}, "--name '_a': etcd v2"},
      {{"--prefix", "/p", "--address", "h:1", "--name", ".."}, "--name '..': etcd v2"},
      {{"--prefix", "/p", "--address", "h:1", "--etcd", "10.0.0.1:2379"}, "is no URL"},
      {{"--prefix", "/p", "--address", "h:1", "--etcd", "http://a,"}, "--etcd '' is no URL"},
      {{"--prefix", "/p", "--address", "h:1", "--etcd", "ftp://a"}, "--etcd 'ftp://a' is no URL"},
      {{"--prefix", "/p", "--address", "h:1", "--etcd", "http://root:secret@a"},
       "a URL has a password"},
      {{"--prefix", "/p", "--address", "h:1", "--etcd", "http://a,root:secret@b"},
       "a URL has a password"},
      {{"--prefix", "/p", "--address", "h:1", "--api", "v4"}, "--api 'v4': use auto, v3 or v2"},
      {{"--prefix", "/p", "--address", "h:1", "--cert", "c"}, "--cert and --key go together"},
      {{"--prefix", "/p", "--address", "h:1", "--username", "u"}, "--password-file go together"},
      {{"--prefix", "/p", "--address", "h:1", "--interval", "10"}, "--interval '10' is not a dur"},
      {{"--prefix", "/p", "--address", "h:1", "--interval", "50ms"}, "--interval 50ms: at least"},
      {{"--prefix", "/p", "--address", "h:1", "--check", "http"},
       "--check 'http': use tcp or none"},
      {{"--prefix", "/p", "--address", "h:1", "--wait-ready", "--no-wait-ready"}, "give one"},
      {{"--prefix", "/p", "--address", "h:1", "--state", "s"}, "--state 's' is not a prefix"},
      {{"--prefix", "/p", "--address", "h:1", "nginx"}, "nginx"},
      {{"--prefix", "/p", "--address", "h:1", "--"}, "no command behind --"},
  };
  for (const Mistake& mistake : mistakes) {
    std::vector<std::string> args{"register"};
    args.insert(args.end(), mistake.args.begin(), mistake.args.end());
    EXPECT_EQ(run_lbctl(args), kExitUsage) << testing::PrintToString(args);
    EXPECT_HAS(err(), mistake.words);
    EXPECT_EQ(out(), "");
  }
}

}  // namespace
}  // namespace lb::lbctl
