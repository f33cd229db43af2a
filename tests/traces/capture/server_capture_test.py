"""The server capture against a small server that answers in the documented shapes of the engines."""

import base64
import csv
import http.server
import json
import pathlib
import struct
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "traces" / "capture"))
import server_capture  # noqa: E402

LAYERS, TOP_K = 2, 2


def rows_of(tokens):
    """[tokens][layer][k] expert ids, flat: distinct in a row."""
    return [e for t in range(tokens) for layer in range(LAYERS) for e in ((t + layer) % 8, (t + layer + 3) % 8)]


def npy(ids, shape):
    """A .npy of uint8."""
    head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    head += " " * (-(10 + len(head) + 1) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + bytes(ids)


class Engine(http.server.BaseHTTPRequestHandler):
    """vLLM's /v1/completions and SGLang's /generate. The prompt [7, 7] has no routing, [8] fails."""

    def do_POST(self):  # noqa: N802, the library's name
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        prompt = body.get("prompt") or body.get("input_ids") or body.get("text")
        if prompt == [8]:
            return self.answer(500, {"error": "out of memory"})
        if self.path == "/v1/completions":
            new, answer = body["max_tokens"], self.vllm
        else:
            new, answer = body["sampling_params"]["max_new_tokens"], self.sglang
        return self.answer(200, answer(len(prompt), new, prompt != [7, 7]))

    def vllm(self, prompt, new, routed):
        tokens = prompt + new - 1
        array = base64.b64encode(npy(rows_of(tokens), (tokens, LAYERS, TOP_K))).decode()
        return {"id": "cmpl-1", "choices": [{"index": 0, "text": "", "routed_experts": array if routed else None}],
                "usage": {"prompt_tokens": prompt, "completion_tokens": new}}

    def sglang(self, prompt, new, routed):
        ids = rows_of(prompt + new - 1)
        info = {"id": "r", "prompt_tokens": prompt, "completion_tokens": new}
        if routed:
            info["routed_experts"] = base64.b64encode(struct.pack(f"<{len(ids)}i", *ids)).decode()
        return {"text": "", "meta_info": info}

    def answer(self, code, value):
        data = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


class ServerCaptureTest(unittest.TestCase):
    def setUp(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Engine)
        self.server.bodies = []
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = pathlib.Path(folder.name)

    def tearDown(self):
        self.server.shutdown()
        self.server.server_close()

    def capture(self, engine, rows):
        for number, row in enumerate(rows):
            row.setdefault("request_id", f"r{number}")
        failed = server_capture.ServerCapture(engine, self.url, self.out, "m", 4).run(rows, 3)
        with open(self.out / "requests.csv", newline="") as file:
            return failed, {row["request_id"]: row for row in csv.DictReader(file)}

    def saved(self, request):
        return json.loads((self.out / "responses" / f"{request}.json").read_text())

    def test_every_answer_is_kept_with_its_routing_and_time(self):
        for engine in ("vllm", "sglang"):
            with self.subTest(engine):
                failed, rows = self.capture(engine, [{"tokens": [1] * n, "category": "c"} for n in (2, 5, 3)])
                self.assertEqual(failed, 0)
                self.assertEqual([rows[f"r{i}"]["prompt_tokens"] for i in range(3)], ["2", "5", "3"])
                for row in rows.values():
                    self.assertEqual((row["completion_tokens"], row["category"], row["error"]), ("4", "c", ""))
                    self.assertGreaterEqual(float(row["latency_s"]), 0)
                routing, *_ = server_capture.routing_of(engine, self.saved("r1"))
                self.assertEqual(base64.b64decode(routing)[-1 if engine == "vllm" else -4], rows_of(8)[-1])

    def test_requests_ask_for_routing_in_the_engines_words(self):
        self.capture("sglang", [{"prompt": "text", "max_tokens": 9}])
        self.assertTrue(self.server.bodies[-1]["return_routed_experts"])
        self.assertEqual(self.server.bodies[-1]["sampling_params"]["max_new_tokens"], 9)
        self.capture("vllm", [{"prompt": "text"}])
        self.assertEqual((self.server.bodies[-1]["model"], self.server.bodies[-1]["max_tokens"]), ("m", 4))

    def test_a_failed_request_is_a_row_with_its_error_and_no_file(self):
        failed, rows = self.capture("vllm", [{"tokens": [7, 7]}, {"tokens": [8]}, {"tokens": [1]}])
        self.assertEqual(failed, 2)
        self.assertIn("no choices[0].routed_experts", rows["r0"]["error"])
        self.assertIn("HTTP 500", rows["r1"]["error"])
        self.assertEqual(sorted(p.name for p in (self.out / "responses").iterdir()), ["r2.json"])

    def test_an_absent_server_is_named(self):
        self.server.shutdown()
        self.server.server_close()
        failed, rows = self.capture("vllm", [{"tokens": [1]}])
        self.assertEqual(failed, 1)
        self.assertIn("cannot reach http://127.0.0.1", rows["r0"]["error"])
        self.server = http.server.HTTPServer(("127.0.0.1", 0), Engine)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class PromptFileTest(unittest.TestCase):
    def errors_of(self, text):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "p.jsonl"
            path.write_text(text)
            with self.assertRaises(ValueError) as caught:
                server_capture.read_prompts(path)
            return str(caught.exception)

    def test_bad_lines_are_named(self):
        self.assertIn("p.jsonl:2:10: is not JSON", self.errors_of('{"prompt": "a"}\n{"prompt"\n'))
        self.assertIn('p.jsonl:1: needs exactly one of "prompt" and "tokens"', self.errors_of('{"prompt": "a", "tokens": [1]}\n'))
        self.assertIn("request_id '../x'", self.errors_of('{"prompt": "a", "request_id": "../x"}\n'))
        self.assertIn("'a' is used before", self.errors_of('{"prompt": "a", "request_id": "a"}\n' * 2))
        self.assertIn("has no prompt", self.errors_of("\n"))


if __name__ == "__main__":
    unittest.main()
