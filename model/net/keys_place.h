// Where keys and values of a text are between two passes: on the device or, if that is a GPU which
// has no room for them, in the host's memory (host_keys.h). The results are the same to the bit.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <limits>

#include "base/status.h"

namespace longrun {

enum class KeysPlace { kDevice, kHost };

// Finds the place by trying.
class KeysRoom {
 public:
  explicit KeysRoom(const c10::Device& device) : device_(device) {}
  KeysRoom(const KeysRoom&) = delete;
  KeysRoom& operator=(const KeysRoom&) = delete;
  // Gives the host's memory back, which LibTorch keeps for the next text.
  ~KeysRoom();

  // Returns what `body` returns, which works on texts of n_tokens tokens together; errors as
  // WithinMemory (out_of_memory.h). If a GPU has too little memory, calls `body` again with kHost,
  // logs that, and from then on calls it only with kHost for as many tokens.
  Status Run(std::int64_t n_tokens, const std::function<Status(KeysPlace)>& body);

 private:
  c10::Device device_;
  std::int64_t too_many_ = std::numeric_limits<std::int64_t>::max();
};

}  // namespace longrun
