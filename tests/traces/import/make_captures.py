"""Writes one small routing in the layout of every engine, with its answer, for the importers' tests.

    make_captures.py FOLDER

Standard library only. The layouts were taken from the engines' sources, not captured from running
engines. Routing: a model of 4 layers, the first dense, 8 experts, top-2; request r0 has tokens 0-5
(4 prompt), r1 has tokens 6-9 (3 prompt).
"""

import base64
import collections
import json
import pickle
import random
import struct
import sys
import types
import zipfile
from pathlib import Path

LAYERS, DENSE, EXPERTS, TOP_K = 4, 1, 8, 2
REQUESTS = ((0, 6, 4), (6, 4, 3))  # first token, tokens, prompt tokens
TOKENS = 10
SLOTS = 10  # physical experts: slot s holds expert MAP[s]
MAP = (3, 1, 0, 2, 7, 6, 5, 4, 3, 0)


def routing():
    """[token][MoE layer][k], best first."""
    generator = random.Random(7)
    return [[generator.sample(range(EXPERTS), TOP_K) for _ in range(LAYERS - DENSE)]
            for _ in range(TOKENS)]


IDS = routing()


def flat(rows):
    for row in rows:
        if isinstance(row, (list, tuple)):
            yield from flat(row)
        else:
            yield row


def shape_of(rows):
    shape = []
    while isinstance(rows, (list, tuple)):
        shape.append(len(rows))
        rows = rows[0]
    return tuple(shape)


def raw(rows, code):
    values = list(flat(rows))
    return struct.pack(f"<{len(values)}{code}", *values)


