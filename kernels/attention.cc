#include "kernels/attention.h"

namespace longrun {

std::string_view ScalarName(Scalar scalar) {
  switch (scalar) {
    case Scalar::kFp32:
      return "fp32";
    case Scalar::kBf16:
      return "bf16";
    case Scalar::kFp64:
      return "fp64";
    case Scalar::kFp16:
      return "fp16";
  }
  return "";
}

}  // namespace longrun
