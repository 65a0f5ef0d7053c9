#include "etcd/v2_tree.h"

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/foreign_json.h"
#include "base/text.h"

namespace lb::etcd::v2 {
namespace {

using nlohmann::json;

// Two brackets a directory: far more than a path of etcd's has room for.
constexpr std::size_t kDeepest = 512;
// Half a million keys of usual size; with an answer of 64 MiB four times its size.
constexpr std::size_t kMostKeys = std::size_t{180} << 20;

// One object of the answer that is a node, while it is read.
struct Node {
  std::string key, value;
  std::int64_t index = 0;
  const char* bad = nullptr;  // why it can be no value
  bool has_ttl = false;
  bool says_dir = false, has_nodes = false, bad_nodes = false;
  std::size_t first = 0;    // of the keys below it
  std::size_t entries = 0;  // in `nodes`
};

// nlohmann's SAX interface. Members may come in any order, so a node is judged where it ends.
class Reader {
 public:
  explicit Reader(std::string_view prefix) : prefix_(prefix) {}

  bool null() {
    return scalar([&](Node& node) { set_bad_text(node); }, true);
  }
  bool boolean(bool value) {
    return scalar([&](Node& node) {
      if (member_ == Member::Dir) node.says_dir = value;
      set_bad_text(node);
    });
  }
  bool number_integer(json::number_integer_t) {  // negative
    return scalar([&](Node& node) { set_bad_number(node); });
  }
  bool number_unsigned(json::number_unsigned_t value) {
    return scalar([&](Node& node) {
      constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
      if (member_ != Member::Index || value > kMost) return set_bad_number(node);
      node.index = static_cast<std::int64_t>(value);
    });
  }
  bool number_float(json::number_float_t, const std::string&) {
    return scalar([&](Node& node) { set_bad_number(node); });
  }
  bool string(std::string& text) {
    return scalar([&](Node& node) {
      if (member_ == Member::Key) node.key = text;
      if (member_ == Member::Value) node.value = text;
      if (member_ == Member::Index && !read_index(text, node.index)) set_bad_number(node);
    });
  }
  bool binary(json::binary_t&) { return stop("binary"); }  // not in texts

  bool start_object(std::size_t) {
    if (skipped_ > 0) return skip();
    if (!root_seen_) {
      root_seen_ = true;
      return true;
    }
    const bool root_node = open_.empty() && member_ == Member::Node;
    const bool entry = in_nodes_ && !open_.empty();
    if (!root_node && !entry) return enter_foreign();
    if (entry) ++open_.back().entries;
    if (root_node) found_ = true;
    if (root_node) out_ = Tree();
    open_.emplace_back().first = out_.kvs.size();
    in_nodes_ = false;
    member_ = Member::Other;
    return true;
  }
  bool key(std::string& name) {
    if (skipped_ > 0) return true;
    if (open_.empty()) {
      member_ = name == "node" ? Member::Node : Member::Other;
      return true;
    }
    Node& node = open_.back();
    member_ = Member::Other;
    if (name == "key") member_ = Member::Key;
    if (name == "value") member_ = Member::Value;
    if (name == "dir") member_ = Member::Dir;
    if (name == "modifiedIndex") member_ = Member::Index;
    if (name == "nodes") member_ = Member::Nodes;
    if (name == "ttl" || name == "expiration") node.has_ttl = true;
    if (member_ == Member::Nodes) node.has_nodes = true;
    return true;
  }
  bool end_object() {
    if (skipped_ > 0) return leave();
    if (open_.empty()) return true;  // the answer's own
    Node node = std::move(open_.back());
    open_.pop_back();
    if (!take(std::move(node))) return false;
    in_nodes_ = !open_.empty();
    member_ = Member::Other;
    return true;
  }
  bool start_array(std::size_t) {
    if (skipped_ > 0) return skip();
    if (!root_seen_) return stop("not an object");
    if (!open_.empty() && !in_nodes_ && member_ == Member::Nodes) {
      in_nodes_ = true;
      return true;
    }
    return enter_foreign();
  }
  bool end_array() {
    if (skipped_ > 0) return leave();
    in_nodes_ = false;
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const json::exception& error) {
    return stop(error.what());
  }

  [[nodiscard]] Result<Tree> end() {
    if (why_.empty() && !found_) why_ = "no node";
    if (why_.empty()) return std::move(out_);
    return fail(code_, "cannot be read as an answer of etcd: " + printable(why_, 200));
  }

