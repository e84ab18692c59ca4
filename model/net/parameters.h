// The parameters of a network: tensors under the names and in the shapes of
// model/architecture/parameters.h.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/architecture/parameters.h"

namespace longrun {

using ParameterMap = std::map<std::string, at::Tensor>;

// fp32 on the CPU. Element i of a tensor is normal (or uniform) number i of the Philox sequence
// with key `seed` and counter (i / 2, fnv1a64(name)): independent of device,
// order and other parameters.
ParameterMap InitialParameters(const std::vector<ParameterSpec>& specs, std::uint64_t seed);

// SHA-256 over the tensors' bytes (fp32, little-endian, row by row), in the order of their names:
// the result of hashing the arrays of a model.safetensors in sorted order.
std::string ParametersSha256(const ParameterMap& parameters);

// Uniform numbers u_0, u_1, ... in (0, 1) of a parameter's sequence: two per counter,
// with 53 bits each.
std::vector<double> PhiloxUniforms(std::uint64_t seed, std::string_view name, std::int64_t n);

// Normal numbers n_0, n_1, ... of a parameter's sequence (Box-Muller in double).
std::vector<double> PhiloxNormals(std::uint64_t seed, std::string_view name, std::int64_t n);

}  // namespace longrun
