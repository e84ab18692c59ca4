#include "model/safetensors.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"

namespace longrun {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors is little endian");

constexpr std::size_t kHeaderBytesMax = 100'000'000;

struct TypeRow {
  StoredType type;
  std::string_view name;
  std::size_t n_bytes;
};
constexpr TypeRow kTypes[] = {
    {StoredType::kF64, "F64", 8},   {StoredType::kF32, "F32", 4},   {StoredType::kF16, "F16", 2},
    {StoredType::kBF16, "BF16", 2}, {StoredType::kI64, "I64", 8},   {StoredType::kI32, "I32", 4},
    {StoredType::kU8, "U8", 1},     {StoredType::kBool, "BOOL", 1},
};

const TypeRow& RowOf(StoredType type) {
  for (const TypeRow& row : kTypes) {
    if (row.type == type) return row;
  }
  LR_CHECK(false);
}

std::optional<std::uint64_t> AsUnsigned(const Json& json) {
  if (json.is_number_unsigned()) return json.get<std::uint64_t>();
  if (json.is_number_integer() && json.get<std::int64_t>() >= 0) {
    return static_cast<std::uint64_t>(json.get<std::int64_t>());
  }
  return std::nullopt;
}

// One entry of the header; the offsets are relative to the data's start.
struct Entry {
  std::string name;
  StoredTensor tensor;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

Result<Entry> ParseEntry(const std::string& name, const Json& json, std::uint64_t n_data) {
  const auto bad = [&](std::string_view what) {
    return Status(Code::kDataLoss, Str("tensor \"", name, "\": ", what));
  };
  if (!json.is_object()) return bad("its header entry is not an object");
  for (const auto& [key, value] : json.items()) {
    if (key != "dtype" && key != "shape" && key != "data_offsets") {
      return bad(Str("unknown header key \"", key, "\""));
    }
  }
  if (!json.contains("dtype") || !json["dtype"].is_string()) return bad("dtype is missing");
  if (!json.contains("shape") || !json["shape"].is_array()) return bad("shape is missing");
  if (!json.contains("data_offsets") || !json["data_offsets"].is_array() ||
      json["data_offsets"].size() != 2) {
    return bad("data_offsets must be two numbers");
  }
  Entry entry = {.name = name, .tensor = {}};
  const std::string dtype = json["dtype"].get<std::string>();
  const auto* row = std::find_if(std::begin(kTypes), std::end(kTypes),
                                 [&](const TypeRow& r) { return r.name == dtype; });
  if (row == std::end(kTypes)) {
    std::string known;
    for (const TypeRow& each : kTypes) known += Str(known.empty() ? "" : ", ", each.name);
    return bad(Str("dtype ", dtype, " is not supported (expected one of ", known, ")"));
  }
  entry.tensor.type = row->type;
  std::uint64_t n_bytes = row->n_bytes;
  for (const Json& dim : json["shape"]) {
    const std::optional<std::uint64_t> size = AsUnsigned(dim);
    if (!size) return bad("a dimension is not a whole number");
    if (*size > static_cast<std::uint64_t>(INT64_MAX)) return bad("a dimension is too large");
    if (__builtin_mul_overflow(n_bytes, *size, &n_bytes)) return bad("its shape overflows");
    entry.tensor.shape.push_back(static_cast<std::int64_t>(*size));
  }
  const std::optional<std::uint64_t> begin = AsUnsigned(json["data_offsets"][0]);
  const std::optional<std::uint64_t> end = AsUnsigned(json["data_offsets"][1]);
  if (!begin || !end) return bad("data_offsets must be whole numbers");
  if (*begin > *end || *end > n_data) {
    return bad(Str("data_offsets [", *begin, ", ", *end, "] are outside the ", n_data,
                   " bytes of data in the file: the file is truncated or damaged"));
  }
  if (*end - *begin != n_bytes) {
    return bad(Str("shape ", ShapeText(entry.tensor.shape), " of ", dtype, " needs ", n_bytes,
                   " bytes, but data_offsets give ", *end - *begin));
  }
  entry.begin = *begin;
  entry.end = *end;
  return entry;
}

// Closes its descriptor, and removes the file unless it is kept.
class PendingFile {
 public:
  explicit PendingFile(std::string path) : path_(std::move(path)) {}
  PendingFile(const PendingFile&) = delete;
  PendingFile& operator=(const PendingFile&) = delete;
  ~PendingFile() {
    if (fd_ >= 0) ::close(fd_);
    if (!kept_) ::unlink(path_.c_str());
  }

