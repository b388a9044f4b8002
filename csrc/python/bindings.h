#pragma once

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

/// samepad.same_padding.
void register_padding(py::module_& m);

/// conv1d, conv2d and conv3d.
void register_conv(py::module_& m);

/// What tests and benchmarks use to choose a plan.
void register_plan(py::module_& m);

}  // namespace samepad::python
