#include "sweeps/foreign_name.h"

#include <algorithm>
#include <span>

#include "base/letter_case.h"

namespace longrun {
namespace {

constexpr std::string_view kOfSteps = " It is the number of steps times train.batch_tokens";
constexpr std::string_view kOfBatch = " It is the number of sequences times their length";

constexpr ForeignName kKeys[] = {
    {"steps", "train.tokens", kOfSteps},
    {"max_steps", "train.tokens", kOfSteps},
    {"n_steps", "train.tokens", kOfSteps},
    {"epochs", "train.tokens", " It counts the tokens of all epochs"},
    {"batch_size", "train.batch_tokens", kOfBatch},
    {"learning_rate", "train.optimizer.lr"},
    {"hidden_size", "model.d_model"},
    {"n_embd", "model.d_model"},
    {"num_layers", "model.n_layer"},
    {"num_heads", "model.n_head"},
    {"block_size", "matrix.train_length"},
    {"seq_len", "matrix.train_length"},
    {"seq_length", "matrix.train_length"},
};

constexpr ForeignName kMethods[] = {
    {"nope", "none"},
    {"rotary", "rope"},
    {"sincos", "sinusoidal"},
    {"forgetting", "fox"},
};

const ForeignName* Find(std::span<const ForeignName> table, std::string_view name) {
  const auto found = std::ranges::find(table, InSmallLetters(name), &ForeignName::name);
  return found == table.end() ? nullptr : &*found;
}

}  // namespace

const ForeignName* FindForeignKey(std::string_view name) { return Find(kKeys, name); }

const ForeignName* FindForeignMethod(std::string_view name) { return Find(kMethods, name); }

}  // namespace longrun