  Status Open() {
    fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd_ >= 0) return Status();
    // A missing folder is not a missing input: nothing can be stored.
    if (errno == ENOENT) {
      return Status(Code::kUnavailable,
                    Str("cannot create ", path_, ": its folder does not exist"));
    }
    return ErrnoStatus(errno, Str("cannot create ", path_));
  }

  Status Write(const void* data, std::size_t n_bytes) {
    hash_.Update(data, n_bytes);
    n_bytes_ += static_cast<std::int64_t>(n_bytes);
    const char* at = static_cast<const char*>(data);
    while (n_bytes > 0) {
      const ssize_t n = ::write(fd_, at, std::min(n_bytes, std::size_t{1} << 26));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoStatus(errno, Str("cannot write ", path_));
      at += n;
      n_bytes -= static_cast<std::size_t>(n);
    }
    return Status();
  }

  Status SyncAndRename(const std::string& to) {
    if (::fsync(fd_) != 0) return ErrnoStatus(errno, Str("cannot sync ", path_));
    const int fd = fd_;
    fd_ = -1;
    if (::close(fd) != 0) return ErrnoStatus(errno, Str("cannot close ", path_));
    RETURN_IF_ERROR(RenameSync(path_, to));
    kept_ = true;
    return Status();
  }

  WrittenFile Digest() { return {.sha256 = hash_.FinishHex(), .n_bytes = n_bytes_}; }

 private:
  std::string path_;
  int fd_ = -1;
  bool kept_ = false;
  Sha256 hash_;
  std::int64_t n_bytes_ = 0;
};

// The bytes before the data: the header's length and the JSON, padded to whole words.
std::string HeaderBytes(const std::map<std::string, TensorForm>& forms,
                        const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::int64_t at = 0;
  for (const auto& [name, form] : forms) {
    const std::int64_t n_bytes = form.n_bytes();
    header[name] = {{"dtype", StoredTypeName(form.type)},
                    {"shape", form.shape},
                    {"data_offsets", {at, at + n_bytes}}};
    at += n_bytes;
  }
  std::string text = CanonicalJson(header);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t n_header = text.size();
  return std::string(reinterpret_cast<const char*>(&n_header), sizeof n_header) + text;
}

std::map<std::string, TensorForm> FormsOf(const std::map<std::string, StoredTensor>& tensors) {
  std::map<std::string, TensorForm> forms;
  for (const auto& [name, tensor] : tensors) {
    forms[name] = {.type = tensor.type, .shape = tensor.shape};
    LR_CHECK(forms[name].n_bytes() == static_cast<std::int64_t>(tensor.bytes.size()));
  }
  return forms;
}

}  // namespace

std::string_view StoredTypeName(StoredType type) { return RowOf(type).name; }
std::size_t StoredTypeBytes(StoredType type) { return RowOf(type).n_bytes; }

bool IsFloatingPoint(StoredType type) {
  return type == StoredType::kF64 || type == StoredType::kF32 || type == StoredType::kF16 ||
         type == StoredType::kBF16;
}

std::string ShapeText(std::span<const std::int64_t> shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += Str(i == 0 ? "" : ", ", shape[i]);
  return text + "]";
}

Result<SafetensorsFile> SafetensorsFile::Open(const std::string& path) {
  ASSIGN_OR_RETURN(MappedFile mapped, MappedFile::Open(path));
  SafetensorsFile file(path, std::move(mapped));
  if (const Status status = file.ParseHeader(); !status.ok()) {
    return Status(status.code(),
                  Str(path, ": ", status.message(), "; save the file again, or fetch it again"));
  }
  return file;
}

