// Any bytes as the answer of a DC/OS login, as its cookie and as its token, and as the words of a server that refuses.
#include "marathon/login.h"

#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>

#include "base/text.h"
#include "marathon/answer.h"

namespace {

void require(bool truth) {
  if (!truth) std::abort();
}

void check(const lb::Result<std::string>& token) {
  if (token) {
    require(lb::marathon::is_token(*token));
    // A line of each request's header.
    require(token->find_first_of(std::string_view("\r\n\0 ", 4)) == std::string::npos);
  } else {
    require(lb::printable(token.error().context, 1000) == token.error().context);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lb::marathon;
  const std::string text(reinterpret_cast<const char*>(data), size);
  check(parse_login(text, {}));
  check(parse_login("", {{"set-cookie", text}}));
  (void)end_of_token(text);
  const std::string reason = reason_in(text);
  require(lb::printable(reason, 1000) == reason && reason.size() < 1000);
  return 0;
}
