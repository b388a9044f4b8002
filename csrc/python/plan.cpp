#include <pybind11/stl.h>
#include <samepad/backends.h>

#include <optional>

#include "../ops/choice/choice.h"
#include "arguments.h"
#include "bindings.h"

namespace samepad::python {
namespace {

/// Wraps PlanGuard as a Python context manager.
class ForcePlan {
 public:
  explicit ForcePlan(std::string name) : name_(std::move(name)) {
    if (detail::find_plan(name_) == nullptr) {
      throw py::value_error("expected a plan's name, but got '" + name_ + "'");
    }
  }

  void enter() { guard_.emplace(name_); }
  void exit(const py::args& /*exception*/) { guard_.reset(); }

 private:
  std::string name_;
  std::optional<detail::PlanGuard> guard_;
};

/// By plan: the implementation, the amounts of work and the estimated time in nanoseconds.
std::vector<std::tuple<std::string, size_t, std::array<double, detail::Work::kAmounts>, double>>
works(const at::Tensor& input, const at::Tensor& weight, const std::vector<int64_t>& stride,
      const std::vector<int64_t>& dilation, int64_t groups) {
  std::vector<std::tuple<std::string, size_t, std::array<double, detail::Work::kAmounts>, double>>
      result;
  for (const auto& [plan, work, nanoseconds] :
       detail::works_of_same_conv(input, weight, stride, dilation, groups)) {
    result.emplace_back(plan, static_cast<size_t>(work.implementation), work.amounts(),
                        nanoseconds);
  }
  return result;
}

py::tuple explain(const py::object& input, const py::object& weight, const py::object& bias,
                  const py::object& stride, const py::object& padding, const py::object& dilation,
                  const py::object& groups, const py::object& padding_mode,
                  const py::object& is_fused) {
  constexpr Arguments kArguments{"explain"};
  const auto input_ = kArguments.tensor("input", input);
  const auto weight_ = kArguments.tensor("weight", weight);
  const auto bias_ = kArguments.optional_tensor("bias", bias);
  const auto stride_ = kArguments.integers("stride", stride);
  const auto padding_ = kArguments.padding("padding", padding);
  const auto dilation_ = kArguments.integers("dilation", dilation);
  const auto groups_ = kArguments.integer("groups", groups);
  const auto padding_mode_ = kArguments.string("padding_mode", padding_mode);
  const bool is_fused_ = kArguments.boolean("is_fused", is_fused);
  const auto explained = [&] {
    const py::gil_scoped_release no_gil;  // it may measure plans
    return explain_conv(input_, weight_, bias_, stride_, padding_, dilation_, groups_,
                        padding_mode_, is_fused_);
  }();
  return py::make_tuple(explained.plan, explained.reason, pairs(explained.pads),
                        py::tuple(py::cast(explained.output_size)), explained.bytes_copied,
                        explained.flops);
}

std::vector<std::pair<std::string, std::vector<std::pair<std::string, double>>>> measurements() {
  std::vector<std::pair<std::string, std::vector<std::pair<std::string, double>>>> result;
  for (const auto& each : backends::measurements()) {
    result.emplace_back(each.convolution, each.times);
  }
  return result;
}

}  // namespace

void register_plan(py::module_& m) {
  m.def("_explain_conv", wrap(explain), py::arg("input"), py::arg("weight"), py::arg("bias"),
        py::arg("stride"), py::arg("padding"), py::arg("dilation"), py::arg("groups"),
        py::arg("padding_mode"), py::arg("is_fused"));
  m.def("_works", works, py::arg("input"), py::arg("weight"), py::arg("stride"),
        py::arg("dilation"), py::arg("groups"));
  m.def("_bfloat16_costs", detail::bfloat16_costs);
  m.def("_plans", backends::plans);
  m.def("_benchmark", backends::benchmark);
  m.def("_set_benchmark", backends::set_benchmark, py::arg("enabled"));
  m.def("_measurements", measurements);
  m.def("_reset_measurements", backends::reset_measurements);
  py::class_<ForcePlan>(m, "_force_plan",
                        "Inside the context, this thread runs the named plan wherever it can.")
      .def(py::init<std::string>(), py::arg("plan"))
      .def("__enter__", &ForcePlan::enter)
      .def("__exit__", &ForcePlan::exit);
}

}  // namespace samepad::python
