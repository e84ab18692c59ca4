// A token shard: refused at open, or by Verify, or each of its tokens can be read.
#include "model/data/shard.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "tests/fuzz/target.h"

namespace longrun {
namespace {

constexpr std::uint64_t kTokensRead = 1 << 16;

void CheckShard(const std::uint8_t* data, std::size_t size) {
  const FuzzInputFile input(data, size);
  const Result<ShardReader> shard = ShardReader::Open(input.path());
  if (!shard.ok()) return CheckRefusal(shard.status());
  LR_CHECK(shard->document_starts().size() == shard->header().n_documents + 1);
  LR_CHECK(shard->document_starts().back() == shard->header().n_tokens);
  std::vector<std::int32_t> tokens(std::min(shard->header().n_tokens, kTokensRead));
  const Status read = shard->Read(0, tokens);
  if (!read.ok()) CheckRefusal(read);
  const Status verified = shard->Verify();
  if (!verified.ok()) CheckRefusal(verified);
}

}  // namespace
}  // namespace longrun

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace longrun;
  CheckShard(data, size);
  if (size < sizeof(ShardHeader)) return 0;
  // Once more with a header hash that fits, so that a mutated header gets past the first check.
  std::vector<std::uint8_t> bytes(data, data + size);
  ShardHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  header.header_hash = ShardHeaderHash(header);
  std::memcpy(bytes.data(), &header, sizeof header);
  CheckShard(bytes.data(), bytes.size());
  return 0;
}
