// Messages as text. Straight into a string, without a tree of JSON in between: a snapshot is encoded
// on the loop.
#include <iterator>
#include <string_view>
#include <type_traits>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "relay/message.h"
#include "relay/order_json.h"
#include "state/json_codec.h"

namespace lb::relay {
namespace {

class Writer {
 public:
  explicit Writer(std::string_view type) { add(R"({{"t":"{}")", type); }

  // With the newline; the object is complete.
  std::string take() && {
    out_ += "}\n";
    return std::move(out_);
  }

  template <class... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(out_), format, std::forward<Args>(args)...);
  }
  void field(std::string_view name) { add(R"(,"{}":)", name); }
  void field(std::string_view name, const std::string& text) {
    field(name);
    quoted(text);
  }
  void field(std::string_view name, std::uint64_t number) { add(R"(,"{}":{})", name, number); }
  void flag(std::string_view name, bool value) { add(R"(,"{}":{})", name, value); }

  void quoted(const std::string& text) {
    for (const char c : text)
      if (c < ' ' || c > '~' || c == '"' || c == '\\') {
        out_ += encode_json(text);
        return;
      }
    add(R"("{}")", text);
  }

  // ,"name":[...]; `one` writes an item.
  template <class List, class One>
  void list(std::string_view name, const List& items, One one) {
    field(name);
    array(items, one);
  }
  template <class List, class One>
  void list_unless_empty(std::string_view name, const List& items, One one) {
    if (!items.empty()) list(name, items, one);
  }
  template <class List, class One>
  void array(const List& items, One one) {
    std::string_view comma = "[";
    for (const auto& item : items) {
      out_ += std::exchange(comma, ",");
      one(item);
    }
    out_ += comma == "[" ? "[]" : "]";
  }

 private:
  std::string out_;
};

void put(Writer& out, const Position& at) {
  out.field("epoch", at.epoch);
  out.field("seq", at.sequence);
}

void put_have(Writer& out, const std::optional<Position>& have) {
  if (!have) return;
  out.add(R"(,"have":{{"epoch":)");
  out.quoted(have->epoch);
  out.field("seq", have->sequence);
  out.add("}}");
}

void put(Writer& out, const std::vector<FleetOrder>& orders) {
  out.list("orders", orders,
           [&](const FleetOrder& order) { out.add("{}", encode_json(to_json(order))); });
}

void put(Writer& out, const std::vector<SourceMark>& sources) {
  out.list("sources", sources, [&](const SourceMark& source) {
    out.add(R"({{"name":)");
    out.quoted(source.name);
    if (!source.revision.empty()) out.field("revision", source.revision);
    out.field("as_of", format_iso8601(source.as_of));
    out.field("read_at", format_iso8601(source.read_at));
    if (!source.ok) out.flag("ok", false);
    out.add("}}");
  });
}

std::string key_text(const ServiceRef& ref) {
  if (ref.default_address)
    return fmt::format("{}://:{}", to_string(ref.key.protocol), ref.key.port);
  return ref.key.to_string();
}

// Ten of these in a delta stay below 1 KiB: short names, and nothing that another field says already.
void put(Writer& out, const Backend& b) {
  const std::string address = b.address.to_string();
  out.add(R"({{"a":"{}")", address);
  if (b.id != address) out.field("id", b.id);
  if (b.host != b.address.ip.to_string()) out.field("h", b.host);
  if (!b.origin.empty()) out.field("o", b.origin);
  if (b.weight != kDefaultWeight) out.field("w", b.weight);
  if (b.state != BackendState::Active) out.add(R"(,"s":"{}")", to_string(b.state));
  if (b.reason != Reason::None) out.add(R"(,"r":"{}")", to_string(b.reason));
  out.add("}}");
}

void put(Writer& out, const Service& service) {
  out.add(R"({{"key":"{}")", key_text({service.key, service.default_address}));
  out.field("name", service.name);
  out.add(R"(,"balance":"{}")", to_string(service.balance));
  if (!service.origin.empty()) out.field("origin", service.origin);
  if (service.check) out.add(R"(,"check":{})", encode_json(to_json(*service.check)));
  if (service.drain_timeout)
    out.add(R"(,"drain_timeout":"{}")", format_duration(*service.drain_timeout));
  if (!service.launder) out.add(R"(,"launder":false)");
  out.list("backends", service.backends, [&](const Backend& b) { put(out, b); });
  out.add("}}");
}

