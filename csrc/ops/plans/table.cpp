#include <samepad/backends.h>

#include "plan.h"

namespace samepad {
namespace detail {

// Each row is defined in its plan's file.
extern const Plan kDepthwise;
extern const Plan kDense;
extern const Plan kSymmetric;
extern const Plan kCrop;
extern const Plan kPad;

std::span<const Plan* const> plans() {
  static constexpr std::array kTable{&kDepthwise, &kDense, &kSymmetric, &kCrop, &kPad};
  return kTable;
}

}  // namespace detail

namespace backends {

std::vector<std::pair<std::string, std::string>> plans() {
  std::vector<std::pair<std::string, std::string>> result;
  for (const detail::Plan* const plan : detail::plans()) {
    result.emplace_back(plan->name, plan->summary);
  }
  return result;
}

}  // namespace backends
}  // namespace samepad
