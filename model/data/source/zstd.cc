// Zstandard with libzstd, in pieces: frame after frame, with windows of up to 2^31 bytes.
#include <algorithm>
#include <utility>
#include <vector>

#include "base/str.h"
#include "model/data/source/stream.h"

#ifdef LONGRUN_ZSTD
#include <zstd.h>
#include <zstd_errors.h>
#endif

namespace longrun {

#ifdef LONGRUN_ZSTD
namespace {

class ZstdStream final : public ByteStream {
 public:
  explicit ZstdStream(std::unique_ptr<ByteStream> packed)
      : packed_(std::move(packed)),
        state_(ZSTD_createDCtx(), &ZSTD_freeDCtx),
        input_(kSourceChunkBytes) {}

  Status Begin() {
    const bool ready =
        state_ != nullptr && ZSTD_isError(ZSTD_DCtx_setParameter(state_.get(), ZSTD_d_windowLogMax,
                                                                 kWindowBitsMax)) == 0;
    return ready ? Status() : Status(Code::kResourceExhausted, "no memory for zstd");
  }

  Result<std::size_t> Read(std::span<char> out) override {
    ZSTD_outBuffer written = {out.data(), out.size(), 0};
    while (written.pos == 0) {
      // There may be more output without new input; read the next piece only when there is none.
      if (available_.pos == available_.size && !more_) {
        ASSIGN_OR_RETURN(const std::size_t n, packed_->Read(input_));
        available_ = {input_.data(), n, 0};
        if (n == 0 && in_frame_) return Damaged("it ends within a frame");
        if (n == 0) return std::size_t{0};
      }
      const std::size_t code = ZSTD_decompressStream(state_.get(), &written, &available_);
      if (ZSTD_isError(code) != 0) return Refused(code);
      in_frame_ = code != 0;
      more_ = written.pos == written.size && in_frame_;
    }
    return written.pos;
  }

 private:
  static constexpr int kWindowBitsMax = 31;

  Status Refused(std::size_t code) const {
    switch (ZSTD_getErrorCode(code)) {
      case ZSTD_error_frameParameter_windowTooLarge:
        return Status(Code::kInvalidArgument,
                      Str("a Zstandard file with a window of more than 2^", kWindowBitsMax,
                          " bytes: compress the text again, with at most `zstd --long=",
                          kWindowBitsMax, "`"));
      case ZSTD_error_memory_allocation:
        return Status(Code::kResourceExhausted,
                      "no memory for the window of a Zstandard file: close other programs, or "
                      "compress the text again without `--long` and `--ultra`");
      default:
        return Damaged(ZSTD_getErrorName(code));
    }
  }

  Status Damaged(std::string_view why) const {
    return Status(Code::kDataLoss,
                  Str("not a complete Zstandard file (", why,
                      "): fetch it again; if it is not Zstandard, remove .zst from its name"));
  }

  std::unique_ptr<ByteStream> packed_;
  std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> state_;
  std::vector<char> input_;
  ZSTD_inBuffer available_ = {nullptr, 0, 0};
  bool in_frame_ = true;  // an empty file is not a frame
  bool more_ = false;     // the last call filled its output
};

}  // namespace

Result<std::unique_ptr<ByteStream>> OpenZstd(std::unique_ptr<ByteStream> packed) {
  auto stream = std::make_unique<ZstdStream>(std::move(packed));
  RETURN_IF_ERROR(stream->Begin());
  return std::unique_ptr<ByteStream>(std::move(stream));
}

#else

Result<std::unique_ptr<ByteStream>> OpenZstd(std::unique_ptr<ByteStream>) {
  return Status(
      Code::kUnimplemented,
      "this build has no libzstd: install libzstd-dev and build again, or unpack the file "
      "(unzstd) and list that");
}

#endif

}  // namespace longrun
