// Multiple-choice questions from a JSONL file: one item per line; blank lines are skipped. There
// are two kinds of lines, distinguished by their members:
//
//   HellaSwag's own    {"ctx": "..", "endings": ["..", ..], "label": 3}              nanogpt
//                      {"activity_label": "..", "ctx_a": "..", "ctx_b": "..",
//                       "endings": [..], "label": 3}                                 lm_eval
//   any other          {"context": "..", "choices": ["..", ..], "answer": 0}         both
//
// Other members are ignored (HellaSwag has `ind`, `split` and more). A label may also be text of
// digits, as in the files of the Hugging Face hub.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace longrun {

// The convention by which the text of an item is made, cut into tokens, and compared.
enum class ChoiceProtocol { kNanoGpt, kLmEval };

struct ChoiceItem {
  std::int64_t line = 0;  // in the file, from 1
  std::string context;    // the text that the model reads first
  std::vector<std::string> choices;
  std::size_t label = 0;  // index of the right choice
  bool is_train = false;  // the line has "split": "train"
};

// The items with the text that `protocol` feeds to the model: nanogpt takes `ctx` and `endings`
// unchanged, lm_eval builds HellaSwag's context from activity_label, ctx_a and ctx_b
// (choice_text.h). kInvalidArgument for a file without items. kInvalidArgument that begins with
// "NAME:LINE: " for a line that is not a JSON object, has a missing member or one of another type,
// has fewer than 2 or more than 256 choices, has a choice without text, or has a label that matches
// no choice.
Result<std::vector<ChoiceItem>> ParseChoiceItems(std::string_view name, std::string_view jsonl,
                                                 ChoiceProtocol protocol);

}  // namespace longrun
