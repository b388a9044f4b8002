"""Writes a torch.fx.GraphModule as a .py file that looks as if a person had written it."""

import inspect
import keyword
import math
import operator
import sys
import unicodedata
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from samepad._names import Names, identifier, reserved

_OPERATORS = {
    operator.add: "+",
    operator.sub: "-",
    operator.mul: "*",
    operator.truediv: "/",
    operator.floordiv: "//",
    operator.pow: "**",
    operator.matmul: "@",
    operator.eq: "==",
    operator.gt: ">",
    operator.ge: ">=",
    operator.lt: "<",
    operator.le: "<=",
}

_MISSING = object()


def _value(module: nn.Module, name: str) -> Any:
    """Return the constructor's argument `name`, or _MISSING if the module does not keep it."""
    if hasattr(module, "depthwise") and hasattr(module, "pointwise"):
        # A separable convolution consists of two others, which keep its arguments.
        last = name in ("out_channels", "bias")
        return _value(getattr(module, "pointwise" if last else "depthwise"), name)
    value = getattr(module, name, _MISSING)
    return value if name != "bias" or isinstance(value, bool) else value is not None


def _python(value: Any) -> Any:
    """Convert numbers and strings of NumPy, PyTorch or subclasses to Python's own types.

    This includes items of lists and tuples; anything else is returned unchanged.
    """
    if isinstance(value, np.generic) or (isinstance(value, torch.Tensor) and value.dim() == 0):
        value = value.item()
    if type(value) in (list, tuple):
        return type(value)(map(_python, value))
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    return str.__str__(value) if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    """Shorten a tuple of equal numbers to one number, which every constructor accepts."""
    value = _python(tuple(value) if isinstance(value, torch.Size) else value)
    if isinstance(value, tuple) and value and all(type(v) in (int, float) for v in value):
        return value[0] if len(set(value)) == 1 else value
    return value


def _is_equal(value: Any, other: Any) -> bool:
    """Whether two values are equal; False for arrays and tensors, whose == has no one result."""
    return not isinstance(value, (np.ndarray, torch.Tensor)) and bool(value == other)


def _text(value: str) -> str:
    """Write a string literal with escapes, in double quotes unless the string contains some."""
    return repr(value) if '"' in value else '"' + repr("'" + value)[2:]


def _is_name(text: str) -> bool:
    """Whether a text can be written as an attribute's name in a class and is not changed."""
    as_read = unicodedata.normalize("NFKC", text)
    mangled = text.startswith("__")
    return text.isidentifier() and not keyword.iskeyword(text) and text == as_read and not mangled


def _attribute(owner: str, path: str) -> str:
    """Write the attribute of `owner` at a dotted path, whose parts may be numbers."""
    for name in path.split("."):
        owner = f"{owner}.{name}" if _is_name(name) else f"getattr({owner}, {_text(name)})"
    return owner


def _is_importable(module: str, name: str, thing: Any) -> bool:
    """Whether importing `name` from `module` gives `thing`."""
    names = [*module.split("."), name]
    found = getattr(sys.modules.get(module), name, None)
    return found is thing and all(map(_is_name, names[:-1])) and _is_name(name)


def _shared(module: nn.Module) -> list[str]:
    """Write the statements by which two submodules share a layer that is in both of them."""
    statements = []
    first: dict[int, str] = {}
    done: list[str] = []
    for path, child in module.named_modules(remove_duplicate=False):
        other = first.setdefault(id(child), path)
        apart = path.partition(".")[0] != other.partition(".")[0]
        if apart and not path.startswith(tuple(done)):
            statements.append(f"{_attribute('self', path)} = {_attribute('self', other)}")
            done.append(path + ".")
    return statements


def _graphs(module: nn.Module) -> Iterator[tuple[str, fx.GraphModule]]:
    """Yield the graph modules in a module, but not those in these, with the last of their names."""
    for name, child in module.named_children():
        if isinstance(child, fx.GraphModule):
            yield name, child
        else:
            yield from _graphs(child)


