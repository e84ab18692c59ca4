// Elements of a tensor, as a kernel reads and writes them: fp32, bf16 or fp16. Sums of their
// elements are taken in fp32 and rounded once, to nearest even. fp16 is for evaluations: kernels
// that compute gradients refuse it.
#pragma once

#include <cstdint>

#include "base/check.h"
#include "kernels/scalar.h"

namespace longrun {

// The upper half of a float.
struct Bf16 {
  std::uint16_t bits = 0;
};
// As ToFp16 makes it (scalar.h).
struct Fp16 {
  std::uint16_t bits = 0;
};

inline float ToFloat(float x) { return x; }
inline float ToFloat(Bf16 x) { return FromBf16(x.bits); }
inline float ToFloat(Fp16 x) { return FromFp16(x.bits); }
inline Bf16 RoundedToBf16(float x) { return {ToBf16(x)}; }
inline Fp16 RoundedToFp16(float x) { return {ToFp16(x)}; }

// Dense elements of one of the types; may be null.
class ConstElements {
 public:
  ConstElements() = default;
  // NOLINTNEXTLINE(google-explicit-constructor)
  ConstElements(const float* data) : data_(data) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  ConstElements(const Bf16* data) : data_(data), type_(Scalar::kBf16) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  ConstElements(const Fp16* data) : data_(data), type_(Scalar::kFp16) {}

  bool is_null() const { return data_ == nullptr; }
  Scalar type() const { return type_; }
  template <typename T>
  const T* as() const {
    return static_cast<const T*>(data_);
  }

 private:
  const void* data_ = nullptr;
  Scalar type_ = Scalar::kFp32;
};

class Elements {
 public:
  Elements() = default;
  // NOLINTNEXTLINE(google-explicit-constructor)
  Elements(float* data) : data_(data) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  Elements(Bf16* data) : data_(data), type_(Scalar::kBf16) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  Elements(Fp16* data) : data_(data), type_(Scalar::kFp16) {}

  bool is_null() const { return data_ == nullptr; }
  Scalar type() const { return type_; }
  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  Scalar type_ = Scalar::kFp32;
};

// bf16 and fp16 do not meet in a call.
inline bool MayMeet(const ConstElements& a, const Elements& b) {
  return a.type() == b.type() || a.type() == Scalar::kFp32 || b.type() == Scalar::kFp32;
}

// Calls f with a value of the element type: f(float()), f(Bf16()) or f(Fp16()).
template <typename Function>
decltype(auto) WithType(Scalar type, Function&& f) {
  if (type == Scalar::kFp16) return f(Fp16());
  return type == Scalar::kBf16 ? f(Bf16()) : f(0.0F);
}
// The same for kernels that compute gradients.
template <typename Function>
decltype(auto) WithTrainedType(Scalar type, Function&& f) {
  LR_CHECK(type != Scalar::kFp16);
  return type == Scalar::kBf16 ? f(Bf16()) : f(0.0F);
}

}  // namespace longrun
