// A .npy file of ids: refused, or as many ids as its header says, none negative.
#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "model/data/source/source.h"
#include "tests/fuzz/target.h"

namespace longrun {
namespace {

class CountingSink final : public DocumentSink {
 public:
  Status Text(std::string_view) override {
    LR_CHECK(false);  // this format gives ids
    return {};
  }
  Status Ids(std::span<const std::int32_t> ids) override {
    LR_CHECK(std::ranges::none_of(ids, [](std::int32_t id) { return id < 0; }));
    n_ids_ += ids.size();
    return {};
  }
  Status EndDocument() override { return {}; }
  std::size_t n_ids() const { return n_ids_; }

 private:
  std::size_t n_ids_ = 0;
};

}  // namespace
}  // namespace longrun

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace longrun;
  const Result<const SourceFormat*> format = FindSourceFormat("npy");
  LR_CHECK(format.ok());
  const FuzzInputFile file(data, size);
  SourceInput input(file.path(), [](std::int64_t) { return Status(); });
  CountingSink sink;
  const Status read = (*format)->read(input, {.format = "npy"}, sink);
  if (!read.ok()) CheckRefusal(read);
  LR_CHECK(sink.n_ids() * 2 <= size);  // the smallest id has two bytes
  return 0;
}
