#include "base/result.h"

#include <cstdlib>

#include <spdlog/spdlog.h>

namespace lb {

std::string Error::message() const {
  if (!code) return context;
  if (context.empty()) return code.message();
  return context + ": " + code.message();
}

tl::unexpected<Error> fail(int err, std::string context) {
  return fail(std::error_code(err, std::generic_category()), std::move(context));
}

tl::unexpected<Error> fail(std::error_code code, std::string context) {
  return tl::unexpected<Error>(Error{code, std::move(context)});
}

tl::unexpected<Error> fail(std::string context) {
  return tl::unexpected<Error>(Error{{}, std::move(context)});
}

void bug(const std::string& what) {
  spdlog::critical("bug: {}", what);
  std::abort();
}

}  // namespace lb
