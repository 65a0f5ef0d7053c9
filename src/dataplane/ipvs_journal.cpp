#include "dataplane/ipvs_journal.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <set>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/foreign_json.h"
#include "dataplane/this_boot.h"

namespace lb {
namespace {

using ipvs::ServiceId;
using nlohmann::json;

constexpr auto kJournalKind = "lbd-ipvs 1";

json to_json(const ServiceId& id) {
  if (id.fwmark != 0) return json{{"mark", id.fwmark}, {"v6", id.v6}};
  return ServiceKey{id.protocol, id.address, id.port}.to_string();
}

Result<ServiceId> id_from(const json& value) {
  if (value.is_object())
    return ServiceId::of_mark(value.at("mark").get<std::uint32_t>(), value.at("v6").get<bool>());
  LB_TRY(const ServiceKey key, ServiceKey::parse(value.get_ref<const std::string&>()));
  return ServiceId::of(key);
}

json to_json(const IpvsEntry& entry) {
  json out{{"service", entry.key.to_string()},
           {"balance", to_string(entry.balance)},
           {"mark", entry.mark},
           {"launder", entry.launder}};
  for (const IpAddress& address : entry.addresses) out["addresses"].push_back(address.to_string());
  for (const ServiceId& id : entry.ids) out["ids"].push_back(to_json(id));
  for (const ServiceId& id : entry.refusing) out["refusing"].push_back(to_json(id));
  for (const ServiceKey& at : entry.laundered) out["laundered"].push_back(at.to_string());
  for (const IpAddress& address : entry.withheld) out["withheld"].push_back(address.to_string());
  if (!entry.for_others) out["for_others"] = false;
  if (entry.explained) out["drained"] = json::array();
  for (const Address& backend : entry.drained) out["drained"].push_back(backend.to_string());
  return out;
}

Result<IpvsEntry> entry_from(const json& value) {
  IpvsEntry out;
  LB_TRY(out.key, ServiceKey::parse(value.at("service").get_ref<const std::string&>()));
  LB_TRY(out.balance, parse_balance(value.at("balance").get_ref<const std::string&>()));
  out.mark = value.at("mark").get<std::uint32_t>();
  out.launder = value.at("launder").get<bool>();
  const auto list = [&](const char* name) { return value.value(name, json::array()); };
  for (const json& text : list("addresses")) {
    LB_TRY(out.addresses.emplace_back(), IpAddress::parse(text.get_ref<const std::string&>()));
  }
  for (const json& each : list("ids")) {
    LB_TRY(const ServiceId id, id_from(each));
    out.ids.insert(id);
  }
  for (const json& each : list("refusing")) {
    LB_TRY(const ServiceId id, id_from(each));
    out.refusing.insert(id);
  }
  for (const json& text : list("laundered")) {
    LB_TRY(const ServiceKey at, ServiceKey::parse(text.get_ref<const std::string&>()));
    out.laundered.insert(at);
  }
  for (const json& text : list("withheld")) {
    LB_TRY(const IpAddress address, IpAddress::parse(text.get_ref<const std::string&>()));
    out.withheld.insert(address);
  }
  out.for_others = value.value("for_others", true);
  out.explained = value.contains("drained");
  for (const json& text : list("drained")) {
    LB_TRY(const Address backend, Address::parse(text.get_ref<const std::string&>()));
    out.drained.insert(backend);
  }
  return out;
}

struct Content {
  std::map<ServiceKey, IpvsEntry> entries;
  std::string tables;
};

Result<> read_line(const json& line, Content& out) {
  try {
    if (line.contains("tables")) {
      out.tables = line.at("tables").get<std::string>();
    } else if (line.contains("gone")) {
      LB_TRY(const ServiceKey key,
             ServiceKey::parse(line.at("gone").get_ref<const std::string&>()));
      out.entries.erase(key);
    } else {
      LB_TRY(IpvsEntry entry, entry_from(line));
      const ServiceKey key = entry.key;
      out.entries.insert_or_assign(key, std::move(entry));
    }
  } catch (const json::exception& e) {
    return fail(e.what());
  }
  return {};
}

Result<Content> read_journal(const std::string& path) {
  Content out;
  auto text = read_own_file(path);
  if (!text) {
    if (text.error().code == std::errc::no_such_file_or_directory) return out;
    return tl::unexpected(text.error());
  }
  std::size_t at = 0, number = 0;
  // What a crash cut off has no newline at its end, and was not acted upon.
  for (std::size_t end = 0; (end = text->find('\n', at)) != std::string::npos; at = end + 1) {
    const json line = parse_json(std::string_view(*text).substr(at, end - at)).value_or(json());
    ++number;
    if (number == 1) {
      if (!line.is_object() || line.value("kind", json()) != kJournalKind)
        return fail(
            path +
            " is no record of what lbd owns in IPVS: move it away if lbd owns nothing there");
      if (line.value("here", json()) != this_boot()) return out;
      continue;
    }
    if (auto done = line.is_object() ? read_line(line, out) : fail("no JSON"); !done)
      return fail(path + " line " + std::to_string(number) + ": " + done.error().message());
  }
  return out;
}

}  // namespace

Result<IpvsJournal> IpvsJournal::open(std::string path) {
  LB_TRY(Content content, read_journal(path));
  IpvsJournal out;
  out.path_ = std::move(path);
  out.entries_ = std::move(content.entries);
  out.tables_ = std::move(content.tables);
  LB_CHECK(out.compact());
  return out;
}

Result<> IpvsJournal::put(const IpvsEntry& entry) {
  LB_CHECK(append(to_json(entry).dump()));
  entries_.insert_or_assign(entry.key, entry);
  return {};
}

Result<> IpvsJournal::erase(const ServiceKey& key) {
  LB_CHECK(append(json{{"gone", key.to_string()}}.dump()));
  entries_.erase(key);
  return {};
}

Result<> IpvsJournal::put_tables(std::string fingerprint) {
  if (fingerprint == tables_) return {};
  LB_CHECK(append(json{{"tables", fingerprint}}.dump()));
  tables_ = std::move(fingerprint);
  return {};
}

Result<std::uint32_t> IpvsJournal::free_mark() const {
  std::set<std::uint32_t> used;
  for (const auto& [key, entry] : entries_)
    if (entry.mark != 0) used.insert(entry.mark);
  for (std::uint32_t n = 1; n <= ~nft::kMarkMask; ++n)
    if (!used.contains(nft::kMarkBase | n)) return nft::kMarkBase | n;
  return fail(ENOSPC, "no firewall mark is left for another published service");
}

Result<> IpvsJournal::remove(const std::string& path) {
  std::error_code ec;
  std::filesystem::remove(path, ec);
  if (ec) return fail(ec, "remove " + path);
  return {};
}

bool IpvsJournal::exists(const std::string& path) {
  const auto content = read_journal(path);
  return !content || !content->entries.empty() || !content->tables.empty();
}

Result<> IpvsJournal::append(const std::string& line) {
  // Entries come and go for months.
  constexpr std::size_t kSlack = 1000;
  if (lines_ > 4 * entries_.size() + kSlack) LB_CHECK(compact());
  const std::string bytes = line + '\n';
  if (::write(fd_.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
    return fail(errno, "write " + path_);
  ++lines_;
  return {};
}

Result<> IpvsJournal::compact() {
  std::string content = json{{"kind", kJournalKind}, {"here", this_boot()}}.dump() + '\n';
  if (!tables_.empty()) content += json{{"tables", tables_}}.dump() + '\n';
  for (const auto& [key, entry] : entries_) content += to_json(entry).dump() + '\n';
  LB_CHECK(write_file_atomically(path_, content));
  fd_ = UniqueFd(::open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  if (!fd_) return fail(errno, "open " + path_);
  lines_ = entries_.size();
  return {};
}

}  // namespace lb
