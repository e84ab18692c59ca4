// Lets our kernels use the threads of LibTorch's operators: as many as at::get_num_threads() says.
//
// at::parallel_for is a template, and becomes a plain loop unless the compiler's own OpenMP is
// enabled; clang's OpenMP would bring a second library with threads of its own. So we call
// LibTorch's OpenMP library as code compiled by g++ does (libgomp's ABI).
#pragma once

#include <cstdint>
#include <functional>

#include "kernels/attention.h"  // ParallelFor

namespace longrun {

// Divides work into parts of at least `grain` items, which free threads take. An exception in one
// part ends the rest and is thrown again.
ParallelFor OnTorchThreads(std::int64_t grain);

// Calls body once on each of these threads.
void OnEachTorchThread(const std::function<void()>& body);

}  // namespace longrun
