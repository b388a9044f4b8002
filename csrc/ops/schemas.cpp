// The schemas of all operators that samepad adds to PyTorch's dispatcher. Each operator's kernels
// are registered in the file that implements it.

#include <torch/library.h>

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace {

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

/// Defines one operator for each of these numbers of dimensions, each with two overloads: one whose
/// `padding` is the text of modes, such as "same" or "causal, same", and `.padding` with amounts,
/// which are one for all dimensions, one per dimension, or before and after of each dimension in
/// turn. In the schema, $D stands for
/// the number of dimensions, $overload for the overload's name and $padding for the padding
/// argument.
void define(torch::Library& m, const std::vector<at::Tag>& tags, std::string_view schema,
            std::initializer_list<std::string_view> every = {"1", "2", "3"}) {
  for (const std::string_view dimensions : every) {
    const std::string common = replace_all(std::string(schema), "$D", dimensions);
    const auto overload = [&](std::string_view name, std::string_view padding) {
      const auto full = replace_all(replace_all(common, "$overload", name), "$padding", padding);
      m.def(full.c_str(), tags);
    };
    overload("", "str padding=\"same\"");
    overload(".padding", "SymInt[" + std::string(dimensions) + "] padding=0");
  }
}

}  // namespace

TORCH_LIBRARY(samepad, m) {
  // Every operator here is safe under torch.compile, which opcheck verifies in the tests.
  const std::vector<at::Tag> tags{at::Tag::pt2_compliant_tag};

  const std::string conv =
      "conv$Dd$overload(Tensor input, Tensor weight, Tensor? bias=None, SymInt[$D] stride=1, "
      "$padding, SymInt[$D] dilation=1, SymInt groups=1, str padding_mode=\"zeros\") -> Tensor";
  define(m, tags, conv);
  // Compiled graphs call these instead, which may defer the choice of a plan to run time by calling
  // deferred_conv.
  define(m, tags, "compiled_" + conv);
  const std::vector<at::Tag> any_layout{at::Tag::pt2_compliant_tag, at::Tag::flexible_layout};
  m.def(
      "deferred_conv(Tensor input, Tensor weight, Tensor? bias, str? mode, SymInt[] pads, "
      "SymInt[] stride, SymInt[] dilation, SymInt groups) -> Tensor",
      any_layout);
  m.def(
      "deferred_conv_backward(Tensor gradient, Tensor input, Tensor weight, str? mode, "
      "SymInt[] pads, SymInt[] stride, SymInt[] dilation, SymInt groups, bool[3] output_mask) "
      "-> (Tensor, Tensor, Tensor)",
      any_layout);
  m.def(
      "fused_conv(Tensor input, Tensor weight, Tensor? bias, Tensor? residual, Tensor? packed, "
      "str? mode, SymInt[] pads, SymInt[] stride, SymInt[] dilation, SymInt groups, "
      "str activation, float[] parameters, bool residual_last) -> Tensor",
      any_layout);
  define(m, tags,
         "conv_transpose$Dd$overload(Tensor input, Tensor weight, Tensor? bias=None, "
         "SymInt[$D] stride=1, $padding, SymInt[$D] output_padding=0, SymInt groups=1, "
         "SymInt[$D] dilation=1, SymInt[$D]? output_size=None) -> Tensor");
  define(m, tags,
         "max_pool$Dd$overload(Tensor input, SymInt[$D] kernel_size, SymInt[$D] stride=[], "
         "$padding, SymInt[$D] dilation=1, bool ceil_mode=False) -> Tensor");
  define(m, tags,
         "max_pool$Dd_with_indices$overload(Tensor input, SymInt[$D] kernel_size, "
         "SymInt[$D] stride=[], $padding, SymInt[$D] dilation=1, bool ceil_mode=False) "
         "-> (Tensor, Tensor)");
  define(m, tags,
         "avg_pool$Dd$overload(Tensor input, SymInt[$D] kernel_size, SymInt[$D] stride=[], "
         "$padding, bool ceil_mode=False, bool? count_include_pad=None) -> Tensor",
         {"1"});
  define(m, tags,
         "avg_pool$Dd$overload(Tensor input, SymInt[$D] kernel_size, SymInt[$D] stride=[], "
         "$padding, bool ceil_mode=False, bool? count_include_pad=None, "
         "int? divisor_override=None) -> Tensor",
         {"2", "3"});
  m.def(
      "pad(Tensor input, SymInt[1] kernel_size, SymInt[1] stride=1, SymInt[1] dilation=1, "
      "str padding=\"same\", str mode=\"constant\", float? value=None) -> Tensor",
      tags);
}
