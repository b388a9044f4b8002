#include "../ops/plan.h"

#include <algorithm>

#include "bindings.h"

namespace samepad::python {
namespace {

/// PlanGuard as a context manager.
class ForcePlan {
 public:
  explicit ForcePlan(const std::string& name) {
    const auto& names = detail::kPlanNames;
    const auto* const found = std::ranges::find(names, name);
    if (found == names.end()) {
      throw py::value_error("expected a plan's name, but got '" + name + "'");
    }
    plan_ = static_cast<detail::Plan>(found - names.begin());
  }

  void enter() { guard_.emplace(plan_); }
  void exit(const py::args& /*exception*/) { guard_.reset(); }

 private:
  detail::Plan plan_;
  std::optional<detail::PlanGuard> guard_;
};

}  // namespace

void register_plan(py::module_& m) {
  py::class_<ForcePlan>(m, "_force_plan",
                        "Inside the context, this thread runs the named plan wherever it can.")
      .def(py::init<const std::string&>(), py::arg("plan"))
      .def("__enter__", &ForcePlan::enter)
      .def("__exit__", &ForcePlan::exit);
}

}  // namespace samepad::python
