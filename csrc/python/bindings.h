#pragma once

#include <torch/csrc/utils/pybind.h>

namespace samepad::python {

/// samepad.same_padding.
void register_padding(py::module_& m);

/// conv1d, conv2d and conv3d.
void register_conv(py::module_& m);

/// What tests and benchmarks use to choose a plan.
void register_plan(py::module_& m);

}  // namespace samepad::python
