// The v2 API of etcd as values: keys to paths and forms, answers and their headers to listings and
// events. Knows no socket. A text that is not etcd's gives EBADMSG; etcd's own refusals are told apart
// by failure(). Messages name neither endpoint nor key: the caller knows them.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "etcd/types.h"

namespace lb::etcd::v2 {

struct Answer {
  int status = 0;
  std::string_view cluster;  // X-Etcd-Cluster-Id
  std::string_view index;    // X-Etcd-Index
  std::string_view body;
};

// etcd's numbers for what it refuses.
constexpr int kKeyNotFound = 100;
constexpr int kNodeExists = 105;
constexpr int kEventIndexCleared = 401;

// "/v2/keys/a%20b/c"; EINVAL for what cannot be a key there: they start with "/" and have no segment
// that is empty, "." or "..". A "/" at the end is kept.
[[nodiscard]] Result<std::string> key_path(std::string_view key);
// The path of the directory that holds every key which starts with `prefix`. It ends with "/", so that
// a role of v2's access control which grants "/a/*" covers it.
[[nodiscard]] Result<std::string> directory_path(std::string_view prefix);

// The forms of PUT. A ttl of 0 is none.
[[nodiscard]] std::string value_form(std::string_view value, std::chrono::seconds ttl);
[[nodiscard]] std::string create_form(std::string_view value, std::chrono::seconds ttl);
[[nodiscard]] std::string refresh_form(std::chrono::seconds ttl);

// etcd's number in an error body, 0 when there is none.
[[nodiscard]] int error_code(std::string_view body);
// What an answer of any status but 200 and 201 means, as errno and etcd's own words.
[[nodiscard]] Error failure(const Answer& answer);
// Who answered; EBADMSG when the headers do not say so.
[[nodiscard]] Result<Header> parse_header(const Answer& answer);

// The answer to a GET of directory_path(prefix); what is not there is an empty listing.
[[nodiscard]] Result<Listing> parse_listing(const Answer& answer, std::string_view prefix);
// The same of a GET that does not descend: whether there is a key; nullopt: only looking deeper tells.
[[nodiscard]] Result<std::optional<bool>> parse_presence(const Answer& answer,
                                                         std::string_view prefix);
// The answer to a GET of a key: whether it is a directory; false when there is nothing.
[[nodiscard]] Result<bool> parse_is_directory(const Answer& answer);

struct WatchEvent {
  std::int64_t index = 0;      // to go on from the next one
  std::optional<Event> event;  // none: it changes no key below the prefix
};
// The body of a long poll.
[[nodiscard]] Result<WatchEvent> parse_watch_event(std::string_view body, std::string_view prefix);

}  // namespace lb::etcd::v2
