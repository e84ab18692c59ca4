#include "tests/kernels/kernels_under_test.h"

#include <algorithm>
#include <string>

namespace longrun::testing {

std::string TestName(const KernelUnderTest& tested) {
  std::string name(tested.kernel.name);
  std::ranges::replace(name, '/', '_');
  return name;
}

}  // namespace longrun::testing
