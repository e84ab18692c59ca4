// Elements of a tensor, as a kernel reads and writes them: fp32 or bf16. Sums of bf16 elements are
// taken in fp32 and rounded once, to nearest even.
#pragma once

#include <cstdint>

#include "kernels/scalar.h"

namespace longrun {

// The upper half of a float.
struct Bf16 {
  std::uint16_t bits = 0;
};

inline float ToFloat(float x) { return x; }
inline float ToFloat(Bf16 x) { return FromBf16(x.bits); }
inline Bf16 RoundedToBf16(float x) { return {ToBf16(x)}; }

// Dense elements of either type; may be null.
class ConstElements {
 public:
  ConstElements() = default;
  // NOLINTNEXTLINE(google-explicit-constructor)
  ConstElements(const float* data) : data_(data) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  ConstElements(const Bf16* data) : data_(data), is_bf16_(true) {}

  bool is_null() const { return data_ == nullptr; }
  bool is_bf16() const { return is_bf16_; }
  template <typename T>
  const T* as() const {
    return static_cast<const T*>(data_);
  }

 private:
  const void* data_ = nullptr;
  bool is_bf16_ = false;
};

class Elements {
 public:
  Elements() = default;
  // NOLINTNEXTLINE(google-explicit-constructor)
  Elements(float* data) : data_(data) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  Elements(Bf16* data) : data_(data), is_bf16_(true) {}

  bool is_null() const { return data_ == nullptr; }
  bool is_bf16() const { return is_bf16_; }
  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  bool is_bf16_ = false;
};

// Calls f with a value of the element type: f(float()) or f(Bf16()).
template <typename Function>
decltype(auto) WithType(bool is_bf16, Function&& f) {
  return is_bf16 ? f(Bf16()) : f(0.0F);
}

}  // namespace longrun
