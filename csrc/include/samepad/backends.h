#pragma once

/// \file
/// Shows and controls how convolutions are computed. A plan is one way to compute a convolution;
/// which plan runs is decided by a cost model or by measurement.

#include <ATen/core/Tensor.h>
#include <samepad/export.h>
#include <samepad/padding.h>
#include <samepad/padding_argument.h>

#include <string>
#include <utility>
#include <vector>

namespace samepad {

/// Describes how a call of conv1d, conv2d or conv3d is computed.
struct ConvExplanation {
  std::string plan;    ///< the plan's name; `backends::plans` says what each of them does
  std::string reason;  ///< why that plan was chosen
  std::vector<Pads<int64_t>> pads;
  std::vector<int64_t> output_size;  ///< all dimensions of the output
  /// Bytes of the input or the output that are copied in addition to the convolution itself; at
  /// most the largest int64_t.
  int64_t bytes_copied;
  /// Two operations for each multiplication, including those with padding; at most the largest
  /// int64_t.
  int64_t flops;
};

/// Explains how the convolution with these arguments is computed. It has as many spatial dimensions
/// as the weight; see `conv2d` for the arguments. Nothing is computed unless plans are chosen by
/// measurement (`backends::set_benchmark`) and these sizes have not been measured yet.
///
/// \param is_fused  explains `fused_conv` instead, whose addition and activation take no pass of
///   their own after samepad's kernels
///
/// \throws c10::Error  whatever the convolution would throw; also if sizes are symbolic or 0.
SAMEPAD_API ConvExplanation explain_conv(const at::Tensor& input, const at::Tensor& weight,
                                         const std::optional<at::Tensor>& bias = {},
                                         at::IntArrayRef stride = 1,
                                         const Padding& padding = PadMode::same,
                                         at::IntArrayRef dilation = 1, int64_t groups = 1,
                                         std::string_view padding_mode = "zeros",
                                         bool is_fused = false);

namespace backends {

/// The name of each plan, and a sentence that says what it does.
SAMEPAD_API std::vector<std::pair<std::string, std::string>> plans();

/// Whether plans are chosen by measurement. If so, a convolution that several plans can compute is
/// measured once for each combination of sizes, layout, type, device and number of threads, and
/// from then on is computed by the fastest plan. Otherwise a cost model chooses. False by default,
/// like PyTorch's `torch.backends.cudnn.benchmark`. All of these functions may be called from any
/// thread.
SAMEPAD_API void set_benchmark(bool enabled);
SAMEPAD_API bool benchmark();

struct Measurement {
  std::string convolution;                            ///< what was measured
  std::vector<std::pair<std::string, double>> times;  ///< seconds of each plan, the fastest first
};

/// The measurements made so far, at most the last 1024.
SAMEPAD_API std::vector<Measurement> measurements();

/// Forgets all measurements.
SAMEPAD_API void reset_measurements();

}  // namespace backends
}  // namespace samepad