std::string text_of(const ListenerHello& hello) {
  Writer out("hello");
  out.add(R"(,"proto":{})", hello.protocol);
  out.field("node", hello.node);
  out.field("version", hello.version);
  out.flag("wants_state", hello.wants_state);
  if (hello.observes) out.flag("observes", true);
  put_have(out, hello.have);
  put(out, hello.orders);
  return std::move(out).take();
}

std::string text_of(const Feed& feed) {
  Writer out("feed");
  out.flag("wants_state", feed.wants_state);
  put_have(out, feed.have);
  return std::move(out).take();
}

std::string text_of(const Ack& ack) {
  Writer out("ack");
  put(out, ack.applied);
  return std::move(out).take();
}

std::string text_of(const Resync&) { return Writer("resync").take(); }

std::string text_of(const Counts& counts) {
  Writer out("counts");
  if (counts.complete) out.flag("complete", true);
  out.list("items", counts.items, [&](const Counts::Item& item) {
    out.add(R"(["{}","{}",{}])", item.service.to_string(), item.backend.to_string(),
            item.connections);
  });
  return std::move(out).take();
}

std::string text_of(const OrderReport& report) {
  Writer out("report");
  if (!report.complete) out.flag("complete", false);
  out.list("items", report.items, [&](const OrderReport::Item& item) {
    out.add(R"({{"id":)");
    out.quoted(item.id);
    out.flag("programmed", item.programmed);
    out.flag("ended", item.ended);
    out.field("connections", item.connections);
    if (!item.why.empty()) out.field("why", item.why);
    out.add("}}");
  });
  return std::move(out).take();
}

std::string text_of(const UpdaterHello& hello) {
  Writer out("hello");
  out.add(R"(,"proto":{})", hello.protocol);
  out.field("node", hello.node);
  out.field("version", hello.version);
  put(out, hello.at);
  if (!hello.order_key.empty()) out.field("order_key", hello.order_key);
  put(out, hello.orders);
  return std::move(out).take();
}

std::string text_of(const SnapshotMessage& snapshot) {
  Writer out("snapshot");
  put(out, snapshot.at);
  put(out, snapshot.sources);
  out.list("services", snapshot.services, [&](const ServicePtr& s) { put(out, *s); });
  // At the end: that they have come through says that nothing is missing in between.
  out.field("count", snapshot.services.size());
  out.flag("complete", true);
  return std::move(out).take();
}

std::string text_of(const Delta& delta) {
  Writer out("delta");
  put(out, delta.at);
  out.field("base", delta.base);
  put(out, delta.sources);
  out.list_unless_empty("changed", delta.changed, [&](const ServicePtr& s) { put(out, *s); });
  out.list_unless_empty("patched", delta.patched, [&](const BackendPatch& patch) {
    out.add(R"({{"key":"{}")", key_text(patch.service));
    out.list_unless_empty("set", patch.set, [&](const Backend& b) { put(out, b); });
    out.list_unless_empty("gone", patch.gone,
                          [&](const Address& a) { out.add(R"("{}")", a.to_string()); });
    out.add("}}");
  });
  out.list_unless_empty("removed", delta.removed,
                        [&](const ServiceRef& ref) { out.add(R"("{}")", key_text(ref)); });
  return std::move(out).take();
}

std::string text_of(const Orders& orders) {
  Writer out("orders");
  put(out, orders.orders);
  return std::move(out).take();
}

std::string text_of(const Ping& ping) {
  Writer out("ping");
  if (!ping.ok) out.flag("ok", false);
  if (ping.read_at) out.field("read_at", format_iso8601(*ping.read_at));
  return std::move(out).take();
}

std::string text_of(const Goodbye& bye) {
  Writer out("bye");
  out.field("reason", bye.reason);
  return std::move(out).take();
}

}  // namespace

std::string encode(const Message& message) {
  return std::visit([](const auto& m) { return text_of(m); }, message);
}

}  // namespace lb::relay
