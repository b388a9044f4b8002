"""Tests a model of every kind of SAME layer with each tool in the manual's table "Works with"."""

import copy
import itertools
import math
import pickle
import subprocess
from collections import OrderedDict
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import samepad
import torch
import torch.distributed.fsdp
import torch.nn.utils.prune
import torch.utils.checkpoint
import torchinfo
from every_layer import SIZES, images, model
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter
from torch.utils.flop_counter import FlopCounterMode

# The tools leave sockets and pipes of their worker processes open. The garbage collector closes
# them at some time, and the warning counts against whatever test is then running.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def assert_same(function: Any, expected: nn.Module, inputs: list[Tensor] | None = None) -> None:
    """Check that `function` computes the same as `expected` for inputs of several sizes."""
    for input in inputs or images():
        torch.testing.assert_close(function(input), expected(input), rtol=1e-4, atol=1e-5)


def gradients(function: Any, module: nn.Module, input: Tensor) -> tuple[Tensor, ...]:
    """Return the gradients of the input and of all parameters."""
    leaf = input.clone().requires_grad_()
    return torch.autograd.grad(function(leaf).sin().sum(), (leaf, *module.parameters()))


@pytest.mark.row("torch.compile")
def test_compile_for_one_size() -> None:
    torch._dynamo.reset()
    eager, (input, other) = model(), images((40, 36), (41, 36))
    compiled = torch.compile(eager, fullgraph=True, dynamic=False)
    for each in (input, other):
        torch.testing.assert_close(gradients(compiled, eager, each), gradients(eager, eager, each))


@pytest.mark.row("torch.compile")
@pytest.mark.parametrize("how", ["dynamic", "mark_dynamic"])
def test_compiled_graphs_serve_every_size(how: str) -> None:
    torch._dynamo.reset()
    counter = CompileCounter()
    eager = model()
    compiled = torch.compile(
        eager, fullgraph=True, dynamic=True if how == "dynamic" else None, backend=counter
    )
    for input in images(*SIZES, (64, 48), (65, 49), (66, 51), (35, 120), (224, 37)):
        if how == "mark_dynamic":
            for dimension in (2, 3):
                torch._dynamo.mark_dynamic(input, dimension)
        torch.testing.assert_close(compiled(input), eager(input))
    assert counter.frame_count <= 2


@pytest.mark.row("torch.compile")
def test_inductor_for_every_size() -> None:
    torch._dynamo.reset()
    eager = model()[:3]
    compiled = torch.compile(eager, fullgraph=True, dynamic=True)
    with torch.no_grad():
        for input in images():
            torch.testing.assert_close(compiled(input), eager(input))


