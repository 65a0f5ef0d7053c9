#include "ipvs/module.h"

#include <sys/utsname.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include <fmt/format.h>

#include "base/file.h"

namespace lb::ipvs {
namespace {

namespace fs = std::filesystem;

// modprobe.d(5): of two files with one name the folder named first wins.
constexpr const char* kConfigFolders[] = {"/etc/modprobe.d", "/run/modprobe.d",
                                          "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d",
                                          "/lib/modprobe.d"};

std::string text_of(const std::string& path) { return read_file(path).value_or(""); }

std::vector<ModuleFacts::ConfigFile> read_config() {
  std::vector<ModuleFacts::ConfigFile> out;
  for (const auto* folder : kConfigFolders) {
    std::error_code ec;
    for (fs::directory_iterator it(folder, ec), end; !ec && it != end; it.increment(ec)) {
      const auto same_name = [&](const auto& file) {
        return fs::path(file.path).filename() == it->path().filename();
      };
      if (it->path().extension() == ".conf" && std::ranges::none_of(out, same_name))
        out.push_back({it->path(), text_of(it->path())});
    }
  }
  return out;
}

// To modprobe - and _ are one.
bool is_ip_vs(std::string name) {
  std::ranges::replace(name, '-', '_');
  return name == "ip_vs";
}

// What a line of modprobe.d does to ip_vs: its own words, or nothing.
struct Directive {
  std::string file, line;
  bool install = false;  // another command is run instead of loading, else it is a blacklist
};

std::optional<Directive> find_directive(const std::vector<ModuleFacts::ConfigFile>& config) {
  std::optional<Directive> out;
  for (const auto& file : config) {
    std::istringstream lines(file.text);
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      std::string verb, name;
      words >> verb >> name;
      if ((verb != "blacklist" && verb != "install") || !is_ip_vs(name)) continue;
      if (!out || verb == "install") out = Directive{file.path, line, verb == "install"};
    }
  }
  return out;
}

// Is ip_vs in a kernel parameter such as modprobe.blacklist=a,b ?
bool is_listed(const std::string& command_line, std::string_view parameter) {
  std::istringstream words(command_line);
  for (std::string word; words >> word;) {
    if (!word.starts_with(parameter)) continue;
    std::istringstream names(word.substr(parameter.size()));
    for (std::string name; std::getline(names, name, ',');)
      if (is_ip_vs(name)) return true;
  }
  return false;
}

}  // namespace

ModuleFacts read_module_facts() {
  ModuleFacts out;
  utsname name{};
  if (::uname(&name) == 0) out.release = name.release;
  if (auto index = read_file("/lib/modules/" + out.release + "/modules.dep"))
    out.index = *std::move(index);
  out.config = read_config();
  out.command_line = text_of("/proc/cmdline");
  out.loading_disabled = text_of("/proc/sys/kernel/modules_disabled").starts_with('1');
  return out;
}

std::string why_missing(const ModuleFacts& facts) {
  if (facts.loading_disabled)
    return "this kernel loads no more modules (kernel.modules_disabled is 1): name ip_vs in "
           "/etc/modules-load.d and reboot";
  if (is_listed(facts.command_line, "module_blacklist="))
    return "the kernel was started with module_blacklist=ip_vs: take it off its command line";
  if (!facts.index)
    return fmt::format(
        "the kernel ({0}) has no IPVS and /lib/modules/{0} is not to be seen here: run `modprobe "
        "ip_vs` "
        "where it is (in a container: on the host), or use a kernel with CONFIG_IP_VS",
        facts.release);
  if (facts.index->find("/ip_vs.ko") == std::string::npos)
    return fmt::format(
        "the kernel ({0}) has no IPVS: `modprobe ip_vs` would say \"Module ip_vs not found in "
        "directory "
        "/lib/modules/{0}\"; install a kernel that has it (Debian's have)",
        facts.release);
  if (const auto found = find_directive(facts.config)) {
    if (found->install)
      return fmt::format(
          "module ip_vs is blocked in {0} (\"{1}\"): `modprobe ip_vs` would run "
          "that command; remove the line, then run `modprobe ip_vs`",
          found->file, found->line);
    return fmt::format(
        "module ip_vs is blacklisted in {} (\"{}\"): run `modprobe ip_vs`, which "
        "loads it all the same, or remove the line",
        found->file, found->line);
  }
  if (is_listed(facts.command_line, "modprobe.blacklist="))
    return "module ip_vs is blacklisted by modprobe.blacklist on the kernel's command line: run "
           "`modprobe ip_vs`, which loads it all the same";
  return "the kernel has not loaded module ip_vs: run `modprobe ip_vs` as root, which says why";
}

}  // namespace lb::ipvs
