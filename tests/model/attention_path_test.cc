#include "model/attention_path.h"

#include <gtest/gtest.h>

namespace longrun {
namespace {

ModelConfig Model(const char* size, const char* method) {
  ModelConfig model = ModelConfig::Preset(size).value();
  model.vocab_size = 256;
  model.position = ResolvePosition(method).value();
  return model;
}

TEST(AttentionPathTest, ACpuTakesTheFusedAttentionWhereItHasTheMethodAndTheHeads) {
  for (const char* method : {"none", "learned", "sinusoidal", "rope", "alibi", "cable", "t5",
                             "kerple", "fire", "xpos", "fox"}) {
    EXPECT_EQ(AttentionPathFor(Model("micro", method), DeviceKind::kCpu), AttentionBackend::kFused)
        << method;
  }
  EXPECT_EQ(AttentionPathFor(Model("micro", "cope"), DeviceKind::kCpu),
            AttentionBackend::kReference);
  ModelConfig odd = Model("micro", "rope");  // 96 channels in 8 heads: 12 each
  odd.n_head = 8;
  EXPECT_EQ(AttentionPathFor(odd, DeviceKind::kCpu), AttentionBackend::kReference);
  odd.n_head = 1;
  odd.d_model = 264;
  EXPECT_EQ(AttentionPathFor(odd, DeviceKind::kCpu), AttentionBackend::kReference);
}

TEST(AttentionPathTest, AGpuTakesTheFusedAttentionWhereItsBuildAndTheModelHaveIt) {
  const auto path = [](const char* method, std::int64_t head_dim, std::int64_t head_dim_max) {
    ModelConfig model = Model("micro", method);
    model.n_head = 1;
    model.d_model = head_dim;
    return AttentionPathFor(model, DeviceKind::kGpu, head_dim_max);
  };
  EXPECT_EQ(path("rope", 24, 256), AttentionBackend::kFused);
  EXPECT_EQ(path("rope", 24, 0), AttentionBackend::kReference);
  EXPECT_EQ(path("cope", 24, 256), AttentionBackend::kReference);
  EXPECT_EQ(path("rope", 128, 128), AttentionBackend::kFused);
  EXPECT_EQ(path("rope", 136, 128), AttentionBackend::kReference);
}

}  // namespace
}  // namespace longrun
