// An enum and the words that files, messages and the database have for its values.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "base/enum_names.h"

namespace longrun {

// Expects exactly these words, in the order of the values, and that each leads back to its value.
template <NamedEnum Enum>
void ExpectWords(const std::vector<std::pair<Enum, std::string>>& expected) {
  const std::vector<std::string> words = EnumChoices<Enum>();
  ASSERT_EQ(words.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const auto& [value, word] = expected[i];
    EXPECT_EQ(static_cast<std::size_t>(value), i) << word;
    EXPECT_EQ(words[i], word);
    EXPECT_EQ(EnumName(value), word);
    EXPECT_EQ(FindEnum<Enum>(word), value) << word;
  }
  EXPECT_EQ(FindEnum<Enum>(""), std::nullopt);
  EXPECT_EQ(FindEnum<Enum>(words[0] + " "), std::nullopt);
}

}  // namespace longrun
