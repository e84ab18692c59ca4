#include "model/net/parameters.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <cmath>
#include <numbers>

#include "base/hash.h"
#include "base/random.h"

namespace longrun {
namespace {

// Uniform in (0, 1) with 53 bits.
double Uniform53(std::uint32_t high, std::uint32_t low) {
  const std::uint64_t bits = ((std::uint64_t{high} << 32) | low) >> 11;
  return (static_cast<double>(bits) + 0.5) * 0x1p-53;
}

}  // namespace

std::vector<double> PhiloxUniforms(std::uint64_t seed, std::string_view name, std::int64_t n) {
  const std::uint64_t stream = Fnv1a64(name);
  std::vector<double> numbers;
  numbers.reserve(static_cast<std::size_t>(n + 1));
  for (std::uint64_t block = 0; numbers.size() < static_cast<std::size_t>(n); ++block) {
    const auto words = Philox4x32(block, stream, seed);
    numbers.push_back(Uniform53(words[0], words[1]));
    numbers.push_back(Uniform53(words[2], words[3]));
  }
  numbers.resize(static_cast<std::size_t>(n));
  return numbers;
}

std::vector<double> PhiloxNormals(std::uint64_t seed, std::string_view name, std::int64_t n) {
  std::vector<double> numbers = PhiloxUniforms(seed, name, n + n % 2);
  for (std::size_t i = 0; i < numbers.size(); i += 2) {
    const double radius = std::sqrt(-2.0 * std::log(numbers[i]));
    const double angle = 2.0 * std::numbers::pi * numbers[i + 1];
    numbers[i] = radius * std::cos(angle);
    numbers[i + 1] = radius * std::sin(angle);
  }
  numbers.resize(static_cast<std::size_t>(n));
  return numbers;
}

ParameterMap InitialParameters(const std::vector<ParameterSpec>& specs, std::uint64_t seed) {
  ParameterMap parameters;
  for (const ParameterSpec& spec : specs) {
    const bool uniform = spec.init_high > spec.init_low;
    if (!uniform && spec.init_std == 0.0) {
      parameters[spec.name] = at::full(spec.shape, spec.init_mean, at::kFloat);
      continue;
    }
    at::Tensor tensor = at::empty(spec.shape, at::kFloat);
    const std::vector<double> numbers = uniform ? PhiloxUniforms(seed, spec.name, tensor.numel())
                                                : PhiloxNormals(seed, spec.name, tensor.numel());
    const double begin = uniform ? spec.init_low : spec.init_mean;
    const double width = uniform ? spec.init_high - spec.init_low : spec.init_std;
    float* out = tensor.data_ptr<float>();
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      out[i] = static_cast<float>(begin + width * numbers[i]);
    }
    parameters[spec.name] = std::move(tensor);
  }
  return parameters;
}

std::string ParametersSha256(const ParameterMap& parameters) {
  Sha256 hash;
  for (const auto& [name, parameter] : parameters) {
    const at::Tensor stored = parameter.detach().to(at::kCPU, at::kFloat).contiguous();
    hash.Update(stored.data_ptr<float>(), stored.nbytes());
  }
  return hash.FinishHex();
}

}  // namespace longrun
