#include <samepad/fused_conv.h>

#include "arguments.h"
#include "bindings.h"

namespace samepad::python {
namespace {

/// The padding of these amounts, before and after each dimension in turn.
Padding pairs_of(const std::vector<int64_t>& amounts) {
  TORCH_CHECK(amounts.size() % 2 == 0,
              "expected pads to be amounts before and after each dimension, but got pads=",
              at::IntArrayRef(amounts));
  std::vector<Padding::Pair> pairs;
  for (size_t i = 0; i < amounts.size(); i += 2) {
    pairs.emplace_back(amounts[i], amounts[i + 1]);
  }
  return pairs;
}

at::Tensor call(const py::object& input, const py::object& weight, const py::object& bias,
                const py::object& residual, const py::object& packed, const py::object& mode,
                const py::object& pads, const py::object& stride, const py::object& dilation,
                const py::object& groups, const py::object& activation,
                const std::vector<double>& parameters, const py::object& residual_last) {
  constexpr Arguments kArguments{"fused_conv"};
  const auto input_ = kArguments.tensor("input", input);
  const auto weight_ = kArguments.tensor("weight", weight);
  const auto bias_ = kArguments.optional_tensor("bias", bias);
  const auto residual_ = kArguments.optional_tensor("residual", residual);
  const auto packed_ = kArguments.optional_tensor("packed", packed);
  const auto padding = mode.is_none() ? pairs_of(kArguments.integers("pads", pads))
                                      : Padding(Modes::from_text(kArguments.string("mode", mode)));
  const auto stride_ = kArguments.integers("stride", stride);
  const auto dilation_ = kArguments.integers("dilation", dilation);
  const auto groups_ = kArguments.integer("groups", groups);
  const FusedActivation activation_{kArguments.string("activation", activation), parameters,
                                    kArguments.boolean("residual_last", residual_last)};
  const py::gil_scoped_release no_gil;
  return fused_conv(input_, weight_, bias_, stride_, padding, dilation_, groups_, activation_,
                    residual_, packed_);
}

std::optional<at::Tensor> pack(const py::object& weight, const py::object& groups,
                               const py::object& channels_last) {
  constexpr Arguments kArguments{"packed_weight"};
  const auto weight_ = kArguments.tensor("weight", weight);
  const auto groups_ = kArguments.integer("groups", groups);
  const bool channels_last_ = kArguments.boolean("channels_last", channels_last);
  const py::gil_scoped_release no_gil;
  return packed_weight(weight_, groups_, channels_last_);
}

}  // namespace

void register_fused_conv(py::module_& m) {
  m.def("fused_conv", wrap(call), py::arg("input"), py::arg("weight"), py::arg("bias"),
        py::arg("residual"), py::arg("packed"), py::arg("mode"), py::arg("pads"), py::arg("stride"),
        py::arg("dilation"), py::arg("groups"), py::arg("activation"), py::arg("parameters"),
        py::arg("residual_last"), "Eager call of the operator of this name.");
  m.def("packed_weight", wrap(pack), py::arg("weight"), py::arg("groups"), py::arg("channels_last"),
        "The weight as this CPU's kernels read it, for fused_conv; None if they read it as it is.");
}

}  // namespace samepad::python
