// Commands that stand for a configuration: what they are told becomes the same Config that a file would.
#pragma once

#include <string>
#include <vector>

#include "daemon/config.h"

namespace lb {

// lbd merlion PREFIX...
struct MerlionPreset {
  std::vector<std::string> prefixes;
  std::vector<std::string> endpoints{"http://localhost:2379"};  // as Merlion
  std::string api = "auto";
  HttpTls tls;
  std::string username;
  std::string password_file;
  bool exit_without_config = false;
  // Where it may publish; empty: wherever the prefix says, on this host.
  std::string bind;
};

// lbd updater -m URL,URL -i SECONDS [-l ADDR:PORT]
struct UpdaterPreset {
  std::vector<std::string> marathons;
  double interval = 30;  // seconds
  std::string listen = "0.0.0.0:7676";
  std::string label = "marathoner_haproxy_enabled";
  HttpTls tls;
  std::string username;
  std::string password_file;
  std::string token_file;
  relay::TlsFiles listener_tls;     // ca: of the listeners' certificates
  bool shared_certificate = false;  // of all listeners
};

// lbd listener -u HOST:PORT,HOST:PORT [-b ADDR]
struct ListenerPreset {
  std::vector<std::string> updaters;
  std::string publish = "127.0.0.1";
  std::string ports = "1024-65535";
  bool shadow = false;  // take ports over from whoever listens there
  relay::TlsFiles tls;
};

// lbd logger -u HOST:PORT [--full]
struct LoggerPreset {
  ListenerPreset listener;
  bool full = false;  // whole states instead of changes
};

// The error names the argument.
[[nodiscard]] Result<Config> merlion_config(const MerlionPreset& preset);
[[nodiscard]] Result<Config> updater_config(const UpdaterPreset& preset);
[[nodiscard]] Result<Config> listener_config(const ListenerPreset& preset);

// Makes an updater of any configuration: no dataplane, and folders of its own, so that a listener can
// run beside it. `listen` unless [relay] listen says something.
void make_updater(Config& config, const std::string& listen);

}  // namespace lb
