// Messages from text that anybody may have sent: what comes out is sorted, without doubles, and within
// the limits of its types.
#include <algorithm>
#include <cerrno>
#include <limits>
#include <tuple>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/foreign_json.h"
#include "base/limits.h"
#include "base/text.h"
#include "relay/message.h"
#include "relay/order_json.h"
#include "relay/order_signature.h"
#include "relay/replica.h"
#include "state/json_codec.h"

namespace lb::relay {
namespace {

using nlohmann::json;

// A state of a hundred thousand backends takes 100 MiB.
constexpr JsonLimits kLimits{.depth = limits::kDepth, .memory = std::size_t{256} << 20};
constexpr auto kUint64Max = std::numeric_limits<std::uint64_t>::max();

const std::string& text_of(const json& object, const char* key) {
  return object.at(key).get_ref<const std::string&>();
}

std::string name_of(const json& object, const char* key) {
  return printable(text_of(object, key), limits::kName);
}

// Of a service or a backend: cut and not refused, as an updater passes on what a tenant has written.
std::string words_of(const json& object, const char* key) {
  return clipped(text_of(object, key), limits::kText);
}

std::string words_or(const json& object, const char* key, std::string otherwise) {
  return object.contains(key) ? words_of(object, key) : std::move(otherwise);
}

bool flag_or(const json& object, const char* key, bool otherwise) {
  const auto found = object.find(key);
  return found == object.end() ? otherwise : found->get<bool>();
}

// get<unsigned>() would turn -1 into a large number.
Result<std::uint64_t> number_from(const json& value, const char* what,
                                  std::uint64_t max = kUint64Max) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > max)
    return fail(fmt::format("{} {} is not between 0 and {}", what, value.dump(), max));
  return value.get<std::uint64_t>();
}

template <class T, class One>
Result<std::vector<T>> list_from(const json& object, const char* key, std::size_t most, One one) {
  std::vector<T> out;
  const auto found = object.find(key);
  if (found == object.end()) return out;
  const auto& items = found->get_ref<const json::array_t&>();
  if (items.size() > most)
    return fail(fmt::format("has {} {}, at most {} are taken", items.size(), key, most));
  out.reserve(items.size());
  for (const json& item : items) {
    LB_TRY(T value, one(item));
    out.push_back(std::move(value));
  }
  return out;
}

// Sorts by `less`; two equal ones are an error that names them by `name`.
template <class T, class Less, class Name>
Result<> sort_unique(std::vector<T>& items, Less less, Name name) {
  std::sort(items.begin(), items.end(), less);
  const auto twice = std::adjacent_find(items.begin(), items.end(),
                                        [&](const T& a, const T& b) { return !less(a, b); });
  if (twice == items.end()) return {};
  return fail(fmt::format("{} is there twice", name(*twice)));
}

class Reader {
 public:
  Reader(const IpAddress& publish, Kind kind) : publish_(publish), kind_(kind) {}

  Result<std::optional<Message>> message(const json& root) const;

 private:
  Result<Message> hello(const json& root) const;
  Result<Message> counts(const json& root) const;
  Result<Message> report(const json& root) const;
  Result<Message> snapshot(const json& root) const;
  Result<Message> delta(const json& root) const;
  Result<ServiceRef> ref(const json& text) const;
  Result<ServicePtr> service(const json& value) const;
  Result<std::vector<ServicePtr>> services(const json& root, const char* key) const;
  Result<BackendPatch> patch(const json& value) const;

  IpAddress publish_;
  Kind kind_;
};

Result<Position> position_from(const json& value) {
  Position out{name_of(value, "epoch"), 0};
  LB_TRY(out.sequence, number_from(value.at("seq"), "seq"));
  return out;
}

Result<std::optional<Position>> have_from(const json& root) {
  const auto found = root.find("have");
  if (found == root.end()) return std::nullopt;
  LB_TRY(Position have, position_from(*found));
  return have;
}

