// gzip with zlib, in pieces. A file may have several members. After the last one there may be
// zeros, with which tape drives and some tools fill the last block; gzip ignores them as well.
#include <algorithm>
#include <utility>
#include <vector>

#include "base/str.h"
#include "model/data/source/stream.h"

#ifdef LONGRUN_ZLIB
#include <zlib.h>
#endif

namespace longrun {

#ifdef LONGRUN_ZLIB
namespace {

class GzipStream final : public ByteStream {
 public:
  explicit GzipStream(std::unique_ptr<ByteStream> packed)
      : packed_(std::move(packed)), input_(kSourceChunkBytes) {}
  ~GzipStream() override {
    if (ready_) inflateEnd(&state_);
  }
  GzipStream(const GzipStream&) = delete;
  GzipStream& operator=(const GzipStream&) = delete;

  Status Begin() {
    constexpr int kGzipHeader = 16;  // in addition to the window's bits: gzip, not zlib
    ready_ = inflateInit2(&state_, MAX_WBITS + kGzipHeader) == Z_OK;
    return ready_ ? Status() : Status(Code::kResourceExhausted, "no memory for zlib");
  }

  Result<std::size_t> Read(std::span<char> out) override {
    const auto room = static_cast<uInt>(std::min(out.size(), std::size_t{1} << 30));
    state_.next_out = reinterpret_cast<Bytef*>(out.data());
    state_.avail_out = room;
    while (state_.avail_out == room) {
      if (state_.avail_in == 0) {
        ASSIGN_OR_RETURN(const std::size_t n, packed_->Read(input_));
        state_.next_in = reinterpret_cast<Bytef*>(input_.data());
        state_.avail_in = static_cast<uInt>(n);
        if (n == 0 && in_member_) return Damaged("it ends within a member");
        if (n == 0) return std::size_t{0};
      }
      if (!in_member_ && SkipZeros()) continue;
      if (!in_member_) {
        if (in_padding_) return Damaged("after the zeros at its end come other bytes");
        inflateReset(&state_);
        in_member_ = true;
      }
      const int code = inflate(&state_, Z_NO_FLUSH);
      if (code == Z_STREAM_END) {
        in_member_ = false;
      } else if (code != Z_OK && code != Z_BUF_ERROR) {
        return Damaged(state_.msg != nullptr ? state_.msg : "zlib cannot read it");
      }
    }
    return std::size_t{room - state_.avail_out};
  }

 private:
  // Whether nothing else is left of the input.
  bool SkipZeros() {
    while (state_.avail_in > 0 && *state_.next_in == 0) {
      in_padding_ = true;
      state_.next_in += 1;
      state_.avail_in -= 1;
    }
    return state_.avail_in == 0;
  }

  Status Damaged(std::string_view why) const {
    return Status(Code::kDataLoss,
                  Str("not a complete gzip file (", why,
                      "): fetch it again; if it is not gzip, remove .gz from its name"));
  }

  std::unique_ptr<ByteStream> packed_;
  std::vector<char> input_;
  z_stream state_{};
  bool ready_ = false;
  bool in_member_ = true;    // an empty file is not a gzip file
  bool in_padding_ = false;  // behind the last member
};

}  // namespace

Result<std::unique_ptr<ByteStream>> OpenGzip(std::unique_ptr<ByteStream> packed) {
  auto stream = std::make_unique<GzipStream>(std::move(packed));
  RETURN_IF_ERROR(stream->Begin());
  return std::unique_ptr<ByteStream>(std::move(stream));
}

#else

Result<std::unique_ptr<ByteStream>> OpenGzip(std::unique_ptr<ByteStream>) {
  return Status(Code::kUnimplemented,
                "this build has no zlib: install zlib1g-dev and build again, or unpack the file "
                "(gunzip) and list that");
}

#endif

}  // namespace longrun
