#include "model/position/even_head.h"

#include "base/str.h"

namespace longrun {

std::optional<ParamError> NeedsEvenHead(std::string_view method, const AttentionShape& shape) {
  if (shape.head_dim % 2 == 0) return std::nullopt;
  const bool is_quotient = shape.n_head * shape.head_dim == shape.d_model;
  return ParamError{
      .key = "method",
      .message = Str("\"", method, "\" turns pairs of channels and needs an even head_dim, found ",
                     shape.head_dim,
                     is_quotient ? Str(" (model.d_model ", shape.d_model, " / model.n_head ",
                                       shape.n_head, "); choose another model.n_head or d_model")
                                 : "; choose an even model.head_dim"),
      .others = {"model.d_model", "model.n_head", "model.head_dim"}};
}

}  // namespace longrun
