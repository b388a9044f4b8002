// run_package MODEL.pt2 (INPUT.pt OUTPUT.pt)...: runs the model on each tensor and saves what it
// answers.

#include <ATen/ATen.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/csrc/jit/serialization/pickle.h>

#include <fstream>
#include <iterator>
#include <vector>

int main(int argc, char** argv) {
  torch::inductor::AOTIModelPackageLoader model(argv[1]);
  const at::NoGradGuard no_grad;
  for (int i = 2; i + 1 < argc; i += 2) {
    std::ifstream file(argv[i], std::ios::binary);
    const std::vector<char> bytes(std::istreambuf_iterator<char>(file), {});
    const std::vector<at::Tensor> outputs = model.run({torch::jit::pickle_load(bytes).toTensor()});
    const std::vector<char> saved = torch::jit::pickle_save(outputs.at(0));
    std::ofstream(argv[i + 1], std::ios::binary)
        .write(saved.data(), static_cast<std::streamsize>(saved.size()));
  }
}
