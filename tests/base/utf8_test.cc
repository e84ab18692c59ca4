#include "base/utf8.h"

#include <gtest/gtest.h>

namespace longrun {
namespace {

TEST(CheckUtf8, NamesTheBytesAsAShellWritesThem) {
  EXPECT_TRUE(CheckUtf8("caf\u00e9", "argument 1", "rename it").ok());
  const Status status = CheckUtf8("caf\xe9\n", "argument 1", "rename it");
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_EQ(
      status.message(),
      "argument 1 (\"caf\\xe9\\x0a\") is not UTF-8, which names and paths must be: rename it");
}

TEST(PrintableBytes, BytesOfNoCharacterAndControlCharactersAreWrittenAsTheirDigits) {
  EXPECT_EQ(PrintableBytes("a\xb2 caf\u00e9 \u4e2d\n"), "a\\xb2 caf\u00e9 \u4e2d\\x0a");
  EXPECT_EQ(PrintableBytes("\xe2\x82\x1b[\u009b\x7f"), "\\xe2\\x82\\x1b[\\xc2\\x9b\\x7f");
  EXPECT_EQ(PrintableBytes("\xe2"
                           "A\xff"),
            "\\xe2"
            "A\\xff");
  EXPECT_EQ(PrintableBytes(""), "");
}

}  // namespace
}  // namespace longrun
