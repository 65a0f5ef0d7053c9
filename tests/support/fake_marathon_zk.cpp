#include "support/fake_marathon_zk.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

namespace lb::test {
namespace {

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string read(const std::string& path) {
  std::ifstream file(path);
  std::stringstream out;
  out << file.rdbuf();
  return out.str();
}

void write(const std::string& path, const std::string& text, unsigned node) {
  const std::string fresh = fmt::format("{}.{}", path, node);
  std::ofstream(fresh) << text;
  (void)std::rename(fresh.c_str(), path.c_str());
}

// Who was elected, while that lasts.
std::optional<unsigned> elected(const std::string& folder) {
  const auto wish = nlohmann::json::parse(read(folder + "/elected"), nullptr, false);
  if (wish.is_discarded() || wish.at("until").get<std::int64_t>() < now_ms()) return std::nullopt;
  return wish.at("node").get<unsigned>();
}

}  // namespace

std::optional<FakeZookeeper::Leader> FakeZookeeper::leader() const {
  const auto json = nlohmann::json::parse(read(folder_ + "/leader"), nullptr, false);
  if (json.is_discarded()) return std::nullopt;
  return Leader{json.at("node"), json.at("address"), json.at("control")};
}

bool FakeZookeeper::campaign() {
  if (unwanted()) return false;
  UniqueFd fd(::open((folder_ + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (!fd || ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return false;
  ::unlink((folder_ + "/leader").c_str());
  lock_ = std::move(fd);
  return true;
}

void FakeZookeeper::lead(const std::string& address, const std::string& control) const {
  const nlohmann::json all{{"node", node_}, {"address", address}, {"control", control}};
  write(folder_ + "/leader", all.dump(), node_);
  ::unlink((folder_ + "/elected").c_str());
}

bool FakeZookeeper::unwanted() const {
  const auto wish = elected(folder_);
  return wish && *wish != node_;
}

void FakeZookeeper::abdicate() {
  ::unlink((folder_ + "/leader").c_str());
  lock_ = UniqueFd();
}

void FakeZookeeper::elect(unsigned node, std::chrono::milliseconds lasts) const {
  const nlohmann::json wish{{"node", node}, {"until", now_ms() + lasts.count()}};
  write(folder_ + "/elected", wish.dump(), node_);
}

void FakeZookeeper::save(const std::string& state) const {
  write(folder_ + "/state", state, node_);
}

std::string FakeZookeeper::load() const { return read(folder_ + "/state"); }

}  // namespace lb::test
