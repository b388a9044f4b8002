// Runs a package that AOTInductor compiled, on ones: run_package MODEL.pt2 HEIGHT WIDTH.

#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>
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
  torch::inductor::AOTIModelPackageLoader loader(argv[1]);
  std::vector<at::Tensor> inputs{at::ones({2, 3, std::stoll(argv[2]), std::stoll(argv[3])})};
  const at::Tensor output = loader.run(inputs).at(0);
  std::cout << output.sizes() << ' ' << output.sum().item<double>() << '\n';
  return EXIT_SUCCESS;
}
