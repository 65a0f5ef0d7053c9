// Files with passwords, tokens and keys: where they are, and who can read them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace lb {

// "credential:NAME" is a file that the service manager gives to this unit alone (LoadCredential=, in $CREDENTIALS_DIRECTORY): its path.
// As it is where this process has no such folder, which a configuration that is only checked has not. Anything else is a path already.
[[nodiscard]] std::string secret_path(const std::string& text);
// EINVAL for what is neither an absolute path nor "credential:NAME".
[[nodiscard]] Result<> check_secret_path(const std::string& text);

// "/etc/lbd/password can be read by every user of this host: chmod o-rwx"; "" for what cannot, or is not there.
[[nodiscard]] std::string why_exposed(const std::string& path);

// A URL of a server. The error says what to write, and nothing of a password: it is shown, and the words of a command line are in `ps`.
[[nodiscard]] Result<> check_server_url(std::string_view url, std::string_view example);
// The first of them that is not https: what is sent to it can be read on the way.
[[nodiscard]] std::string plain_endpoint(const std::vector<std::string>& urls);

}  // namespace lb
