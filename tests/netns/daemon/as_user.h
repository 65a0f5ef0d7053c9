// Servers of other users than root.
#pragma once

#include <sys/fsuid.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "support/sockets.h"

namespace lb::test {

// Sockets that this thread makes are this user's.
class AsUser {
 public:
  explicit AsUser(int uid) : before_(::setfsuid(static_cast<uid_t>(uid))) {}
  ~AsUser() { ::setfsuid(static_cast<uid_t>(before_)); }
  AsUser(const AsUser&) = delete;
  AsUser& operator=(const AsUser&) = delete;

 private:
  int before_;
};

inline std::unique_ptr<Server> server_of(int uid, std::string_view at, std::string greeting) {
  const AsUser user(uid);
  return std::make_unique<Server>(at, std::move(greeting));
}

}  // namespace lb::test
