#include "pki/token.h"

#include <gtest/gtest.h>

#include <set>

#include "base/hash.h"

namespace longrun {
namespace {

TEST(TokenTest, TokenHas256SecretBitsAndAnIdOfItsOwn) {
  std::set<std::string> ids;
  std::set<std::string> secrets;
  for (int i = 0; i < 1000; ++i) {
    const Result<NewToken> token = MakeToken();
    ASSERT_TRUE(token.ok()) << token.status().message();
    ASSERT_EQ(token->text.size(), 3u + 16 + 1 + 64);
    EXPECT_EQ(TokenId(token->text), token->id);
    EXPECT_EQ(token->hash, Sha256Hex(token->text));
    ids.insert(token->id);
    secrets.insert(token->text.substr(20));
  }
  EXPECT_EQ(ids.size(), 1000u);
  EXPECT_EQ(secrets.size(), 1000u);
}

TEST(TokenTest, WhatIsNotATokenHasNoId) {
  const std::string text = MakeToken().value().text;
  EXPECT_EQ(TokenId(""), "");
  EXPECT_EQ(TokenId(text.substr(1)), "");
  EXPECT_EQ(TokenId(text + "0"), "");
  for (const std::size_t at : {0u, 1u, 3u, 19u, 20u, 83u}) {
    std::string changed = text;
    changed[at] = 'Z';
    EXPECT_EQ(TokenId(changed), "") << at;
  }
}

TEST(TokenTest, ComparisonInConstantTimeIsAComparison) {
  EXPECT_TRUE(IsEqualInConstantTime("", ""));
  EXPECT_TRUE(IsEqualInConstantTime("abc", "abc"));
  EXPECT_FALSE(IsEqualInConstantTime("abc", "abd"));
  EXPECT_FALSE(IsEqualInConstantTime("abc", "abcd"));
}

}  // namespace
}  // namespace longrun
