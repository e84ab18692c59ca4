// See matrix_path.h.
#include "model/matrix_path.h"

#include "base/str.h"

namespace longrun {
namespace {

constexpr std::string_view kAtenName = "aten";
constexpr std::string_view kOneDnnName = "onednn";

std::string_view NameOf(MatrixPath path) {
  return path == MatrixPath::kOneDnn ? kOneDnnName : kAtenName;
}

}  // namespace

MatrixPath NewRunMatrixPath(std::string_view vendor, std::string_view simd) {
  const bool mkl_lags = vendor == "AuthenticAMD" && simd == "avx512";
  return mkl_lags ? MatrixPath::kOneDnn : MatrixPath::kAten;
}

std::string MatrixPathName(MatrixPath path, std::string_view vendor) {
  return Str(NameOf(path), "/", vendor);
}

std::optional<MatrixPath> FindMatrixPath(std::string_view name, std::string_view vendor) {
  for (const MatrixPath path : {MatrixPath::kAten, MatrixPath::kOneDnn}) {
    if (name == MatrixPathName(path, vendor)) return path;
  }
  return std::nullopt;
}

bool HonoursMatrixPath(std::string_view own, std::string_view wanted) {
  if (own == wanted) return true;
  return own.starts_with(kOneDnnName) && wanted.starts_with(kAtenName) &&
         own.substr(kOneDnnName.size()) == wanted.substr(kAtenName.size());
}

}  // namespace longrun
