// Any bytes as what etcd's v2 API sends: as an answer of every kind, as an event of a watch, and as a
// key. What comes out is what a view may rely on.
#include "etcd/v2_codec.h"

#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/text.h"

namespace {

void require(bool truth) {
  if (!truth) std::abort();
}

void check(const lb::Error& error) {
  require(lb::printable(error.context, 100'000'000) == error.context);
  require(error.context.size() < 2'000 && error.code.value() != 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lb::etcd;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string prefix = "/a/";
  for (const int status : {200, 400, 401, 403, 404, 500}) {
    const v2::Answer answer{status, "1f", "7", text};
    const auto listing = v2::parse_listing(answer, prefix);
    if (!listing) check(listing.error());
    const auto presence = v2::parse_presence(answer, prefix);
    if (!presence) check(presence.error());
    if (!listing) continue;
    for (std::size_t i = 0; i < listing->kvs.size(); ++i) {
      require(listing->kvs[i].key.starts_with(prefix) && listing->kvs[i].mod_revision >= 0);
      require(i == 0 || listing->kvs[i - 1].key <= listing->kvs[i].key);
    }
    if (presence && *presence) require(!listing->kvs.empty() == **presence);
    (void)v2::parse_is_directory(answer);
  }
  const auto header = v2::parse_header({200, text, text, text});
  if (!header) check(header.error());
  const auto told = v2::parse_watch_event(text, prefix);
  if (!told) check(told.error());
  if (told) require(told->index > 0);
  if (told && told->event)
    require(told->event->is_directory || told->event->kv.key.starts_with(prefix));
  if (const auto path = v2::key_path(text); path)
    require(path->starts_with("/v2/keys/") && path->find_first_of(" ?#\n\\") == std::string::npos);
  else
    check(path.error());
  require(v2::value_form(text, {}).find_first_of("+& \n") == std::string::npos);
  return 0;
}
