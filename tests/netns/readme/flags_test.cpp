// The commands that the documents show: lbd and lbctl know each verb and flag of them, and OPERATIONS knows each flag of theirs.
#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <regex>
#include <set>
#include <sstream>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/process.h"

namespace lb::test {
namespace {

using Flags = std::set<std::string>;

constexpr std::array<const char*, 5> kPages{"README.md", "SECURITY.md", "docs/OPERATIONS.md",
                                            "docs/ARCHITECTURE.md", "docs/RELAY.md"};

std::string page(const std::string& name) {
  return read_text(std::string(LB_TEST_DATA) + "/../../" + name);
}

Flags flags_in(const std::string& text) {
  static const std::regex kFlag(R"((^|[\s,(`|])(--[a-z][a-z-]*|-[a-z])(?=$|[\s,.:;)=`|\\]))");
  Flags out;
  for (std::sregex_iterator it(text.begin(), text.end(), kFlag), end; it != end; ++it)
    out.insert((*it)[2]);
  return out;
}

// What `PROGRAM VERB --help` says; nothing, if there is no such verb.
std::string help_of(const std::string& program, const std::string& verb) {
  static std::map<std::string, std::string> known;
  const std::string key = program + " " + verb;
  if (const auto it = known.find(key); it != known.end()) return it->second;
  Command command{std::string(LB_BIN_DIR) + "/" + program};
  if (!verb.empty()) command.push_back(verb);
  command.emplace_back("--help");
  const Finished help = run(command);
  return known[key] = help.code == 0 ? help.out : "";
}

Flags offered(const std::string& program, const std::string& verb) {
  return flags_in(help_of(program, verb));
}

// The names of each option, "-m,--marathon" together.
std::vector<Flags> options_of(const std::string& program, const std::string& verb) {
  std::istringstream help(help_of(program, verb));
  std::vector<Flags> out;
  for (std::string line, first; std::getline(help, line);) {
    std::istringstream words(line);
    if (words >> first && first[0] == '-' && !first.ends_with("--help"))
      out.push_back(flags_in(first));
  }
  return out;
}

// Text between backticks, and lines of blocks, as a shell would split it into commands.
std::vector<std::string> commands(const std::string& text) {
  static const std::regex kSplit(R"(&&|;|[^\\]\|| #|&( |$)|2>)");
  std::vector<std::string> pieces, out;
  std::istringstream in(text);
  bool block = false;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("```")) {
      block = !block;
    } else if (block) {
      pieces.push_back(line);
    } else {
      std::istringstream spans(line);
      std::string span;
      for (bool code = false; std::getline(spans, span, '`'); code = !code)
        if (code) pieces.push_back(span);
    }
  }
  for (const std::string& piece : pieces)
    for (std::sregex_token_iterator it(piece.begin(), piece.end(), kSplit, -1), end; it != end;
         ++it)
      out.push_back(*it);
  return out;
}

struct Shown {
  std::string program;
  std::vector<std::string> verbs;  // "drain\|undrain" is two
  Flags flags;
};

// "lbctl --socket FILE drain X --wait"; nothing, if it is no command of ours.
std::optional<Shown> parse(const std::string& command) {
  std::istringstream in(command);
  std::string word;
  if (in >> word && word == "$") in >> word;
  Shown out{.program = word.substr(word.rfind('/') + 1), .verbs = {}, .flags = {}};
  if (out.program != "lbd" && out.program != "lbctl") return std::nullopt;
  static const std::regex kVerb("[a-z][a-z-]*");
  for (std::string before; in >> word && word != "--"; before = word) {
    const Flags flags = flags_in(word);
    out.flags.insert(flags.begin(), flags.end());
    if (!out.verbs.empty() || word[0] == '-' || before == "--socket") continue;
    std::istringstream several(word);
    for (std::string verb; std::getline(several, verb, '|');) {
      if (verb.ends_with('\\')) verb.pop_back();
      if (!std::regex_match(verb, kVerb)) return std::nullopt;  // "lbd PREFIX", "lbd's"
      out.verbs.push_back(verb);
    }
  }
  return out;
}

TEST(Commands, ThatAreShownAreKnown) {
  int looked_at = 0;
  for (const char* name : kPages) {
    for (const std::string& command : commands(page(name))) {
      const auto shown = parse(command);
      if (!shown) continue;
      const Flags top = offered(shown->program, "");
      ASSERT_FALSE(top.empty()) << shown->program;
      for (const std::string& verb : shown->verbs) {
        const Flags of_verb = offered(shown->program, verb);
        EXPECT_FALSE(of_verb.empty()) << name << ": " << command;
        for (const std::string& flag : shown->flags)
          EXPECT_TRUE(of_verb.contains(flag) || top.contains(flag))
              << name << ": " << command << ": " << flag;
        ++looked_at;
      }
    }
  }
  EXPECT_GT(looked_at, 60);
}

TEST(Commands, HaveTheirFlagsInOperations) {
  const Flags documented = flags_in(page("docs/OPERATIONS.md"));
  const std::map<std::string, std::vector<std::string>> verbs{
      {"lbd", {"run", "merlion", "updater", "listener", "logger", "check-config", "detach"}},
      {"lbctl",
       {"list", "status", "sources", "explain", "doctor", "listeners", "drain", "undrain", "resync",
        "register"}}};
  for (const auto& [program, list] : verbs) {
    for (const std::string& verb : list) {
      ASSERT_FALSE(offered(program, verb).empty()) << program << " " << verb;
      for (const Flags& names : options_of(program, verb))
        EXPECT_TRUE(std::any_of(names.begin(), names.end(),
                                [&](const auto& name) { return documented.contains(name); }))
            << program << " " << verb << " " << *names.begin();
    }
  }
}

}  // namespace
}  // namespace lb::test
