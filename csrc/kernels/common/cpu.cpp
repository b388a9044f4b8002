#include "cpu.h"

#include <ATen/Version.h>

#include <string>

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

bool mkl_is_narrow() {
#ifdef SAMEPAD_X86_KERNELS
  return instruction_set() == InstructionSet::avx512 && !__builtin_cpu_is("intel");
#else
  return false;
#endif
}

}  // namespace samepad::kernels
