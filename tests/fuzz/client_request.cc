// What clients and operators send: each request reaches the real method of its service, as a caller
// of any role, or as nobody. Every call ends with a status that has a code, every answer can be
// read, nothing is made beside the state folder, and what is left is a state folder without damage.
#include <algorithm>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/str.h"
#include "tests/fuzz/calls.h"
#include "tests/fuzz/input.pb.h"
#include "tests/fuzz/message_mutator.h"
#include "tests/fuzz/target.h"
#include "tests/fuzz/world.h"

namespace longrun::coordinator {
namespace {

using google::protobuf::Message;

constexpr int kCallsMax = 16;

void MakeCall(CoordinatorWorld& world, fuzz::ClientCall call) {
  world.Expand(call);
  if (call.has_store_dataset()) {
    for (auto& file : *call.mutable_store_dataset()->mutable_files()) {
      if (file.bytes() == 0) file.set_bytes(world.BytesOf(file.sha256()));
    }
  }
  const auto* const field = call.GetReflection()->GetOneofFieldDescriptor(
      call, fuzz::ClientCall::descriptor()->FindOneofByName("request"));
  if (field == nullptr) return;
  const RpcPeer peer = world.PeerOf(call.caller());
  if (call.has_upload_artifact()) {
    std::vector<const Message*> frames;
    for (const auto& frame : call.upload_artifact().frames()) frames.push_back(&frame);
    CallUpload(world.daemon(), peer, call.gone(), frames);
    return;
  }
  CallMethod(world.daemon(), peer, call.gone(), call.GetReflection()->GetMessage(call, field));
}

// Puts back what most inputs need. True if the next one needs a fresh copy instead.
bool Mend(CoordinatorWorld& world) {
  Core& core = world.daemon().parts.core;
  bool has_sweeps = false, is_active = false;
  std::size_t n_tasks = 0;
  LR_CHECK(core.LookAndWait([&](const State& state) {
                 const std::string& busy = world.busy_sweep();
                 has_sweeps = state.sweep_tasks.contains(world.Expand("@sweep")) &&
                              state.sweep_tasks.contains(busy);
                 is_active = has_sweeps && IsActiveSweep(state, busy);
                 n_tasks = state.tasks.size();
               })
               .ok());
  if (!has_sweeps || n_tasks > 1000) return true;
  const bool has_dataset = std::ranges::any_of(
      core.datasets(), [](const DatasetRow& dataset) { return dataset.info.name == "words"; });
  const bool has_model = std::ranges::any_of(
      core.models(), [](const ModelRow& model) { return model.name == "imported"; });
  if (!has_dataset || !has_model) world.RegisterData();
  if (!is_active) world.Renew();
  return false;
}

}  // namespace
}  // namespace longrun::coordinator

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t size_max, unsigned seed) {
  static const std::vector<std::string>& words =
      *new std::vector<std::string>(longrun::coordinator::HostileWords());
  longrun::fuzz::ClientInput room;
  return longrun::MutateInput(data, size, size_max, seed, words, &room);
}

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace longrun::coordinator;
  CoordinatorWorld& world = CoordinatorWorld::Shared(/*ticks=*/false);
  longrun::fuzz::ClientInput input;
  const std::string_view bytes = longrun::AsText(data, size);
  if (!longrun::ReadInput(bytes, &input)) return 0;
  world.Begin(bytes);
  for (int i = 0; i < std::min(input.calls_size(), kCallsMax); ++i) MakeCall(world, input.calls(i));
  world.End(Mend(world));
  return 0;
}
