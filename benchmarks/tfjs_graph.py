"""A TensorFlow.js graph model run by PyTorch, for restorers that others publish in that form (NHWC, float32, int32).

    net = Graph(Path("package/models"))          # model.json and its shards
    restored = net(images)                       # B×H×W×3 floats, sides that are multiples of 64

A stand-in for TensorFlow, which is 600 MB: some forty operations, each by its definition. No code of a package runs.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

Attributes = dict[str, Any]

TYPES = {"DT_FLOAT": torch.float32, "DT_INT32": torch.int32, "DT_BOOL": torch.bool, "DT_INT64": torch.int64}
KINDS = {"float32": np.float32, "int32": np.int32, "bool": np.bool_}


class Graph:
    """The frozen graph of a folder, called with images."""

    def __init__(self, folder: Path) -> None:
        model = json.loads((folder / "model.json").read_text("utf-8"))
        self.nodes = in_order(model["modelTopology"]["node"])
        self.weights: dict[str, Tensor] = {}
        for group in model["weightsManifest"]:
            data, at = b"".join((folder / path).read_bytes() for path in group["paths"]), 0
            for weight in group["weights"]:
                count = int(np.prod(weight["shape"], dtype=np.int64)) if weight["shape"] else 1
                kind = KINDS[weight["dtype"]]
                array = np.frombuffer(data, kind, count, at).reshape(weight["shape"])
                at += count * np.dtype(kind).itemsize
                self.weights[weight["name"]] = torch.from_numpy(array.copy())
            if at != len(data):
                raise ValueError(
                    f"{folder}: expected {at} bytes of weights, found {len(data)}; fetch the package again"
                )
        self.output = next(iter(model["signature"]["outputs"].values()))["name"].split(":")[0]
        self.uses = Counter(name_of(given) for node in self.nodes for given in node.get("input", []))

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """B×H×W×3 floats in [0, 1] in and out. What no later node needs is dropped on the way."""
        values: dict[str, Tensor] = {}
        left = Counter(self.uses)
        for node in self.nodes:
            operation, name = node["op"], node["name"]
            if operation == "Const":
                values[name] = self.weights[name]
                continue
            if operation == "Placeholder":
                values[name] = images
                continue
            names = [name_of(given) for given in node.get("input", []) if not given.startswith("^")]
            values[name] = OPERATIONS[operation]([values[n] for n in names], node.get("attr", {}))
            for n in names:
                left[n] -= 1
                if not left[n]:
                    values.pop(n, None)
        return values[self.output]


def name_of(given: str) -> str:
    """A node's name, of an input as the graph writes it."""
    return given.lstrip("^").split(":")[0]


