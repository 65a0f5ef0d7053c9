#include "ipvs/exchange.h"

#include <linux/netlink.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "ipvs/codec.h"

namespace lb::ipvs {
namespace {

using Encode = std::function<void(Buffer&, const Envelope&)>;

tl::unexpected<Error> refused(int error, std::string what) {
  if (error == EPERM) what += ": lbd needs CAP_NET_ADMIN (run it as root or by its unit)";
  // Nobody has the family's number any more.
  if (error == ENOENT) what += ": module ip_vs has been unloaded";
  return fail(error, std::move(what));
}

// Sends one question and gives every message of the answer to `visit`, up to its end. Is false where somebody
// has changed what was asked for meanwhile.
Result<bool> ask(Channel& channel, const std::string& what, const Encode& encode,
                 const Channel::Visit& visit) {
  const Envelope envelope{channel.family(), channel.next_sequence()};
  Buffer request;
  encode(request, envelope);
  LB_CHECK(channel.send(request));
  bool ended = false, consistent = true;
  const auto read = [&](const Message& message) -> Result<> {
    if (message.sequence != envelope.sequence || ended) return {};
    if ((message.flags & NLM_F_DUMP_INTR) != 0) consistent = false;
    if (message.type == envelope.family) return visit(message);
    if (message.type != NLMSG_ERROR && message.type != NLMSG_DONE) return {};
    ended = true;
    LB_TRY(const int error, decode_error(message));
    if (error != 0) return refused(error, what);
    return {};
  };
  while (!ended) LB_CHECK(channel.receive(Channel::Size::Large, read));
  return consistent;
}

// `begin` forgets what an attempt before has given.
Result<> dump(Channel& channel, const std::string& what, const Encode& encode,
              const std::function<void()>& begin, const Channel::Visit& visit) {
  for (int attempt = 0; attempt < kDumpAttempts; ++attempt) {
    begin();
    LB_TRY(const bool consistent, ask(channel, what, encode, visit));
    if (consistent) return {};
  }
  return fail(EAGAIN, fmt::format("{}: changed during each of {} readings", what, kDumpAttempts));
}

Result<> outcome(const Command& command, int error) {
  if (error == 0) return {};
  std::string context = command.to_string();
  if (const std::string words = explain(command, error); !words.empty()) context += ": " + words;
  return fail(error, std::move(context));
}

// One send() for all of `commands`, and as many reads as it takes to hear what became of them.
Result<> apply_batch(Channel& channel, std::span<const Command> commands,
                     std::vector<Result<>>& results) {
  Buffer request;
  std::uint32_t first = 0;
  for (std::size_t i = 0; i < commands.size(); ++i) {
    const Envelope envelope{channel.family(), channel.next_sequence()};
    if (i == 0) first = envelope.sequence;
    encode_command(request, envelope, commands[i]);
  }
  LB_CHECK(channel.send(request));
  std::vector<std::optional<int>> errors(commands.size());
  std::size_t answered = 0;
  const auto read = [&](const Message& message) -> Result<> {
    const std::uint32_t at = message.sequence - first;  // wraps round, as the numbers do
    if (message.type != NLMSG_ERROR || at >= commands.size() || errors[at]) return {};
    LB_TRY(errors[at], decode_error(message));
    ++answered;
    return {};
  };
  while (answered < commands.size()) LB_CHECK(channel.receive(Channel::Size::Small, read));
  for (std::size_t i = 0; i < commands.size(); ++i)
    results.push_back(outcome(commands[i], *errors[i]));
  return {};
}

bool is_not_found(const Result<>& result) {
  return !result && result.error().code == std::errc::no_such_file_or_directory;
}

}  // namespace

Result<Info> read_info(Channel& channel) {
  const std::string what = "read IPVS's version";
  std::optional<Info> out;
  const auto take = [&](const Message& message) -> Result<> {
    LB_TRY(out, decode_info(message));
    return {};
  };
  LB_CHECK(ask(channel, what, encode_info_request, take));
  if (!out) return fail(EBADMSG, what + ": the kernel has told none");
  return *out;
}

Result<std::vector<VirtualService>> read_services(Channel& channel) {
  std::vector<VirtualService> out;
  const auto take = [&](const Message& message) -> Result<> {
    LB_TRY(auto service, decode_service(message));
    if (service) out.push_back(*std::move(service));
    return {};
  };
  LB_CHECK(dump(
      channel, "read IPVS's services", encode_services_request, [&] { out.clear(); }, take));
  return out;
}

Result<std::optional<VirtualService>> read_service(Channel& channel, const ServiceId& id) {
  std::optional<VirtualService> out;
  const auto encode = [&](Buffer& to, const Envelope& envelope) {
    encode_service_request(to, envelope, id);
  };
  const auto take = [&](const Message& message) -> Result<> {
    LB_TRY(out, decode_service(message));
    return {};
  };
  const auto asked = ask(channel, "read " + id.to_string(), encode, take);
  if (!asked && asked.error().code != std::errc::no_such_process)
    return tl::unexpected(asked.error());
  return out;
}

Result<std::vector<ObservedServer>> read_servers(Channel& channel, const ServiceId& service) {
  std::vector<ObservedServer> out;
  const auto encode = [&](Buffer& to, const Envelope& envelope) {
    encode_servers_request(to, envelope, service);
  };
  const auto take = [&](const Message& message) -> Result<> {
    LB_TRY(out.emplace_back(), decode_server(message, service.v6));
    return {};
  };
  LB_CHECK(dump(
      channel, "read the servers of " + service.to_string(), encode, [&] { out.clear(); }, take));
  return out;
}

Result<std::vector<Result<>>> apply_commands(Channel& channel, std::span<const Command> commands) {
  std::vector<Result<>> out;
  out.reserve(commands.size());
  while (!commands.empty()) {
    const auto batch = commands.first(std::min(kBatch, commands.size()));
    LB_CHECK(apply_batch(channel, batch, out));
    commands = commands.subspan(batch.size());
  }
  // ENOENT is also the answer to everything when the module has gone: then it says nothing of servers and schedulers.
  if (std::ranges::any_of(out, is_not_found)) LB_CHECK(read_info(channel));
  return out;
}

}  // namespace lb::ipvs
