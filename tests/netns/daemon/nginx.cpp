#include "netns/daemon/nginx.h"

#include <algorithm>
#include <filesystem>
#include <random>
#include <stdexcept>

#include <fmt/format.h>

#include "support/sockets.h"

namespace lb::test {
namespace {

std::string server(const std::string& folder, const std::string& address, int port) {
  return fmt::format(
      "  server {{ listen {0}:{1}; root {2}/www; access_log {2}/access-{1}.log;\n"
      "    location = /port {{ return 200 {1}; }}\n"
      "    location /slow/ {{ limit_rate 256k; }}\n  }}\n",
      address, port, folder);
}

}  // namespace

Nginx::Nginx(std::string folder, const std::vector<int>& ports, const std::string& address)
    : folder_(std::move(folder)) {
  // One process: the one that has the listeners is the one that a test kills.
  std::filesystem::create_directories(folder_ + "/www/slow");
  std::string config = fmt::format(
      "daemon off; master_process off; pid {0}/nginx.pid; error_log {0}/error.log;\n"
      "events {{}}\nhttp {{\n  sendfile off; default_type text/plain;\n"
      "  client_body_temp_path {0}/body; proxy_temp_path {0}/proxy; fastcgi_temp_path "
      "{0}/fastcgi;\n"
      "  uwsgi_temp_path {0}/uwsgi; scgi_temp_path {0}/scgi;\n",
      folder_);
  for (const int port : ports) config += server(folder_, address, port);
  replace_file(folder_ + "/nginx.conf", config + "}\n");
  process_ = std::make_unique<Process>(
      Command{"nginx", "-p", folder_, "-e", folder_ + "/error.log", "-c", folder_ + "/nginx.conf"},
      folder_ + "/output.log");
  const auto listens = [&](int port) {
    return static_cast<bool>(connect_to(fmt::format("{}:{}", address, port)));
  };
  if (!eventually([&] { return std::all_of(ports.begin(), ports.end(), listens); }))
    throw std::runtime_error("nginx does not start: " + process_->log());
}

int Nginx::requests(int port) const {
  const std::string log = read_text(fmt::format("{}/access-{}.log", folder_, port));
  return static_cast<int>(std::count(log.begin(), log.end(), '\n'));
}

std::string Nginx::add_slow_file(const std::string& name, std::size_t bytes) const {
  std::minstd_rand random(7);
  std::string content(bytes, '\0');
  for (char& c : content) c = static_cast<char>(random());
  replace_file(fmt::format("{}/www/slow/{}", folder_, name), content);
  return content;
}

}  // namespace lb::test
