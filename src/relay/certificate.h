// Whom a certificate names, and whether that is the node that shows it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <openssl/types.h>

#include "base/result.h"

namespace lb::relay {

// DNS names of the SAN; the CN only where there is no SAN at all. They are foreign bytes.
[[nodiscard]] std::vector<std::string> names_of(const X509* certificate);
// Of the first certificate of a PEM file.
[[nodiscard]] Result<std::vector<std::string>> names_in(const std::string& path);

// One of them is the node's, in whatever case; a wildcard is no node's name. A logger's node is its host, with " (logger)" behind it.
[[nodiscard]] bool name_node(const std::vector<std::string>& names, std::string_view node);
// For people: "host-7, host-8 and 3 more"; "no node" without any.
[[nodiscard]] std::string listed_names(const std::vector<std::string>& names);

// "CN=host-7", its names where it has no subject.
[[nodiscard]] std::string title_of(const X509* certificate);
[[nodiscard]] std::string name_text(const X509_NAME* name);

}  // namespace lb::relay