class _Writer:
    """Writes the source of one file."""

    def __init__(self, importable: set[str]) -> None:
        self.importable = importable
        self.imports: dict[str, set[str]] = {}
        self.classes: dict[int, str] = {}
        self.text: list[str] = []

    def use(self, module: str, *names: str) -> None:
        """Note that the file imports a module, or `names` from it."""
        self.imports.setdefault(module if names else f"import {module}", set()).update(names)

    def head(self) -> str:
        """Write the imports: first those of modules, then those of names."""
        lines = sorted(line for line, names in self.imports.items() if not names)
        for module, names in sorted(self.imports.items(), reverse=True):
            if names:
                lines.append(f"from {module} import {', '.join(sorted(names))}")
        return "\n".join(lines)

    def qualified(self, thing: Any) -> str:
        """Write the name of a class or function, and note the import that it needs.

        Raises:
            ValueError: It cannot be imported by its name.
        """
        name, module = getattr(thing, "__name__", ""), getattr(thing, "__module__", None) or ""
        if module.startswith("torch.nn.modules") and getattr(nn, name, None) is thing:
            self.use("torch", "nn")
            return f"nn.{name}"
        if module.startswith("samepad.modules"):
            self.use("samepad", name)
            return str(name)
        for space, prefix in ((torch, "torch"), (torch.nn.functional, "torch.nn.functional")):
            if getattr(space, name, None) is thing:
                self.use("torch")
                return f"{prefix}.{name}"
        if not _is_importable(module, name, thing):
            raise ValueError(f"cannot write {thing!r}: no import by its name gives it")
        if module.startswith("samepad"):
            self.use(module, name)
            return str(name)
        self.use(module)
        return f"{module}.{name}"

    def constructor(self, module: nn.Module) -> str:
        """Write the call of a constructor that makes such a module.

        Raises:
            ValueError: The module does not keep one of its constructor's arguments.
        """
        if isinstance(module, fx.GraphModule):
            return f"{self.classes[id(module)]}()"
        kind = type(module)
        arguments: list[str] = []
        keyworded = False
        for name, parameter in inspect.signature(kind).parameters.items():
            skipped = name in ("device", "dtype", "inplace") or name.startswith("_")
            if skipped or parameter.kind.name.startswith("VAR_"):
                if parameter.kind is inspect.Parameter.VAR_POSITIONAL and isinstance(
                    module, nn.RNNBase
                ):
                    arguments += map(self.literal, (module.input_size, module.hidden_size))
                    arguments += self._recurrent(module)
                continue
            value = _value(module, name)
            if value is _MISSING:
                if parameter.default is inspect.Parameter.empty:
                    raise ValueError(f"cannot write {kind.__name__}: it does not keep its {name}")
                continue
            value = value if name.endswith("shape") else _plain(value)
            if _is_equal(value, _plain(parameter.default)):
                keyworded = True
                continue
            if name == "stride" and "Pool" in kind.__name__ and value == _plain(module.kernel_size):
                keyworded = True
                continue
            if parameter.default is inspect.Parameter.empty and not keyworded:
                arguments.append(self.literal(value))
            else:
                keyworded = True
                arguments.append(f"{name}={self.literal(value)}")
        call = f"{self.qualified(kind)}({', '.join(arguments)})"
        parameters = list(module.parameters())
        types = {parameter.dtype for parameter in parameters} - {torch.float32}
        if types:
            call += f".to({self.literal(types.pop())})"
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            call += ".requires_grad_(False)"
        return call

    def _recurrent(self, module: nn.RNNBase) -> list[str]:
        """Write the keyword arguments of torch.nn.LSTM, GRU and RNN, which take **kwargs."""
        defaults = {
            "num_layers": 1,
            "nonlinearity": "tanh",
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "bidirectional": False,
        }
        return [
            f"{name}={self.literal(getattr(module, name))}"
            for name, default in defaults.items()
            if getattr(module, name, default) != default
        ]

    def literal(self, value: Any, names: dict[fx.Node, str] | None = None) -> str:
        """Write a value as an expression; nodes in it become their variables.

        Raises:
            ValueError: The value is not a number, text, type, slice or a structure of those.
        """
        if isinstance(value, fx.Node):
            assert names is not None
            return names[value]
        if isinstance(value, (list, tuple)):
            items = [self.literal(item, names) for item in value]
            if isinstance(value, list):
                return f"[{', '.join(items)}]"
            return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
        if isinstance(value, dict):
            items = [
                f"{self.literal(key)}: {self.literal(item, names)}" for key, item in value.items()
            ]
            return "{" + ", ".join(items) + "}"
        if isinstance(value, nn.Module):
            return self.constructor(value)
        if isinstance(value, slice):
            parts = [self.literal(p, names) for p in (value.start, value.stop, value.step)]
            return f"slice({', '.join(parts)})"
        if isinstance(value, (torch.dtype, torch.layout, torch.memory_format)):
            self.use("torch")
            return str(value)
        if isinstance(value, torch.device):
            return _text(str(value))
        if value is ...:
            return "..."
        # A tensor stays one and is refused below: as a number it could change results' types.
        value = _python(value) if not isinstance(value, torch.Tensor) else value
        if isinstance(value, str):
            return _text(value)
        if isinstance(value, float) and not math.isfinite(value):
            return f'float("{value}")'
        if isinstance(value, complex):  # its repr would lose the signs of zeros
            return f"complex({self.literal(value.real)}, {self.literal(value.imag)})"
        if value is None or isinstance(value, (bool, int, float)):
            return repr(value)
        raise ValueError(f"cannot write {value!r} ({type(value).__name__}) as source")

    def index(self, key: Any, names: dict[fx.Node, str]) -> str:
        """Write the index that goes into square brackets."""
        if isinstance(key, tuple) and key:
            items = [
                (self.literal if isinstance(item, tuple) else self.index)(item, names)
                for item in key
            ]
            return ", ".join(items) + ("," if len(items) == 1 else "")
        if not isinstance(key, slice):
            return self.literal(key, names)
        parts = [key.start, key.stop] + ([] if key.step is None else [key.step])
        return ":".join("" if part is None else self.literal(part, names) for part in parts)

    def expression(self, node: fx.Node, names: dict[fx.Node, str]) -> str:
        """Write the expression that computes a node's value."""
        arguments = [self.literal(item, names) for item in node.args]
        # Anything but a variable, such as -2, needs parentheses before an operator or a dot.
        operands = [
            text if isinstance(item, fx.Node) else f"({text})"
            for text, item in zip(arguments, node.args, strict=True)
        ]
        for key, value in node.kwargs.items():
            text = self.literal(value, names)
            arguments.append(f"{key}={text}" if _is_name(key) else f"**{{{_text(key)}: {text}}}")
        if node.op == "call_module":
            return f"{_attribute('self', str(node.target))}({', '.join(arguments)})"
        if node.op == "call_method":
            method = f"{operands[0]}.{node.target}"
            if not _is_name(str(node.target)):
                method = f"getattr({arguments[0]}, {_text(str(node.target))})"
            return f"{method}({', '.join(arguments[1:])})"
        target: Any = node.target
        if target in _OPERATORS:
            return f"{operands[0]} {_OPERATORS[target]} {operands[1]}"
        if target is operator.neg:
            return f"-{operands[0]}"
        if target is operator.getitem:
            return f"{operands[0]}[{self.index(node.args[1], names)}]"
        return f"{self.qualified(target)}({', '.join(arguments)})"

    def write(self, module: fx.GraphModule, class_name: str) -> None:
        """Write the class for a module, after the classes for the graph modules in it."""
        for name, child in _graphs(module):
            if id(child) not in self.classes:
                self.write(child, self._class_name(name))
        self.classes[id(module)] = class_name
        self.use("torch", "nn")
        lines = [f"class {class_name}(nn.Module):"]
        # Passes and exporters keep other objects there, which are of no use in the file.
        meta = {key: text for key, text in module.meta.items() if isinstance(text, str)}
        if meta:
            lines += [f"    meta = {self.literal(meta)}", ""]
        lines.append("    def __init__(self):")
        statements = ["super().__init__()", *self.members("self", module), *_shared(module)]
        lines += [f"        {statement}" for statement in statements]
        inputs = [node for node in module.graph.nodes if node.op == "placeholder"]
        names = self._variables(module.graph)
        signature = ", ".join(["self", *(names[node] for node in inputs)])
        lines += ["", f"    def forward({signature}):"]
        for node in module.graph.nodes:
            if node.op == "output":
                lines.append(f"        return {self.literal(node.args[0], names)}")
            elif node.op not in ("placeholder", "get_attr"):
                lines.append(f"        {names[node]} = {self.expression(node, names)}")
        self.text.append("\n".join(lines) + "\n")

    def members(self, owner: str, module: nn.Module) -> list[str]:
        """Write statements that give `owner` all submodules, buffers and parameters of `module`."""
        lines = []
        for name, child in module.named_children():
            # A plain nn.Module only holds layers whose names have a dot.
            holder = type(child) is nn.Module
            made = "nn.Module()" if holder else self.constructor(child)
            if _is_name(name):
                lines.append(f"{owner}.{name} = {made}")
            else:
                lines.append(f"{owner}.add_module({self.literal(name)}, {made})")
            if holder:
                lines += self.members(_attribute(owner, name), child)
        for name, buffer in module.named_buffers(recurse=False):
            zeros = self._zeros(buffer)
            lines.append(f"{owner}.register_buffer({self.literal(name)}, {zeros})")
        for name, parameter in module.named_parameters(recurse=False):
            zeros = self._zeros(parameter)
            zeros += "" if parameter.requires_grad else ", requires_grad=False"
            lines.append(f"{owner}.register_parameter({self.literal(name)}, nn.Parameter({zeros}))")
        return lines

    def _zeros(self, tensor: torch.Tensor) -> str:
        self.use("torch")
        return f"torch.zeros({self.literal(tuple(tensor.shape))}, dtype={tensor.dtype})"

    def _class_name(self, name: str) -> str:
        """Choose a class name for the submodule `name`: its words, capitalized."""
        words = "".join(word[:1].upper() + word[1:] for word in name.split("_"))
        return identifier(words, self.importable.union(self.classes.values()))

    def _variables(self, graph: fx.Graph) -> dict[fx.Node, str]:
        """Choose each node's variable: `x` if its value is not needed any more, else a new name."""
        order = {node: i for i, node in enumerate(graph.nodes)}
        ends = {n: max((order[user] for user in n.users), default=order[n]) for n in graph.nodes}
        inputs = [node for node in graph.nodes if node.op == "placeholder"]
        names: dict[fx.Node, str] = {}
        busy_until = -1  # the position of the last node that uses the value in `x`
        new = Names({"x", *self.importable})  # no variable may hide what the file imports
        for node in graph.nodes:
            if node.op == "get_attr":
                names[node] = _attribute("self", str(node.target))
            elif (node.op != "placeholder" or len(inputs) == 1) and busy_until <= order[node]:
                names[node], busy_until = "x", ends[node]
            else:
                names[node] = new(node.name)
        return names


