#include "daemon/saved_problems.h"

#include <filesystem>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace lb {

void SavedProblems::not_loaded(const std::string& path, const Error& error) {
  spdlog::error("{}", error.message());
  std::error_code ec;
  Problem problem{error.message() + ": lbd has started without it", path + ".broken"};
  if (std::filesystem::exists(problem.aside, ec))
    problem.text += fmt::format("; remove {} when you have seen it", problem.aside);
  else
    problem.aside.clear();
  problems_.insert_or_assign(path, std::move(problem));
}

// Logged when it begins: the same may be found wrong every second.
void SavedProblems::set(const std::string& subject, std::string text) {
  if (text.empty()) {
    problems_.erase(subject);
    return;
  }
  const auto [at, fresh] = problems_.try_emplace(subject);
  if (fresh || at->second.text != text) spdlog::error("{}", text);
  at->second = {std::move(text), {}};
}

std::vector<std::string> SavedProblems::all() const {
  std::vector<std::string> out;
  std::error_code ec;
  for (const auto& [subject, problem] : problems_)
    if (problem.aside.empty() || std::filesystem::exists(problem.aside, ec))
      out.push_back(problem.text);
  return out;
}

}  // namespace lb
