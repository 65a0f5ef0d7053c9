// lbd: the daemon. Whatever keeps it from starting ends here as one line and a hint.
#include <exception>
#include <iostream>

#include "daemon/commands.h"

int main(int argc, char** argv) {
  try {
    return lb::run_command(argc, argv);
  } catch (const lb::StartError& error) {
    std::cerr << "lbd: " << error.what() << '\n';
    if (!error.hint().empty()) std::cerr << "hint: " << error.hint() << '\n';
  } catch (const std::exception& error) {
    std::cerr << "lbd: " << error.what() << '\n';
  }
  return lb::kExitFailed;
}
