// A tokenizer.json: refused, or a tokenizer that gives back the bytes it was given.
#include "base/check.h"
#include "base/str.h"
#include "model/data/tokenizer/bpe.h"
#include "model/data/tokenizer/hugging_face.h"
#include "tests/fuzz/target.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace longrun;
  Result<Vocabulary> vocabulary = ParseHuggingFace(AsText(data, size), "fuzz");
  if (!vocabulary.ok()) {
    CheckRefusal(vocabulary.status());
    return 0;
  }
  const bool adds_space = vocabulary->add_prefix_space;
  const auto tokenizer = MakeBpeTokenizer(std::move(*vocabulary));
  if (!tokenizer.ok()) {
    CheckRefusal(tokenizer.status());
    return 0;
  }
  const std::string text = " it's 12 caf\xc3\xa9s\n\n\xff ab abc";
  std::vector<std::int32_t> ids;
  (*tokenizer)->Encode(text, ids);
  const Result<std::string> decoded = (*tokenizer)->Decode(ids);
  LR_CHECK(decoded.ok());
  LR_CHECK(*decoded == text || (adds_space && *decoded == Str(" ", text)));
  return 0;
}
