// A table that a paper published, as data: sweeps/published/NAME.yaml, or a user's own file. With
// it, `longrun table SWEEP --published NAME` shows the paper's numbers beside ours.
//
//   published:
//     title: ALiBi on WikiText-103
//     source: Press, Smith and Lewis 2022 (arXiv 2108.12409), Table 5
//     metric: perplexity                     # as --metric of a table names it
//     axes: [position, train_length]         # which numbers these are
//     settings: {model.n_layer: 16, train.precision: fp16, evaluate.protocol: nonoverlap}
//     values:
//       - {position: alibi, train_length: 512, context_length: 512, value: 19.73}
//       - {position: rope, train_length: 512, context_length: [512, 712], value: [20.07, 19.79]}
//
// Strict: every key is known, every value has its type, no number is given twice. All mistakes of a
// file are reported together, with line, column, path and what to do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace longrun {

// A published number and its place.
struct PublishedValue {
  std::vector<std::string> at = {};  // its value on each of the table's axes, as in a file: "rope"
  std::int64_t context_length = 0;
  double value = 0.0;
  // For each axis the count that `at` writes, such as 1000 for 1K; none for other values, and for
  // those in quotes. Empty: no axis has one.
  std::vector<std::optional<std::int64_t>> counts = {};

  std::optional<std::int64_t> CountAt(std::size_t axis) const {
    return axis < counts.size() ? counts[axis] : std::nullopt;
  }
};

struct PublishedTable {
  std::string name;        // of the file, without its folder and ".yaml"
  std::string title = {};  // the table's content in a few words
  std::string source = {};
  std::string notes = {};
  std::string metric = {};
  // How far numbers that were read off a figure may be off; 0 for others.
  double reading_error = 0.0;
  // The paper's settings, in the order of the file: "model.n_layer" -> 16. The keys are those of a
  // resolved run, "dataset", "tokenizer", and "evaluate.PARAMETER" for the evaluation.
  std::vector<std::pair<std::string, Json>> settings = {};
  std::vector<std::string> axes = {};  // other than the context length
  std::vector<PublishedValue> values = {};
};

// kInvalidArgument has all mistakes, one per line: "a.yaml:3:5: published.metrc: unknown key; ...".
Result<PublishedTable> ParsePublishedTable(std::string_view yaml, std::string_view file_name);

// The files of sweeps/published/, which are text inside the program, by name.
struct PublishedFile {
  std::string_view name;  // "alibi-wikitext103"
  std::string_view yaml;
};
std::span<const PublishedFile> PublishedFiles();
std::vector<std::string> PublishedNames();

// The table in one of those files. kNotFound suggests the nearest name, or lists them.
Result<PublishedTable> FindPublishedTable(std::string_view name);

}  // namespace longrun
