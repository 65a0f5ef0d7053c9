// The fake Marathon as a program; commands and faults are described in fake_marathon.h.
#include <signal.h>

#include <filesystem>
#include <iostream>
#include <thread>

#include <CLI/CLI.hpp>

#include "support/fake_marathon_node.h"

namespace {

void declare(CLI::App& app, lb::test::FakeMarathonOptions& options) {
  app.add_option("--version", options.version, "of Marathon: 0.8.2 to 1.11");
  app.add_option("--listen", options.listen, "ADDRESS:PORT");
  app.add_option("--advertise", options.advertise, "what others are told, if not that");
  app.add_option("--zk", options.zk, "folder shared by the nodes of a cluster")->required();
  app.add_option("--control", options.control, "path of the control socket")->required();
  app.add_option("--node", options.node, "number in the cluster, from 1");
  app.add_option("--basic", options.basic, "user:password");
  app.add_option("--token", options.token, "as in Authorization: token=TOKEN");
  app.add_option("--dcos-public-key", options.dcos_public_key, "PEM: logins give tokens");
  app.add_option("--dcos-uid", options.dcos_uid);
  app.add_flag("--dcos-cookie", options.dcos_cookie, "tokens come as a cookie only");
  app.add_option_function<int>("--token-life",
                               [&](int s) { options.token_life = std::chrono::seconds(s); });
  app.add_option("--cert", options.cert, "serve TLS");
  app.add_option("--key", options.key);
  app.add_option("--client-ca", options.client_ca, "require client certificates");
  app.add_option_function<int>("--heartbeat-ms",
                               [&](int ms) { options.heartbeat = std::chrono::milliseconds(ms); });
  app.add_option_function<int>("--election-ms",
                               [&](int ms) { options.election = std::chrono::milliseconds(ms); });
  app.add_flag("!--no-task-killing", options.task_killing);
  app.add_flag("!--no-gzip", options.gzip);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("A Marathon that does as it is told.");
  lb::test::FakeMarathonOptions options;
  declare(app, options);
  CLI11_PARSE(app, argc, argv);
  ::signal(SIGPIPE, SIG_IGN);
  try {
    std::filesystem::create_directories(options.zk);
    lb::test::MarathonNode node(options);
    std::cout << node.scheme() << "://" << node.address() << std::endl;
    // Never joined: it may be waiting for a line when the process ends.
    std::thread([control = node.control()] {
      lb::test::FakeMarathonSocket socket(control);
      for (std::string line; std::getline(std::cin, line);)
        if (!line.empty()) std::cout << socket.call(line) << std::flush;
    }).detach();
    node.run();
  } catch (const std::exception& e) {
    std::cerr << "fake_marathon: " << e.what() << "\n";
    return 1;
  }
}