 private:
  enum class Member : std::uint8_t { Other, Node, Key, Value, Dir, Index, Nodes };

  bool stop(std::string why, int code = EBADMSG) {
    why_ = std::move(why);
    code_ = code;
    return false;
  }
  bool skip() {
    ++skipped_;
    return true;
  }
  bool leave() {
    --skipped_;
    return true;
  }
  static bool read_index(const std::string& text, std::int64_t& out) {
    const char* const end = text.data() + text.size();
    const auto [at, ec] = std::from_chars(text.data(), end, out);
    return ec == std::errc{} && at == end && !text.empty() && out >= 0;
  }
  void set_bad_text(Node& node) {
    if (member_ == Member::Index) set_bad_number(node);
    if (member_ == Member::Key || member_ == Member::Value) node.bad = "a key or value of no text";
  }
  void set_bad_number(Node& node) {
    if (member_ == Member::Index) node.bad = "modifiedIndex is not a number of etcd's";
    if (member_ == Member::Key || member_ == Member::Value) node.bad = "a key or value of no text";
  }
  // Absent and null are the same for texts and `nodes`.
  template <class Set>
  bool scalar(Set set, bool is_null = false) {
    if (skipped_ > 0) return true;
    if (!root_seen_) return stop("not an object");
    if (in_nodes_) return stop("a node that is not an object");
    if (open_.empty()) return member_ != Member::Node || stop("a node that is not an object");
    if (member_ == Member::Nodes && !is_null) open_.back().bad_nodes = true;
    const bool absent = is_null && (member_ == Member::Key || member_ == Member::Value);
    if (!absent) set(open_.back());
    return true;
  }
  // An object or array where none is expected.
  bool enter_foreign() {
    if (open_.empty() && member_ == Member::Node) return stop("a node that is not an object");
    if (in_nodes_) return stop("a node that is not an object");
    if (!open_.empty()) {
      Node& node = open_.back();
      if (member_ == Member::Nodes) node.bad_nodes = true;
      set_bad_text(node);
    }
    return skip();
  }
  bool take(Node node) {
    const bool directory = node.says_dir || node.has_nodes;
    if (open_.empty()) {
      out_.is_directory = directory;
      out_.entries = node.entries;
    }
    if (directory) {
      if (node.bad_nodes) return stop("nodes that are not a list");
      // A directory's end takes its keys along: they have a TTL too.
      if (node.has_ttl)
        for (std::size_t i = node.first; i < out_.kvs.size(); ++i) out_.kvs[i].lease = 1;
      return true;
    }
    if (node.bad != nullptr) return stop(node.bad);
    if (!node.key.starts_with('/')) return stop("a node without a key");
    if (!node.key.starts_with(prefix_) || is_hidden(node.key, prefix_)) return true;
    // A vector that doubles holds three times its elements for a moment.
    memory_ += 3 * sizeof(KeyValue) + node.key.size() + node.value.size();
    if (memory_ > kMostKeys)
      return stop(fmt::format("its keys would take more than {} MiB of memory", kMostKeys >> 20),
                  EMSGSIZE);
    out_.kvs.push_back(
        {std::move(node.key), std::move(node.value), node.index, node.has_ttl ? 1 : 0});
    return true;
  }

  std::string_view prefix_;
  Tree out_;
  std::vector<Node> open_;  // from the one that was asked for to the one that is read
  Member member_ = Member::Other;
  bool root_seen_ = false, found_ = false;
  bool in_nodes_ = false;    // between the nodes of open_.back()
  std::size_t skipped_ = 0;  // brackets that are open of what is no matter
  std::size_t memory_ = 0;
  std::string why_;
  int code_ = EBADMSG;
};

}  // namespace

bool is_hidden(std::string_view key, std::string_view prefix) {
  const auto from = prefix.rfind('/');
  return key.find("/_", from == std::string_view::npos ? 0 : from) != std::string_view::npos;
}

Result<Tree> read_tree(std::string_view body, std::string_view prefix) {
  Reader reader(prefix);
  auto scanned = scan_json(body, reader, kDeepest);
  if (!scanned)
    return fail(scanned.error().code,
                "cannot be read as an answer of etcd: it " + scanned.error().context);
  return reader.end();
}

}  // namespace lb::etcd::v2
