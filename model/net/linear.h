// y = x w + b, with gradients, on the run's matrix path.
//
// Legend: N rows, I inputs, O outputs.
#pragma once

#include <ATen/core/Tensor.h>

#include "model/matrix_path.h"

namespace longrun {

// x_NI w_IO + b_O; an undefined b_O means none. Gradients for autograd, which can be taken once (no
// double backward).
at::Tensor Linear(const at::Tensor& x_NI, const at::Tensor& w_IO, const at::Tensor& b_O,
                  MatrixPath path);

// a_MK b_KN with any strides, without a gradient.
at::Tensor MatrixProduct(const at::Tensor& a_MK, const at::Tensor& b_KN, MatrixPath path);

// x_NI^T dy_NO: the gradient of a weight (I, O).
at::Tensor WeightGradient(const at::Tensor& x_NI, const at::Tensor& dy_NO, MatrixPath path);

// Adds the same to sum_IO, with exactly the bits that adding the product would give. `room` is
// memory that the caller keeps between calls: undefined at first, afterwards of sum_IO's size if it
// is worth keeping.
void AddWeightGradient(const at::Tensor& x_NI, const at::Tensor& dy_NO, MatrixPath path,
                       const at::Tensor& sum_IO, at::Tensor* room);

}  // namespace longrun
