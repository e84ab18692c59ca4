#include "model/net/tensor_file.h"

#include <ATen/ops/empty.h>

#include <cstring>
#include <span>

namespace longrun {
namespace {

at::ScalarType ScalarOf(StoredType type) {
  switch (type) {
    case StoredType::kF64:
      return at::kDouble;
    case StoredType::kF32:
      return at::kFloat;
    case StoredType::kF16:
      return at::kHalf;
    case StoredType::kBF16:
      return at::kBFloat16;
    case StoredType::kI64:
      return at::kLong;
    case StoredType::kI32:
      return at::kInt;
    case StoredType::kU8:
      return at::kByte;
    case StoredType::kBool:
      return at::kBool;
  }
  LR_CHECK(false);
}

StoredType StoredOf(at::ScalarType type) {
  for (const StoredType stored :
       {StoredType::kF64, StoredType::kF32, StoredType::kF16, StoredType::kBF16, StoredType::kI64,
        StoredType::kI32, StoredType::kU8, StoredType::kBool}) {
    if (ScalarOf(stored) == type) return stored;
  }
  LR_CHECK(false);
}

}  // namespace

at::Tensor ToTensor(const StoredTensor& stored) {
  at::Tensor tensor = at::empty(stored.shape, ScalarOf(stored.type));
  LR_CHECK(tensor.nbytes() == stored.bytes.size());
  if (!stored.bytes.empty()) {
    std::memcpy(tensor.mutable_data_ptr(), stored.bytes.data(), stored.bytes.size());
  }
  return tensor;
}

Result<WrittenFile> WriteTensors(const std::string& path,
                                 const std::map<std::string, at::Tensor>& tensors,
                                 const std::map<std::string, std::string>& metadata) {
  std::map<std::string, at::Tensor> held;  // keeps the bytes alive while they are written
  std::map<std::string, StoredTensor> stored;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor dense = tensor.detach().to(at::kCPU).contiguous();
    const auto* data = static_cast<const std::byte*>(dense.const_data_ptr());
    stored[name] = {.type = StoredOf(dense.scalar_type()),
                    .shape = dense.sizes().vec(),
                    .bytes = std::span<const std::byte>(data, dense.nbytes())};
    held[name] = dense;
  }
  return WriteSafetensors(path, stored, metadata);
}

}  // namespace longrun
