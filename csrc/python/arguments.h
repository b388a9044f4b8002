#pragma once

// Converts Python arguments to C++ ones. For a wrong argument pybind11's own conversion would list
// signatures; these functions name the argument, what came and what was expected.

#include <samepad/padding_argument.h>
#include <torch/csrc/utils/pybind.h>

#include <optional>
#include <string>
#include <vector>

namespace samepad::python {

/// Converts the arguments of one call. `function` is its name in error messages.
struct Arguments {
  const char* function;

  /// Accepts a torch.Tensor.
  at::Tensor tensor(const char* argument, py::handle value) const;

  /// Accepts a torch.Tensor or None.
  std::optional<at::Tensor> optional_tensor(const char* argument, py::handle value) const;

  /// Accepts an integer, but not a bool.
  int64_t integer(const char* argument, py::handle value) const;

  /// Accepts an integer, or a tuple or list of integers.
  std::vector<int64_t> integers(const char* argument, py::handle value,
                                const char* expected = "int or tuple of ints") const;

  /// Accepts an integer, a tuple or list of integers, or None.
  std::optional<std::vector<int64_t>> optional_integers(const char* argument,
                                                        py::handle value) const;

  /// Accepts True or False.
  bool boolean(const char* argument, py::handle value) const;

  /// Accepts a float, an integer or None.
  std::optional<double> optional_number(const char* argument, py::handle value) const;

  /// Accepts a str.
  std::string string(const char* argument, py::handle value) const;

  /// Accepts a mode's name or a sequence of names.
  Modes modes(const char* argument, py::handle value) const;

  /// Accepts the same, an integer, a sequence of integers or a sequence of (before, after) pairs.
  Padding padding(const char* argument, py::handle value) const;

 private:
  /// Returns nothing if `value` is not an integer, because it is a bool or has no __index__.
  std::optional<int64_t> as_int64(const char* argument, py::handle value) const;

  [[noreturn]] void type_error(const char* argument, const char* expected, py::handle value) const;
};

}  // namespace samepad::python