Status SafetensorsFile::ParseHeader() {
  const std::span<const std::byte> bytes = file_.bytes();
  if (bytes.size() < 8) {
    return Status(Code::kDataLoss, Str("not a safetensors file: it has ", bytes.size(),
                                       " bytes, but the header's length alone takes 8"));
  }
  std::uint64_t n_header = 0;
  std::memcpy(&n_header, bytes.data(), sizeof n_header);
  if (n_header > kHeaderBytesMax || n_header > bytes.size() - 8) {
    return Status(Code::kDataLoss,
                  Str("the header claims ", n_header, " bytes, but the file has ", bytes.size(),
                      " (at most ", kHeaderBytesMax, " are allowed)"));
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + 8,
                              static_cast<std::size_t>(n_header));
  Result<Json> header = ParseJson(text, {.bytes_max = kHeaderBytesMax, .depth_max = 4});
  if (!header) {
    return Status(Code::kDataLoss, Str("header: ", header.status().message()));
  }
  if (!header->is_object()) return Status(Code::kDataLoss, "the header is not a JSON object");

  const std::span<const std::byte> data = bytes.subspan(8 + static_cast<std::size_t>(n_header));
  std::vector<Entry> entries;
  for (const auto& [name, json] : header->items()) {
    if (name == "__metadata__") {
      if (!json.is_object()) return Status(Code::kDataLoss, "__metadata__ is not an object");
      for (const auto& [key, value] : json.items()) {
        if (!value.is_string()) {
          return Status(Code::kDataLoss, Str("__metadata__.", key, " is not text"));
        }
        metadata_[key] = value.get<std::string>();
      }
      continue;
    }
    ASSIGN_OR_RETURN(Entry entry, ParseEntry(name, json, data.size()));
    entry.tensor.bytes = data.subspan(static_cast<std::size_t>(entry.begin),
                                      static_cast<std::size_t>(entry.end - entry.begin));
    entries.push_back(std::move(entry));
  }

  // The format requires data without overlaps and holes:
  // bytes that no entry names could hide something.
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  std::uint64_t at = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != at) {
      return Status(Code::kDataLoss, Str("tensor \"", entry.name, "\" starts at byte ", entry.begin,
                                         " of the data, but ", at, " was expected (",
                                         entry.begin < at ? "overlap" : "hole", ")"));
    }
    at = entry.end;
  }
  if (at != data.size()) {
    return Status(Code::kDataLoss,
                  Str("the tensors cover ", at, " bytes of data, but the file has ", data.size()));
  }
  for (Entry& entry : entries) tensors_.emplace(std::move(entry.name), std::move(entry.tensor));
  return Status();
}

const StoredTensor* SafetensorsFile::Find(const std::string& name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

std::string SafetensorsBytes(const std::map<std::string, StoredTensor>& tensors,
                             const std::map<std::string, std::string>& metadata) {
  std::string bytes = HeaderBytes(FormsOf(tensors), metadata);
  std::size_t n_data = 0;
  for (const auto& [name, tensor] : tensors) n_data += tensor.bytes.size();
  bytes.reserve(bytes.size() + n_data);
  for (const auto& [name, tensor] : tensors) {
    bytes.append(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size());
  }
  return bytes;
}

std::int64_t TensorForm::n_bytes() const {
  auto n = static_cast<std::int64_t>(StoredTypeBytes(type));
  for (const std::int64_t size : shape) n *= size;
  return n;
}

Result<WrittenFile> WriteSafetensorsInTurn(
    const std::string& path, const std::map<std::string, TensorForm>& forms,
    const std::map<std::string, std::string>& metadata,
    const std::function<Result<std::span<const std::byte>>(const std::string& name)>& bytes_of) {
  const std::string header = HeaderBytes(forms, metadata);
  PendingFile file(path + ".tmp");
  RETURN_IF_ERROR(file.Open());
  RETURN_IF_ERROR(file.Write(header.data(), header.size()));
  for (const auto& [name, form] : forms) {
    ASSIGN_OR_RETURN(const std::span<const std::byte> bytes, bytes_of(name));
    LR_CHECK(static_cast<std::int64_t>(bytes.size()) == form.n_bytes());
    RETURN_IF_ERROR(file.Write(bytes.data(), bytes.size()));
  }
  RETURN_IF_ERROR(file.SyncAndRename(path));
  return file.Digest();
}

Result<WrittenFile> WriteSafetensors(const std::string& path,
                                     const std::map<std::string, StoredTensor>& tensors,
                                     const std::map<std::string, std::string>& metadata) {
  return WriteSafetensorsInTurn(path, FormsOf(tensors), metadata,
                                [&](const std::string& name) -> Result<std::span<const std::byte>> {
                                  return tensors.at(name).bytes;
                                });
}

}  // namespace longrun
