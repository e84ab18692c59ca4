#include "client/console/output.h"

#include <algorithm>
#include <atomic>
#include <cstdio>

#include "base/program.h"
#include "base/str.h"
#include "client/console/suggestion.h"

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

void PrintText(const std::string& text) { Print(WithSuggestions(text)); }

void SayText(const std::string& text) {
  FlushOutput();  // where both go to one pipe, in the order in which they were written
  std::fputs(WithSuggestions(text).c_str(), stderr);
  g_said_lines += std::count(text.begin(), text.end(), '\n');
}

void SayLine(const std::string& line) { SayText(line + "\n"); }

std::int64_t SaidLines() { return g_said_lines; }

}  // namespace longrun::client
