// Runs a package that AOTInductor compiled: run_package MODEL.pt2 HEIGHT WIDTH.
//
// The input is sin(0), sin(1), ... of shape (2, 3, HEIGHT, WIDTH); prints the output's shape, then
// its elements, one to a line.

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <c10/util/irange.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: run_package MODEL.pt2 HEIGHT WIDTH\n";
    return EXIT_FAILURE;
  }
  const at::NoGradGuard no_grad;
  const int64_t height = std::stoll(argv[2]);
  const int64_t width = std::stoll(argv[3]);
  torch::inductor::AOTIModelPackageLoader loader(argv[1]);
  const at::Tensor input = at::arange(2 * 3 * height * width, at::kFloat).sin();
  std::vector<at::Tensor> inputs{input.view({2, 3, height, width})};
  const at::Tensor output = loader.run(inputs).at(0).contiguous();
  std::cout << output.sizes() << '\n';
  std::cout.precision(9);
  for (const auto i : c10::irange(output.numel())) {
    std::cout << output.const_data_ptr<float>()[i] << '\n';
  }
  return EXIT_SUCCESS;
}
