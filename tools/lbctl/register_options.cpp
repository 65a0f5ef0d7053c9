#include "tools/lbctl/register_options.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "base/secret_file.h"
#include "base/text.h"
#include "base/time.h"
#include "sources/merlion_schema.h"

namespace lb::lbctl {
namespace {

using std::chrono::milliseconds;

// More often would only load etcd: a watch tells lbd of the first one at once.
constexpr milliseconds kShortestInterval{100};

bool fit_for_a_name(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' || c == '-';
}

Result<> check_name(const std::string& name) {
  if (name.empty() || name.size() > 255 || !std::all_of(name.begin(), name.end(), fit_for_a_name))
    return fail(fmt::format("--name '{}': use letters, digits, '.', '_' and '-'", printable(name)));
  // etcd v2 hides keys with a leading underscore, and resolves dots as a file system does.
  if (name.front() == '_' || name == "." || name == "..")
    return fail(fmt::format("--name '{}': etcd v2 would not list it; choose another one", name));
  return {};
}

Result<std::string> check_prefix(std::string_view flag, const std::string& text) {
  std::string prefix = strip_trailing_slashes(text);
  const bool odd = std::any_of(prefix.begin(), prefix.end(),
                               [](unsigned char c) { return c < ' ' || c == 0x7f; });
  if (!prefix.starts_with('/') || odd)
    return fail(fmt::format("{} '{}' is not a prefix like /services/web", flag, printable(text)));
  return prefix;
}

Result<> check_endpoint(const std::string& url) {
  if (auto good = check_server_url(url, "http://10.0.0.1:2379"); !good)
    return fail("--etcd " + good.error().context);
  return {};
}

}  // namespace

std::string default_backend_name(std::string_view host, Port port) {
  std::string out(host.substr(0, 200));
  for (char& c : out)
    if (!fit_for_a_name(c)) c = '-';
  if (out.empty() || out.front() == '_') out = "host" + out;
  return fmt::format("{}-{}", out, port);
}

void RegisterFlags::add_to(CLI::App& sub) {
  sub.add_option("--prefix", prefix_, "the upstream-service-etcd-prefix of Merlion's configuration")
      ->type_name("P")
      ->required();
  sub.add_option("--address", address_, "where clients reach it: a name, IPv4 or [IPv6]")
      ->type_name("HOST:PORT")
      ->required();
  sub.add_option("--name", name_, "the backend's name (default: this host's and the port)")
      ->type_name("N");
  sub.add_option("--etcd", etcd_, "etcd's members, tried in turn")
      ->type_name("URL[,URL]")
      ->capture_default_str();
  sub.add_option("--api", api_,
                 "v3, v2 or auto: where the prefix has keys, else v3. Say v2 if lbd's "
                 "configuration is there and this is the first backend")
      ->type_name("API")
      ->capture_default_str();
  sub.add_option("--ca", ca_, "authorities of etcd's certificate, PEM")->type_name("FILE");
  sub.add_option("--cert", cert_, "client certificate, PEM")->type_name("FILE");
  sub.add_option("--key", key_, "its key, PEM")->type_name("FILE");
  sub.add_option("--username", username_, "etcd user")->type_name("U");
  sub.add_option("--password-file", password_file_, "file with the password")->type_name("FILE");
  sub.add_option("--interval", interval_, "how often last-seen-at is refreshed")
      ->type_name("D")
      ->capture_default_str();
  sub.add_flag("--wait-ready", wait_ready_,
               "register once something accepts at the address (default with COMMAND)");
  sub.add_flag("--no-wait-ready", no_wait_ready_, "register at once");
  sub.add_option("--ready-timeout", ready_timeout_, "stop COMMAND and fail after this time")
      ->type_name("D")
      ->capture_default_str();
  sub.add_option("--check", check_,
                 "tcp: refresh only while a local address accepts (default with COMMAND); none")
      ->type_name("KIND");
  sub.add_option("--drain-timeout", drain_timeout_,
                 "at the end, stop COMMAND after this time whatever is left")
      ->type_name("D")
      ->capture_default_str();
  sub.add_option("--state", state_,
                 "lbd's state-etcd-prefix: count there what is left (default: this machine's "
                 "sockets)")
      ->type_name("PREFIX");
  sub.add_flag("--keep", keep_, "leave the keys at the end, disabled");
}

Result<> RegisterFlags::check_access(etcd::Access& out) const {
  out.endpoints.clear();
  for (std::size_t begin = 0; begin <= etcd_.size();) {
    const auto end = std::min(etcd_.find(',', begin), etcd_.size());
    out.endpoints.push_back(strip_trailing_slashes(etcd_.substr(begin, end - begin)));
    LB_CHECK(check_endpoint(out.endpoints.back()));
    begin = end + 1;
  }
  auto mode = etcd::parse_mode(api_);
  if (!mode) return fail(fmt::format("--api '{}': use auto, v3 or v2", printable(api_)));
  out.mode = *mode;
  if (cert_.empty() != key_.empty()) return fail("--cert and --key go together: give both");
  if (username_.empty() != password_file_.empty())
    return fail("--username and --password-file go together: give both");
  out.tls = {.ca = ca_, .cert = cert_, .key = secret_path(key_)};
  out.username = username_;
  out.password_file = secret_path(password_file_);
  return {};
}

Result<> RegisterFlags::check_backend(RegisterOptions& out, std::string_view host) const {
  LB_TRY(out.prefix, check_prefix("--prefix", prefix_));
  if (!state_.empty()) {
    LB_TRY(out.state_prefix, check_prefix("--state", state_));
  }
  auto address = parse_merlion_address(address_);
  if (!address) return fail("--address " + address.error().message());
  const auto ip = IpAddress::parse(address->host);
  if (ip && ip->is_unspecified())
    return fail(
        fmt::format("--address '{}': write the address at which clients reach it, not the "
                    "one it listens on",
                    printable(address_)));
  out.address = std::move(*address);
  out.address_text = address_;
  out.name = name_.empty() ? default_backend_name(host, out.address.port) : name_;
  return check_name(out.name);
}

Result<> RegisterFlags::check_times(RegisterOptions& out) const {
  const auto read = [](const char* flag, const std::string& text) -> Result<milliseconds> {
    auto duration = parse_duration(text);
    if (!duration) return fail(fmt::format("{} {}", flag, duration.error().message()));
    return duration;
  };
  LB_TRY(out.interval, read("--interval", interval_));
  LB_TRY(out.ready_timeout, read("--ready-timeout", ready_timeout_));
  LB_TRY(out.drain_timeout, read("--drain-timeout", drain_timeout_));
  if (out.interval < kShortestInterval)
    return fail(
        fmt::format("--interval {}: at least {}", interval_, format_duration(kShortestInterval)));
  return {};
}

Result<RegisterOptions> RegisterFlags::check(const std::vector<std::string>& command,
                                             std::string_view host) const {
  RegisterOptions out;
  LB_CHECK(check_access(out.access));
  LB_CHECK(check_backend(out, host));
  LB_CHECK(check_times(out));
  if (wait_ready_ && no_wait_ready_) return fail("--wait-ready or --no-wait-ready: give one");
  if (!check_.empty() && check_ != "tcp" && check_ != "none")
    return fail(fmt::format("--check '{}': use tcp or none", printable(check_)));
  out.command = command;
  out.wait_ready = wait_ready_ || (!command.empty() && !no_wait_ready_);
  out.check = check_.empty() ? !command.empty() : check_ == "tcp";
  out.keep = keep_;
  return out;
}

}  // namespace lb::lbctl