def npy(rows, descr, code):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape_of(rows)}, }}"
    header += " " * (-(10 + len(header) + 1) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + raw(rows, code)


def with_dense(tokens):
    """All layers; dense ones as zeros, as engines give them."""
    return [[[0] * TOP_K] * DENSE + token for token in tokens]


def by_layer(tokens):
    return [[token[layer] for token in tokens] for layer in range(len(tokens[0]))]


def counts(tokens):
    """[layer][expert] over the MoE layers."""
    table = [[0] * EXPERTS for _ in range(LAYERS - DENSE)]
    for token in tokens:
        for layer, row in enumerate(token):
            for expert in row:
                table[layer][expert] += 1
    return table


def physical(expert, turn):
    """A slot that holds the expert; replicas take turns."""
    slots = [slot for slot, held in enumerate(MAP) if held == expert]
    return slots[turn % len(slots)]


def write_json(path, value):
    path.write_text(json.dumps(value))


def text(data):
    return base64.b64encode(data).decode()


def write_responses(folder):
    for number, (first, tokens, prompt) in enumerate(REQUESTS):
        rows = IDS[first:first + tokens - 1]  # the last token is never routed
        usage = {"prompt_tokens": prompt, "completion_tokens": tokens - prompt}
        encoded = text(npy(with_dense(rows), "|u1", "B"))
        write_json(folder / f"vllm_completion_{number}.json",
                   {"id": f"r{number}", "usage": usage,
                    "choices": [{"index": 0, "routed_experts": encoded}]})
        write_json(folder / f"vllm021_completion_{number}.json",
                   {"id": f"r{number}", "prompt_routed_experts": rows[:prompt],
                    "choices": [{"index": 0, "routed_experts": rows[prompt:]}]})
        write_json(folder / f"sglang_generate_{number}.json",
                   {"text": "", "meta_info": {"id": f"r{number}", **usage,
                                              "routed_experts": text(raw(with_dense(rows), "i"))}})
        write_json(folder / f"sglang_openai_{number}.json",
                   {"id": f"r{number}", "usage": usage,
                    "choices": [{"sgl_ext": {"routed_experts": text(raw(with_dense(rows), "i"))}}]})
        write_json(folder / f"dynamo_{number}.json",
                   {"nvext": {"engine_data": {"routed_experts": {
                       "data": text(raw(with_dense(rows), "B")), "dtype": "uint8", "start": 0,
                       "shape": [len(rows), LAYERS, TOP_K]}}}})


class Storage:
    def __init__(self, kind, data, count):
        self.kind, self.data, self.count = kind, data, count


def torch_names():
    """Stand-ins for the names that torch's pickles mention."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2(*_):
        raise RuntimeError("only its name is used")

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    for name in ("LongStorage", "IntStorage"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    sys.modules.update({"torch": torch, "torch._utils": utils})
    return torch, _rebuild_tensor_v2


TORCH, REBUILD = torch_names()


class Tensor:
    def __init__(self, rows, code):
        values = list(flat(rows))
        self.shape = shape_of(rows)
        kind = TORCH.LongStorage if code == "q" else TORCH.IntStorage
        self.storage = Storage(kind, raw(rows, code), len(values))

    def __reduce__(self):
        stride, step = [], 1
        for size in reversed(self.shape):
            stride.insert(0, step)
            step *= size
        return REBUILD, (self.storage, 0, self.shape, tuple(stride), False,
                         collections.OrderedDict())


class TorchPickler(pickle.Pickler):
    def __init__(self, file):
        super().__init__(file, protocol=2)
        self.storages = []

    def persistent_id(self, obj):
        if not isinstance(obj, Storage):
            return None
        self.storages.append(obj.data)
        return ("storage", obj.kind, str(len(self.storages) - 1), "cpu", obj.count)


def write_torch(path, value):
    """As torch.save lays files out, but for the alignment of storages."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        stem = path.stem
        with archive.open(f"{stem}/data.pkl", "w") as file:
            pickler = TorchPickler(file)
            pickler.dump(value)
        archive.writestr(f"{stem}/byteorder", "little")
        for key, data in enumerate(pickler.storages):
            archive.writestr(f"{stem}/data/{key}", data)
        archive.writestr(f"{stem}/version", "3\n")


def physical_counts(tokens):
    table = [[0] * SLOTS for _ in range(LAYERS)]
    for token in tokens:
        for layer, row in enumerate(token):
            for expert in row:
                table[layer + DENSE][physical(expert, 0)] += 1
    return table


def recorder_pass(number, tokens, positions, prefill, mode):
    """A pass of SGLang's recorder: 8 columns, -1 where there is nothing."""
    rows = [[[-1] * 8] * DENSE +
            [[physical(expert, number) for expert in row] + [-1] * (8 - TOP_K) for row in IDS[token]]
            for token in tokens]
    return {"forward_pass_id": number, "rank": 0, "gatherer_key": "primary",
            "input_ids": list(positions), "positions": list(positions),
            "extend_seq_lens": prefill, "forward_mode": mode, "misc_objects": [],
            "topk_ids_of_layer": Tensor(by_layer(rows), "i")}


def write_sglang(folder):
    mapping = Tensor([list(MAP)] * LAYERS, "q")
    total = [[0] * EXPERTS] * DENSE + counts(IDS)
    write_torch(folder / "sglang_stat.pt", {"rank": 0, "logical_count": Tensor([total], "q"),
                                            "average_utilization_rate_over_window": None})
    for rank in range(2):
        records = [{"forward_pass_id": number, "rank": rank, "gatherer_key": "primary",
                    "global_physical_count": Tensor(physical_counts(tokens[rank::2]), "i")}
                   for number, tokens in ((7, IDS[:5]), (8, IDS[5:]))]
        write_torch(folder / f"sglang_per_pass_{rank}.pt",
                    {"records": records, "last_physical_to_logical_map": mapping})
    write_torch(folder / "bad_no_map.pt", {"records": records})
    # r0's prompt, then r1's prompt while r0 decodes, then both decode.
    records = [recorder_pass(7, (0, 1, 2, 3), range(4), [4], 1),
               recorder_pass(8, (6, 7, 8, 4), (0, 1, 2, 4), [3], 3),
               recorder_pass(9, (5, 9), (5, 3), None, 2)]
    write_torch(folder / "sglang_per_token_0.pt",
                {"records": records, "last_physical_to_logical_map": mapping})
    write_torch(folder / "moe_cap_tokens.pt",
                {"type": "per_token", "topk_ids": Tensor(by_layer(with_dense(IDS)), "q")})


def write_hostile(folder):
    """An archive whose pickle would run a command in a reader that executes what it reads."""
    with zipfile.ZipFile(folder / "bad_hostile.pt", "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.")


def safetensors(arrays):
    header, data = {}, b""
    for name, (dtype, code, rows) in arrays.items():
        part = raw(rows, code)
        header[name] = {"dtype": dtype, "shape": list(shape_of(rows)),
                        "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    return struct.pack("<Q", len(encoded)) + encoded + data


def write_trtllm(folder):
    folder.mkdir()
    write_json(folder / "meta_info.json",
               {"num_experts": EXPERTS, "num_experts_per_token": TOP_K})
    for rank in range(2):
        of_rank = {100: IDS[0:6][rank::2], 101: IDS[6:10][rank::2]}
        count_arrays, id_arrays = {}, {}
        for iteration, tokens in of_rank.items():
            for layer in range(LAYERS - DENSE):
                name = f"{iteration}_{layer + DENSE}"
                count_arrays[name] = ("I64", "q", counts(tokens)[layer])
                id_arrays[name] = ("I32", "i", [token[layer] for token in tokens])
        (folder / f"rank{rank}.safetensors").write_bytes(safetensors(count_arrays))
        (folder / f"rank{rank}_raw.safetensors").write_bytes(safetensors(id_arrays))


def write_npz(path, arrays):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in arrays.items():
            archive.writestr(name + ".npy", data)


def write_logits(folder):
    generator = random.Random(11)

    def logits(row):
        """The chosen experts above all others, in order."""
        values = [generator.uniform(-3, 0) for _ in range(EXPERTS)]
        for rank, expert in enumerate(row):
            values[expert] = 2.0 - rank
        return values

    layers = {f"layer_{layer + DENSE}": npy([logits(token[layer]) for token in IDS], "<f4", "f")
              for layer in range(LAYERS - DENSE)}
    write_npz(folder / "hf_router_logits.npz", layers)


def write_others(folder):
    (folder / "canonical_ids.npy").write_bytes(npy(IDS, "|u1", "B"))
    lines = [",".join(map(str, row)) for row in counts(IDS)]
    (folder / "canonical_counts.csv").write_text("\n".join(lines) + "\n")
    write_json(folder / "hits.json",
               {str(layer + DENSE): {"hits": row} for layer, row in enumerate(counts(IDS))})
    sequences = [counts(IDS[first:first + tokens]) for first, tokens, _ in REQUESTS]
    (folder / "moe_infinity_trace.npy").write_bytes(npy(sequences, "<f8", "d"))
    with open(folder / "megatron_rank0.jsonl", "w") as file:
        for layer in range(LAYERS - DENSE):
            line = {"step": 0, "stage": "forward", "block": "decoder", "layer": layer + DENSE + 1,
                    "rank": 0, "num_tokens": TOKENS, "topk": TOP_K,
                    "top_indices": [token[layer] for token in IDS]}
            file.write(json.dumps(line) + "\n")
    with open(folder / "moe_cap_steps.jsonl", "w") as file:
        for number in range(2):
            step = {"forward_pass_id": number, "batch_size": 2, "latency": 0.0125,
                    "seq_lens_sum": 10 + 2 * number, "forward_mode": ("prefill", "decode")[number],
                    "expert_activation": 5.5, "expert_utilization": 0.6875}
            file.write(json.dumps(step) + "\n")
    write_json(folder / "sglang_init_expert_location.json",
               {"physical_to_logical_map": [list(range(EXPERTS))] * LAYERS})
    devices = [{"device_id": device, "device_expert": list(range(4 * device, 4 * device + 4))}
               for device in range(2)]
    write_json(folder / "vllm_ascend_expert_map.json",
               {"moe_layer_count": LAYERS - DENSE,
                "layer_list": [{"layer_id": layer, "device_count": 2, "device_list": devices}
                               for layer in range(LAYERS - DENSE)]})


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    write_responses(folder)
    write_sglang(folder)
    write_hostile(folder)
    write_trtllm(folder / "trtllm")
    write_logits(folder)
    write_others(folder)


if __name__ == "__main__":
    main()
