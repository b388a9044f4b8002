#pragma once

#include <c10/util/ArrayRef.h>
#include <samepad/padding.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/utils/pybind.h>

#include <utility>

namespace samepad::python {

/// Prepares `function` for pybind11, such that C++ errors become exceptions without the C++ stack
/// and C++ warnings become Python's own, as in PyTorch.
template <class Function>
auto wrap(Function&& function) {
  return torch::wrap_pybind_function(std::forward<Function>(function));
}

/// Converts pads to a tuple of (before, after) tuples.
inline py::tuple pairs(at::ArrayRef<Pads<int64_t>> pads) {
  py::tuple result(pads.size());
  for (size_t i = 0; i < pads.size(); ++i) {
    result[i] = py::make_tuple(pads[i].before, pads[i].after);
  }
  return result;
}

/// The docstring of all functions that call an operator.
inline constexpr auto kOperatorDoc =
    "Eager call of the operator of this name; see samepad.functional.";

/// Registers same_padding and pad.
void register_padding(py::module_& m);

/// Registers conv1d, conv2d and conv3d.
void register_conv(py::module_& m);

/// Registers conv_transpose1d, conv_transpose2d and conv_transpose3d.
void register_conv_transpose(py::module_& m);

/// Registers fused_conv and packed_weight.
void register_fused_conv(py::module_& m);

/// Registers the pools of 1, 2 and 3 dimensions: max_pool*d and avg_pool*d.
void register_pool(py::module_& m);

/// Registers functions that tell which plan runs and control how it is chosen.
void register_plan(py::module_& m);

/// Registers functions that tell which layer of torch.nn computes what a SAME layer computes for
/// one input size.
void register_static_layers(py::module_& m);

/// Registers a function that tells whether a tracer or a torch function needs to see a call.
void register_watched(py::module_& m);

}  // namespace samepad::python
