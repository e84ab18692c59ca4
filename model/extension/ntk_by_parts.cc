// NTK-by-parts: YaRN's frequencies, without its magnitude. Peng et al. 2023 (arXiv:2309.00071),
// section 3.2. Formulas: yarn.cc.
#include "model/extension/yarn.h"

namespace longrun {
namespace {

ParamResult<ExtendedRotation> Rotation(const Json& params, const RopeShape& shape, std::int64_t) {
  return RotationByParts(params, shape, 1.0);
}

}  // namespace

const Extension& NtkByPartsExtension() {
  static const Extension extension = {
      .name = "ntk_by_parts",
      .source = "arXiv:2309.00071, section 3.2",
      .meaning =
          "fast pairs keep their frequencies, slow pairs' frequencies are divided by the factor",
      .params = PartsParams(),
      .rotation = &Rotation,
      .trains = true,
      .needs_original_length = true,
      .check = &CheckParts};
  return extension;
}

}  // namespace longrun
