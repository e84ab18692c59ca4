// Weights that are no numbers: found at each place, of each type, and named;
// a buffer may hold -infinity.
#include "model/hugging_face/finite.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/str.h"
#include "model/architecture/parameters.h"
#include "model/hugging_face/config_file.h"
#include "model/position/method.h"

namespace longrun {
namespace {

// One number of each kind that is none, and the largest of the type.
struct TypeCase {
  StoredType type;
  std::vector<std::uint64_t> bad;
  std::uint64_t largest;
};

TEST(FiniteTest, TheFirstOfEachTypeIsFoundWhereverItStands) {
  const std::vector<TypeCase> cases = {
      {StoredType::kF64,
       {0x7ff0'0000'0000'0000, 0xfff0'0000'0000'0000, 0x7ff0'0000'0000'0001},
       0x7fef'ffff'ffff'ffff},
      {StoredType::kF32, {0x7f80'0000, 0xff80'0000, 0x7fc0'0000, 0x7f80'0001}, 0x7f7f'ffff},
      {StoredType::kF16, {0x7c00, 0xfc00, 0x7e00, 0xfdff}, 0x7bff},
      {StoredType::kBF16, {0x7f80, 0xff80, 0x7fc0, 0xffff}, 0x7f7f}};
  constexpr std::size_t kEntries = 10'000;  // more than two blocks, and no multiple of one
  for (const TypeCase& one : cases) {
    const std::size_t size = StoredTypeBytes(one.type);
    std::vector<std::byte> bytes(kEntries * size + 1);
    const auto put = [&](std::size_t i, std::uint64_t bits) {
      std::memcpy(bytes.data() + 1 + i * size, &bits, size);  // little endian; off by one byte
    };
    const StoredTensor tensor = {
        .type = one.type, .shape = {kEntries}, .bytes = std::span(bytes).subspan(1)};
    for (std::size_t i = 0; i < kEntries; ++i) put(i, one.largest);
    EXPECT_EQ(FirstNonFinite(tensor), std::nullopt) << StoredTypeName(one.type);
    for (const std::size_t at : {0U, 1U, 4095U, 4096U, 9999U}) {
      for (const std::uint64_t bits : one.bad) {
        put(at, bits);
        put(kEntries - 1, bits);
        EXPECT_EQ(FirstNonFinite(tensor), at) << StoredTypeName(one.type) << " " << bits;
      }
      put(at, one.largest);
      put(kEntries - 1, one.largest);
    }
  }
  EXPECT_EQ(FirstNonFinite({.type = StoredType::kF32, .shape = {0}, .bytes = {}}), std::nullopt);
}

TEST(FiniteTest, TensorPlaceAndFileAreNamedAndBuffersAreNotLookedAt) {
  const TempFolder folder;
  NetConfig net;
  net.model = {.n_layer = 1, .n_head = 2, .d_model = 4, .d_ff = 8, .vocab_size = 5};
  net.model.position = ResolvePosition("learned").value();
  net.model.n_positions = 3;
  ASSERT_TRUE(
      WriteFileAtomic(JoinPath(folder.path(), "config.json"), ModelConfigJson(net).dump()).ok());
  const std::vector<ParameterSpec> specs = ParametersOf(net.model).value();
  std::map<std::string, std::vector<float>> values;
  for (const ParameterSpec& spec : specs) {
    std::size_t n = 1;
    for (const std::int64_t size : spec.shape) n *= static_cast<std::size_t>(size);
    values[spec.name].assign(n, 1.0f);
  }
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> mask = {-kInfinity};
  const auto error = [&] {
    std::map<std::string, StoredTensor> tensors;
    for (const ParameterSpec& spec : specs) {
      tensors[spec.name] = {.type = StoredType::kF32,
                            .shape = spec.shape,
                            .bytes = std::as_bytes(std::span(values[spec.name]))};
    }
    tensors["transformer.h.0.attn.masked_bias"] = {
        .type = StoredType::kF32, .shape = {}, .bytes = std::as_bytes(std::span(mask))};
    EXPECT_TRUE(WriteSafetensors(JoinPath(folder.path(), "model.safetensors"), tensors).ok());
    const Result<WeightFolder> opened = OpenWeightFolder(folder.path());
    EXPECT_TRUE(opened.ok()) << opened.status().message();
    std::int64_t n_bytes = 0;
    const Status status = CheckFinite(*opened, [&](std::int64_t so_far) { n_bytes = so_far; });
    if (status.ok()) {
      EXPECT_EQ(n_bytes, 4 * net.model.ParameterCount());
    }
    return status.message();
  };
  EXPECT_EQ(error(), "");

  values.at("transformer.wte.weight")[4 * 4 + 1] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(
      error(),
      Str(folder.path(),
          "/model.safetensors: tensor \"transformer.wte.weight\" holds NaN or infinity, first "
          "at [4, 1] (NaN): the file is damaged, or its training diverged; fetch the file or save "
          "it again, or use an earlier checkpoint"));
  values.at("transformer.ln_f.bias")[3] = -kInfinity;
  EXPECT_NE(
      error().find("\"transformer.ln_f.bias\" holds NaN or infinity, first at [3] (-infinity)"),
      std::string::npos);
}

}  // namespace
}  // namespace longrun
