// Memory of the host that is never swapped out, which a GPU copies from and to without a wait.
// LibTorch's allocator of it notes the stream that is current when a copy is queued, and gives a
// block out again only after the copy. So there are as many blocks as copies on their way.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string_view>

namespace longrun {

// What `pin` returns, which asks LibTorch for pinned memory for `what`. If the host has none left,
// throws c10::OutOfMemoryError: "the host's memory for keys and values cannot be pinned: ...".
at::Tensor Pinned(std::string_view what, const std::function<at::Tensor()>& pin);

}  // namespace longrun
