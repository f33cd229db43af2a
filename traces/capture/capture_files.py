"""The files of a capture, readable by `moecast trace import`.

A folder with
  ids.u8 or ids.u16   [token][MoE layer][rank], best first; sequences one after another; u16 above 256 experts
  scores.u16          same shape; score = value / 65535
  sequences.csv       length, prompt_tokens, request_id, category: one row a sequence
  import.yaml         says all this to `moecast trace import`
Tokens before prompt_tokens are prefill, the others decode. An id of all ones bits says that the
row was not recorded.
"""

import csv
import dataclasses

import numpy as np

SCORE_UNIT = 1 / 65535


@dataclasses.dataclass
class Header:
    source: str
    model: str
    experts: int
    top_k: int
    layers: list  # model layer index of each MoE layer


@dataclasses.dataclass
class Sequence:
    ids: np.ndarray              # integer [tokens, layers, ranks]; negative where not recorded
    prompt_tokens: int
    scores: np.ndarray = None    # [tokens, layers, ranks] in 0 to 1
    request_id: str = ""
    category: str = ""


def check(header, sequences):
    """Refuses what no trace can hold, naming the sequence."""
    if not sequences:
        raise ValueError("there is no sequence to write")
    ranks = sequences[0].ids.shape[-1]
    for number, s in enumerate(sequences):
        if s.ids.ndim != 3 or s.ids.shape[1:] != (len(header.layers), ranks) or s.ids.shape[0] == 0:
            raise ValueError(f"sequence {number}: ids have shape {s.ids.shape}, not [tokens >= 1, {len(header.layers)}, {ranks}]")
        known = s.ids[(s.ids >= 0).all(-1)]
        if known.size and known.max() >= header.experts:
            raise ValueError(f"sequence {number}: expert {known.max()} is out of range, ids are below {header.experts}")
        if (np.diff(np.sort(known, axis=-1), axis=-1) == 0).any():
            raise ValueError(f"sequence {number}: a row names an expert twice")
        if (s.scores is None) != (sequences[0].scores is None):
            raise ValueError(f"sequence {number}: some sequences have scores and some have none")
        if s.scores is not None and s.scores.shape != s.ids.shape:
            raise ValueError(f"sequence {number}: scores have shape {s.scores.shape}, ids {s.ids.shape}")
        if not 0 <= s.prompt_tokens:
            raise ValueError(f"sequence {number}: prompt_tokens is {s.prompt_tokens}")
        if any(c in s.request_id + s.category for c in ',"\n\r'):
            raise ValueError(f"sequence {number}: a label has a comma, quote or line break")


def packed_ids(ids, id_type):
    """A row with any negative id is not recorded: all its ids become the largest value."""
    unknown = (ids < 0).any(-1, keepdims=True)
    return np.where(unknown, np.iinfo(id_type).max, ids).astype(id_type)


def write(folder, header, sequences):
    """Writes the folder's files. ERRORS: ValueError of `check`, before anything is written."""
    check(header, sequences)
    folder.mkdir(parents=True, exist_ok=True)
    wide = header.experts > 255  # 255 says unknown
    id_type, name = (np.dtype("<u2"), "u16") if wide else (np.dtype("u1"), "u8")
    with open(folder / f"ids.{name}", "wb") as file:
        for s in sequences:
            file.write(packed_ids(s.ids, id_type).tobytes())
    if sequences[0].scores is not None:
        with open(folder / "scores.u16", "wb") as file:
            for s in sequences:
                file.write(np.rint(np.clip(s.scores, 0, 1) / SCORE_UNIT).astype("<u2").tobytes())
    with open(folder / "sequences.csv", "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["length", "prompt_tokens", "request_id", "category"])
        for s in sequences:
            rows.writerow([s.ids.shape[0], min(s.prompt_tokens, s.ids.shape[0]), s.request_id, s.category])
    ranks = sequences[0].ids.shape[-1]
    (folder / "import.yaml").write_text(description(header, name, ranks, sequences[0].scores is not None))


def description(header, id_type, ranks, scores):
    quoted = {field: '"' + str(getattr(header, field)).replace("\\", "/").replace('"', "'") + '"' for field in ("source", "model")}
    lines = [f"source: {quoted['source']}", f"model: {quoted['model']}", f"experts: {header.experts}",
             f"top_k: {header.top_k}"]
    if ranks != header.top_k:
        lines.append(f"recorded_ranks: {ranks}")
    lines += [f"moe_layers: [{', '.join(map(str, header.layers))}]", "ids:", f"  path: ids.{id_type}",
              f"  type: {id_type}", "  layout: token_layer_k", f"  unknown: {65535 if id_type == 'u16' else 255}"]
    if scores:
        lines += ["scores:", "  path: scores.u16", "  type: u16", f"  unit: {SCORE_UNIT!r}"]
    lines += ["sequences:", "  csv:", "    path: sequences.csv", "    length: length", "    prompt_tokens: prompt_tokens",
              "    request_id: request_id", "    category: category"]
    return "\n".join(lines) + "\n"
