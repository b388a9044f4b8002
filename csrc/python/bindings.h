#pragma once

#include <c10/util/ArrayRef.h>
#include <samepad/padding.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/utils/pybind.h>

#include <utility>

namespace samepad::python {

/// `function` for pybind11, with C++ errors and warnings turned into what PyTorch makes of them:
/// exceptions without the C++ stack, and Python's own warnings.
template <class Function>
auto wrap(Function&& function) {
  return torch::wrap_pybind_function(std::forward<Function>(function));
}

/// A tuple of (before, after).
inline py::tuple pairs(at::ArrayRef<Pads<int64_t>> pads) {
  py::tuple result(pads.size());
  for (size_t i = 0; i < pads.size(); ++i) {
    result[i] = py::make_tuple(pads[i].before, pads[i].after);
  }
  return result;
}

/// The docstring of a function that calls an operator.
inline constexpr auto kOperatorDoc =
    "Eager call of the operator of this name; see samepad.functional.";

/// samepad.same_padding and pad.
void register_padding(py::module_& m);

/// conv1d, conv2d and conv3d.
void register_conv(py::module_& m);

/// conv_transpose1d, conv_transpose2d and conv_transpose3d.
void register_conv_transpose(py::module_& m);

/// max_pool1d, 2d, 3d and avg_pool1d, 2d, 3d.
void register_pool(py::module_& m);

/// Which plan runs, and how it is chosen.
void register_plan(py::module_& m);

/// What layers of torch.nn compute what a SAME layer computes for one size.
void register_static_layers(py::module_& m);

/// Whether what watches calls in Python is to see an operator.
void register_watched(py::module_& m);

}  // namespace samepad::python
