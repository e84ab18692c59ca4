#include "model/data/source/ids.h"

#include <bit>
#include <cstring>

#include "base/check.h"
#include "base/str.h"

namespace longrun {
namespace {

static_assert(std::endian::native == std::endian::little,
              "ids are read in the machine's byte order");

template <typename Word>
Status Decode(std::span<const char> bytes, std::int64_t first, std::vector<std::int32_t>& ids) {
  const std::size_t n = bytes.size() / sizeof(Word);
  ids.reserve(ids.size() + n);
  for (std::size_t i = 0; i < n; ++i) {
    Word word;
    std::memcpy(&word, bytes.data() + i * sizeof(Word), sizeof(Word));
    // NOLINTNEXTLINE(bugprone-signed-char-misuse): a negative id stays negative, and is refused.
    const auto id = static_cast<std::int64_t>(word);
    if (id < 0 || id > INT32_MAX) {
      return Status(Code::kDataLoss, Str("token ", first + static_cast<std::int64_t>(i), " is ", id,
                                         ", which is not an id of any tokenizer"));
    }
    ids.push_back(static_cast<std::int32_t>(id));
  }
  return Status();
}

}  // namespace

std::size_t IdBytes(IdType type) {
  switch (type) {
    case IdType::kU8:
    case IdType::kI8:
      return 1;
    case IdType::kU16:
    case IdType::kI16:
      return 2;
    case IdType::kU32:
    case IdType::kI32:
      return 4;
    case IdType::kI64:
      return 8;
  }
  LR_CHECK(false);
}

Status DecodeIds(IdType type, std::span<const char> bytes, std::int64_t first,
                 std::vector<std::int32_t>& ids) {
  LR_CHECK(bytes.size() % IdBytes(type) == 0);
  switch (type) {
    case IdType::kU8:
      return Decode<std::uint8_t>(bytes, first, ids);
    case IdType::kI8:
      return Decode<std::int8_t>(bytes, first, ids);
    case IdType::kU16:
      return Decode<std::uint16_t>(bytes, first, ids);
    case IdType::kI16:
      return Decode<std::int16_t>(bytes, first, ids);
    case IdType::kU32:
      return Decode<std::uint32_t>(bytes, first, ids);
    case IdType::kI32:
      return Decode<std::int32_t>(bytes, first, ids);
    case IdType::kI64:
      return Decode<std::int64_t>(bytes, first, ids);
  }
  LR_CHECK(false);
}

Result<std::int64_t> ReadIds(ByteStream& stream, IdType type, DocumentSink& sink) {
  const std::size_t width = IdBytes(type);
  std::vector<char> chunk(kSourceChunkBytes);
  std::vector<std::int32_t> ids;
  std::size_t held = 0;  // bytes of an incomplete id
  std::int64_t n_ids = 0;
  while (true) {
    ASSIGN_OR_RETURN(const std::size_t n, stream.Read(std::span<char>(chunk).subspan(held)));
    if (n == 0) break;
    const std::size_t whole = (held + n) / width * width;
    ids.clear();
    RETURN_IF_ERROR(DecodeIds(type, std::span<const char>(chunk).first(whole), n_ids, ids));
    RETURN_IF_ERROR(sink.Ids(ids));
    n_ids += static_cast<std::int64_t>(ids.size());
    held = held + n - whole;
    std::memmove(chunk.data(), chunk.data() + whole, held);
  }
  if (held != 0) {
    return Status(
        Code::kDataLoss,
        Str("it has ", n_ids * static_cast<std::int64_t>(width) + static_cast<std::int64_t>(held),
            " bytes of ids, which is not a multiple of their ", width,
            " bytes: it is cut short, or its ids have another width"));
  }
  return n_ids;
}

}  // namespace longrun
