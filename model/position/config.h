// The position method of a model, with every default written in. Torch-free.
#pragma once

#include <string>

#include "base/json.h"

namespace longrun {

// "position": {"method": "alibi", "variant": "press"}: the method and its parameters, complete.
struct PositionConfig {
  std::string method;
  Json params = Json::object();  // without "method"; every parameter of the method, checked

  Json ToJson() const;
};

}  // namespace longrun
