#include "base/subnormals.h"

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "base/check.h"

namespace longrun {
namespace {

// The register that holds the mode, and its bits that flush operands and results.
#if defined(__x86_64__)

using ControlWord = std::uint32_t;
constexpr ControlWord kFlushBits = 0x8040;  // MXCSR: FTZ, DAZ
ControlWord ReadControl() { return _mm_getcsr(); }
void WriteControl(ControlWord word) { _mm_setcsr(word); }

#elif defined(__aarch64__)

using ControlWord = std::uint64_t;
constexpr ControlWord kFlushBits = std::uint64_t{1} << 24;  // FPCR: FZ
ControlWord ReadControl() {
  ControlWord word = 0;
  asm volatile("mrs %0, fpcr" : "=r"(word));
  return word;
}
void WriteControl(ControlWord word) { asm volatile("msr fpcr, %0" : : "r"(word) : "memory"); }

#else

using ControlWord = std::uint32_t;
constexpr ControlWord kFlushBits = 0;
ControlWord ReadControl() { return 0; }
void WriteControl(ControlWord) {}

#endif

ControlWord FlushBits() { return ReadControl() & kFlushBits; }

// Writing the register stalls the pipeline, reading it does not.
void SetFlushBits(ControlWord bits) {
  const ControlWord word = ReadControl();
  if ((word & kFlushBits) != bits) WriteControl((word & ~kFlushBits) | bits);
}

}  // namespace

std::string_view SubnormalsName(Subnormals subnormals) {
  return subnormals == Subnormals::kFlushed ? "flushed" : "kept";
}

std::optional<Subnormals> FindSubnormals(std::string_view name) {
  for (const Subnormals one : {Subnormals::kKept, Subnormals::kFlushed}) {
    if (name == SubnormalsName(one)) return one;
  }
  return std::nullopt;
}

bool CanFlushSubnormals() { return kFlushBits != 0; }

Subnormals DefaultSubnormals() {
  return CanFlushSubnormals() ? Subnormals::kFlushed : Subnormals::kKept;
}

Subnormals SubnormalsOfThread() {
  return CanFlushSubnormals() && FlushBits() == kFlushBits ? Subnormals::kFlushed
                                                           : Subnormals::kKept;
}

void SetSubnormals(Subnormals subnormals) {
  LR_CHECK(subnormals == Subnormals::kKept || CanFlushSubnormals());
  SetFlushBits(subnormals == Subnormals::kFlushed ? kFlushBits : 0);
}

ScopedSubnormals::ScopedSubnormals(Subnormals subnormals) : before_(FlushBits()) {
  SetSubnormals(subnormals);
}

ScopedSubnormals::~ScopedSubnormals() { SetFlushBits(static_cast<ControlWord>(before_)); }

}  // namespace longrun
