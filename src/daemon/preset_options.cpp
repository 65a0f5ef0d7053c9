#include "daemon/preset_options.h"

namespace lb {

void add_merlion_options(CLI::App& command, MerlionPreset& preset) {
  command.add_option("PREFIX", preset.prefixes, "Where in etcd the configuration of a service is")
      ->required();
  command.add_option("--etcd", preset.endpoints, "etcd's members: URL,URL")
      ->delimiter(',')
      ->capture_default_str();
  command.add_option("--api", preset.api, "auto, v3 or v2; auto looks where the prefix is")
      ->capture_default_str();
  command.add_option("--ca", preset.tls.ca, "Authority of etcd's certificates, PEM file");
  command.add_option("--cert", preset.tls.cert, "Client certificate, PEM file");
  command.add_option("--key", preset.tls.key, "Its key, PEM file");
  command.add_option("--username", preset.username, "User in etcd");
  command.add_option("--password-file", preset.password_file, "File with the user's password");
  command.add_option("-b,--bind", preset.bind,
                     "Publish at this address alone, beside loopback; without it wherever the "
                     "prefix says, on this host");
  command.add_flag("--exit-without-config", preset.exit_without_config,
                   "End with 1, as Merlion does, when there is no valid configuration, instead of "
                   "waiting for one");
}

void add_updater_options(CLI::App& command, UpdaterPreset& preset, std::string& file) {
  auto* marathon = command
                       .add_option("-m,--marathon", preset.marathons,
                                   "Marathon's addresses: URL,URL; one that answers is enough")
                       ->delimiter(',');
  auto* config =
      command.add_option("--config", file, "Configuration file with the sources, instead of -m");
  marathon->excludes(config);
  command.require_option(1, 0);
  command
      .add_option("-i,--interval", preset.interval,
                  "Read all of Marathon at least every so many seconds; events come between")
      ->capture_default_str();
  command.add_option("-l,--listen", preset.listen, "Where listeners connect: ADDR:PORT")
      ->capture_default_str();
  command
      .add_option("--label", preset.label,
                  "Only apps whose label of this name is true or 1; \"\" takes every app")
      ->capture_default_str();
  const char* group = "How Marathon is reached";
  command.add_option("--ca", preset.tls.ca, "Authority of Marathon's certificates, PEM file")
      ->group(group);
  command.add_option("--cert", preset.tls.cert, "Client certificate, PEM file")->group(group);
  command.add_option("--key", preset.tls.key, "Its key, PEM file")->group(group);
  command.add_option("--username", preset.username, "User, for basic authentication")->group(group);
  command.add_option("--password-file", preset.password_file, "File with the user's password")
      ->group(group);
  command.add_option("--token-file", preset.token_file, "File with a DC/OS token")->group(group);
  group = "How listeners reach us";
  command.add_option("--tls-cert", preset.listener_tls.cert, "Our certificate, PEM file")
      ->group(group);
  command.add_option("--tls-key", preset.listener_tls.key, "Its key, PEM file")->group(group);
  command
      .add_option("--tls-client-ca", preset.listener_tls.ca,
                  "Authority of the listeners' certificates, PEM file: others are refused")
      ->group(group);
  command
      .add_option("--tls-crl", preset.listener_tls.crl,
                  "Certificates that this authority has revoked, PEM file")
      ->group(group);
  command
      .add_flag("--shared-certificate", preset.shared_certificate,
                "Listeners share a certificate: it need not name the one that shows it")
      ->group(group);
}

namespace {

void add_updaters(CLI::App& command, ListenerPreset& preset) {
  command.add_option("-u,--updater", preset.updaters, "Updaters: HOST:PORT,HOST:PORT")
      ->delimiter(',')
      ->required();
  const char* group = "How updaters are reached";
  command.add_option("--ca", preset.tls.ca, "Authority of the updaters' certificates, PEM file")
      ->group(group);
  command.add_option("--cert", preset.tls.cert, "Client certificate, PEM file")->group(group);
  command.add_option("--key", preset.tls.key, "Its key, PEM file")->group(group);
  command
      .add_option("--crl", preset.tls.crl, "Certificates that this authority has revoked, PEM file")
      ->group(group);
}

}  // namespace

void add_listener_options(CLI::App& command, ListenerPreset& preset) {
  add_updaters(command, preset);
  command
      .add_option(
          "-b,--bind", preset.publish,
          "Address on which services are published that have none of their own; others may be "
          "there and on loopback")
      ->capture_default_str();
  command
      .add_option("--ports", preset.ports,
                  "Service ports that updaters may claim on this host: 80,443,1024-65535")
      ->capture_default_str();
  command.add_flag("--shadow", preset.shadow,
                   "Take over at once from whoever listens on a service's port (HAProxy), instead "
                   "of waiting until it stops");
}

void add_logger_options(CLI::App& command, LoggerPreset& preset) {
  add_updaters(command, preset.listener);
  command.add_flag("--full", preset.full, "Whole states instead of changes");
}

}  // namespace lb
