// The list of architectures.
#include <array>

#include "base/str.h"
#include "model/architecture/architecture.h"

namespace longrun {

const Architecture& BaichuanArchitecture();
const Architecture& Gpt2Architecture();
const Architecture& GptjArchitecture();
const Architecture& GptNeoxArchitecture();
const Architecture& JaketaeArchitecture();
const Architecture& LlamaArchitecture();
const Architecture& MistralArchitecture();
const Architecture& Qwen2Architecture();

std::span<const Architecture* const> Architectures() {
  static const std::array architectures = {
      &Gpt2Architecture(),    &GptjArchitecture(),  &GptNeoxArchitecture(),  &LlamaArchitecture(),
      &MistralArchitecture(), &Qwen2Architecture(), &BaichuanArchitecture(), &JaketaeArchitecture(),
  };
  return architectures;
}

std::vector<std::string> ArchitectureNames() {
  std::vector<std::string> names;
  names.reserve(Architectures().size());
  for (const Architecture* architecture : Architectures()) names.emplace_back(architecture->name);
  return names;
}

Result<const Architecture*> FindArchitecture(std::string_view name) {
  for (const Architecture* architecture : Architectures()) {
    if (architecture->name == name) return architecture;
  }
  const std::vector<std::string> names = ArchitectureNames();
  const std::string nearest = Nearest(name, names);
  return Status(Code::kInvalidArgument,
                Str("model.architecture: expected one of ", Join(names, ", "), ", found \"", name,
                    "\"", nearest.empty() ? "" : Str("; did you mean \"", nearest, "\"?")));
}

}  // namespace longrun
