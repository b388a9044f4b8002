#include "cpu.h"

#include <ATen/Version.h>
#include <ATen/cpu/Utils.h>

#include <cstdlib>
#include <initializer_list>
#include <string>
#include <string_view>

namespace samepad::kernels {

InstructionSet instruction_set() {
#ifdef SAMEPAD_X86_KERNELS
  static const InstructionSet result = [] {
    const std::string capability = at::get_cpu_capability();
    return capability == "AVX512" ? InstructionSet::avx512
           : capability == "AVX2" ? InstructionSet::avx2
                                  : InstructionSet::generic;
  }();
  return result;
#else
  return InstructionSet::generic;
#endif
}

Bfloat16Products bfloat16_products() {
#ifdef SAMEPAD_X86_KERNELS
  static const Bfloat16Products result = [] {
    const char* const variable = std::getenv("ONEDNN_MAX_CPU_ISA");
    const std::string_view limit = variable == nullptr ? "" : variable;
    const auto allows = [&](std::initializer_list<std::string_view> names) {
      return limit.empty() || std::ranges::any_of(names, [&](std::string_view name) {
               return limit.find(name) != std::string_view::npos;
             });
    };
    if (!allows({"BF16", "FP16", "AMX", "ALL", "DEFAULT"}) ||
        !__builtin_cpu_supports("avx512bf16")) {
      return Bfloat16Products::widened;
    }
    // The system has to let a process use tiles, which are too large to be saved by default.
    const bool has_tiles = allows({"AMX", "ALL", "DEFAULT"}) &&
                           __builtin_cpu_supports("amx-tile") &&
                           __builtin_cpu_supports("amx-bf16") && at::cpu::init_amx();
    return has_tiles ? Bfloat16Products::tiles : Bfloat16Products::vectors;
  }();
  return result;
#else
  return Bfloat16Products::widened;
#endif
}

bool mkl_is_narrow() {
#ifdef SAMEPAD_X86_KERNELS
  return instruction_set() == InstructionSet::avx512 && !__builtin_cpu_is("intel");
#else
  return false;
#endif
}

}  // namespace samepad::kernels
