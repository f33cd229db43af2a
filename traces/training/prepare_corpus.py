"""Makes the training corpus: Debian packages -> plain text -> byte-pair tokens.

    python3 prepare_corpus.py --work DIR --out DIR

Downloads the packages of corpus_sources.yaml with `apt-get download` (nothing is installed), removes
markup, holds out documents by a hash of their name, trains a byte-level BPE tokenizer and writes
  OUT/tokenizer.json
  OUT/tokens.npz        uint16 tokens, one array per "<kind>.<split>", documents separated by token 0
  OUT/manifest.json     every package with version, licence, bytes used and the SHA-256 of its .deb
Splits: train 96 %, calibration 2 %, test 2 % of the documents of each package.
"""

import argparse
import gzip
import hashlib
import html
import json
import pathlib
import re
import subprocess
import zipfile

import numpy as np
import yaml
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

MAX_DOCUMENT_BYTES = 150_000
DOCUMENT_END = "<|document|>"  # token 0
TOKENIZER_SAMPLE_BYTES = 3_000_000  # of each kind


def fetch(package, work):
    """Downloads and unpacks a package once. RETURNS: (deb path, folder)."""
    debs, folder = work / "debs", work / "x" / package
    debs.mkdir(parents=True, exist_ok=True)
    if not list(debs.glob(f"{package}_*.deb")):
        subprocess.run(["apt-get", "download", "-q", package], cwd=debs, check=True)
    deb = next(debs.glob(f"{package}_*.deb"))
    if not folder.exists():
        subprocess.run(["dpkg-deb", "-x", str(deb), str(folder)], check=True)
    return deb, folder


def strip_html(text):
    body = re.sub(r"(?is)<(script|style|head|nav|header|footer)\b.*?</\1>", " ", text)
    body = re.sub(r"(?i)<(br|/p|/div|/h\d|/li|/tr|/pre|/dt|/dd)\b[^>]*>", "\n", body)
    body = html.unescape(re.sub(r"(?s)<!--.*?-->|<[^>]*>", "", body))
    lines = (re.sub(r"[ \t\xa0]+", " ", line).strip() for line in body.splitlines())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def strip_roff(text):
    lines = [re.sub(r"^\.\w+ ?", "", line) for line in text.splitlines()
             if not line.startswith(('.\\"', "'\\\"", ".if", ".ie", ".el", ".ds", ".de", ".nr"))]
    body = re.sub(r"\\f.|\\s[-+]?\d|\\&|\\[|/]", "", "\n".join(lines))
    return body.replace("\\-", "-").replace("\\(aq", "'").replace("\\(dq", '"').replace("\\e", "\\")


def extract(path, form):
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    text = data[:20 * MAX_DOCUMENT_BYTES].decode("utf-8", errors="ignore")
    text = {"source": str, "html": strip_html, "man": strip_roff}[form](text)
    return text[:MAX_DOCUMENT_BYTES]


def documents(folder, source):
    """(split, text) of a source, in hash order, without repeats, up to its max_bytes."""
    names = [p for p in folder.glob(source["glob"]) if p.is_file() and not p.is_symlink()]
    keyed = sorted((hashlib.sha256(str(p.relative_to(folder)).encode()).digest(), p) for p in names)
    seen, used = set(), 0
    for key, path in keyed:
        text = extract(path, source["form"])
        digest = hashlib.sha256(text.encode()).digest()
        if len(text) < 500 or digest in seen:
            continue
        seen.add(digest)
        used += len(text.encode())
        split = {0: "test", 1: "calibration"}.get(key[0] % 50, "train")
        yield split, text
        if used >= source["max_bytes"]:
            return


def collect(sources, work):
    """RETURNS: ({"<kind>.<split>": [text]}, manifest rows)."""
    texts, rows = {}, []
    for kind, entries in sources["kinds"].items():
        for source in entries:
            deb, folder = fetch(source["package"], work)
            used = {"train": 0, "calibration": 0, "test": 0}
            for split, text in documents(folder, source):
                texts.setdefault(f"{kind}.{split}", []).append(text)
                used[split] += len(text.encode())
            rows.append({"kind": kind, "package": source["package"], "version": deb.name.split("_")[1].replace("%3a", ":"),
                         "licence": source["licence"], "glob": source["glob"],
                         "deb_bytes": deb.stat().st_size,
                         "deb_sha256": hashlib.sha256(deb.read_bytes()).hexdigest(),
                         "text_bytes": used})
            print(kind, source["package"], used, flush=True)
    return texts, rows


def train_tokenizer(texts, vocabulary):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=[DOCUMENT_END], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    sample = []
    for name, documents_of in texts.items():
        if name.endswith(".train"):
            stride = max(1, sum(map(len, documents_of)) // TOKENIZER_SAMPLE_BYTES)
            sample += documents_of[::stride]
    tokenizer.train_from_iterator(sample, trainer)
    return tokenizer


def encode(tokenizer, texts, batch=256):
    arrays = {}
    for name, documents_of in texts.items():
        parts = []
        for at in range(0, len(documents_of), batch):
            for encoding in tokenizer.encode_batch(documents_of[at:at + batch]):
                parts.append(np.asarray([0] + encoding.ids, dtype=np.uint16))
        arrays[name] = np.concatenate(parts)
        print(name, len(documents_of), "documents", arrays[name].size, "tokens", flush=True)
    return arrays


def save_tokens(path, arrays):
    """Like numpy.savez, compressed with LZMA: a third smaller than deflate."""
    with zipfile.ZipFile(path, "w", compression=zipfile.ZIP_LZMA) as archive:
        for name, array in arrays.items():
            with archive.open(name + ".npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sources", type=pathlib.Path,
                        default=pathlib.Path(__file__).with_name("corpus_sources.yaml"))
    parser.add_argument("--work", type=pathlib.Path, required=True, help="for downloads, kept")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--vocabulary", type=int, default=16384)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    texts, rows = collect(yaml.safe_load(arguments.sources.read_text()), arguments.work)
    tokenizer = train_tokenizer(texts, arguments.vocabulary)
    tokenizer.save(str(arguments.out / "tokenizer.json"))
    arrays = encode(tokenizer, texts)
    save_tokens(arguments.out / "tokens.npz", arrays)
    manifest = {"vocabulary": arguments.vocabulary, "packages": rows,
                "tokens": {name: int(array.size) for name, array in arrays.items()}}
    (arguments.out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
