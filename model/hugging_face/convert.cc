#include "model/hugging_face/convert.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "base/str.h"

namespace longrun {
namespace {

constexpr std::uint32_t kInfinity32 = 0x7f800000;

template <typename T>
T Load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

template <typename T>
void Store(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

}  // namespace

std::uint16_t Bfloat16Of(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & ~0x80000000u) > kInfinity32) return static_cast<std::uint16_t>(bits >> 16 | 0x40);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float FloatOfBfloat16(std::uint16_t bits) {
  return std::bit_cast<float>(std::uint32_t{bits} << 16);
}

std::uint16_t HalfOf(float value) {
  constexpr std::uint32_t kLeastInfinite = 0x477ff000;  // 65520 and above round to infinity
  constexpr std::uint32_t kLeastNormal = 0x38800000;    // 2^-14
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000);
  const std::uint32_t size = bits & 0x7fffffff;
  const auto with_sign = [&](std::uint32_t half) {
    return static_cast<std::uint16_t>(sign | half);
  };
  if (size > kInfinity32) return with_sign(0x7e00);
  if (size >= kLeastInfinite) return with_sign(0x7c00);
  if (size < kLeastNormal) {  // a multiple of 2^-24
    return with_sign(
        static_cast<std::uint32_t>(std::nearbyint(std::bit_cast<float>(size) * 0x1p24f)));
  }
  return with_sign((size + 0xfff + (size >> 13 & 1) - 0x38000000) >> 13);
}

float FloatOfHalf(std::uint16_t bits) {
  const std::uint32_t sign = std::uint32_t{bits} << 16 & 0x80000000;
  const std::uint32_t exponent = bits >> 10 & 0x1f, fraction = bits & 0x3ff;
  if (exponent == 0) {
    const float size = static_cast<float>(fraction) * 0x1p-24f;
    return sign != 0 ? -size : size;
  }
  const std::uint32_t wide = exponent == 0x1f ? 0xff : exponent + 112;
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

float FloatOf(StoredType type, std::span<const std::byte> bytes, std::size_t i) {
  const std::byte* const at = bytes.data() + i * StoredTypeBytes(type);
  switch (type) {
    case StoredType::kF64:
      return static_cast<float>(Load<double>(at));
    case StoredType::kF32:
      return Load<float>(at);
    case StoredType::kF16:
      return FloatOfHalf(Load<std::uint16_t>(at));
    case StoredType::kBF16:
      return FloatOfBfloat16(Load<std::uint16_t>(at));
    case StoredType::kI64:
    case StoredType::kI32:
    case StoredType::kU8:
    case StoredType::kBool:
      break;
  }
  LR_CHECK(false);
}

Result<StoredType> ParseFloatType(std::string_view name) {
  if (name == "fp32") return StoredType::kF32;
  if (name == "bf16") return StoredType::kBF16;
  if (name == "fp16") return StoredType::kF16;
  return Status(Code::kInvalidArgument,
                Str("expected one of fp32, bf16, fp16, found \"", name, "\""));
}

std::string_view TorchDtypeName(StoredType type) {
  switch (type) {
    case StoredType::kF64:
      return "float64";
    case StoredType::kF32:
      return "float32";
    case StoredType::kF16:
      return "float16";
    case StoredType::kBF16:
      return "bfloat16";
    case StoredType::kI64:
    case StoredType::kI32:
    case StoredType::kU8:
    case StoredType::kBool:
      break;
  }
  LR_CHECK(false);
}

Status Convert(const StoredTensor& tensor, StoredType type, std::vector<std::byte>& bytes) {
  const std::size_t to = StoredTypeBytes(type);
  const std::size_t n = tensor.bytes.size() / StoredTypeBytes(tensor.type);
  bytes.resize(n * to);
  for (std::size_t i = 0; i < n; ++i) {
    const float value = FloatOf(tensor.type, tensor.bytes, i);
    std::byte* const at = bytes.data() + i * to;
    if (type == StoredType::kF32) {
      Store(at, value);
    } else if (type == StoredType::kBF16) {
      Store(at, Bfloat16Of(value));
    } else {
      LR_CHECK(type == StoredType::kF16);
      const std::uint16_t half = HalfOf(value);
      if (std::isfinite(value) && !std::isfinite(FloatOfHalf(half))) {
        return Status(Code::kOutOfRange,
                      Str("the number ", value, " is too large for fp16: use bf16"));
      }
      Store(at, half);
    }
  }
  return Status();
}

}  // namespace longrun
