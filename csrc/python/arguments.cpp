#include "arguments.h"

#include <torch/csrc/autograd/python_variable.h>

namespace samepad::python {
namespace {

bool is_sequence(py::handle value) {
  return PyTuple_Check(value.ptr()) || PyList_Check(value.ptr());
}

/// Anything with __index__ except a bool may be an integer, such as NumPy's integers and integer
/// tensors.
bool may_be_integer(py::handle value) {
  return PyLong_CheckExact(value.ptr()) ||
         (PyIndex_Check(value.ptr()) && !PyBool_Check(value.ptr()));
}

}  // namespace

void Arguments::type_error(const char* argument, const char* expected, py::handle value) const {
  throw py::type_error(std::string(function) + "(): argument '" + argument + "' must be " +
                       expected + ", not " + std::string(py::repr(value)).substr(0, 80) + " (" +
                       Py_TYPE(value.ptr())->tp_name + ")");
}

std::optional<int64_t> Arguments::as_int64(const char* argument, py::handle value) const {
  if (!may_be_integer(value)) {
    return std::nullopt;
  }
  const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
  if (!index) {
    // It has __index__ but is not an integer after all, such as a tensor of floats.
    if (!PyErr_ExceptionMatches(PyExc_TypeError)) {
      throw py::error_already_set();
    }
    PyErr_Clear();
    return std::nullopt;
  }
  int overflow = 0;
  const int64_t result = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow != 0) {
    throw py::value_error(std::string(function) + "(): argument '" + argument +
                          "' must fit int64, but got " + std::string(py::repr(value)));
  }
  return result;
}

at::Tensor Arguments::tensor(const char* argument, py::handle value) const {
  if (!THPVariable_Check(value.ptr())) {
    type_error(argument, "Tensor", value);
  }
  return THPVariable_Unpack(value.ptr());
}

std::optional<at::Tensor> Arguments::optional_tensor(const char* argument, py::handle value) const {
  if (value.is_none()) {
    return std::nullopt;
  }
  return tensor(argument, value);
}

int64_t Arguments::integer(const char* argument, py::handle value) const {
  const auto result = as_int64(argument, value);
  if (!result) {
    type_error(argument, "int", value);
  }
  return *result;
}

std::vector<int64_t> Arguments::integers(const char* argument, py::handle value,
                                         const char* expected) const {
  std::vector<int64_t> result;
  const auto append = [&](py::handle item) {
    const auto number = as_int64(argument, item);
    if (!number) {
      type_error(argument, expected, value);
    }
    result.push_back(*number);
  };
  if (is_sequence(value)) {
    for (const auto item : value) {
      append(item);
    }
  } else {
    append(value);
  }
  return result;
}

std::optional<std::vector<int64_t>> Arguments::optional_integers(const char* argument,
                                                                 py::handle value) const {
  if (value.is_none()) {
    return std::nullopt;
  }
  return integers(argument, value, "None, int or tuple of ints");
}

bool Arguments::boolean(const char* argument, py::handle value) const {
  if (!PyBool_Check(value.ptr())) {
    type_error(argument, "bool", value);
  }
  return value.is(py::handle(Py_True));
}

std::optional<double> Arguments::optional_number(const char* argument, py::handle value) const {
  if (value.is_none()) {
    return std::nullopt;
  }
  if (PyFloat_Check(value.ptr())) {
    return py::cast<double>(value);
  }
  const auto number = as_int64(argument, value);
  if (!number) {
    type_error(argument, "float or None", value);
  }
  return static_cast<double>(*number);
}

std::string Arguments::string(const char* argument, py::handle value) const {
  if (!PyUnicode_Check(value.ptr())) {
    type_error(argument, "str", value);
  }
  return py::cast<std::string>(value);
}

Modes Arguments::modes(const char* argument, py::handle value) const {
  if (PyUnicode_Check(value.ptr())) {
    return NamedMode(string(argument, value)).mode;
  }
  constexpr auto kExpected = "str or tuple of strs";
  if (!is_sequence(value)) {
    type_error(argument, kExpected, value);
  }
  std::vector<PadMode> modes;
  for (const auto item : value) {
    if (!PyUnicode_Check(item.ptr())) {
      type_error(argument, kExpected, value);
    }
    modes.push_back(NamedMode(string(argument, item)).mode);
  }
  return modes;
}

Padding Arguments::padding(const char* argument, py::handle value) const {
  constexpr auto kExpected =
      "str, int, tuple of strs, tuple of ints or tuple of (before, after) pairs";
  if (PyUnicode_Check(value.ptr())) {
    return modes(argument, value);
  }
  if (!is_sequence(value)) {
    return integers(argument, value, kExpected).front();
  }
  const auto items = py::reinterpret_borrow<py::sequence>(value);
  if (!items.empty() && PyUnicode_Check(items[0].ptr())) {
    for (const auto item : items) {
      if (!PyUnicode_Check(item.ptr())) {
        type_error(argument, kExpected, value);
      }
    }
    return modes(argument, value);
  }
  if (items.empty() || !is_sequence(items[0])) {
    return Padding(integers(argument, value, kExpected));
  }
  std::vector<Padding::Pair> pairs;
  for (const auto item : items) {
    if (!is_sequence(item) || py::len(item) != 2) {
      type_error(argument, kExpected, value);
    }
    const auto pair = integers(argument, item, kExpected);
    pairs.emplace_back(pair[0], pair[1]);
  }
  return Padding(pairs);
}

}  // namespace samepad::python
