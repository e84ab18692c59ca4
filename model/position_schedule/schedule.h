// A position schedule of training: which tokens of a text a sample has, and at which positions they
// are. A rotary model that is trained on short samples at positions of a longer range learns the
// distances of long texts. One file and one line of registry.cc each. Torch-free.
//
// A schedule changes only the sample. Attention is causal in the order of the sample's tokens, and
// the target of each token is the sample's next token, even if that token begins another chunk.
// Evaluations read texts at plain positions.
//
// Notation: T train_length, the number of tokens of a sample; Lt target_length, the number of
// possible positions; Lx the number of tokens of the text from which a sample is taken, T <= Lx.
// A window's text has one more token, which can only be a target; a document has none, so that its
// sample leaves out the last place (model/sample_source/). A sample of a document that is shorter
// than train_length has the document's length as its T.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "model/param.h"

namespace longrun {

struct ModelConfig;

// U{low .. high}: each integer equally likely, and independent of all other calls.
using UniformDraw = std::function<std::int64_t(std::int64_t low, std::int64_t high)>;

struct NumberedSample {
  std::vector<std::int64_t> place;     // (T + 1), increasing, <= Lx: in the text, from its start
  std::vector<std::int32_t> position;  // (T), increasing, < Lt; the last place has none
};

struct PositionSchedule {
  std::string_view name;
  std::string_view source;
  std::string_view meaning;
  std::vector<ParamSpec> params;  // including target_length
  // Writes the defaults that depend on T.
  void (*refine_defaults)(Json& params, std::int64_t train_length) = nullptr;
  // Checks what parameter types cannot express. Usually null.
  std::optional<ParamError> (*check)(const Json& params, std::int64_t train_length) = nullptr;
  // The largest Lx. Null: T.
  std::int64_t (*text_length)(const Json& params, std::int64_t train_length) = nullptr;
  // A sample of a text of Lx = n_text tokens.
  NumberedSample (*number)(const Json& params, std::int64_t train_length, std::int64_t n_text,
                           const UniformDraw& draw) = nullptr;
};

// The name of no schedule: token t of a sample is at position t.
inline constexpr std::string_view kPlainPositions = "plain";

// All schedules except the plain one, in listing order.
std::span<const PositionSchedule* const> PositionSchedules();
// The names of all schedules; the plain one is the first.
std::vector<std::string> PositionScheduleNames();
// Null for the plain one and for an unknown name.
const PositionSchedule* FindPositionSchedule(std::string_view name);

// The errors of {"method": "pose", "target_length": 1024} in types and ranges, by key: "method" or
// a parameter's name.
std::vector<ParamError> PositionScheduleErrors(const Json& given);
// Returns the complete parameters with "method", or all those errors as
// "train.positions.KEY: message". Resolving resolved parameters changes nothing. If train_length is
// 0 (unknown), defaults that depend on it stay 0.
Result<Json> ResolvePositionSchedule(const Json& given, std::int64_t train_length);

// The functions below take resolved parameters.

// All errors of a schedule for samples of train_length tokens, by key.
std::vector<ParamError> CheckPositionSchedule(const Json& schedule, std::int64_t train_length);
// Returns the reason why the model cannot be trained at the schedule's positions, as an error of
// the key "method". Returns nullopt if it can, and for a model that has errors of its own.
std::optional<ParamError> WhyNotScheduled(const Json& schedule, const ModelConfig& model);

// The number of possible positions: target_length.
std::int64_t NumberOfPositions(const Json& schedule);
// Tokens of the text that a sample may be taken from: the largest Lx.
std::int64_t ScheduleTextLength(const Json& schedule, std::int64_t train_length);
// Sample g of a run: a pure function of its arguments, whatever was drawn before. Draw k of the
// sample is low + Sm64(StreamKey(seed, g, 4) ^ k) mod (high - low + 1), k = 0, 1, ..
NumberedSample NumberSample(const Json& schedule, std::int64_t train_length, std::int64_t n_text,
                            std::uint64_t seed, std::int64_t g);

// ---- for the files of schedules ----------------------------------------------------------------

ParamSpec TargetLengthParam();
// n of the integers low .. high, each set equally likely, in increasing order (R. W. Floyd, in
// Bentley, "Programming Pearls: A Sample of Brilliance", CACM 30(9), 1987): n draws.
std::vector<std::int64_t> DrawDistinct(std::int64_t n, std::int64_t low, std::int64_t high,
                                       const UniformDraw& draw);

}  // namespace longrun
