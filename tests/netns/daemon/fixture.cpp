#include "netns/daemon/fixture.h"

#include <fmt/format.h>

namespace lb::test {

std::string service_toml(std::string_view name, std::string_view listen,
                         const std::vector<std::string>& backends, std::string_view more) {
  std::string list;
  for (const std::string& backend : backends)
    list += fmt::format("{{ address = \"{}\" }}, ", backend);
  return fmt::format("[[service]]\nname = \"{}\"\nlisten = \"{}\"\nbackends = [ {} ]\n{}\n", name,
                     listen, list, more);
}

std::map<std::string, int> ask_often(std::string_view to, int times) {
  std::map<std::string, int> answers;
  for (int i = 0; i < times; ++i) ++answers[ask(to)];
  return answers;
}

Load::Load(std::string to, std::chrono::microseconds pause) : to_(std::move(to)), pause_(pause) {
  thread_ = std::thread([this] {
    while (!stop_) {
      const std::string answer = ask(to_);
      failed_ += answer.empty() || answer.starts_with("errno");
      ++made_;
      if (pause_.count() > 0) std::this_thread::sleep_for(pause_);
    }
  });
}

void Load::stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

void DaemonNetns::SetUp() {
  if (const std::string why = Sandbox::obstacle(); !why.empty()) GTEST_SKIP() << why;
  sandbox_.emplace();
  lbd_ = std::make_unique<Daemon>(*sandbox_);
  for (int i = 1; i <= 3; ++i)
    servers_.push_back(
        std::make_unique<Server>(fmt::format("127.0.0.1:{}", 7000 + i), std::to_string(i)));
}

void DaemonNetns::TearDown() {
  lbd_.reset();
  servers_.clear();
  sandbox_.reset();
}

std::string DaemonNetns::file_source(std::string_view path) const {
  return fmt::format("[[source]]\ntype = \"file\"\nname = \"file\"\npath = \"{}\"\n",
                     path.empty() ? services_path() : std::string(path));
}

void DaemonNetns::serve_web(const std::vector<std::string>& backends,
                            const std::string& more_config) {
  write_services(service_toml("web", kWeb, backends));
  lbd_->configure(more_config + file_source());
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(becomes("web", "ok"));
}

bool DaemonNetns::becomes(std::string_view service, std::string_view condition) {
  return eventually([&] { return lbd_->service(service).condition == condition; });
}

bool DaemonNetns::backend_becomes(std::string_view service, std::string_view backend,
                                  std::string_view state) {
  return eventually([&] { return lbd_->backend(service, backend).state == state; });
}

}  // namespace lb::test
