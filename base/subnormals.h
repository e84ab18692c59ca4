// How a thread's arithmetic treats subnormal numbers: those below the least normal one (2^-126 in fp32,
// 2^-1022 in fp64), which have fewer bits the smaller they are. A processor may need a hundred cycles
// and more for each; Intel's do.
//
//   kKept     as IEEE 754 has it: a result below the least normal number is rounded to a subnormal one
//   kFlushed  a subnormal operand counts as a zero of its sign, and a result that would be subnormal is
//             one: flush-to-zero and denormals-are-zero of MXCSR on x86, FZ of FPCR on Arm
//
// What flushing can change: each operand and each result by less than the least normal number, that is
// in fp32 |error| < 2^-126 = 1.2e-38 for each. The sum over n of x[i] y[i] with |x| <= X, |y| <= Y and
// X, Y >= 1 is off by less than 3 n 2^-126 X Y: for a sum above 3 n 2^-102 X Y that is less than its
// rounding in fp32. docs/numerics.md says what follows for attention and for AdamW.
//
// On x86 a result is small when it is so after rounding, on Arm before: a product that rounds up to the
// least normal number stays there on x86 alone. Moves, copies and comparisons of bits keep subnormals.
//
// The mode belongs to a thread. A new thread has that of the thread which starts it.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace longrun {

enum class Subnormals { kKept, kFlushed };

std::string_view SubnormalsName(Subnormals subnormals);  // "kept", "flushed"
std::optional<Subnormals> FindSubnormals(std::string_view name);

// Whether this processor can flush: x86-64 and 64-bit Arm can.
bool CanFlushSubnormals();
// kFlushed where the processor can: what computes takes this unless it is told otherwise.
Subnormals DefaultSubnormals();

Subnormals SubnormalsOfThread();
// Aborts where kFlushed is asked for and CanFlushSubnormals() is false.
void SetSubnormals(Subnormals subnormals);

// The calling thread's mode for a while. What the processor noted about its operations meanwhile
// (the flags of MXCSR and FPSR) stays noted.
class ScopedSubnormals {
 public:
  explicit ScopedSubnormals(Subnormals subnormals);
  ~ScopedSubnormals();
  ScopedSubnormals(const ScopedSubnormals&) = delete;
  ScopedSubnormals& operator=(const ScopedSubnormals&) = delete;

 private:
  std::uint64_t before_;  // the bits of the thread's control word that say it
};

}  // namespace longrun
