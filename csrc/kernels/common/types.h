#pragma once

// Lists of the types of elements that there are kernels for.

#include <c10/core/ScalarType.h>

namespace samepad::kernels {

template <class First, class... Rest>
struct Types {
  /// Whether `type` names a type in the list.
  static bool contain(at::ScalarType type) {
    return ((type == c10::CppTypeToScalarType<First>::value) || ... ||
            (type == c10::CppTypeToScalarType<Rest>::value));
  }

  /// Calls `run`, a lambda with one template parameter, for the type in the list that `type` names;
  /// there must be one.
  template <class Run>
  static auto dispatch(at::ScalarType type, const Run& run) {
    if constexpr (sizeof...(Rest) > 0) {
      if (type != c10::CppTypeToScalarType<First>::value) {
        return Types<Rest...>::dispatch(type, run);
      }
    }
    return run.template operator()<First>();
  }
};

}  // namespace samepad::kernels
