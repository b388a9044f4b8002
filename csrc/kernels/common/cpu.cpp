#include "cpu.h"

#include <ATen/Version.h>
#include <ATen/cpu/Utils.h>

#include <algorithm>
#include <cctype>
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

#ifdef SAMEPAD_X86_KERNELS
namespace {

/// The products that oneDNN's variable allows. Values that oneDNN does not know allow all.
Bfloat16Products limit_of_onednn() {
  std::string value;
  for (const char* const name : {"DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA"}) {
    if (const char* const given = std::getenv(name)) {
      value = given;
    }
  }
  std::ranges::transform(value, value.begin(), [](unsigned char c) { return std::toupper(c); });
  const auto is_one_of = [&](std::initializer_list<std::string_view> names) {
    return std::ranges::find(names, value) != names.end();
  };
  if (is_one_of({"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE",
                 "AVX512_CORE_VNNI"})) {
    return Bfloat16Products::widened;
  }
  return is_one_of({"AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX10_1_512"})
             ? Bfloat16Products::vectors
             : Bfloat16Products::tiles;
}

}  // namespace
#endif

Bfloat16Products bfloat16_products() {
#ifdef SAMEPAD_X86_KERNELS
  static const Bfloat16Products result = [] {
    const Bfloat16Products limit = limit_of_onednn();
    if (limit == Bfloat16Products::widened || !__builtin_cpu_supports("avx512bf16")) {
      return Bfloat16Products::widened;
    }
    // The system has to let a process use tiles, which are too large to be saved by default.
    const bool has_tiles = limit == Bfloat16Products::tiles && __builtin_cpu_supports("amx-tile") &&
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
