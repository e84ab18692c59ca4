#include "client/output.h"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/str.h"

namespace longrun {

std::shared_ptr<std::string> AddOutput(CLI::App& verb, const std::vector<std::string>& formats) {
  auto output = std::make_shared<std::string>(formats.front());
  verb.add_option("-o,--output", *output, Join(formats, " | "))
      ->check(CLI::IsMember(formats))
      ->capture_default_str();
  return output;
}

void AddExamples(CLI::App& verb, const std::vector<std::string>& lines) {
  verb.footer(Str(lines.size() == 1 ? "Example:\n  " : "Examples:\n  ", Join(lines, "\n  ")));
}

void Print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

}  // namespace longrun
