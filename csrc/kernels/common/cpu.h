#pragma once

// The choice of kernels for the CPU, and the distribution of their work over threads.

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>

#include "arithmetic.h"

namespace samepad::kernels {

/// The instruction sets that kernels are compiled for.
enum class InstructionSet : uint8_t { generic, avx2, avx512 };

/// The widest instruction set of this CPU. ATEN_CPU_CAPABILITY limits it, as it limits PyTorch's.
InstructionSet instruction_set();

/// How a CPU with AVX-512 sums up products of bfloat16: widened to float, by instructions for
/// vectors of it (AVX512-BF16), or by those for tiles of a matrix (AMX), which are several times as
/// fast.
enum class Bfloat16Products : uint8_t { widened, vectors, tiles };

/// The last of these that this CPU has. The variable ONEDNN_MAX_CPU_ISA (or DNNL_MAX_CPU_ISA)
/// limits it, as it limits the instructions that oneDNN uses.
Bfloat16Products bfloat16_products();

/// Whether MKL, which multiplies matrices for PyTorch, uses narrower vectors than the CPU has. It
/// only uses AVX-512 on Intel's CPUs.
bool mkl_is_narrow();

/// Distributes `tasks`, each of `operations` multiplications, over threads, in parts that are large
/// enough to be worth starting a thread for.
template <class Run>
void share_out(int64_t tasks, int64_t operations, const Run& run) {
  constexpr int64_t kWorthwhile = 65536;
  const int64_t each = std::max<int64_t>(operations, 1);
  at::parallel_for(0, tasks, ceil_div(kWorthwhile, each), run);
}

}  // namespace samepad::kernels
