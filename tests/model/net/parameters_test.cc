#include "model/net/parameters.h"

#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/model/net/small_model.h"

namespace longrun {
namespace {

TEST(ParametersTest, NumbersOfAParameterDependOnSeedAndNameAlone) {
  const std::vector<double> normals = PhiloxNormals(1, "transformer.wte.weight", 20000);
  double sum = 0.0, squares = 0.0;
  for (const double x : normals) {
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / 20000, 0.0, 0.03);      // 4 standard errors of 1 / sqrt(20000)
  EXPECT_NEAR(squares / 20000, 1.0, 0.04);  // 4 of sqrt(2 / 20000)
  const std::vector<double> prefix = PhiloxNormals(1, "transformer.wte.weight", 3);
  EXPECT_EQ(prefix, std::vector<double>(normals.begin(), normals.begin() + 3));
  EXPECT_NE(prefix, PhiloxNormals(2, "transformer.wte.weight", 3));
  EXPECT_NE(prefix, PhiloxNormals(1, "transformer.wpe.weight", 3));
}

TEST(ParametersTest, InitialisationIsThatOfGpt2) {
  ModelConfig model = SmallConfig("cable").model;
  model.init_std = 0.02;
  model.d_model = 64;
  model.d_ff = 256;
  const ParameterMap initial = InitialParameters(ParametersOf(model).value(), 3);
  const auto std = [&](const char* name) { return initial.at(name).std().item<double>(); };
  EXPECT_NEAR(std("transformer.h.0.attn.c_attn.weight"), 0.02, 0.001);
  EXPECT_NEAR(std("transformer.h.1.mlp.c_proj.weight"), 0.02 / 2, 0.001);  // 1 / sqrt(2 * 2 layers)
  EXPECT_NEAR(std("transformer.h.0.attn.position.weight"), 0.02, 0.005);
  EXPECT_EQ(initial.at("transformer.h.0.attn.position.bias").abs().sum().item<double>(), 0.0);
  EXPECT_EQ(initial.at("transformer.h.0.mlp.c_fc.bias").abs().sum().item<double>(), 0.0);
  EXPECT_EQ(initial.at("transformer.ln_f.weight").mean().item<double>(), 1.0);
}

TEST(ParametersTest, TheirElementsAreTheConfigurationsParameterCount) {
  for (const char* method : {"none", "learned", "cable"}) {
    const ModelConfig model = SmallConfig(method, std::string(method) == "learned" ? 10 : 0).model;
    std::int64_t n = 0;
    const std::vector<ParameterSpec> specs = ParametersOf(model).value();
    for (const ParameterSpec& spec : specs) {
      std::int64_t size = 1;
      for (const std::int64_t d : spec.shape) size *= d;
      n += size;
    }
    EXPECT_EQ(n, model.ParameterCount()) << method;
  }
}

// hashlib.sha256(struct.pack("<3f", 1.5, -2.0, 0.25) + struct.pack("<2f", 3.0, 4.0)).hexdigest()
TEST(ParametersTest, TheHashIsThatOfTheStoredBytesInTheOrderOfTheNames) {
  const ParameterMap parameters = {{"b", at::tensor({3.0F, 4.0F}).view({1, 2})},
                                   {"a", at::tensor({1.5F, -2.0F, 0.25F})}};
  EXPECT_EQ(ParametersSha256(parameters),
            "499d6be3f1d3d58dc9e168b6dd92621ef9e4dd8db282321e0e24848c1b56333d");
}

}  // namespace
}  // namespace longrun
