#include "model/evaluation/params.h"

namespace longrun {

ParamSpec ContextLengthsParam(std::string_view meaning, std::int64_t max) {
  return {.name = "context_lengths",
          .type = ParamSpec::Type::kCountList,
          .default_value = nullptr,
          .min = 1,
          .max = static_cast<double>(max),
          .meaning = meaning};
}

ParamSpec SplitParam(std::string_view meaning) {
  return {.name = "split",
          .type = ParamSpec::Type::kChoice,
          .default_value = "validation",
          .choices = {"train", "validation", "test"},
          .meaning = meaning};
}

ParamSpec WindowBaselineParam() {
  return {.name = kBaselineParam,
          .type = ParamSpec::Type::kChoice,
          .default_value = kWindowBaseline,
          .choices = {kNoBaseline, kWindowBaseline},
          .meaning =
              "window: at context lengths above the train length, also measure the model with a "
              "plain window of that length"};
}

}  // namespace longrun
