"""Limits for the size of a model, because a small file can ask for more than any memory."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from onnx import AttributeProto
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from samepad._building import UnsupportedError

#: Most nodes of a model, where those of functions count once for each call.
MOST_NODES = 1_000_000
#: Deepest nesting of functions that call each other.
MOST_NESTED = 100
#: Most elements that operators may make out of constants, in addition to those in the file. In
#: float32 this is 0.6 GB.
MOST_ELEMENTS = 150_000_000
#: Most bytes that constants may take that operators make out of others, while the model is loaded.
MOST_BYTES = 2_000_000_000
#: Further bytes that they may take for each byte of the file. Weights of four bits become 8 times
#: as large in float32, and an operator that copies them doubles that.
MOST_BYTES_EACH = 16
#: Most nodes that loops may be written out to.
MOST_UNROLLED = 10_000
#: Most numbers in a constant that holds sizes, axes or amounts.
MOST_NUMBERS = 10_000
#: Most numbers that operators of the whole model compute as single sizes, by a node for each.
MOST_SIZES = 100_000


def function_key(proto: Any) -> tuple[str, str, str]:
    """Return the key by which a NodeProto calls a FunctionProto; it is the same for both."""
    name = proto.op_type if hasattr(proto, "op_type") else proto.name
    return proto.domain, name, proto.overload


def check_expansion(model: Any) -> None:
    """Refuse a model that is too large once each call of a function is replaced by its body.

    Each function is counted once, and no call is replaced in doing so, so that this takes little
    time.

    Raises:
        ValueError: There are too many nodes, or functions are nested too deep or call themselves.
    """
    functions = {function_key(function): function for function in model.functions}
    #: For each function, its nodes including those of its calls, and its depth of nesting.
    counted: dict[tuple[str, str, str], tuple[int, int]] = {}

    def called(key: tuple[str, str, str], callers: tuple[Any, ...]) -> tuple[int, int]:
        if key in callers:
            raise ValueError(f"its function {'.'.join(filter(None, key))} calls itself")
        if key not in counted and len(callers) < MOST_NESTED:
            counted[key] = count(functions[key].node, (*callers, key))
        if key not in counted or len(callers) + counted[key][1] >= MOST_NESTED:
            raise ValueError(f"its functions are nested more than {MOST_NESTED} deep")
        return counted[key]

    def count(nodes: Iterable[Any], callers: tuple[Any, ...]) -> tuple[int, int]:
        total, deepest = 0, 0
        for node in nodes:
            total += 1
            key = function_key(node)
            inner = [count(graph.node, callers) for graph in graphs_of(node)]
            if key in functions:
                more, depth = called(key, callers)
                inner.append((more, depth + 1))
            total += sum(more for more, _ in inner)
            deepest = max([deepest, *(depth for _, depth in inner)])
        return total, deepest

    total, _ = count(model.graph.node, ())
    if total > MOST_NODES:
        raise ValueError(
            f"it has {total:,} nodes when its functions are written out, expected at most "
            f"{MOST_NODES:,}"
        )


def count_nodes(graph: Any) -> int:
    """Count the nodes of a graph and of the graphs in it."""
    inner = (count_nodes(each) for node in graph.node for each in graphs_of(node))
    return len(graph.node) + sum(inner)


def graphs_of(node: Any) -> list[Any]:
    """Return the graphs in a node's attributes, such as the branches of If."""
    graphs = [each.g for each in node.attribute if each.type == AttributeProto.GRAPH]
    return graphs + [g for each in node.attribute for g in each.graphs]


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses, before it runs, an operator that would make too large a tensor."""

    def __init__(self, folding: "Folding") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.folding = folding

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = (args, kwargs)
        on_meta = tree_map_only(Tensor, lambda t: t.to("meta"), given)
        meta_args, meta_kwargs = on_meta
        if "device" in kwargs:
            meta_kwargs = meta_kwargs | {"device": "meta"}
        try:
            result = func(*meta_args, **meta_kwargs)
        except (NotImplementedError, RuntimeError, ValueError, IndexError):
            pass  # the size depends on values, which are not many; or the operator raises an error
        else:
            check_growth(_elements(result) - _elements(given), self.folding.left)
            made = _made(result, on_meta).values()
            self.folding.check_bytes(sum(storage.nbytes() for storage in made))
        result = func(*args, **kwargs)
        self.folding.charge(_made(result, given))
        return result


def _elements(structure: Any) -> int:
    """Count the elements of all tensors in a structure, each tensor once."""
    found = {id(leaf): leaf.numel() for leaf in tree_leaves(structure) if isinstance(leaf, Tensor)}
    return sum(found.values())


def _made(result: Any, given: Any) -> dict[int, torch.UntypedStorage]:
    """Return the memory of an operator's result that is not its arguments' memory, by address."""
    old = _storages(given)
    return {key: storage for key, storage in _storages(result).items() if key not in old}


def _storages(structure: Any) -> dict[int, torch.UntypedStorage]:
    leaves = (leaf for leaf in tree_leaves(structure) if isinstance(leaf, Tensor))
    storages = (leaf.untyped_storage() for leaf in leaves)
    return {storage._cdata: storage for storage in storages}


def _is_free(reference: StorageWeakRef) -> bool:
    return bool(reference.expired())  # type: ignore[no-untyped-call]


def check_growth(more: int, allowed: int) -> None:
    """Refuse an operator that makes more elements than are allowed.

    Raises:
        UnsupportedError: `more` is larger than `allowed`.
    """
    if more > allowed:
        raise UnsupportedError(
            f"it makes {more:,} elements out of constants, expected at most {allowed:,} of the "
            f"{MOST_ELEMENTS:,} for the whole model"
        )


class Folding:
    """Computes with constants while a model is converted, within a limit for the whole model."""

    def __init__(self) -> None:
        """Begin with the whole limit."""
        self.left = MOST_ELEMENTS
        self.sizes_left = MOST_SIZES
        self._allowed = MOST_BYTES
        #: The memory that operators have made, and its bytes; some of it may be free by now.
        self._charged: dict[int, tuple[StorageWeakRef, int]] = {}
        self._bytes = 0
        self._is_full = False

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function and return its result.

        Raises:
            UnsupportedError: The result has more elements than the limit still allows.
            ValueError: The results take more bytes than the limit allows.
        """
        with _Watch(self), torch.no_grad():
            result = function(*args, **kwargs)
        self.left -= max(_elements(result) - _elements((args, kwargs)), 0)
        return result

    def allow_for_file(self, size: int) -> None:
        """Allow more bytes for a file of so many bytes, whose weights operators may convert."""
        self._allowed = MOST_BYTES + MOST_BYTES_EACH * size

    def check_bytes(self, more: int) -> None:
        """Refuse a model with an operator that makes more bytes than the limit still allows.

        The error ends the loading, because most later operators would be refused too.

        Raises:
            ValueError: The limit allows fewer bytes.
        """
        # After the first refusal, it no longer matters what is free again.
        if self._bytes + more > self._allowed and not self._is_full:
            charged = self._charged.items()
            self._charged = {key: entry for key, entry in charged if not _is_free(entry[0])}
            self._bytes = sum(count for _, count in self._charged.values())
        if self._bytes + more > self._allowed:
            self._is_full = True
            raise ValueError(
                f"it makes {more:,} bytes out of constants, expected at most "
                f"{self._allowed - self._bytes:,} of the {self._allowed:,} for the whole model"
            )

    def keep(self, tensor: Tensor) -> Tensor:
        """Count a constant of a node, and return it; in a function, each call makes another one.

        Raises:
            ValueError: The limit allows fewer bytes.
        """
        self.charge(_storages(tensor))
        return tensor

    def charge(self, storages: dict[int, torch.UntypedStorage]) -> None:
        """Count the memory of an operator's result, until it is free.

        Raises:
            ValueError: The limit allows fewer bytes.
        """
        self.check_bytes(sum(storage.nbytes() for storage in storages.values()))
        for key, storage in storages.items():
            # No other memory can get the key, which the weak reference keeps.
            if key not in self._charged:
                reference = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
                self._charged[key] = reference, storage.nbytes()
                self._bytes += storage.nbytes()


def listed(tensor: Tensor) -> Any:
    """Return the numbers of a constant that holds sizes, axes or amounts, as a list.

    Raises:
        UnsupportedError: There are more numbers than sizes, axes or amounts can be.
    """
    if tensor.numel() > MOST_NUMBERS:
        raise UnsupportedError(
            f"{tensor.numel():,} sizes, axes or amounts, expected at most {MOST_NUMBERS:,}"
        )
    return tensor.tolist()
