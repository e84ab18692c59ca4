#include "client/console/output.h"

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>

#include "base/program.h"
#include "base/str.h"

namespace longrun {
namespace {

std::atomic<std::int64_t> g_said_lines{0};

}  // namespace

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

void Print(const std::string& text) { WriteOutput(text); }

void SayLine(const std::string& line) {
  std::fprintf(stderr, "%s\n", line.c_str());
  g_said_lines += 1;
}

std::int64_t SaidLines() { return g_said_lines; }

}  // namespace longrun
