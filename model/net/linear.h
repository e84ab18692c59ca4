// y = x w + b, with gradients, through the matrix path that a run computes with.
//
// Legend: N rows, I inputs, O outputs.
#pragma once

#include <ATen/core/Tensor.h>

#include "model/matrix_path.h"

namespace longrun {

// x_NI w_IO + b_O; an undefined b_O is none. Gradients as autograd wants them, to be taken once (no double backward).
at::Tensor Linear(const at::Tensor& x_NI, const at::Tensor& w_IO, const at::Tensor& b_O,
                  MatrixPath path);

// a_MK b_KN of any strides, without a gradient.
at::Tensor MatrixProduct(const at::Tensor& a_MK, const at::Tensor& b_KN, MatrixPath path);

// x_NI^T dy_NO: the gradient of a weight (I, O).
at::Tensor WeightGradient(const at::Tensor& x_NI, const at::Tensor& dy_NO, MatrixPath path);

// The same, added to sum_IO: bit for bit what adding the product to it gives. `room` is memory that one
// call leaves to the caller's next: undefined at first, afterwards sum_IO's size where that is worth keeping.
void AddWeightGradient(const at::Tensor& x_NI, const at::Tensor& dy_NO, MatrixPath path,
                       const at::Tensor& sum_IO, at::Tensor* room);

}  // namespace longrun