// One over the limits or with a wrong signature costs itself alone, and not the connection: an old lbd would
// come back with it.
Result<Orders> orders_from(const json& root) {
  Orders out;
  const auto found = root.find("orders");
  if (found == root.end()) return out;
  const auto& items = found->get_ref<const json::array_t&>();
  for (const json& item : items) {
    auto order = order_from_json(item);
    const bool room = out.orders.size() < limits::kOrders;
    if (order && room && order->is_signed())
      if (auto good = check_signature(*order); !good) order = fail(E2BIG, good.error().context);
    if (!order && order.error().code != std::errc::argument_list_too_long)
      return tl::unexpected(order.error());
    if (order && room)
      out.orders.push_back(*std::move(order));
    else if (out.refused.empty())
      out.refused = printable(
          order ? fmt::format("{} orders in one message", items.size()) : order.error().context,
          300);
  }
  return out;
}

Result<SourceMark> mark_from(const json& value) {
  SourceMark out;
  out.name = name_of(value, "name");
  out.revision = words_or(value, "revision", {});
  LB_TRY(out.as_of, parse_iso8601(text_of(value, "as_of")));
  LB_TRY(out.read_at, parse_iso8601(text_of(value, "read_at")));
  out.ok = flag_or(value, "ok", true);
  return out;
}

Result<std::vector<SourceMark>> marks_from(const json& root) {
  return list_from<SourceMark>(root, "sources", limits::kSources, mark_from);
}

Result<Address> address_from(const json& value) {
  return Address::parse(value.get_ref<const std::string&>());
}

Result<Backend> compact_backend_from(const json& value) {
  Backend out;
  LB_TRY(out.address, Address::parse(text_of(value, "a")));
  out.id = words_or(value, "id", text_of(value, "a"));
  out.host = words_or(value, "h", out.address.ip.to_string());
  out.origin = words_or(value, "o", {});
  if (const auto weight = value.find("w"); weight != value.end()) {
    LB_TRY(const std::uint64_t number, number_from(*weight, "weight", kMaxWeight));
    out.weight = static_cast<std::uint32_t>(number);
  }
  if (const auto state = value.find("s"); state != value.end()) {
    LB_TRY(out.state, parse_backend_state(state->get_ref<const std::string&>()));
  }
  if (const auto reason = value.find("r"); reason != value.end()) {
    LB_TRY(out.reason, parse_reason(reason->get_ref<const std::string&>()));
  }
  return out;
}

Result<std::vector<Backend>> backends_from(const json& object, const char* key,
                                           const ServiceKey& of) {
  LB_TRY(auto out, list_from<Backend>(object, key, limits::kBackends, compact_backend_from));
  LB_CHECK(sort_unique(
      out, [](const Backend& a, const Backend& b) { return a.address < b.address; },
      [&](const Backend& b) {
        return fmt::format("backend {} of service {}", b.address.to_string(), of.to_string());
      }));
  return out;
}

Result<ServiceRef> Reader::ref(const json& value) const {
  const std::string& text = value.get_ref<const std::string&>();
  ServiceRef out;
  if (const auto cut = text.find("://:"); cut != std::string::npos) {
    LB_TRY(out.key, ServiceKey::parse(text.substr(0, cut) + "://0.0.0.0" + text.substr(cut + 3)));
    out.key.address = publish_;
    out.default_address = true;
    return out;
  }
  LB_TRY(out.key, ServiceKey::parse(text));
  return out;
}

Result<ServicePtr> Reader::service(const json& value) const {
  Service out;
  LB_TRY(const ServiceRef ref, this->ref(value.at("key")));
  std::tie(out.key, out.default_address) = std::tie(ref.key, ref.default_address);
  out.name = words_of(value, "name");
  LB_TRY(out.balance, parse_balance(text_of(value, "balance")));
  out.origin = words_or(value, "origin", {});
  if (const auto check = value.find("check"); check != value.end()) {
    LB_TRY(out.check, check_from_json(*check));
  }
  if (const auto timeout = value.find("drain_timeout"); timeout != value.end()) {
    LB_TRY(out.drain_timeout, bounded_duration(timeout->get_ref<const std::string&>()));
  }
  out.launder = value.value("launder", true);
  LB_TRY(out.backends, backends_from(value, "backends", out.key));
  return std::make_shared<const Service>(std::move(out));
}

Result<std::vector<ServicePtr>> Reader::services(const json& root, const char* key) const {
  LB_TRY(auto out, list_from<ServicePtr>(root, key, limits::kServices,
                                         [&](const json& v) { return service(v); }));
  LB_CHECK(sort_unique(out, before, [](const ServicePtr& s) {
    return fmt::format("service {}", s->key.to_string());
  }));
  return out;
}

