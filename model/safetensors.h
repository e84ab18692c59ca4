// Reads and writes safetensors files without a library: 8 bytes of header length (little endian), a
// JSON header {name: {dtype, shape, data_offsets}, "__metadata__": {text: text}}, then the data.
//
// A file is not trusted: every length, shape and offset is checked against the file before any data
// is read. Torch-free; net/tensor_file.h makes tensors from it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/status.h"

namespace longrun {

// kU8 and kBool occur in mask buffers of older models.
enum class StoredType { kF64, kF32, kF16, kBF16, kI64, kI32, kU8, kBool };
std::string_view StoredTypeName(StoredType type);  // "F64", "BF16", ...
std::size_t StoredTypeBytes(StoredType type);
bool IsFloatingPoint(StoredType type);

// A tensor in a file or on its way into one: row-major, little endian.
struct StoredTensor {
  StoredType type = StoredType::kF32;
  std::vector<std::int64_t> shape;  // empty: a scalar
  std::span<const std::byte> bytes;
};

// "[4, 8]"
std::string ShapeText(std::span<const std::int64_t> shape);

class SafetensorsFile {
 public:
  // kNotFound, or kDataLoss that names the file and the fault: a header longer than the file or
  // than 100 MB, broken JSON, an unknown dtype, a shape whose product overflows or does not match
  // the offsets, offsets outside the data, or tensors that overlap or leave holes.
  static Result<SafetensorsFile> Open(const std::string& path);

  const std::string& path() const { return path_; }
  // Views into the mapped file, valid as long as this object.
  const std::map<std::string, StoredTensor>& tensors() const { return tensors_; }
  const StoredTensor* Find(const std::string& name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  SafetensorsFile(std::string path, MappedFile file)
      : path_(std::move(path)), file_(std::move(file)) {}
  Status ParseHeader();

  std::string path_;
  MappedFile file_;
  std::map<std::string, StoredTensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

// A tensor of a file to be written: its type and shape. The bytes come later,
// in the order of the names.
struct TensorForm {
  StoredType type = StoredType::kF32;
  std::vector<std::int64_t> shape;

  std::int64_t n_bytes() const;  // for existing tensors, so it does not overflow
};

// The bytes of a whole file; tensors are in the order of their names.
std::string SafetensorsBytes(const std::map<std::string, StoredTensor>& tensors,
                             const std::map<std::string, std::string>& metadata = {});

struct WrittenFile {
  std::string sha256;
  std::int64_t n_bytes = 0;
};

// Writes a file of these tensors atomically (temporary, fsync, rename). `bytes_of` is called for
// one tensor after the other and returns its bytes (of the form's size), so that they need not all
// be in memory at once.
Result<WrittenFile> WriteSafetensorsInTurn(
    const std::string& path, const std::map<std::string, TensorForm>& forms,
    const std::map<std::string, std::string>& metadata,
    const std::function<Result<std::span<const std::byte>>(const std::string& name)>& bytes_of);

// Writes SafetensorsBytes atomically (temporary, fsync, rename),
// without holding all bytes in memory.
Result<WrittenFile> WriteSafetensors(const std::string& path,
                                     const std::map<std::string, StoredTensor>& tensors,
                                     const std::map<std::string, std::string>& metadata = {});

}  // namespace longrun
