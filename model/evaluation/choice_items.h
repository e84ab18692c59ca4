// Questions with several answers of which one is right, from a JSONL file: one item a line, blank lines
// are skipped. Two kinds of line, told by their members:
//
//   HellaSwag's own    {"ctx": "..", "endings": ["..", ..], "label": 3}              nanogpt
//                      {"activity_label": "..", "ctx_a": "..", "ctx_b": "..",
//                       "endings": [..], "label": 3}                                 lm_eval
//   any other          {"context": "..", "choices": ["..", ..], "answer": 0}         both
//
// Other members are left alone (HellaSwag has `ind`, `split` and more). A label may also be text of
// digits, as the files of the Hugging Face hub have it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace longrun {

// Whose convention: how the text of an item is made, cut into tokens, and compared.
enum class ChoiceProtocol { kNanoGpt, kLmEval };

struct ChoiceItem {
  std::int64_t line = 0;  // in the file, from 1
  std::string context;    // what is read
  std::vector<std::string> choices;
  std::size_t label = 0;  // index of the right one
  bool is_train = false;  // the line has "split": "train"
};

// The items with their text as `protocol` feeds it: nanogpt takes `ctx` and `endings` as they stand,
// lm_eval makes HellaSwag's context out of activity_label, ctx_a and ctx_b (choice_text.h).
// kInvalidArgument begins with "NAME:LINE: ": a line that is no JSON object, a member that is missing
// or of another type, fewer than 2 or more than 256 choices, a choice without text, a label that is
// none of them; also a file without items.
Result<std::vector<ChoiceItem>> ParseChoiceItems(std::string_view name, std::string_view jsonl,
                                                 ChoiceProtocol protocol);

}  // namespace longrun
