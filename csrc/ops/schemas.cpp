// Every operator that samepad adds to PyTorch's dispatcher. Their implementations register
// themselves beside what they do.

#include <torch/library.h>

TORCH_LIBRARY(samepad, m) {
  // What holds of every operator here: safe under torch.compile, shown by opcheck in the tests.
  const std::vector<at::Tag> tags{at::Tag::pt2_compliant_tag};

  // `padding` is a mode, or amounts: one for all dimensions, one per dimension, or before and
  // after of each dimension in turn.
  m.def(
      "conv1d(Tensor input, Tensor weight, Tensor? bias=None, SymInt[1] stride=1, "
      "str padding=\"same\", SymInt[1] dilation=1, SymInt groups=1, "
      "str padding_mode=\"zeros\") -> Tensor",
      tags);
  m.def(
      "conv1d.padding(Tensor input, Tensor weight, Tensor? bias, SymInt[1] stride, "
      "SymInt[1] padding, SymInt[1] dilation=1, SymInt groups=1, "
      "str padding_mode=\"zeros\") -> Tensor",
      tags);
  m.def(
      "conv2d(Tensor input, Tensor weight, Tensor? bias=None, SymInt[2] stride=1, "
      "str padding=\"same\", SymInt[2] dilation=1, SymInt groups=1, "
      "str padding_mode=\"zeros\") -> Tensor",
      tags);
  m.def(
      "conv2d.padding(Tensor input, Tensor weight, Tensor? bias, SymInt[2] stride, "
      "SymInt[2] padding, SymInt[2] dilation=1, SymInt groups=1, "
      "str padding_mode=\"zeros\") -> Tensor",
      tags);
  m.def(
      "conv3d(Tensor input, Tensor weight, Tensor? bias=None, SymInt[3] stride=1, "
      "str padding=\"same\", SymInt[3] dilation=1, SymInt groups=1, "
      "str padding_mode=\"zeros\") -> Tensor",
      tags);
  m.def(
      "conv3d.padding(Tensor input, Tensor weight, Tensor? bias, SymInt[3] stride, "
      "SymInt[3] padding, SymInt[3] dilation=1, SymInt groups=1, "
      "str padding_mode=\"zeros\") -> Tensor",
      tags);
}
