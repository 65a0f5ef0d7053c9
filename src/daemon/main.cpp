// lbd: the daemon. Whatever keeps it from starting ends here as one line and a hint.
#include <exception>
#include <iostream>

#include "daemon/commands.h"
#include "daemon/logging.h"

int main(int argc, char** argv) {
  try {
    const lb::LogFlushed before_anything_else_is_said;
    return lb::run_command(argc, argv);
  } catch (const lb::StartError& error) {
    std::cerr << "lbd: " << error.what() << '\n';
    if (!error.hint().empty()) std::cerr << "hint: " << error.hint() << '\n';
  } catch (const std::exception& error) {
    std::cerr << "lbd: " << error.what() << '\n';
  }
  return lb::kExitFailed;
}
