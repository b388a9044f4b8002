#include <samepad/pad.h>
#include <samepad/padding.h>

#include "arguments.h"
#include "bindings.h"

namespace samepad::python {
namespace {

py::tuple same_padding(const py::object& input_size, const py::object& kernel_size,
                       const py::object& stride, const py::object& dilation,
                       const py::object& mode) {
  constexpr Arguments kArguments{"same_padding"};
  const auto pads = samepad::same_padding(
      kArguments.integers("input_size", input_size),
      kArguments.integers("kernel_size", kernel_size), kArguments.integers("stride", stride),
      kArguments.integers("dilation", dilation), kArguments.modes("mode", mode));
  return pairs(pads);
}

at::Tensor pad(const py::object& input, const py::object& kernel_size, const py::object& stride,
               const py::object& dilation, const py::object& padding, const py::object& mode,
               const py::object& value) {
  constexpr Arguments kArguments{"pad"};
  const auto input_ = kArguments.tensor("input", input);
  const auto kernel_size_ = kArguments.integers("kernel_size", kernel_size);
  const auto stride_ = kArguments.integers("stride", stride);
  const auto dilation_ = kArguments.integers("dilation", dilation);
  const auto padding_ = kArguments.modes("padding", padding);
  const auto mode_ = kArguments.string("mode", mode);
  const auto value_ = kArguments.optional_number("value", value);
  const py::gil_scoped_release no_gil;
  return samepad::pad(input_, kernel_size_, stride_, dilation_, padding_, mode_, value_);
}

}  // namespace

void register_padding(py::module_& m) {
  m.def("pad", wrap(pad), py::arg("input"), py::arg("kernel_size"), py::arg("stride") = 1,
        py::arg("dilation") = 1, py::arg("padding") = "same", py::arg("mode") = "constant",
        py::arg("value") = py::none(), kOperatorDoc);
  m.def("same_padding", wrap(same_padding), py::arg("input_size"), py::arg("kernel_size"),
        py::arg("stride") = 1, py::arg("dilation") = 1, py::arg("mode") = "same",
        R"(The (before, after) padding of each dimension.

Args:
    input_size: Size of each spatial dimension, an int or a tuple of ints, each at least 0.
    kernel_size: Kernel size, one int for all dimensions or a tuple, each at least 1.
    stride: Stride, likewise.
    dilation: Dilation, likewise.
    mode: "same" (TensorFlow SAME), "same_lower" (ONNX SAME_LOWER), "causal" (for several
        dimensions only in a tuple) or "valid"; or a tuple with one of them per dimension.

Returns:
    One (before, after) pair of ints per dimension, counted in elements:
    P = max(0, (ceil(n / s) - 1) s + (k - 1) d + 1 - n) in all, split P // 2 before and the rest
    after, and the other way round for "same_lower"; "causal" puts (k - 1) d before.

Raises:
    TypeError: An argument has another type.
    RuntimeError: A value, or the number of values, is not as above.

Example:
    >>> samepad.same_padding(224, 3, stride=2)
    ((0, 1),)
    >>> samepad.same_padding((28, 28), (3, 5))
    ((1, 1), (2, 2))
    >>> samepad.same_padding((8, 28), 3, mode=("causal", "same"))
    ((2, 0), (1, 1))
)");
}

}  // namespace samepad::python
