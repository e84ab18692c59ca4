#include "client/console/output.h"

#include <atomic>
#include <cstdio>

#include "base/program.h"
#include "base/str.h"

namespace longrun::client {
namespace {

std::atomic<std::int64_t> g_said_lines{0};

}  // namespace

std::shared_ptr<std::string> AddOutput(Verb& verb, const std::vector<std::string>& formats) {
  auto output = std::make_shared<std::string>(formats.front());
  verb.AddArgument("-o,--output", *output, Join(formats, " | ")).OneOf(formats).ShowDefault();
  return output;
}

void Print(const std::string& text) { WriteOutput(text); }

void SayLine(const std::string& line) {
  FlushOutput();  // where both go to one pipe, in the order in which they were written
  std::fprintf(stderr, "%s\n", line.c_str());
  g_said_lines += 1;
}

std::int64_t SaidLines() { return g_said_lines; }

}  // namespace longrun::client
