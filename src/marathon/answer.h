// What Marathon and the proxies before it answer beside apps: refusals and redirects. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lb::marathon {

// The reason in the body of a refusal: Marathon's `message`, the title of a page, else how it begins.
// Fit for a log line.
[[nodiscard]] std::string reason_in(std::string_view body);

// "http://host:port" of a URL, in lower case, with its port even if that is the usual one; nullopt for
// what is no absolute http or https URL, or has a user in it.
[[nodiscard]] std::optional<std::string> origin_of(std::string_view url);

// Where a redirect to `location` may be followed with our password: to a configured endpoint, or to
// `leader` ("host:port", as the endpoint `from` named it) if that does not take the encryption away.
// What to ask there, without a slash at the end; nullopt: not to be followed.
[[nodiscard]] std::optional<std::string> follow(std::string_view location, std::string_view from,
                                                const std::vector<std::string>& endpoints,
                                                std::string_view leader);

// The body of a 404: does Marathon itself say that it has no app of this id? A page of a proxy does not.
[[nodiscard]] bool denies_app(std::string_view body, std::string_view id);

// Whether a path can be made of this id as it is.
[[nodiscard]] bool is_plain_id(std::string_view id);

// The value of GET /v2/leader; "" when there is none.
[[nodiscard]] std::string leader_in(std::string_view body);

// A selector of apps that have this label, for a query: "label=...", everything odd escaped twice, once
// for Marathon's parser and once for the URL.
[[nodiscard]] std::string label_query(std::string_view label);

}  // namespace lb::marathon
