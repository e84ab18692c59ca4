// An uninitialised array of floats that begins at a cache line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace longrun {

class AlignedFloats {
 public:
  AlignedFloats() = default;
  explicit AlignedFloats(std::int64_t n)
      : data_(static_cast<float*>(::operator new (static_cast<std::size_t>(n) * sizeof(float),
                                                  std::align_val_t{kAlignment}))) {}
  float* get() const { return data_.get(); }

 private:
  static constexpr std::size_t kAlignment = 64;
  struct Free {
    void operator()(float* data) const { ::operator delete (data, std::align_val_t{kAlignment}); }
  };
  std::unique_ptr<float[], Free> data_;
};

}  // namespace longrun
