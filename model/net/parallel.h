// The threads of LibTorch's operators, for our kernels: as many as at::get_num_threads() says.
//
// at::parallel_for is a template, and a plain loop wherever the compiler's own OpenMP is not turned on;
// clang's would bring a second library with threads of its own. So LibTorch's OpenMP library is called
// as g++'s code calls it (libgomp's ABI).
#pragma once

#include <cstdint>
#include <functional>

#include "kernels/attention.h"  // ParallelFor

namespace longrun {

// Parts of `grain` items or more, taken by whichever thread is free. An exception of one of them ends
// the rest and is thrown again.
ParallelFor OnTorchThreads(std::int64_t grain);

// Calls body once on each of them.
void OnEachTorchThread(const std::function<void()>& body);

}  // namespace longrun
