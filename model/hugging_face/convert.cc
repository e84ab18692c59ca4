#include "model/hugging_face/convert.h"

#include <cmath>
#include <cstring>

#include "base/str.h"
#include "kernels/scalar.h"

namespace longrun {
namespace {

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

float FloatOf(StoredType type, std::span<const std::byte> bytes, std::size_t i) {
  const std::byte* const at = bytes.data() + i * StoredTypeBytes(type);
  switch (type) {
    case StoredType::kF64:
      return static_cast<float>(Load<double>(at));
    case StoredType::kF32:
      return Load<float>(at);
    case StoredType::kF16:
      return FromFp16(Load<std::uint16_t>(at));
    case StoredType::kBF16:
      return FromBf16(Load<std::uint16_t>(at));
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
      Store(at, ToBf16(value));
    } else {
      LR_CHECK(type == StoredType::kF16);
      const std::uint16_t half = ToFp16(value);
      if (std::isfinite(value) && !std::isfinite(FromFp16(half))) {
        return Status(Code::kOutOfRange,
                      Str("the number ", value, " is too large for fp16: use bf16"));
      }
      Store(at, half);
    }
  }
  return Status();
}

}  // namespace longrun
