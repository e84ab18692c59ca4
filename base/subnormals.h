// How a thread's arithmetic treats subnormal numbers: those below the least normal one (2^-126 in
// fp32, 2^-1022 in fp64), which have fewer bits the smaller they are. Some processors, such as
// Intel's, need a hundred cycles or more for each.
//
//   kKept     as in IEEE 754: a result below the least normal number is rounded to a subnormal one
//   kFlushed  a subnormal operand counts as zero, and a result that would be subnormal becomes
//             zero; the sign stays. Flush-to-zero and denormals-are-zero of MXCSR on x86,
//             FZ of FPCR on Arm
//
// Flushing changes each operand and each result by less than the least normal number, which is
// 2^-126 = 1.2e-38 in fp32. There, the sum over n of x[i] y[i] with |x| <= X, |y| <= Y and
// X, Y >= 1 is off by less than 3 n 2^-126 X Y. For a sum above 3 n 2^-102 X Y this is less than
// its rounding in fp32. docs/numerics.md says what follows for attention and for AdamW.
//
// x86 decides after rounding whether a result is too small, and Arm decides before rounding. So a
// product that rounds up to the least normal number is kept on x86 and flushed on Arm. Moves,
// copies and comparisons of bits keep subnormal numbers.
//
// Each thread has its own mode. A new thread starts with the mode of the thread that starts it.
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
// kFlushed where the processor can: the default of all computations.
Subnormals DefaultSubnormals();

Subnormals SubnormalsOfThread();
// Aborts if `subnormals` is kFlushed and CanFlushSubnormals() is false.
void SetSubnormals(Subnormals subnormals);

// Sets the calling thread's mode until the end of the scope. Exception flags that operations raise
// meanwhile (in MXCSR and FPSR) stay set.
class ScopedSubnormals {
 public:
  explicit ScopedSubnormals(Subnormals subnormals);
  ~ScopedSubnormals();
  ScopedSubnormals(const ScopedSubnormals&) = delete;
  ScopedSubnormals& operator=(const ScopedSubnormals&) = delete;

 private:
  std::uint64_t before_;  // the mode's bits in the thread's control word
};

}  // namespace longrun
