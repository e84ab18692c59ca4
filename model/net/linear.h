// y = x w + b, with gradients, on the run's matrix path. On a CPU, factors in fp16 are widened:
// their products are those of fp32, rounded to fp16, since few CPUs have instructions for fp16, and
// without these LibTorch's own loops are many times slower.
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

// A weight in the type of its product.
struct ProductWeight {
  at::Tensor weight;         // (I, O) if inputs_first, else (O, I)
  bool inputs_first = true;  // the layout of both tensors
  // Undefined, or (on a GPU) what `weight` is a rounded copy of, in fp32: it gets the gradient,
  // whose sums are not rounded to the product's type.
  at::Tensor stored = {};
};
// Whether the gradient of a weight in `type`, from factors like `x`, is a product with a result in
// fp32: on GPUs, for factors in bf16 and a weight in fp32.
bool MultipliesIntoFp32(const at::Tensor& x, at::ScalarType type);
// The same product. The gradient goes to w.stored if it is defined: then MultipliesIntoFp32 holds
// for x_NI, and b_O gets no gradient.
at::Tensor Linear(const at::Tensor& x_NI, const ProductWeight& w, const at::Tensor& b_O,
                  MatrixPath path);

// a b over the last two dimensions, as at::matmul takes it.
at::Tensor BatchedProduct(const at::Tensor& a, const at::Tensor& b);

// a_MK b_KN with any strides, without a gradient.
at::Tensor MatrixProduct(const at::Tensor& a_MK, const at::Tensor& b_KN, MatrixPath path);

// x_NI^T dy_NO: the gradient of a weight (I, O).
at::Tensor WeightGradient(const at::Tensor& x_NI, const at::Tensor& dy_NO, MatrixPath path);

// Memory of a large gradient that the caller keeps from call to call, since allocating new pages
// would cost time in each. Both are undefined at first, and stay so where this is not worth it.
struct GradientRoom {
  at::Tensor product;  // what is added to the sum
  at::Tensor sum;      // an earlier sum, which nobody needs any more
};
// Whether keeping the memory of this sum is worth it.
bool FillsNewPages(const at::Tensor& sum_IO);

// Adds the same to *sum_IO, of the given type: on a CPU with exactly the bits that adding the
// product would give, on a GPU without rounding the product to the factors' type. An undefined
// *sum_IO counts as zero (then a zero may have another sign than after an addition) and takes the
// memory of room->sum.
void AddWeightGradient(const at::Tensor& x_NI, const at::Tensor& dy_NO, MatrixPath path,
                       at::ScalarType type, at::Tensor* sum_IO, GradientRoom* room);

}  // namespace longrun
