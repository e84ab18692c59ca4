// Hashes against published vectors, on both paths: the CPU's instructions and plain code.
#include "base/hash.h"

#include <gtest/gtest.h>

#include "base/files.h"

namespace longrun {
namespace {

std::string Hash(std::string_view bytes, HashPath path) {
  Sha256 sha(path);
  sha.Update(bytes);
  return sha.FinishHex();
}

// FIPS 180-2 appendix B, and the empty message of NIST's CAVP SHA256ShortMsg.
TEST(Sha256Test, MatchesTheVectorsOfNist) {
  const struct {
    std::string message;
    std::string_view digest;
  } cases[] = {
      {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
      {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
      {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
       "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
      {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlm"
       "nopqrsmnopqrstnopqrstu",
       "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
      {std::string(1'000'000, 'a'),
       "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(Hash(c.message, HashPath::kPlain), c.digest);
    EXPECT_EQ(Hash(c.message, HashPath::kBest), c.digest) << "CPU instructions: " << CpuHasSha();
    EXPECT_EQ(Sha256Hex(c.message), c.digest);
  }
}

TEST(Sha256Test, PathsAgreeAtEveryLengthAndCut) {
  std::string message;
  for (int i = 0; i < 200; ++i) message += static_cast<char>(i * 37);
  for (std::size_t n = 0; n <= message.size(); ++n) {
    const std::string_view part = std::string_view(message).substr(0, n);
    const std::string expected = Hash(part, HashPath::kPlain);
    EXPECT_EQ(Hash(part, HashPath::kBest), expected) << n;
    Sha256 sha;
    sha.Update(part.substr(0, n / 3));
    sha.Update(part.substr(n / 3));
    EXPECT_EQ(sha.FinishHex(), expected) << n;
  }
}

TEST(Sha256Test, FileHasTheHashOfItsBytes) {
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "f");
  const std::string bytes(700'000, 'x');
  ASSERT_TRUE(WriteFileAtomic(path, bytes).ok());
  EXPECT_EQ(Sha256OfFile(path).value(), Sha256Hex(bytes));
  EXPECT_EQ(Sha256OfFile(path + "-absent").status().code(), Code::kNotFound);
}

TEST(Sha256Test, OnlySixtyFourLowerCaseDigitsAreAHash) {
  EXPECT_TRUE(IsSha256Hex(Sha256Hex("")));
  EXPECT_FALSE(IsSha256Hex(std::string(63, 'a')));
  EXPECT_FALSE(IsSha256Hex(std::string(64, 'A')));
  EXPECT_FALSE(IsSha256Hex(std::string(63, 'a') + "/"));
}

// RFC 3720, appendix B.4; the check value of the catalogue of CRCs for "123456789".
TEST(Crc32cTest, MatchesTheVectorsOfTheRfc) {
  std::string rising, falling;
  for (int i = 0; i < 32; ++i) rising += static_cast<char>(i);
  for (int i = 31; i >= 0; --i) falling += static_cast<char>(i);
  const struct {
    std::string bytes;
    std::uint32_t crc;
  } cases[] = {{"", 0},
               {"123456789", 0xe3069283},
               {std::string(32, '\0'), 0x8a9136aa},
               {std::string(32, '\xff'), 0x62a8ab43},
               {rising, 0x46dd794e},
               {falling, 0x113fdb5c}};
  for (const auto& c : cases) {
    EXPECT_EQ(Crc32c(c.bytes, HashPath::kPlain), c.crc);
    EXPECT_EQ(Crc32c(c.bytes, HashPath::kBest), c.crc) << "CPU instructions: " << CpuHasCrc();
  }
}

// Vectors of the FNV authors (draft-eastlake-fnv, appendix).
TEST(Fnv1a64Test, MatchesTheVectorsOfItsAuthors) {
  EXPECT_EQ(Fnv1a64(""), 0xcbf29ce484222325u);
  EXPECT_EQ(Fnv1a64("a"), 0xaf63dc4c8601ec8cu);
  EXPECT_EQ(Fnv1a64("foobar"), 0x85944171f73967e8u);
}

}  // namespace
}  // namespace longrun
