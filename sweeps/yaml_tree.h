// YAML text as a tree that remembers where everything stood. Built from yaml-cpp's events, under our
// own rules: yaml-cpp's tree accepts duplicate keys, alias bombs and unknown tags.
//
// Refused: anchors, aliases, merge keys, tags, keys that are not text, duplicate keys (both places
// are named), a second document, invalid UTF-8 and NUL, and more than limits.h allows. Scalars stay
// text: what `no`, `1e3` or `012` mean is for the schema to say.
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
  std::string text;             // of a scalar
  bool quoted = false;          // a scalar in quotes, or a block: text, never a number
  bool refused = false;         // stood for an alias: a problem was added already
  std::vector<YamlNode> items;  // of a list
  std::vector<Entry> entries;   // of a map, in the file's order

  const Entry* Find(std::string_view key) const;  // null when absent, or no map
};

struct YamlNode::Entry {
  std::string key;
  Place place;  // of the key
  YamlNode value;
};

// Nothing when the text is no tree at all; problems are then never empty. A tree may come with
// problems too (duplicate keys, tags), so that the schema's own are found in the same pass.
std::optional<YamlNode> ParseYaml(std::string_view text, int source,
                                  std::vector<Problem>& problems);

}  // namespace longrun