@pytest.mark.row("torch.export")
@pytest.mark.parametrize("strict", [True, False])
def test_export(strict: bool) -> None:
    eager = model().eval()
    auto = torch.export.Dim.AUTO
    shapes = ({0: torch.export.Dim("n", min=2), 2: auto, 3: auto},)
    program = torch.export.export(
        eager, tuple(images((40, 36))), dynamic_shapes=shapes, strict=strict
    )
    inputs = images(batch=3) + images(*itertools.product(range(44, 52), (56, 61)))
    for exported in (program, program.run_decompositions()):
        assert_same(exported.module(), eager, inputs)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the model for every size by AOTInductor, and return the package."""
    auto = torch.export.Dim.AUTO
    program = torch.export.export(
        model().eval(), tuple(images((40, 36))), dynamic_shapes=({2: auto, 3: auto},)
    )
    path = tmp_path_factory.mktemp("aoti") / "model.pt2"
    # Inductor would take minutes to vectorise code for symbolic sizes.
    torch._inductor.aoti_compile_and_package(
        program, package_path=str(path), inductor_configs={"cpp.simdlen": 1}
    )
    return path


@pytest.mark.row("AOTInductor, run in C++ without libsamepad")
@pytest.mark.parametrize("size", [(40, 36), (43, 51)])
def test_aot_inductor(package: Path, run_package: Path, size: tuple[int, int]) -> None:
    libraries = subprocess.run(["ldd", run_package], check=True, capture_output=True, text=True)
    assert "samepad" not in libraries.stdout
    result = subprocess.run(
        [run_package, package, *map(str, size)], check=True, capture_output=True, text=True
    )
    shape, *values = result.stdout.splitlines()
    input = torch.arange(2 * 3 * math.prod(size), dtype=torch.float32).sin().view(2, 3, *size)
    with torch.no_grad():
        expected = model().eval()(input)
    assert shape == str(list(expected.shape))
    output = torch.tensor([float(value) for value in values]).view(expected.shape)
    torch.testing.assert_close(output, expected)


@pytest.mark.row("ONNX: torch.onnx.export, dynamo=True and False, and ONNX Runtime")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("dynamic", [False, True])
def test_onnx(dynamic: bool, tmp_path: Path) -> None:
    eager = model().eval()
    auto = torch.export.Dim.AUTO
    sizes = [(40, 36)] if not dynamic else [(40, 36), (41, 36), (40, 37), (53, 61)]
    program = torch.onnx.export(
        eager,
        tuple(images((40, 36))),
        dynamo=True,
        dynamic_shapes=({0: auto, 2: auto, 3: auto},) if dynamic else None,
        verbose=False,
    )
    assert program is not None
    path = tmp_path / "model.onnx"
    program.save(str(path))
    graph = onnx.load(path).graph
    # "NOTSET" means that the pads are explicit; PyTorch's exporter writes it for nn.Conv2d too.
    auto_pads = {a.s for node in graph.node for a in node.attribute if a.name == "auto_pad"}
    assert auto_pads <= {b"NOTSET"}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (name,) = (value.name for value in session.get_inputs())
    for size in sizes:
        for input in images(size, batch=3 if dynamic else 2):
            (output,) = session.run(None, {name: input.numpy()})
            torch.testing.assert_close(torch.from_numpy(output), eager(input), rtol=1e-4, atol=1e-5)


@pytest.mark.row("TorchScript: script, trace, save, load in C++ too")
@pytest.mark.parametrize("how", ["script", "trace"])
def test_torchscript(how: str, tmp_path: Path) -> None:
    eager = model().eval()
    if how == "script":
        scripted = torch.jit.script(eager)
    else:
        scripted = torch.jit.trace(eager, images((40, 36))[0])
    path = str(tmp_path / "model.pt")
    torch.jit.save(scripted, path)
    assert_same(torch.jit.load(path), eager)


@pytest.mark.row("autocast, bfloat16 and float16")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast(dtype: torch.dtype) -> None:
    eager = model()
    for input in images():
        with torch.autocast("cpu", dtype):
            output = eager(input)
        assert output.dtype == dtype
        torch.testing.assert_close(output.float(), eager(input), rtol=0.1, atol=0.05)


@pytest.mark.row("FLOP counter")
def test_flops_are_counted_as_torch_nns() -> None:
    counts = []
    plain = samepad.resolve_static(model(), *images((41, 37)))
    for each in (model(), plain):
        with FlopCounterMode(display=False) as counter:
            each(*images((41, 37)))
        counts.append(counter.get_total_flops())
    # The outputs are 21x19, 11x10 and 6x5. Each kernel element, channel and image counts as two
    # FLOPs.
    conv = 2 * 2 * (21 * 19) * (4 * 3 * 9)
    depthwise = 2 * 2 * (11 * 10) * (8 * 9)
    transposed = 2 * 2 * (6 * 5) * (8 * 3 * 9)
    assert counts == [conv + depthwise + transposed] * 2


@pytest.mark.row("FX symbolic_trace")
def test_fx() -> None:
    eager = model()
    traced = torch.fx.symbolic_trace(eager)
    assert_same(traced, eager)
    called = {str(n.target) for n in traced.graph.nodes if n.op == "call_function"}
    assert {"samepad.conv2d", "samepad.max_pool2d", "samepad.conv_transpose2d"} <= called


QUANTIZATION = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning"
)


def plain_and_eager() -> tuple[nn.Module, nn.Module]:
    eager = model().eval()
    return samepad.resolve_static(eager, *images((41, 37))).eval(), eager


def is_close(output: Tensor, expected: Tensor) -> bool:
    """Whether outputs are as close as 8 bits allow."""
    return bool((output - expected).abs().max() < 0.1 * expected.abs().max())


@pytest.mark.row("FX graph-mode quantization, after resolve_static")
@QUANTIZATION
def test_fx_quantization(monkeypatch: pytest.MonkeyPatch) -> None:
    # On CPUs with VNNI the engine "x86" runs oneDNN, whose quantized ConvTranspose2d without
    # padding is wrong, even in models of torch.nn's layers only.
    monkeypatch.setattr(torch.backends.quantized, "engine", "fbgemm")
    from torch.ao.quantization import get_default_qconfig_mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    plain, eager = plain_and_eager()
    inputs = images(*[(41, 37)] * 4)
    prepared = prepare_fx(plain, get_default_qconfig_mapping("x86"), (inputs[0],))
    for input in inputs:
        prepared(input)
    quantized = convert_fx(prepared)
    kinds = {type(each).__module__ for each in quantized.modules()}
    assert any("quantized" in kind for kind in kinds)
    with torch.no_grad():
        assert is_close(quantized(inputs[0]), eager(inputs[0]))


@pytest.mark.row("PT2E quantization, after resolve_static")
@QUANTIZATION
def test_pt2e_quantization() -> None:
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer

    plain, eager = plain_and_eager()
    inputs = images(*[(41, 37)] * 4)
    quantizer = x86_inductor_quantizer.X86InductorQuantizer()
    quantizer.set_global(x86_inductor_quantizer.get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(torch.export.export(plain, (inputs[0],)).module(), quantizer)
    for input in inputs:
        prepared(input)
    quantized = convert_pt2e(prepared)
    assert any("quantize" in str(node.target) for node in quantized.graph.nodes)
    with torch.no_grad():
        assert is_close(quantized(inputs[0]), eager(inputs[0]))


@pytest.mark.row("dynamic quantization")
@QUANTIZATION
def test_dynamic_quantization() -> None:
    eager = nn.Sequential(model(), nn.Flatten(), nn.Linear(3 * 6 * 6, 5)).eval()
    quantized = torch.ao.quantization.quantize_dynamic(eager, {nn.Linear})
    assert "quantized" in type(quantized[2]).__module__
    assert isinstance(quantized[0][0], samepad.SamePadConv2d)
    (input,) = images((24, 24))
    with torch.no_grad():
        assert is_close(quantized(input), eager(input))


@pytest.mark.row("pruning")
def test_pruning() -> None:
    eager = model()
    torch.nn.utils.prune.l1_unstructured(eager[0], "weight", amount=0.5)
    assert (eager[0].weight == 0).float().mean() == 0.5
    (input,) = images((41, 37))
    pruned = eager(input)
    torch.nn.utils.prune.remove(eager[0], "weight")
    assert torch.equal(eager(input), pruned)


@pytest.mark.row("weight_norm and spectral_norm")
@pytest.mark.parametrize("name", ["weight_norm", "spectral_norm"])
def test_parametrizations(name: str) -> None:
    eager = model()
    for index in (0, 5):
        getattr(nn.utils.parametrizations, name)(eager[index])
    eager.eval()
    (input,) = images((41, 37))
    assert all(g.abs().sum() > 0 for g in gradients(eager, eager, input))
    expected = samepad.functional.conv2d(input, eager[0].weight, eager[0].bias, 2)
    torch.testing.assert_close(eager[0](input), expected)


@pytest.mark.row("lazy layers")
def test_lazy_layers() -> None:
    lazy = nn.Sequential(
        samepad.LazySamePadConv2d(4, 3, 2), samepad.LazySamePadConvTranspose2d(3, 3, 2)
    )
    (input,) = images((40, 36))
    assert lazy(input).shape == input.shape
    twin = nn.Sequential(
        samepad.SamePadConv2d(3, 4, 3, 2), samepad.SamePadConvTranspose2d(4, 3, 3, 2)
    )
    twin.load_state_dict(lazy.state_dict())
    assert repr(twin) == repr(lazy)
    assert_same(lazy, twin)


def _train_in_parallel(rank: int, file: str, kind: str, results: str) -> None:
    """Run one of two processes."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{file}", rank=rank, world_size=2
    )
    # `_train` returns before the group is destroyed, so that nothing uses the group any more.
    # DistributedDataParallel holds the GIL while it destroys a group, and waits for a thread of
    # gloo's, which may wait for the GIL.
    _train(rank, kind, results)
    torch.distributed.destroy_process_group()


