"""Sends prompts to a vLLM or SGLang server and keeps the routing of every answer, with its timing.

    python3 server_capture.py --engine vllm --url http://HOST:8000 --prompts prompts.jsonl --out DIR

The server must have been started with --enable-return-routed-experts. prompts.jsonl has one object
a line: {"prompt": str} or {"tokens": [int]}, optionally "max_tokens", "category" and "request_id".
Writes
  DIR/responses/REQUEST.json   each response as it came, for `moecast trace import DIR/responses/*.json`
  DIR/requests.csv             send and answer time, latency, tokens, category: one row a request
Answers arrive whole (routing is not in streamed chunks), so latency is end to end; a request that
failed has its error in the row and no file. Standard library only.
"""

import argparse
import concurrent.futures
import csv
import json
import pathlib
import re
import time
import urllib.error
import urllib.request

COLUMNS = ("request_id", "category", "sent_s", "latency_s", "prompt_tokens", "completion_tokens", "routed_bytes", "error")
FIELDS = {"vllm": "choices[0].routed_experts", "sglang": "meta_info.routed_experts"}


def vllm_request(row, model, new_tokens):
    """Path and body of the OpenAI completions route."""
    body = {"model": model, "prompt": row.get("tokens") or row["prompt"], "temperature": row.get("temperature", 1.0),
            "max_tokens": row.get("max_tokens", new_tokens)}
    return "/v1/completions", body


def sglang_request(row, model, new_tokens):
    """Path and body of SGLang's own route, whose answer says how many tokens it had."""
    del model  # the server has one
    body = {"sampling_params": {"max_new_tokens": row.get("max_tokens", new_tokens),
                                "temperature": row.get("temperature", 1.0)}, "return_routed_experts": True}
    body |= {"input_ids": row["tokens"]} if "tokens" in row else {"text": row["prompt"]}
    return "/generate", body


REQUESTS = {"vllm": vllm_request, "sglang": sglang_request}


def routing_of(engine, response):
    """(routing as sent, prompt tokens, completion tokens). ERRORS: ValueError saying what is absent."""
    if engine == "vllm":
        choice = response["choices"][0]
        usage = response.get("usage", {})
        routing = choice.get("routed_experts")
        counts = usage.get("prompt_tokens"), usage.get("completion_tokens")
    else:
        info = response["meta_info"]
        routing, counts = info.get("routed_experts"), (info.get("prompt_tokens"), info.get("completion_tokens"))
    if not routing:
        raise ValueError(f"the response has no {FIELDS[engine]}: was the server started with "
                         "--enable-return-routed-experts, and the request not aborted?")
    return routing, *counts


def post(url, body, timeout):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise ValueError(f"HTTP {error.code}: {error.read(300).decode(errors='replace')}") from error
    except urllib.error.URLError as error:
        raise ValueError(f"cannot reach {url}: {error.reason}") from error


def read_prompts(path):
    """Rows of the prompt file, each with a request_id that is a file name. ERRORS: the bad line."""
    rows, seen = [], set()
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}:{number}:{error.colno}: is not JSON: {error.msg}") from error
        if not isinstance(row, dict) or ("prompt" in row) == ("tokens" in row):
            raise ValueError(f'{path}:{number}: needs exactly one of "prompt" and "tokens"')
        row["request_id"] = str(row.get("request_id", f"{len(rows):06d}"))
        if not re.fullmatch(r"[\w.-]+", row["request_id"]) or row["request_id"] in seen:
            raise ValueError(f"{path}:{number}: request_id '{row['request_id']}' is used before, or has other "
                             "characters than letters, digits, '.', '_' and '-'")
        seen.add(row["request_id"])
        rows.append(row)
    if not rows:
        raise ValueError(f"{path}: has no prompt")
    return rows


class ServerCapture:
    """One run against one server."""

    def __init__(self, engine, url, out, model="", new_tokens=256, timeout=600.0):
        self.engine, self.url, self.out, self.model = engine, url.rstrip("/"), out, model
        self.new_tokens, self.timeout = new_tokens, timeout
        self.started = time.monotonic()

    def one(self, row):
        """Sends one prompt. RETURNS: its row of requests.csv."""
        path, body = REQUESTS[self.engine](row, self.model, self.new_tokens)
        result = dict.fromkeys(COLUMNS, "")
        result |= {"request_id": row["request_id"], "category": row.get("category", "")}
        sent = time.monotonic()
        result["sent_s"] = f"{sent - self.started:.6f}"
        try:
            response = post(self.url + path, body, self.timeout)
            result["latency_s"] = f"{time.monotonic() - sent:.6f}"
            routing, prompt, completion = routing_of(self.engine, response)
            result |= {"prompt_tokens": prompt, "completion_tokens": completion, "routed_bytes": len(json.dumps(routing))}
            (self.out / "responses" / f"{row['request_id']}.json").write_text(json.dumps(response) + "\n")
        except (ValueError, KeyError, IndexError, TypeError, TimeoutError) as error:
            result["error"] = f"{type(error).__name__}: {error}".replace("\n", " ")
        return result

    def run(self, rows, concurrency):
        """Sends all prompts, at most `concurrency` in flight. RETURNS: the number that failed."""
        (self.out / "responses").mkdir(parents=True, exist_ok=True)
        failed = 0
        with open(self.out / "requests.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            with concurrent.futures.ThreadPoolExecutor(concurrency) as pool:
                for done in concurrent.futures.as_completed([pool.submit(self.one, row) for row in rows]):
                    writer.writerow(done.result())
                    file.flush()
                    failed += bool(done.result()["error"])
        return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--engine", choices=sorted(REQUESTS), required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--model", default="", help="the name the vLLM server serves")
    parser.add_argument("--prompts", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--new-tokens", type=int, default=256)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--timeout", type=float, default=600.0, help="of one request, in seconds")
    arguments = parser.parse_args()
    try:
        rows = read_prompts(arguments.prompts)
    except (OSError, ValueError) as error:
        parser.exit(1, f"{error}\n")
    capture = ServerCapture(arguments.engine, arguments.url, arguments.out, arguments.model, arguments.new_tokens, arguments.timeout)
    failed = capture.run(rows, arguments.concurrency)
    print(f"{len(rows) - failed} of {len(rows)} requests captured in {arguments.out}")
    parser.exit(1 if failed else 0, f"{failed} failed: see the column error of requests.csv\n" if failed else None)


if __name__ == "__main__":
    main()
