#pragma once

// The arguments of a convolution, checked and expanded to one value per dimension.

#include <optional>
#include <string>
#include <string_view>

#include "sliding_window.h"

namespace samepad::detail {

/// How the weight's first two dimensions are laid out.
enum class WeightLayout : uint8_t {
  output_first,  ///< (O, C / groups, ...): convolutions.
  input_first,   ///< (C, O / groups, ...): transposed convolutions.
};

struct ConvArgs : SlidingWindow {
  /// Checks every argument but the padding amounts; throws `c10::Error` naming the argument, and
  /// the operator as `function`.
  /// Under autocast, casts the tensors to the type that the convolution will run in.
  ConvArgs(const char* function, int64_t dimensions, WeightLayout layout, at::Tensor input,
           at::Tensor weight, std::optional<at::Tensor> bias, c10::SymIntArrayRef stride,
           c10::SymIntArrayRef dilation, c10::SymInt groups);

  at::Tensor weight;
  std::optional<at::Tensor> bias;
  c10::SymInt groups;
  /// How `at::pad` names what the padding holds.
  std::string fill = "constant";
  /// Whether the padding was given as amounts, or as "valid". Where the convolution is one that
  /// PyTorch computes, its result is then PyTorch's, bit for bit.
  bool as_torch = false;
  /// Whether a graph that this is traced into may choose the plan each time that it runs.
  bool deferrable = false;
};

/// Whether a tensor has sizes and memory, and no transform, mode or tangent to see through. For
/// others the graph that fits every size is wanted.
bool is_plain(const at::Tensor& tensor);

/// Whether all of the tensors are.
bool is_plain(const ConvArgs& args);

/// PyTorch's rule for the layout of a convolution's output.
at::MemoryFormat output_format(const at::Tensor& input, const at::Tensor& weight);
at::MemoryFormat output_format(const ConvArgs& args);

/// Whether autograd is to see a convolution of these.
bool needs_gradient(const at::Tensor& input, const at::Tensor& weight,
                    const std::optional<at::Tensor>& bias);

/// The name that `at::pad` gives to torch.nn's `padding_mode`.
std::string fill_name(std::string_view padding_mode);

/// Throws where `input` is not the batched or unbatched input of `dimensions` dimensions.
void check_input_dimensions(const char* function, int64_t dimensions, const at::Tensor& input);

}  // namespace samepad::detail
