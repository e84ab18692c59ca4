// YAML text as a tree that remembers the place of everything. Built from yaml-cpp's events under
// our own rules, since yaml-cpp's tree accepts duplicate keys, alias bombs and unknown tags.
//
// Refused: anchors, aliases, merge keys, tags, keys that are not text, duplicate keys (both places
// are named), a second document, invalid UTF-8 and NUL, and more than limits.h allows. Scalars stay
// text: the schema decides what `no`, `1e3` or `012` mean.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace longrun {

// Line and column count from 1. Sources: 0 is the file, n the n-th override.
struct Place {
  int source = 0;
  int line = 0;
  int column = 0;
  auto operator<=>(const Place&) const = default;
};

struct Problem {
  Place place;
  std::string message;  // "spec.train.tokens: expected a count, found nothing"
  auto operator<=>(const Problem&) const = default;
};

struct YamlNode {
  enum class Kind { kNothing, kScalar, kList, kMap };
  struct Entry;

  Kind kind = Kind::kNothing;
  Place place;
  std::string text;             // a scalar's text
  bool quoted = false;          // a scalar in quotes or a block scalar: text, never a number
  bool refused = false;         // an alias, or not YAML: its problem is already added
  std::vector<YamlNode> items;  // of a list
  std::vector<Entry> entries;   // of a map, in file order

  const Entry* Find(std::string_view key) const;  // null if absent or not a map
};

struct YamlNode::Entry {
  std::string key;
  Place place;  // of the key
  YamlNode value;
};

// The problem of a text without a value; whoever knows what belongs there says more.
inline constexpr std::string_view kEmptyText = "there is nothing here";

// Returns nullopt, and adds problems, if the text is not a tree. A tree may come with problems too
// (duplicate keys, tags), so that the schema's problems are found in the same pass.
std::optional<YamlNode> ParseYaml(std::string_view text, int source,
                                  std::vector<Problem>& problems);

}  // namespace longrun
