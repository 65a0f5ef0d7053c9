#include <string>
#include <vector>

#include "tools/lbctl/env.h"

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  lb::lbctl::Env env = lb::lbctl::system_env();
  return lb::lbctl::run(env, args);
}