Result<BackendPatch> Reader::patch(const json& value) const {
  BackendPatch out;
  LB_TRY(out.service, ref(value.at("key")));
  LB_TRY(out.set, backends_from(value, "set", out.service.key));
  LB_TRY(out.gone, list_from<Address>(value, "gone", limits::kBackends, address_from));
  LB_CHECK(sort_unique(out.gone, std::less<>(), [](const Address& a) { return a.to_string(); }));
  return out;
}

Result<Message> Reader::hello(const json& root) const {
  const auto proto = root.find("proto");
  const bool known = proto != root.end() && proto->is_number_unsigned() && *proto != 0;
  const auto protocol = known ? std::min<std::uint64_t>(proto->get<std::uint64_t>(), 1'000'000) : 0;
  const bool listener = root.contains("wants_state");
  if (!known) {
    if (listener) return ListenerHello{0, {}, {}, {}, false, {}, false, {}};
    return UpdaterHello{0, {}, {}, {}, {}, {}, {}};
  }
  LB_TRY(auto orders, orders_from(root));
  const std::string node = name_of(root, "node");
  const std::string version = name_of(root, "version");
  const int number = static_cast<int>(protocol);
  if (!listener) {
    LB_TRY(Position at, position_from(root));
    const auto key = root.find("order_key");
    return UpdaterHello{number,
                        node,
                        version,
                        std::move(at),
                        std::move(orders.orders),
                        key == root.end() ? std::string() : name_of(root, "order_key"),
                        std::move(orders.refused)};
  }
  LB_TRY(auto have, have_from(root));
  const bool wants = root.at("wants_state").get<bool>();
  return ListenerHello{number,
                       node,
                       version,
                       std::move(have),
                       wants,
                       std::move(orders.orders),
                       flag_or(root, "observes", false),
                       std::move(orders.refused)};
}

Result<Message> Reader::counts(const json& root) const {
  Counts out;
  out.complete = flag_or(root, "complete", false);
  LB_TRY(out.items,
         list_from<Counts::Item>(
             root, "items", limits::kCounts, [](const json& value) -> Result<Counts::Item> {
               Counts::Item item;
               LB_TRY(item.service, ServiceKey::parse(value.at(0).get_ref<const std::string&>()));
               LB_TRY(item.backend, Address::parse(value.at(1).get_ref<const std::string&>()));
               LB_TRY(item.connections,
                      number_from(value.at(2), "connections", limits::kConnections));
               return item;
             }));
  LB_CHECK(sort_unique(
      out.items,
      [](const Counts::Item& a, const Counts::Item& b) {
        return std::tie(a.service, a.backend) < std::tie(b.service, b.backend);
      },
      [](const Counts::Item& item) { return item.backend.to_string(); }));
  return out;
}

Result<Message> Reader::report(const json& root) const {
  OrderReport out;
  LB_TRY(out.items,
         list_from<OrderReport::Item>(
             root, "items", limits::kOrders, [](const json& value) -> Result<OrderReport::Item> {
               OrderReport::Item item;
               item.id = name_of(value, "id");
               item.programmed = value.at("programmed").get<bool>();
               item.ended = value.at("ended").get<bool>();
               LB_TRY(item.connections,
                      number_from(value.at("connections"), "connections", limits::kConnections));
               if (value.contains("why")) item.why = printable(text_of(value, "why"), limits::kWhy);
               return item;
             }));
  out.complete = flag_or(root, "complete", true);
  std::sort(out.items.begin(), out.items.end(),
            [](const OrderReport::Item& a, const OrderReport::Item& b) { return a.id < b.id; });
  // An old lbd may have two orders of one id: done is what is so for both.
  std::vector<OrderReport::Item> items;
  for (OrderReport::Item& item : out.items) {
    if (items.empty() || items.back().id != item.id) {
      items.push_back(std::move(item));
      continue;
    }
    OrderReport::Item& same = items.back();
    same.programmed = same.programmed && item.programmed;
    same.ended = same.ended && item.ended;
    same.connections = std::max(same.connections, item.connections);
  }
  out.items = std::move(items);
  return out;
}

Result<Message> Reader::snapshot(const json& root) const {
  SnapshotMessage out;
  if (!flag_or(root, "complete", false)) return fail("is not complete");
  LB_TRY(const std::uint64_t count, number_from(root.at("count"), "count"));
  LB_TRY(out.at, position_from(root));
  LB_TRY(out.sources, marks_from(root));
  LB_TRY(out.services, services(root, "services"));
  if (out.services.size() != count)
    return fail(fmt::format("has {} services and says {}", out.services.size(), count));
  return out;
}

