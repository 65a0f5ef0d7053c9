// The input is what recv() gave: whatever it is, it is cut and decoded or refused, without a byte read
// beside it; and what was decoded is written and read back as it was.
#include <cstdint>
#include <cstdlib>

#include "ipvs/codec.h"

namespace {

using namespace lb::ipvs;

void must(bool holds) {
  if (!holds) std::abort();
}

Message only_message(const Buffer& bytes) {
  const auto messages = split_messages(bytes);
  must(messages && messages->size() == 1);
  return messages->front();
}

void write_service(const VirtualService& service) {
  if (service.scheduler.size() > 15) return;  // IP_VS_SCHEDNAME_MAXLEN: lbd's names are shorter
  Buffer bytes;
  encode_command(bytes, {30, 1}, {Command::Kind::SetService, service, {}});
  const auto again = decode_service(only_message(bytes));
  must(again && *again && **again == service);
}

void write_server(const ObservedServer& server) {
  Buffer bytes;
  const Command command{Command::Kind::SetServer, {}, server.server};
  encode_command(bytes, {30, 1}, command);
  must(!split_messages(bytes)->empty() && !command.to_string().empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto messages = split_messages(Bytes(data, size));
  if (!messages) return 0;
  for (const Message& message : *messages) {
    if (const auto error = decode_error(message)) must(*error >= 0 && *error <= 4095);
    (void)decode_info(message);
    if (const auto service = decode_service(message); service && *service) write_service(**service);
    for (const bool v6 : {false, true})
      if (const auto server = decode_server(message, v6)) write_server(*server);
  }
  return 0;
}
