#include "worker/trainer/open_model.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <utility>

#include "base/json.h"
#include "base/str.h"
#include "kernels/cuda_attention.h"
#include "model/attention_path.h"
#include "model/extension/extension.h"
#include "model/hugging_face/config_file.h"
#include "model/hugging_face/finite.h"
#include "model/net/checkpoint.h"
#include "model/net/device.h"
#include "model/net/model_folder.h"
#include "model/net/tensor_file.h"
#include "worker/trainer/weights.h"

namespace longrun::trainer {
namespace {

Status Extend(const std::string& text, std::int64_t trained_length, NetConfig& net) {
  ASSIGN_OR_RETURN(Json given, ParseJson(text));
  const Result<Json> extension =
      ResolveExtension(WithOriginalLength(std::move(given), trained_length));
  if (!extension.ok()) return Status(Code::kInvalidArgument, extension.status().message());
  return SetExtension(*extension, net);
}

// Refuses text files. A safetensors file begins with the length of its header, eight bytes of which
// the last is 0: no text begins like that.
Status CheckIsNoText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  char begin[8] = {};
  file.read(begin, sizeof begin);
  if (file.gcount() == 0 || std::ranges::count(begin, begin + file.gcount(), '\0') > 0) {
    return Status();
  }
  return Status(
      Code::kDataLoss,
      Str(path,
          ": it is not a safetensors file: expected one with token ids, as an int64 tensor "
          "\"tokens\" of shape (B, T); `longrun-trainer generate --prompt-file` takes a text"));
}

// The attention that a run of the model would use; the reference for doubles, which no run uses.
AttentionBackend AttentionOf(const ModelConfig& model, const Compute& compute) {
  if (compute.dtype == at::kDouble) return AttentionBackend::kReference;
  if (compute.device.is_cpu()) return AttentionPathFor(model, DeviceKind::kCpu);
  return AttentionPathFor(model, DeviceKind::kGpu,
                          CudaHeadDimMaxOf(CudaPluginPath(), compute.device.index()));
}

}  // namespace

Result<std::unique_ptr<Net>> OpenModel(const ModelOptions& options) {
  std::optional<AttentionBackend> backend;  // nullopt: as a run of the model would choose
  if (options.attention != "auto") {
    ASSIGN_OR_RETURN(backend, ParseAttentionBackend(options.attention));
  }
  ASSIGN_OR_RETURN(const Compute compute, OpenCompute(options.device, options.dtype));
  FixNumerics({.threads = options.threads, .sdpa_attention = backend == AttentionBackend::kTorch},
              compute.device);
  ASSIGN_OR_RETURN(const WeightFolder opened, OpenWeightFolder(options.folder));
  RETURN_IF_ERROR(CheckFinite(opened));
  ModelFolder folder = ToModelFolder(opened);
  if (!options.extend.empty()) {
    ASSIGN_OR_RETURN(const Json config, ReadConfigFile(options.folder));
    ASSIGN_OR_RETURN(const std::int64_t length, FolderTrainedLength(options.folder, config));
    RETURN_IF_ERROR(Extend(options.extend, length, folder.config).In("--extend"));
  }
  if (!backend) {
    backend = AttentionOf(folder.config.model, compute);
  }
  return MakeNet(folder.config, std::move(folder.parameters), *backend, compute);
}

Result<at::Tensor> LoadTokens(const std::string& path, std::int64_t vocab_size) {
  RETURN_IF_ERROR(CheckIsNoText(path));
  ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Open(path));
  const StoredTensor* stored = file.Find("tokens");
  if (stored == nullptr) {
    return Status(Code::kInvalidArgument,
                  Str(path, ": there is no tensor \"tokens\": expected int64 ids of shape (B, T)"));
  }
  if (stored->type != StoredType::kI64 || stored->shape.size() != 2) {
    return Status(Code::kInvalidArgument,
                  Str(path, ": tokens must be int64 of shape (B, T), found ",
                      StoredTypeName(stored->type), " ", ShapeText(stored->shape)));
  }
  at::Tensor tokens = ToTensor(*stored);
  if (tokens.numel() == 0) {
    return Status(Code::kInvalidArgument,
                  Str(path, ": tokens is empty, of shape ", ShapeText(stored->shape)));
  }
  const std::int64_t* ids = tokens.const_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < tokens.numel(); ++i) {
    if (ids[i] >= 0 && ids[i] < vocab_size) continue;
    return Status(Code::kInvalidArgument,
                  Str(path, ": tokens[", i / tokens.size(1), "][", i % tokens.size(1), "] is ",
                      ids[i], ", but the vocabulary has the ids 0 to ", vocab_size - 1));
  }
  return tokens;
}

}  // namespace longrun::trainer
