// A measurement as a line of JSON, for tools/bench.py:
//
//   {"name","unit","ours":[rounds],"baseline":[rounds],"what_baseline","target"}
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace longrun {

struct Measurement {
  std::string name;
  std::string unit;
  std::vector<double> ours = {};      // one per round
  std::vector<double> baseline = {};  // of the same rounds; may be empty
  std::string what_baseline = {};
  std::string target = {};  // "" where there is none
};
void Print(const Measurement& measurement);

class Stopwatch {
 public:
  double Seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

// Processor seconds that this thread, or this process, has used.
double ThreadCpuSeconds();
double ProcessCpuSeconds();

// The program's argument number `index` (from 1), or `otherwise` if it has fewer. Ends the program
// with 64 if the argument is not a number from 1 to `max`.
int IntArgument(int argc, char** argv, int index, int otherwise, int max);

}  // namespace longrun
