// safetensors files, read and written by ourselves: 8 bytes of header length (little endian), a
// JSON header {name: {dtype, shape, data_offsets}, "__metadata__": {text: text}}, then the data.
//
// A file is somebody else's until it is proven: every length, shape and offset is checked against
// the file before a byte of data is looked at. Torch-free; net/tensor_file.h makes tensors of it.
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

// kU8 and kBool: mask buffers that older models carry along.
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
  // kNotFound, or kDataLoss that names the file and what does not hold: a header longer than the
  // file or than 100 MB, broken JSON, an unknown dtype, a shape whose product overflows or does not
  // match the offsets, offsets outside the data, or tensors that overlap or leave holes.
  static Result<SafetensorsFile> Open(const std::string& path);

  const std::string& path() const { return path_; }
  // Views into the mapping, valid as long as this object.
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

// What a file will hold: name to type and shape; bytes come later, in the order of the names.
struct TensorForm {
  StoredType type = StoredType::kF32;
  std::vector<std::int64_t> shape;

  std::int64_t n_bytes() const;  // no overflow: of a tensor that is there
};

// A whole file's bytes; the order in it is that of the names.
std::string SafetensorsBytes(const std::map<std::string, StoredTensor>& tensors,
                             const std::map<std::string, std::string>& metadata = {});

struct WrittenFile {
  std::string sha256;
  std::int64_t n_bytes = 0;
};

// Writes a file of these tensors atomically (temporary, fsync, rename). `bytes_of` gives a tensor's bytes
// (of the form's size) when their turn comes: they need not all be in memory at once.
Result<WrittenFile> WriteSafetensorsInTurn(
    const std::string& path, const std::map<std::string, TensorForm>& forms,
    const std::map<std::string, std::string>& metadata,
    const std::function<Result<std::span<const std::byte>>(const std::string& name)>& bytes_of);

// Writes those bytes atomically (temporary, fsync, rename), without holding them; gives their digest.
Result<WrittenFile> WriteSafetensors(const std::string& path,
                                     const std::map<std::string, StoredTensor>& tensors,
                                     const std::map<std::string, std::string>& metadata = {});

}  // namespace longrun
