#include "nft/tables.h"

#include <arpa/inet.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netlink/attr.h>
#include <nftables/libnftables.h>

#include <cerrno>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/foreign_json.h"
#include "nft/nfnetlink.h"

namespace lb::nft {
namespace {

struct ContextFree {
  void operator()(nft_ctx* context) const { nft_ctx_free(context); }
};
using NftContext = std::unique_ptr<nft_ctx, ContextFree>;

constexpr unsigned kPlain = NFT_CTX_OUTPUT_STATELESS | NFT_CTX_OUTPUT_NUMERIC_ALL;

// nft quotes the line at fault, which may be long, and marks the place: its first line says it.
std::string first_lines(std::string_view text) {
  constexpr std::size_t kEnough = 300;
  text = text.substr(0, text.find('\n'));
  return std::string(text.substr(0, kEnough));
}

bool is_absent(std::string_view complaint) {
  return complaint.find("No such file or directory") != std::string_view::npos;
}

std::string tables_refused(int error) {
  switch (error) {
    case EPERM:
      return "use nf_tables: needs CAP_NET_ADMIN (run lbd as root, or give its unit the "
             "capability)";
    case EINVAL:
    case EOPNOTSUPP:
    case EPROTONOSUPPORT:
    case EAFNOSUPPORT:
      return "use nf_tables: the kernel has none (modprobe nf_tables, or a kernel with "
             "CONFIG_NF_TABLES)";
    default:
      return "use nf_tables";
  }
}

}  // namespace

struct Tables::Context {
  NftContext nft;
  Nfnetlink netlink;

  // Runs a command and returns what it printed; an error holds what nft says.
  Result<std::string> run(const std::string& command, unsigned flags);
};

Result<std::string> Tables::Context::run(const std::string& command, unsigned flags) {
  nft_ctx_output_set_flags(nft.get(), flags);
  errno = 0;
  const int failed = nft_run_cmd_from_buffer(nft.get(), command.c_str());
  const int error = errno;
  std::string out = nft_ctx_get_output_buffer(nft.get());
  const std::string complaint = nft_ctx_get_error_buffer(nft.get());
  if (failed == 0) return out;
  if (is_absent(complaint)) return fail(ENOENT, first_lines(complaint));
  if (!complaint.empty()) return fail(first_lines(complaint));
  return fail(error != 0 ? error : EIO, "nft: " + command.substr(0, 60));
}

Tables::Tables(std::unique_ptr<Context> context) : context_(std::move(context)) {}
Tables::Tables(Tables&&) noexcept = default;
Tables& Tables::operator=(Tables&&) noexcept = default;
Tables::~Tables() = default;

Result<Tables> Tables::open() {
  auto netlink = Nfnetlink::open();
  if (!netlink) return fail(netlink.error().code, tables_refused(netlink.error().code.value()));
  Tables tables(std::make_unique<Context>(Context{nullptr, *std::move(netlink)}));
  LB_CHECK(tables.generation());  // first: libnftables ends the process where it finds nothing
  Context& context = *tables.context_;
  context.nft.reset(nft_ctx_new(NFT_CTX_DEFAULT));
  if (!context.nft || nft_ctx_buffer_output(context.nft.get()) != 0 ||
      nft_ctx_buffer_error(context.nft.get()) != 0)
    return fail(ENOMEM, "open libnftables");
  return tables;
}

Result<> Tables::apply(const std::string& ruleset) {
  if (ruleset.empty()) return {};
  LB_CHECK(context_->run(ruleset, kPlain));
  return {};
}

Result<> Tables::check(const std::string& ruleset) {
  nft_ctx_set_dry_run(context_->nft.get(), true);
  auto checked = apply(ruleset);
  nft_ctx_set_dry_run(context_->nft.get(), false);
  return checked;
}

Result<std::string> Tables::list(const std::string& name) {
  std::string out;
  for (const std::string_view family : {"ip", "ip6"}) {
    const auto listed = context_->run(fmt::format("list table {} {}", family, name), kPlain);
    if (listed)
      out += *listed;
    else if (listed.error().code != std::errc::no_such_file_or_directory)
      return tl::unexpected(listed.error());
  }
  return out;
}

Result<> Tables::remove(const std::string& name) {
  // "add" before "delete" makes absence no error.
  return apply(fmt::format(
      "add table ip {0}\ndelete table ip {0}\nadd table ip6 {0}\ndelete table ip6 {0}\n", name));
}

Result<std::uint32_t> Tables::generation() {
  LB_TRY(const Message message, nfnetlink_message((NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETGEN, 0));
  std::uint32_t generation = 0;
  const auto each = [&](std::span<const std::byte> answer) {
    // The kernel's own answer; libnl's parser takes a pointer that it does not write through.
    auto* first =
        reinterpret_cast<nlattr*>(const_cast<std::byte*>(answer.data() + sizeof(nfgenmsg)));
    const nlattr* id =
        nla_find(first, static_cast<int>(answer.size() - sizeof(nfgenmsg)), NFTA_GEN_ID);
    if (id && nla_len(id) >= int{sizeof generation}) generation = ntohl(nla_get_u32(id));
  };
  const auto done = context_->netlink.request(message, each);
  if (!done) return fail(done.error().code, tables_refused(done.error().code.value()));
  return generation;
}

Result<std::vector<DroppingChain>> Tables::dropping_chains(const std::string& own) {
  LB_TRY(const std::string text, context_->run("list chains", NFT_CTX_OUTPUT_JSON));
  const auto json = parse_json(text).value_or(nlohmann::json());
  if (!json.is_object() || !json.contains("nftables"))
    return fail("list nft's chains: nft gave no JSON");
  std::vector<DroppingChain> out;
  for (const auto& entry : json["nftables"]) {
    if (!entry.is_object() || !entry.contains("chain")) continue;
    const auto& chain = entry["chain"];
    if (chain.value("hook", "") != "forward" || chain.value("policy", "") != "drop" ||
        chain.value("table", "") == own)
      continue;
    out.push_back({chain.value("family", ""), chain.value("table", ""), chain.value("name", "")});
  }
  return out;
}

}  // namespace lb::nft
