"""Writes a GGUF's model as config.json and safetensors, tensor by tensor.

Names and order of the weights are transformers' own mapping; only its reading is replaced, which
walks through the file's header three times, entry by entry, and takes a minute for a large
vocabulary. Weights keep their file's own precision, quantised ones 16 bits (gguf_blocks.py). What
isn't known here is left to transformers as a whole, by the caller.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inference.models.gguf_blocks import FLOATS, block_size, stored_dtype, unpack
from inference.models.headers import GgufHeader, TensorInfo

ARCHITECTURES = frozenset(
    {"llama", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "starcoder2", "mistral", "stablelm"}
)
"""Those whose tensors are the model's one by one, renamed or with their rows in another order."""

NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64"}
PROGRESS_STEPS = 5
VOCABULARY = "tokenizer.ggml.tokens"


class NotConvertible(Exception):
    """This file's model isn't put together tensor by tensor; the text says what is in the way."""


@contextlib.contextmanager
def quick_reading(gguf: Path, header: GgufHeader) -> Iterator[None]:
    """While it lasts, transformers gets this file's fields from a header that was read before.

    They are enough for a configuration: of arrays there is the vocabulary's length alone.
    """
    import gguf as package

    reader, names = package.GGUFReader, package.get_tensor_name_map
    own = SimpleNamespace(
        fields={
            **{key: _field(value, header.kinds[key]) for key, value in header.fields.items()},
            **{
                key: _array(length if key == VOCABULARY else 1)
                for key, length in header.array_lengths.items()
            },
        },
        tensors=[SimpleNamespace(name=name) for name in header.tensors],
    )

    def read(path: Any, *args: Any) -> Any:
        return own if Path(path) == gguf and not args else reader(path, *args)

    package.GGUFReader = read  # type: ignore[assignment, misc]
    package.get_tensor_name_map = functools.cache(names)
    try:
        yield
    finally:
        package.GGUFReader, package.get_tensor_name_map = reader, names  # type: ignore[misc]


def _field(value: Any, kind: int) -> SimpleNamespace:
    part = value.encode() if isinstance(value, str) else [value]
    return SimpleNamespace(parts=[part], data=[0], types=[kind])


def _array(length: int) -> SimpleNamespace:
    return SimpleNamespace(parts=[[0]], data=[0] * length, types=[4])


def write_model(
    gguf: Path, header: GgufHeader, folder: Path, progress: Callable[[str], None]
) -> None:
    """Write config.json, generation_config.json and model.safetensors. Needs `quick_reading`.

    Holds one tensor at a time. `progress` gets a line now and then. Raises NotConvertible before
    or after writing; what lies in the folder then isn't to be used.
    """
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.modeling_gguf_pytorch_utils import (
        TENSOR_PROCESSORS,
        TensorProcessor,
        get_gguf_hf_weights_map,
        load_gguf_checkpoint,
    )

    architecture = str(header.fields.get("general.architecture", ""))
    if architecture not in ARCHITECTURES:
        raise NotConvertible(f"{architecture} is read by transformers as a whole")
    values = load_gguf_checkpoint(str(gguf), return_tensors=False)["config"]
    config = AutoConfig.for_model(**values)
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config)
    processor = TENSOR_PROCESSORS.get(architecture, TensorProcessor)(config=values)
    names = get_gguf_hf_weights_map(model, processor)
    wanted = dict(model.state_dict(keep_vars=True))
    plan = _plan(header, names, wanted)

    data = np.memmap(gguf, mode="r", dtype=np.uint8)

    def tensors() -> Iterator[tuple[str, Tensor]]:
        done, told = 0, 0
        total = sum(info.parameters for _, _, info in plan)
        for name, own_name, info in plan:
            begin = header.data_at + info.offset
            flat = unpack(data[begin : begin + _bytes_of(info)], info.dtype)
            weights = flat.view(info.shape)
            if weights.dtype != torch.bfloat16:  # which numpy doesn't know
                found = processor.process(
                    weights.numpy(), own_name, tensor_key_mapping=names, parsed_parameters={}
                )
                weights = torch.from_numpy(np.ascontiguousarray(found.weights))
            elif type(processor) is not TensorProcessor:
                raise NotConvertible(f"{own_name} is BF16")
            if weights.shape != wanted[name].shape:
                raise NotConvertible(f"{own_name} is of shape {tuple(weights.shape)}")
            yield name, weights
            done += info.parameters
            if done * PROGRESS_STEPS // total > told:
                told = done * PROGRESS_STEPS // total
                progress(f"{done / 1e6:.0f} of {total / 1e6:.0f} million weights written.")

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # pieces are small: more threads mostly wait for each other
    try:
        write_safetensors(folder / "model.safetensors", [name for name, _, _ in plan], tensors())
    finally:
        torch.set_num_threads(threads)
    model.config.architectures = [type(model).__name__]
    model.config.dtype = torch.float16 if any(i.dtype not in FLOATS for _, _, i in plan) else None
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)


def _plan(
    header: GgufHeader, names: dict[str, str], wanted: dict[str, Tensor]
) -> list[tuple[str, str, TensorInfo]]:
    """(the model's name, the file's, the tensor), wide ones first, so that all lie aligned."""
    plan = []
    for own_name, info in header.tensors.items():
        name = names.get(own_name)
        if name is None:
            continue  # transformers has no place for it either (rope_freqs.weight)
        if name not in wanted:
            raise NotConvertible(f"{own_name} would be {name}, which the model doesn't have")
        plan.append((name, own_name, info))
    written = {id(wanted[name]) for name, _, _ in plan}
    missing = [name for name, tensor in wanted.items() if id(tensor) not in written]
    if missing or len({name for name, _, _ in plan}) < len(plan):
        raise NotConvertible(f"it has no {', '.join(missing[:3])}")
    return sorted(plan, key=lambda each: -stored_dtype(each[2].dtype).itemsize)


def _bytes_of(info: TensorInfo) -> int:
    if info.dtype in FLOATS:
        return info.parameters * FLOATS[info.dtype].itemsize
    try:
        numbers, size = block_size(info.dtype)
    except KeyError as error:
        raise NotConvertible(f"nobody here can read {info.dtype}") from error
    return info.parameters // numbers * size


def write_safetensors(
    path: Path, names: Iterable[str], tensors: Iterable[tuple[str, Tensor]]
) -> None:
    """Write tensors as they come. `names` are theirs: the header stands before them."""
    room = 256 + sum(len(json.dumps(name)) + 160 for name in names)
    room = -(-room // 64) * 64
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    with path.open("wb") as file:
        file.seek(8 + room)
        for name, tensor in tensors:
            file.write(memoryview(tensor.contiguous().view(-1).view(torch.uint8).numpy()))  # type: ignore[arg-type]
            entries[name] = {
                "dtype": NAMES[tensor.dtype],
                "shape": list(tensor.shape),
                "data_offsets": [at, at + tensor.nbytes],
            }
            at += tensor.nbytes
        text = json.dumps(entries).encode()
        if len(text) > room:
            raise NotConvertible("its tensors' names take more room than was left for them")
        file.seek(0)
        file.write(room.to_bytes(8, "little") + text.ljust(room))
