#include "arguments.h"

#include <torch/csrc/autograd/python_variable.h>

namespace samepad::python {
namespace {

bool is_sequence(py::handle value) {
  return PyTuple_Check(value.ptr()) || PyList_Check(value.ptr());
}

/// Anything with __index__ counts, NumPy's integers and integer tensors among them, but bool.
bool is_integer(py::handle value) {
  return PyLong_CheckExact(value.ptr()) ||
         (PyIndex_Check(value.ptr()) && !PyBool_Check(value.ptr()));
}

/// Empty where `value` has __index__ but is no integer after all, such as a tensor of floats.
std::optional<int64_t> as_int64(py::handle value) {
  const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
  if (!index) {
    if (!PyErr_ExceptionMatches(PyExc_TypeError)) {
      throw py::error_already_set();
    }
    PyErr_Clear();
    return std::nullopt;
  }
  const int64_t result = PyLong_AsLongLong(index.ptr());
  if (result == -1 && PyErr_Occurred() != nullptr) {
    throw py::error_already_set();
  }
  return result;
}

}  // namespace

void Arguments::type_error(const char* argument, const char* expected, py::handle value) const {
  throw py::type_error(std::string(function) + "(): argument '" + argument + "' must be " +
                       expected + ", not " + std::string(py::repr(value)).substr(0, 80) + " (" +
                       Py_TYPE(value.ptr())->tp_name + ")");
}

at::Tensor Arguments::tensor(const char* argument, py::handle value) const {
  if (!THPVariable_Check(value.ptr())) {
    type_error(argument, "Tensor", value);
  }
  return THPVariable_Unpack(value.ptr());
}

std::optional<at::Tensor> Arguments::optional_tensor(const char* argument,
                                                     py::handle value) const {
  if (value.is_none()) {
    return std::nullopt;
  }
  return tensor(argument, value);
}

int64_t Arguments::integer(const char* argument, py::handle value) const {
  const auto result = is_integer(value) ? as_int64(value) : std::nullopt;
  if (!result) {
    type_error(argument, "int", value);
  }
  return *result;
}

std::vector<int64_t> Arguments::integers(const char* argument, py::handle value) const {
  if (!is_sequence(value)) {
    if (!is_integer(value)) {
      type_error(argument, "int or tuple of ints", value);
    }
    return {integer(argument, value)};
  }
  std::vector<int64_t> result;
  for (const auto item : value) {
    const auto number = is_integer(item) ? as_int64(item) : std::nullopt;
    if (!number) {
      type_error(argument, "int or tuple of ints", value);
    }
    result.push_back(*number);
  }
  return result;
}

std::string Arguments::string(const char* argument, py::handle value) const {
  if (!PyUnicode_Check(value.ptr())) {
    type_error(argument, "str", value);
  }
  return py::cast<std::string>(value);
}

Padding Arguments::padding(const char* argument, py::handle value) const {
  constexpr auto kExpected = "str, int, tuple of ints or tuple of (before, after) pairs";
  if (PyUnicode_Check(value.ptr())) {
    return Padding(string(argument, value));
  }
  if (!is_sequence(value)) {
    if (!is_integer(value)) {
      type_error(argument, kExpected, value);
    }
    return integer(argument, value);
  }
  const auto items = py::reinterpret_borrow<py::sequence>(value);
  if (items.empty() || !is_sequence(items[0])) {
    for (const auto item : items) {
      if (!is_integer(item)) {
        type_error(argument, kExpected, value);
      }
    }
    return Padding(integers(argument, value));
  }
  std::vector<Padding::Pair> pairs;
  for (const auto item : items) {
    if (!is_sequence(item) || py::len(item) != 2) {
      type_error(argument, kExpected, value);
    }
    const auto pair = integers(argument, item);
    pairs.emplace_back(pair[0], pair[1]);
  }
  return Padding(pairs);
}

}  // namespace samepad::python
