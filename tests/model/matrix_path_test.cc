#include "model/matrix_path.h"

#include <gtest/gtest.h>

namespace longrun {
namespace {

TEST(MatrixPathTest, OneDnnIsTakenWhereItWasMeasuredToBeFaster) {
  EXPECT_EQ(NewRunMatrixPath("AuthenticAMD", "avx512"), MatrixPath::kOneDnn);
  EXPECT_EQ(NewRunMatrixPath("AuthenticAMD", "avx2"), MatrixPath::kAten);
  EXPECT_EQ(NewRunMatrixPath("GenuineIntel", "avx512"), MatrixPath::kAten);
  EXPECT_EQ(NewRunMatrixPath("unknown", "default"), MatrixPath::kAten);
}

TEST(MatrixPathTest, ANameIsFoundAgainWithItsVendorAlone) {
  for (const MatrixPath path : {MatrixPath::kAten, MatrixPath::kOneDnn}) {
    const std::string name = MatrixPathName(path, "AuthenticAMD");
    EXPECT_EQ(FindMatrixPath(name, "AuthenticAMD"), path);
    EXPECT_EQ(FindMatrixPath(name, "GenuineIntel"), std::nullopt);
  }
  EXPECT_EQ(FindMatrixPath("mkl/GenuineIntel", "GenuineIntel"), std::nullopt);
  EXPECT_EQ(FindMatrixPath("", "GenuineIntel"), std::nullopt);
}

TEST(MatrixPathTest, AMachineOfOneDnnGoesOnWithARunOfAtenOfItsVendor) {
  EXPECT_TRUE(HonoursMatrixPath("onednn/AuthenticAMD", "onednn/AuthenticAMD"));
  EXPECT_TRUE(HonoursMatrixPath("onednn/AuthenticAMD", "aten/AuthenticAMD"));
  EXPECT_TRUE(HonoursMatrixPath("aten/cuda", "aten/cuda"));
  EXPECT_FALSE(HonoursMatrixPath("aten/AuthenticAMD", "onednn/AuthenticAMD"));
  EXPECT_FALSE(HonoursMatrixPath("onednn/AuthenticAMD", "aten/GenuineIntel"));
  EXPECT_FALSE(HonoursMatrixPath("onednn/AuthenticAMD", "aten/cuda"));
  EXPECT_FALSE(HonoursMatrixPath("onednn/AuthenticAMD", ""));
}

}  // namespace
}  // namespace longrun
