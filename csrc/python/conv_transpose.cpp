#include <samepad/conv_transpose.h>

#include <array>

#include "arguments.h"
#include "bindings.h"

namespace samepad::python {
namespace {

constexpr std::array kConvolve{conv_transpose1d, conv_transpose2d, conv_transpose3d};
constexpr std::array kNames{"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"};

template <int64_t D>
at::Tensor conv_transpose(const py::object& input, const py::object& weight, const py::object& bias,
                          const py::object& stride, const py::object& padding,
                          const py::object& output_padding, const py::object& groups,
                          const py::object& dilation, const py::object& output_size) {
  constexpr Arguments kArguments{kNames[D - 1]};
  const auto input_ = kArguments.tensor("input", input);
  const auto weight_ = kArguments.tensor("weight", weight);
  const auto bias_ = kArguments.optional_tensor("bias", bias);
  const auto stride_ = kArguments.integers("stride", stride);
  const auto padding_ = kArguments.padding("padding", padding);
  const auto output_padding_ = kArguments.integers("output_padding", output_padding);
  const auto groups_ = kArguments.integer("groups", groups);
  const auto dilation_ = kArguments.integers("dilation", dilation);
  const auto output_size_ = kArguments.optional_integers("output_size", output_size);
  const auto size = output_size_ ? at::OptionalIntArrayRef(*output_size_) : std::nullopt;
  const py::gil_scoped_release no_gil;
  return kConvolve[D - 1](input_, weight_, bias_, stride_, padding_, output_padding_, groups_,
                          dilation_, size);
}

template <int64_t D>
void register_conv_transpose_nd(py::module_& m) {
  m.def(kNames[D - 1], wrap(conv_transpose<D>), py::arg("input"), py::arg("weight"),
        py::arg("bias") = py::none(), py::arg("stride") = 1, py::arg("padding") = "same",
        py::arg("output_padding") = 0, py::arg("groups") = 1, py::arg("dilation") = 1,
        py::arg("output_size") = py::none(), kOperatorDoc);
}

}  // namespace

void register_conv_transpose(py::module_& m) {
  register_conv_transpose_nd<1>(m);
  register_conv_transpose_nd<2>(m);
  register_conv_transpose_nd<3>(m);
}

}  // namespace samepad::python
