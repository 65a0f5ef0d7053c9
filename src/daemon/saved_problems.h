// What is wrong with the files in state_dir, for the log and `lbctl status`. None of it keeps lbd from
// running: it knows less, and says so.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace lb {

class SavedProblems {
 public:
  // The file at `path` cannot be used. If it was put aside as PATH.broken, the problem lasts until a
  // person has removed that.
  void not_loaded(const std::string& path, const Error& error);
  // Of the subject, until it is set to "".
  void set(const std::string& subject, std::string text);

  template <class T>
  [[nodiscard]] T loaded_or(const std::string& path, Result<T> loaded, T without) {
    if (loaded) return *std::move(loaded);
    not_loaded(path, loaded.error());
    return without;
  }

  // One sentence each.
  [[nodiscard]] std::vector<std::string> all() const;

 private:
  struct Problem {
    std::string text;
    std::string aside;  // the broken file; empty: none
  };
  std::map<std::string, Problem> problems_;  // by subject
};

}  // namespace lb
