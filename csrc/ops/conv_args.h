#pragma once

// The arguments of a convolution, checked and expanded to one value per dimension.

#include <ATen/core/Tensor.h>
#include <c10/core/SymInt.h>
#include <c10/core/SymIntArrayRef.h>
#include <c10/util/SmallVector.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace samepad::detail {

/// One integer per spatial dimension.
using Dims = c10::SmallVector<int64_t, 3>;

/// The values of `argument`, one integer or `dimensions` integers, each at least 1.
/// Symbolic values are specialised: a plan is for one stride and one kernel.
Dims expand_positive(const char* argument, c10::SymIntArrayRef values, int64_t dimensions);

/// Throws where the extent of a dilated kernel exceeds int64_t.
void check_extents(const Dims& kernel, const Dims& dilation);

struct ConvArgs {
  /// Checks every argument but the padding amounts; throws `c10::Error` naming the argument.
  /// Under autocast, casts the tensors to the type that the convolution will run in.
  ConvArgs(int64_t dimensions, at::Tensor input, at::Tensor weight, std::optional<at::Tensor> bias,
           c10::SymIntArrayRef stride, c10::SymIntArrayRef dilation, c10::SymInt groups,
           std::string_view padding_mode);

  int64_t dimensions() const { return static_cast<int64_t>(stride.size()); }

  /// Input size of spatial dimension i, batched or not.
  c10::SymInt size(int64_t i) const { return input.sym_size(i - dimensions()); }

  bool is_empty(int64_t i) const { return size(i).maybe_as_int() == 0; }

  int64_t extent(int64_t i) const;

  at::Tensor input;
  at::Tensor weight;
  std::optional<at::Tensor> bias;
  Dims kernel;
  Dims stride;
  Dims dilation;
  c10::SymInt groups;
  /// How `at::pad` names the padding mode: "constant" for zeros.
  std::string fill;
};

}  // namespace samepad::detail
