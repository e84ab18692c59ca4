#include "model/hugging_face/finite.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "base/str.h"
#include "model/hugging_face/convert.h"

namespace longrun {
namespace {

// Copies the bytes, since a file does not align its tensors.
template <typename Bits>
Bits BitsAt(std::span<const std::byte> bytes, std::size_t i) {
  Bits bits;
  std::memcpy(&bits, bytes.data() + i * sizeof bits, sizeof bits);
  return bits;
}

// An IEEE 754 number whose exponent bits are all set is infinite or NaN. Most blocks have none,
// which a loop without branches detects.
template <typename Bits>
std::optional<std::size_t> FirstWithExponent(std::span<const std::byte> bytes,
                                             std::type_identity_t<Bits> exponent) {
  constexpr std::size_t kBlock = 4096;
  const std::size_t n = bytes.size() / sizeof(Bits);
  const auto is_found = [&](std::size_t i) {
    return (BitsAt<Bits>(bytes, i) & exponent) == exponent;
  };
  for (std::size_t begin = 0; begin < n; begin += kBlock) {
    const std::size_t end = std::min(begin + kBlock, n);
    unsigned any = 0;
    for (std::size_t i = begin; i < end; ++i) any |= is_found(i) ? 1u : 0u;
    if (any == 0) continue;
    std::size_t first = begin;
    while (!is_found(first)) ++first;
    return first;
  }
  return std::nullopt;
}

const char* NonFiniteText(float value) {
  return std::isnan(value) ? "NaN" : value > 0.0f ? "infinity" : "-infinity";
}

// "[3, 0]" for a flat index in a tensor of this shape; "[]" for a scalar.
std::string PlaceText(std::span<const std::int64_t> shape, std::size_t flat) {
  std::vector<std::int64_t> place(shape.size());
  auto rest = static_cast<std::int64_t>(flat);
  for (std::size_t i = shape.size(); i-- > 0;) {
    place[i] = rest % shape[i];
    rest /= shape[i];
  }
  return ShapeText(place);
}

}  // namespace

std::optional<std::size_t> FirstNonFinite(const StoredTensor& tensor) {
  switch (tensor.type) {
    case StoredType::kF64:
      return FirstWithExponent<std::uint64_t>(tensor.bytes, 0x7ff0'0000'0000'0000);
    case StoredType::kF32:
      return FirstWithExponent<std::uint32_t>(tensor.bytes, 0x7f80'0000);
    case StoredType::kF16:
      return FirstWithExponent<std::uint16_t>(tensor.bytes, 0x7c00);
    case StoredType::kBF16:
      return FirstWithExponent<std::uint16_t>(tensor.bytes, 0x7f80);
    case StoredType::kI64:
    case StoredType::kI32:
    case StoredType::kU8:
    case StoredType::kBool:
      break;
  }
  LR_CHECK(false);
}

Status CheckFinite(const WeightFolder& model,
                   const std::function<void(std::int64_t n_bytes)>& progress) {
  std::int64_t n_bytes = 0;
  for (const auto& [name, tensor] : model.tensors) {
    if (const std::optional<std::size_t> at = FirstNonFinite(*tensor)) {
      return Status(Code::kDataLoss,
                    Str(model.files.PathOf(*tensor), ": tensor \"", name,
                        "\" holds NaN or infinity, first at ", PlaceText(tensor->shape, *at), " (",
                        NonFiniteText(FloatOf(tensor->type, tensor->bytes, *at)),
                        "): the file is damaged, or its training diverged; fetch the file or save "
                        "it again, or use an earlier checkpoint"));
    }
    n_bytes += static_cast<std::int64_t>(tensor->bytes.size());
    if (progress) progress(n_bytes);
  }
  return Status();
}

}  // namespace longrun
