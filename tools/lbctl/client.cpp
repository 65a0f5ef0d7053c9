#include "tools/lbctl/client.h"

#include <fmt/format.h>

#include "base/foreign_json.h"
#include "tools/lbctl/table.h"

namespace lb::lbctl {
namespace {

std::string what_to_do(const Error& error, const Options& options) {
  if (error.code == std::errc::permission_denied)
    return "Run it as root, or as a member of a group that lbd's configuration names: [api] group "
           "may "
           "read and drain, read_group may read.";
  if (error.code == std::errc::timed_out)
    return "lbd is there but does not answer: see its log, or restart it (connections go on).";
  return fmt::format(
      "Is lbd running ('systemctl status lbd')? If its runtime folder is not that of {}, "
      "name the socket with --socket or LBD_SOCKET.\n'lbctl doctor' tells whether lbd can run "
      "here.",
      options.socket);
}

int unreachable(Env& env, const Options& options, const Error& error) {
  env.err << fmt::format("lbctl: cannot reach lbd at {}: {}\n{}\n", options.socket,
                         error.code ? error.code.message() : error.context,
                         what_to_do(error, options));
  return error.code == std::errc::permission_denied ? kExitNotAllowed : kExitUnreachable;
}

int refused(Env& env, const HttpAnswer& answer, const Json& json) {
  const bool has_words = json.is_object() && json.contains("error") && json["error"].is_string();
  env.err << fmt::format(
      "lbctl: {}\n", has_words ? printable(json["error"].get<std::string>())
                               : fmt::format("lbd answered {} without a reason", answer.status));
  if (answer.status == 403) return kExitNotAllowed;
  if (!has_words || !json.contains("near")) return kExitFailed;
  std::string near;
  for (const Json& name : json["near"])
    near += fmt::format("{}{}", near.empty() ? "" : ", ", printable(name.get<std::string>()));
  env.err << fmt::format("Did you mean {}?\n", near);
  return kExitFailed;
}

tl::expected<Json, int> read(Env& env, const HttpAnswer& answer) {
  constexpr JsonLimits kState{.depth = 32, .memory = std::size_t{2} << 30};  // of all its backends
  auto parsed = parse_json<Json>(answer.body, kState);
  Json json = parsed ? *std::move(parsed) : Json();
  if (answer.status < 200 || answer.status > 299) return tl::unexpected(refused(env, answer, json));
  if (!parsed) {
    env.err << "lbctl: lbd's answer is not JSON: is this socket lbd's?\n";
    return tl::unexpected(kExitFailed);
  }
  return json;
}

}  // namespace

std::string percent_encode(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~").find(c) != std::string_view::npos;
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

tl::expected<Json, int> call(Env& env, const Options& options, const HttpCall& http) {
  const auto answer = env.fetch(options.socket, http);
  if (!answer) return tl::unexpected(unreachable(env, options, answer.error()));
  return read(env, *answer);
}

tl::expected<Json, int> call_quietly(Env& env, const Options& options, const HttpCall& http) {
  const auto answer = env.fetch(options.socket, http);
  if (!answer) return tl::unexpected(kExitUnreachable);
  return read(env, *answer);
}

}  // namespace lb::lbctl
