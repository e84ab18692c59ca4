#include "model/net/tensor_memory.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

#include "base/kept_memory.h"
#include "tests/sanitized.h"

namespace longrun {
namespace {

at::Tensor Floats(std::int64_t n) { return at::empty({n}, at::kFloat); }

TEST(TensorMemoryTest, TensorsBeginAtACacheLineAndAreCounted) {
  UseTensorMemory();
  for (const std::int64_t n : {1, 15, 16, 17, 1000, 1 << 20}) {
    const std::int64_t before = TensorBytes();
    ResetTensorBytesPeak();
    {
      const at::Tensor one = Floats(n);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(one.const_data_ptr()) % 64, 0u) << n;
      EXPECT_GE(TensorBytes() - before, 4 * n);
      EXPECT_LT(TensorBytes() - before, 4 * n + 8192);
    }
    EXPECT_EQ(TensorBytes(), before) << n;
    EXPECT_GE(TensorBytesPeak() - before, 4 * n);
  }
  EXPECT_EQ(Floats(0).const_data_ptr(), nullptr);
}

TEST(TensorMemoryTest, AFreedBlockServesAnEqualRequest) {
#ifdef LONGRUN_SANITIZED
  GTEST_SKIP() << "a sanitizer keeps freed blocks aside";
#endif
  KeepFreedMemory();  // as the trainer does: blocks of this size come from the heap
  UseTensorMemory();
  constexpr std::int64_t kN = 1 << 20;
  at::Tensor freed = Floats(kN);
  // Its neighbours in the heap stay, so that it cannot become part of a larger free block.
  const at::Tensor after = Floats(kN);
  const void* const where = freed.const_data_ptr();
  freed.reset();
  EXPECT_EQ(Floats(kN).const_data_ptr(), where);
}

TEST(TensorMemoryTest, TooLargeATensorIsToldAsSuch) {
  UseTensorMemory();
  EXPECT_THROW(Floats(std::int64_t{1} << 55), c10::OutOfMemoryError);
  EXPECT_THROW(at::empty({std::numeric_limits<std::int64_t>::max() / 2}, at::kByte),
               c10::OutOfMemoryError);
}

}  // namespace
}  // namespace longrun
