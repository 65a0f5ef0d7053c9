#include "netns/merlion/fixture.h"

#include <ctime>

namespace lb::test {

std::string iso(WallTime time) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch());
  const auto seconds = static_cast<std::time_t>(ms.count() / 1000);
  char text[64];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", std::gmtime(&seconds));
  return fmt::format("{}.{:03}+00:00", text, ms.count() % 1000);
}

std::string now(std::chrono::milliseconds later) {
  return iso(std::chrono::system_clock::now() + later);
}

void MerlionNetns::SetUp() {
  if (const std::string why = EtcdCluster::obstacle(); !why.empty()) GTEST_SKIP() << why;
  DaemonNetns::SetUp();
  if (IsSkipped()) return;
  etcd_ = std::make_unique<EtcdCluster>(sandbox_->folder(), etcd_options());
  keys_ = std::make_unique<EtcdKeys>(*etcd_, GetParam());
  lbd_->configure(source_toml({kSite}));
}

void MerlionNetns::TearDown() {
  lbd_.reset();
  keys_.reset();
  etcd_.reset();
  DaemonNetns::TearDown();
}

std::string MerlionNetns::source_toml(const std::vector<std::string>& prefixes) const {
  return fmt::format(
      "[[source]]\ntype = \"etcd\"\nname = \"etcd\"\napi = \"{}\"\n{}prefixes = [\"{}\"]\n",
      to_string(GetParam()), etcd_->source_toml(), fmt::join(prefixes, "\", \""));
}

void MerlionNetns::configure(const std::string& freshness) {
  set("upstream-service-etcd-prefix", kUpstream);
  set("listen-address", kListen);
  set("upstream-freshness", freshness);
}

void MerlionNetns::add(const std::string& backend, const std::string& address,
                       const std::string& seen) {
  touch(backend, seen);
  keys_->put(key(backend, "listen-address"), address);
}

void MerlionNetns::start(const std::string& condition) {
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(becomes("site", condition)) << lbd_->service("site").condition;
}

void MerlionNetns::serve_three() {
  configure();
  add("a", kOne);
  add("b", kTwo);
  add("c", kThree);
  start();
}

bool MerlionNetns::turns(const std::string& address, const std::string& state,
                         std::chrono::milliseconds patience) {
  return eventually([&] { return state_of(address) == state; }, patience);
}

std::string MerlionNetns::source(const std::string& field) const {
  return json_at(lbd_->json({"sources"}), "/sources/0/" + field);
}

bool MerlionNetns::warns_of(const std::string& text) {
  return eventually([&] { return source("warnings").find(text) != std::string::npos; });
}

std::vector<std::string> MerlionNetns::who(const std::string& at) {
  std::vector<std::string> out;
  for (const auto& [answer, times] : ask_often(at, 30)) out.push_back(answer);
  return out;
}

std::string store_name(const testing::TestParamInfo<EtcdStore>& info) {
  return to_string(info.param);
}

}  // namespace lb::test
