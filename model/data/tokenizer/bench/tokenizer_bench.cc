// longrun-tokenizer-bench TOKENIZER FILE: how long it takes to turn a text into ids, on one thread.
//
// Encodes once to warm up. Then each line of stdin is a command, so that tools/bench_tokenizer.py
// can measure in turn with other programs:
//
//   time        encodes, prints the seconds of processor time,
//               which is meaningful on a busy machine too
//   ids FILE    writes the ids of the last encoding, int32, and prints their number
#include <cstdio>
#include <ctime>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/str.h"
#include "model/data/tokenizer.h"

namespace longrun {
namespace {

double ProcessorSeconds() {
  std::timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

Status Serve(const std::string& spec, const std::string& file) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, MakeTokenizer(spec));
  ASSIGN_OR_RETURN(const std::string text, ReadFile(file));
  std::vector<std::int32_t> ids;
  const auto encode = [&] {
    ids.clear();
    const double begin = ProcessorSeconds();
    tokenizer->Encode(text, ids);
    return ProcessorSeconds() - begin;
  };
  encode();
  for (std::string line; std::getline(std::cin, line);) {
    if (line == "time") {
      std::printf("%.9f\n", encode());
    } else if (line.starts_with("ids ")) {
      const std::string_view bytes(reinterpret_cast<const char*>(ids.data()),
                                   ids.size() * sizeof(ids[0]));
      RETURN_IF_ERROR(WriteFileAtomic(line.substr(4), bytes));
      std::printf("%zu\n", ids.size());
    } else {
      return Status(Code::kInvalidArgument, Str("unknown order \"", line, "\""));
    }
    std::fflush(stdout);
  }
  return {};
}

int Main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: longrun-tokenizer-bench TOKENIZER FILE\n", stderr);
    return 2;
  }
  const Status served = Serve(argv[1], argv[2]);
  if (!served.ok()) std::fprintf(stderr, "longrun-tokenizer-bench: %s\n", served.message().c_str());
  return served.ok() ? 0 : 1;
}

}  // namespace
}  // namespace longrun

int main(int argc, char** argv) {
  try {
    return longrun::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "longrun-tokenizer-bench: %s\n", error.what());
    return 1;
  }
}