Result<Message> Reader::delta(const json& root) const {
  Delta out;
  LB_TRY(out.at, position_from(root));
  LB_TRY(out.base, number_from(root.at("base"), "base"));
  LB_TRY(out.sources, marks_from(root));
  LB_TRY(out.changed, services(root, "changed"));
  LB_TRY(out.patched, list_from<BackendPatch>(root, "patched", limits::kServices,
                                              [&](const json& v) { return patch(v); }));
  LB_TRY(out.removed, list_from<ServiceRef>(root, "removed", limits::kServices,
                                            [&](const json& v) { return ref(v); }));
  return out;
}

Result<Message> ping_from(const json& root) {
  Ping out;
  out.ok = flag_or(root, "ok", true);
  if (const auto read_at = root.find("read_at"); read_at != root.end()) {
    LB_TRY(out.read_at, parse_iso8601(read_at->get_ref<const std::string&>()));
  }
  return out;
}

Result<Message> feed_from(const json& root) {
  Feed out;
  out.wants_state = root.at("wants_state").get<bool>();
  LB_TRY(out.have, have_from(root));
  return out;
}

Result<std::optional<Message>> Reader::message(const json& root) const {
  const std::string& type = text_of(root, "t");
  if (kind_of(type) != kind_) return fail("does not say its type openly");
  if (type == "hello") return hello(root);
  if (type == "feed") return feed_from(root);
  if (type == "ack") {
    LB_TRY(Position applied, position_from(root));
    return Ack{std::move(applied)};
  }
  if (type == "resync") return Resync{};
  if (type == "counts") return counts(root);
  if (type == "report") return report(root);
  if (type == "snapshot") return snapshot(root);
  if (type == "delta") return delta(root);
  if (type == "orders") {
    LB_TRY(auto orders, orders_from(root));
    return orders;
  }
  if (type == "ping") return ping_from(root);
  if (type == "bye") return Goodbye{name_of(root, "reason")};
  return std::nullopt;
}

// Before it is parsed. false: it is to be ignored.
Result<bool> is_worth_parsing(std::string_view line, const LineShape& shape, From from) {
  if (shape.depth > limits::kDepth) return fail("has too many brackets");
  if (shape.values > limits::kValuesAnyway + line.size() / limits::kBytesPerValue)
    return fail("has too many values");
  if (shape.twice) return fail("says its type twice");
  const std::size_t most = line_limit(shape.kind, from);
  if (most == 0)
    return fail(fmt::format("is a kind that {} must not send",
                            from == From::Listener ? "a listener" : "an updater"));
  const bool known = shape.kind != Kind::Unknown && shape.kind != Kind::None;
  if (line.size() > (known ? most : line_limit(from)))
    return fail(fmt::format("has {} bytes, at most {} are taken", line.size(), most));
  if (shape.kind == Kind::None && line.size() > limits::kSmallLine) return fail("has no type 't'");
  return known || line.size() <= limits::kSmallLine;
}

std::string type_of(const json& root) {
  if (!root.is_object()) return "message";
  const auto type = root.find("t");
  return type == root.end() || !type->is_string() ? "message" : type->get<std::string>();
}

}  // namespace

Result<std::optional<Message>> decode(std::string_view line, const IpAddress& publish, From from) {
  const auto refused = [](std::string_view type, std::string_view why) {
    return fail(EBADMSG, fmt::format("a {} of the push protocol {}", printable(type, 20),
                                     printable(why, 300)));
  };
  const LineShape shape = shape_of(line);
  const auto worth = is_worth_parsing(line, shape, from);
  if (!worth) return refused(name_of(shape.kind), worth.error().context);
  if (!*worth) return std::nullopt;
  const Result<json> parsed = parse_json(line, kLimits);
  if (!parsed) return refused("message", parsed.error().context);
  const json& root = *parsed;
  try {
    if (!root.is_object()) return refused("message", "is no object");
    auto message = Reader(publish, shape.kind).message(root);
    if (!message) return refused(type_of(root), message.error().message());
    return message;
  } catch (const json::exception& error) {
    return refused(type_of(root), error.what());
  }
}

}  // namespace lb::relay
