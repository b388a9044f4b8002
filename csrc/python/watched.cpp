#include <ATen/PythonTorchFunctionTLS.h>
#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/jit/frontend/tracer.h>

#include <algorithm>

#include "bindings.h"

namespace samepad::python {
namespace {

/// Whether a value overrides torch functions, as subclasses of Tensor and other objects may.
bool may_override(PyObject* value) {
  return !Py_IsNone(value) && !THPVariable_CheckExact(value) &&
         PyObject_HasAttrString(value, "__torch_function__") != 0;
}

/// Bound without pybind11, whose handling of a call would take longer than the function itself:
/// every call of an operator starts with it.
PyObject* is_watched(PyObject* /*module*/, PyObject* const* arguments, Py_ssize_t count) {
  const bool watched = torch::jit::tracer::isTracing() || at::impl::torch_function_mode_enabled() ||
                       std::any_of(arguments, arguments + count, may_override);
  return PyBool_FromLong(static_cast<long>(watched));
}

}  // namespace

void register_watched(py::module_& m) {
  // CPython requires this cast for a METH_FASTCALL function.
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast)
  const auto function = reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(is_watched));
  static PyMethodDef method{"is_watched", function, METH_FASTCALL,
                            "Whether torch.jit.trace or a torch function looks on."};
  m.attr("is_watched") = py::reinterpret_steal<py::object>(PyCFunction_New(&method, nullptr));
}

}  // namespace samepad::python