def in_order(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each node after those that it needs."""
    by_name = {node["name"]: node for node in nodes}
    done: set[str] = set()
    order = []
    for root in nodes:
        stack = [(root, iter(root.get("input", [])))]
        while stack:
            node, inputs = stack[-1]
            if node["name"] in done:
                stack.pop()
                continue
            following = next((by_name[name_of(given)] for given in inputs if name_of(given) not in done), None)
            if following is None:
                done.add(node["name"])
                order.append(node)
                stack.pop()
            else:
                stack.append((following, iter(following.get("input", []))))
    return order


def integers(value: Attributes) -> list[int]:
    return [int(i) for i in value.get("list", {}).get("i", [])]


def flag(attributes: Attributes, name: str) -> int:
    value = attributes.get(name, {})
    return int(value["i"]) if "i" in value else int(bool(value.get("b", False)))


def text(attributes: Attributes, name: str) -> str:
    return base64.b64decode(attributes[name]["s"]).decode()


def framing(size: int, stride: int, kernel: int) -> tuple[int, int]:
    """What TensorFlow's padding SAME adds before and after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def convolution(x: list[Tensor], attributes: Attributes) -> Tensor:
    strides = integers(attributes["strides"])[1:3]
    dilations = (integers(attributes.get("dilations", {})) or [1, 1, 1, 1])[1:3]
    kernel, image = x[1].permute(3, 2, 0, 1), x[0].permute(0, 3, 1, 2)
    if text(attributes, "padding") == "SAME":
        wide = [(kernel.shape[2 + i] - 1) * dilations[i] + 1 for i in (0, 1)]
        (top, bottom), (left, right) = (framing(image.shape[2 + i], strides[i], wide[i]) for i in (0, 1))
        image = functional.pad(image, (left, right, top, bottom))
    groups = image.shape[1] // kernel.shape[1]
    return functional.conv2d(image, kernel, stride=strides, dilation=dilations, groups=groups).permute(0, 2, 3, 1)


def transposed_convolution(x: list[Tensor], attributes: Attributes) -> Tensor:
    strides, kernel = integers(attributes["strides"])[1:3], x[1].permute(3, 2, 0, 1)
    _, height, width, _ = x[0].tolist()
    result = functional.conv_transpose2d(x[2].permute(0, 3, 1, 2), kernel, stride=strides)
    top, left = 0, 0
    if text(attributes, "padding") == "SAME":
        top = framing(height, strides[0], kernel.shape[2])[0]
        left = framing(width, strides[1], kernel.shape[3])[0]
    return result[:, :, top : top + height, left : left + width].permute(0, 2, 3, 1)


def total(x: list[Tensor], attributes: Attributes) -> Tensor:
    axes = x[1].reshape(-1).tolist()
    summed = x[0].sum(dim=axes, keepdim=bool(flag(attributes, "keep_dims"))) if axes else x[0]
    return summed.to(x[0].dtype)


def squeezed(x: list[Tensor], attributes: Attributes) -> Tensor:
    result = x[0]
    for axis in sorted((a % x[0].ndim for a in integers(attributes.get("squeeze_dims", {}))), reverse=True):
        result = result.squeeze(axis)
    return result


def gathered(x: list[Tensor], attributes: Attributes) -> Tensor:
    axis, where = int(x[2]), x[1].long()
    chosen = x[0].index_select(axis, where.reshape(-1))
    return chosen.reshape(*x[0].shape[:axis], *where.shape, *x[0].shape[axis + 1 :])


def sliced(x: list[Tensor], attributes: Attributes) -> Tensor:
    begin, end, stride = (part.tolist() for part in x[1:4])
    masks = {n: flag(attributes, f"{n}_mask") for n in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    index: list[Any] = []
    for i in range(len(begin)):
        bit = 1 << i
        if masks["ellipsis"] & bit:
            index.append(...)
        elif masks["new_axis"] & bit:
            index.append(None)
        elif masks["shrink_axis"] & bit:
            index.append(begin[i])
        else:
            first, last = (None if masks[n] & bit else at[i] for n, at in (("begin", begin), ("end", end)))
            index.append(slice(first, last, stride[i]))
    return x[0][tuple(index)]


OPERATIONS: dict[str, Callable[[list[Tensor], Attributes], Tensor]] = {
    "Mul": lambda x, a: x[0] * x[1],
    "AddV2": lambda x, a: x[0] + x[1],
    "Sub": lambda x, a: x[0] - x[1],
    "RealDiv": lambda x, a: x[0] / x[1],
    "FloorDiv": lambda x, a: torch.div(x[0], x[1], rounding_mode="floor"),
    "FloorMod": lambda x, a: torch.remainder(x[0], x[1]),
    "Maximum": lambda x, a: torch.maximum(x[0], x[1]),
    "Minimum": lambda x, a: torch.minimum(x[0], x[1]),
    "Greater": lambda x, a: x[0] > x[1],
    "GreaterEqual": lambda x, a: x[0] >= x[1],
    "Less": lambda x, a: x[0] < x[1],
    "LessEqual": lambda x, a: x[0] <= x[1],
    "NotEqual": lambda x, a: x[0] != x[1],
    "LogicalAnd": lambda x, a: x[0] & x[1],
    "SelectV2": lambda x, a: torch.where(x[0], x[1], x[2]),
    "Square": lambda x, a: x[0].square(),
    "Rsqrt": lambda x, a: x[0].rsqrt(),
    "Reciprocal": lambda x, a: x[0].reciprocal(),
    "Tanh": lambda x, a: x[0].tanh(),
    "Exp": lambda x, a: x[0].exp(),
    "Neg": lambda x, a: -x[0],
    "Abs": lambda x, a: x[0].abs(),
    "Sign": lambda x, a: x[0].sign(),
    "Floor": lambda x, a: x[0].floor(),
    "Identity": lambda x, a: x[0],
    "Shape": lambda x, a: torch.tensor(x[0].shape, dtype=torch.int32),
    "Cast": lambda x, a: x[0].to(TYPES[a["DstT"]["type"]]),
    "Reshape": lambda x, a: x[0].reshape(x[1].tolist()),
    "BroadcastTo": lambda x, a: x[0].broadcast_to(x[1].tolist()),
    "Transpose": lambda x, a: x[0].permute(x[1].tolist()),
    "ExpandDims": lambda x, a: x[0].unsqueeze(int(x[1])),
    "Squeeze": squeezed,
    "Pack": lambda x, a: torch.stack(x, dim=flag(a, "axis")),
    "ConcatV2": lambda x, a: torch.cat(x[:-1], dim=int(x[-1])),
    "Range": lambda x, a: torch.arange(x[0].item(), x[1].item(), x[2].item(), dtype=x[0].dtype),
    "Sum": total,
    "Einsum": lambda x, a: torch.einsum(text(a, "equation"), *x),
    "GatherV2": gathered,
    "StridedSlice": sliced,
    "Conv2D": convolution,
    "Conv2DBackpropInput": transposed_convolution,
}
