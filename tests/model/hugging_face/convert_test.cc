#include "model/hugging_face/convert.h"

#include <gtest/gtest.h>

namespace longrun {
namespace {

TEST(ConvertTest, ANumberThatFp16CannotHoldIsRefused) {
  const float values[] = {1.0f, 70000.0f};
  const StoredTensor tensor = {
      .type = StoredType::kF32, .shape = {2}, .bytes = std::as_bytes(std::span(values))};
  std::vector<std::byte> bytes;
  EXPECT_EQ(Convert(tensor, StoredType::kF16, bytes).message(),
            "the number 70000 is too large for fp16: use bf16");
  ASSERT_TRUE(Convert(tensor, StoredType::kBF16, bytes).ok());
  EXPECT_EQ(bytes.size(), 4u);
}

}  // namespace
}  // namespace longrun