def _train(rank: int, kind: str, results: str) -> None:
    """Train on half of the batch, and check the gradients against those of the whole batch."""
    eager, input = model(), torch.load(f"{results}/input.pt")
    if kind == "ddp":
        wrapped: nn.Module = nn.parallel.DistributedDataParallel(eager)
    else:
        mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (2,))
        for layer in (eager[0], eager[3], eager[5]):
            torch.distributed.fsdp.fully_shard(layer, mesh=mesh)
        wrapped = torch.distributed.fsdp.fully_shard(eager, mesh=mesh)
    output = wrapped(input.chunk(2)[rank])
    output.sin().sum().backward()
    found = {}
    for name, parameter in eager.named_parameters():
        assert parameter.grad is not None
        gradient = parameter.grad
        found[name] = gradient.full_tensor() if kind == "fsdp" else gradient
    torch.save((output.detach(), found), f"{results}/{rank}.pt")


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("ddp", marks=pytest.mark.row("DistributedDataParallel")),
        pytest.param("fsdp", marks=pytest.mark.row("FSDP2 (fully_shard)")),
    ],
)
def test_two_processes_train_as_one(kind: str, tmp_path: Path) -> None:
    (input,) = images((41, 37), batch=4)
    torch.save(input, tmp_path / "input.pt")
    torch.multiprocessing.spawn(
        _train_in_parallel, (str(tmp_path / "rendezvous"), kind, str(tmp_path)), nprocs=2
    )
    alone = model()
    expected = alone(input)
    expected.sin().sum().backward()
    for rank, half in enumerate(expected.chunk(2)):
        output, found = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(output, half)
        for name, parameter in alone.named_parameters():
            # Both average the gradients over the processes.
            assert parameter.grad is not None
            torch.testing.assert_close(found[name] * 2, parameter.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.row("activation checkpointing")
def test_checkpointing() -> None:
    eager = model()
    (input,) = images((41, 37))

    def checkpointed(x: Tensor) -> Tensor:
        output = torch.utils.checkpoint.checkpoint(eager, x, use_reentrant=False)
        assert isinstance(output, Tensor)
        return output

    for mine, expected in zip(
        gradients(checkpointed, eager, input), gradients(eager, eager, input), strict=True
    ):
        torch.testing.assert_close(mine, expected)


@pytest.mark.row("channels_last")
def test_channels_last() -> None:
    eager, twin = model(), model().to(memory_format=torch.channels_last)
    for input in images():
        output = twin(input.to(memory_format=torch.channels_last))
        assert output.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(output, eager(input), rtol=1e-4, atol=1e-5)


@pytest.mark.row("weights_only loading")
def test_weights_only(tmp_path: Path) -> None:
    eager, twin = model(), model()
    for parameter in eager.parameters():
        nn.init.normal_(parameter)
    torch.save(eager.state_dict(), tmp_path / "weights.pt")
    twin.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert_same(twin, eager)
    # Whole layers can be loaded too, once their classes are registered as safe.
    layer = samepad.SamePadMaxPool2d(3, 2)
    torch.save(layer, tmp_path / "layer.pt")
    with torch.serialization.safe_globals([samepad.SamePadMaxPool2d, set, OrderedDict]):
        assert repr(torch.load(tmp_path / "layer.pt", weights_only=True)) == repr(layer)


@pytest.mark.row("deepcopy and pickle")
def test_copies() -> None:
    eager = model()
    for twin in (copy.deepcopy(eager), pickle.loads(pickle.dumps(eager))):
        assert_same(twin, eager)


class Images(torch.utils.data.Dataset[Tensor]):
    """A data set whose items a SAME layer computes in the worker."""

    def __init__(self) -> None:
        self.layer = samepad.SamePadAvgPool2d(3, 2)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        with torch.no_grad():
            return self.layer(torch.full((3, 9, 8), float(index)))  # type: ignore[no-any-return]


@pytest.mark.row("DataLoader workers, forked and spawned")
@pytest.mark.parametrize("context", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*use of fork.. may lead to deadlocks:DeprecationWarning")
def test_data_loader_workers(context: str) -> None:
    # The parent uses the layer, with all its threads, before it forks.
    model()(*images((40, 36)))
    loader = torch.utils.data.DataLoader(
        Images(), batch_size=2, num_workers=2, multiprocessing_context=context
    )
    values = torch.cat(list(loader))
    assert values.shape == (4, 3, 5, 4)
    assert torch.equal(values[:, 0, 0, 0], torch.arange(4.0))


@pytest.mark.row("torch.nn.utils.fusion")
def test_torchs_own_fusion() -> None:
    conv, norm = samepad.SamePadConv2d(3, 4, 3, 2), nn.BatchNorm2d(4)
    norm(torch.randn(8, 4, 5, 5) * 3 + 1)
    pair = nn.Sequential(conv, norm).eval()
    fused = torch.nn.utils.fusion.fuse_conv_bn_eval(conv, norm)
    assert isinstance(fused, samepad.SamePadConv2d)
    assert_same(fused, pair)


@pytest.mark.row("torchinfo")
def test_torchinfo() -> None:
    eager = model()
    summary = torchinfo.summary(eager, input_size=(2, 3, 41, 37), verbose=0)
    sizes = {info.class_name: info.output_size for info in summary.summary_list}
    assert sizes["SamePadConv2d"] == [2, 4, 21, 19]
    assert sizes["SamePadMaxPool2d"] == [2, 4, 11, 10]
    assert sizes["SamePadConvTranspose2d"] == [2, 3, 12, 10]
    assert summary.total_params == sum(p.numel() for p in eager.parameters())
