// The reading commands: JSON of the API in, text for people out.
#pragma once

#include "tools/lbctl/client.h"

namespace lb::lbctl {

void show_list(Env& env, const Options& options, const Json& json);
void show_status(Env& env, const Json& json);
void show_sources(Env& env, const Json& json);
void show_explanation(Env& env, const Json& json);

[[nodiscard]] std::uint64_t number(const Json& json, const char* field);
// "10.0.0.1:80", "[::1]:80" from the fields address and port.
[[nodiscard]] std::string address_of(const Json& json);
// The same, with "udp://" before it where that matters.
[[nodiscard]] std::string listen_of(const Json& service);

[[nodiscard]] bool use_colour(const Env& env);  // on stdout

}  // namespace lb::lbctl
