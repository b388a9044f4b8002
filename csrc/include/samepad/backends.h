#pragma once

/// \file
/// How convolutions are computed: by which plan, and the choice of plans by measurement.

#include <ATen/core/Tensor.h>
#include <samepad/export.h>
#include <samepad/padding.h>
#include <samepad/padding_argument.h>

#include <string>
#include <utility>
#include <vector>

namespace samepad {

/// What a call of conv1d, conv2d or conv3d runs.
struct ConvExplanation {
  std::string plan;    ///< the plan's name; `backends::plans` says what each of them does
  std::string reason;  ///< why that plan
  std::vector<Pads<int64_t>> pads;
  std::vector<int64_t> output_size;  ///< all dimensions of the output
  /// Of the input or the output, beside the convolution; the largest int64_t where there are more.
  int64_t bytes_copied;
  /// Two for each multiplication of the output's, padding too; the largest int64_t where there are
  /// more.
  int64_t flops;
};

/// Explains the convolution with these arguments, of as many dimensions as the weight has; see
/// `conv2d`. Nothing is computed, unless plans are measured (`backends::set_benchmark`) and these
/// have not been.
///
/// \throws c10::Error  what the convolution would throw; or where the sizes are symbolic, or 0.
SAMEPAD_API ConvExplanation explain_conv(const at::Tensor& input, const at::Tensor& weight,
                                         const std::optional<at::Tensor>& bias = {},
                                         at::IntArrayRef stride = 1,
                                         const Padding& padding = PadMode::same,
                                         at::IntArrayRef dilation = 1, int64_t groups = 1,
                                         std::string_view padding_mode = "zeros");

namespace backends {

/// The name of each plan, by which a convolution may be computed, and what it does, in a sentence.
SAMEPAD_API std::vector<std::pair<std::string, std::string>> plans();

/// Whether a convolution that several plans can compute is measured, once for each combination of
/// sizes, layout, type, device and number of threads, and then computed by the fastest; otherwise a
/// model of their cost chooses. False at first. As PyTorch's `torch.backends.cudnn.benchmark`. All
/// of these functions may be called from any thread.
SAMEPAD_API void set_benchmark(bool enabled);
SAMEPAD_API bool benchmark();

struct Measurement {
  std::string convolution;                            ///< what was measured
  std::vector<std::pair<std::string, double>> times;  ///< seconds of each plan, the fastest first
};

/// What has been measured, at most the last 1024.
SAMEPAD_API std::vector<Measurement> measurements();

/// Forgets what has been measured.
SAMEPAD_API void reset_measurements();

}  // namespace backends
}  // namespace samepad
