// A safetensors file: refused, or every tensor lies inside the file and its bytes fit its shape.
#include "model/safetensors.h"

#include "base/check.h"
#include "tests/fuzz/target.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace longrun;
  const FuzzInputFile input(data, size);
  const Result<SafetensorsFile> file = SafetensorsFile::Open(input.path());
  if (!file.ok()) {
    CheckRefusal(file.status());
    return 0;
  }
  std::size_t n_bytes = 0;
  unsigned sum = 0;
  for (const auto& [name, tensor] : file->tensors()) {
    std::size_t n_elements = 1;
    for (const std::int64_t n : tensor.shape) n_elements *= static_cast<std::size_t>(n);
    LR_CHECK(n_elements * StoredTypeBytes(tensor.type) == tensor.bytes.size());
    for (const std::byte byte : tensor.bytes) sum += std::to_integer<unsigned>(byte);
    n_bytes += tensor.bytes.size();
  }
  LR_CHECK(n_bytes < size && (n_bytes > 0 || sum == 0));
  return 0;
}