def _importable(module: fx.GraphModule) -> set[str]:
    """Return all names that the file may import: classes, functions and packages."""
    names = set()
    for child in module.modules():
        if not isinstance(child, fx.GraphModule):
            names.add(type(child).__name__)
            continue
        for node in child.graph.nodes:
            if node.op == "call_function":
                target: Any = node.target
                names |= {target.__name__, (target.__module__ or "torch").partition(".")[0]}
    return names


def write_source(module: fx.GraphModule, class_name: str = "Model") -> str:
    """Write a .py file with the class of a module and the classes of graph modules in it.

    A layer is written from its own attributes. It may be of torch.nn, of samepad, or of any class
    that keeps its constructor's arguments as attributes of the same names. Weights are not written;
    the names and shapes in the class's state_dict are the module's, so that the module's state_dict
    can be loaded. Strings in the module's `meta` become the class's `meta`.

    Args:
        module: A module from samepad.keras.to_torch, samepad.onnx.load or torch.fx.symbolic_trace.
        class_name: The name of the class.

    Returns:
        The source, which can be imported where PyTorch and samepad are installed.

    Raises:
        ValueError: class_name is not a valid name, or is one that the file itself needs; a layer
            does not keep its constructor's arguments; or a value cannot be written as source.
    """
    importable = _importable(module)
    if not str(class_name).isidentifier() or str(class_name) in reserved() | importable:
        raise ValueError(
            "class_name must be a name of a class, and none that its source refers to, but got "
            f"{class_name!r}"
        )
    writer = _Writer(importable)
    writer.classes[0] = class_name
    writer.write(module, class_name)
    return writer.head() + "\n\n\n" + "\n\n".join(writer.text)
