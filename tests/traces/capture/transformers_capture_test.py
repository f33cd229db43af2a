"""Capture from tiny random transformers models: what hooks see is what the experts were given."""

import contextlib
import io
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "traces" / "capture"))
try:
    with contextlib.redirect_stderr(io.StringIO()):
        import torch
        import transformers

        import transformers_capture
    if int(transformers.__version__.split(".")[0]) < 5:
        raise ModuleNotFoundError(f"transformers is {transformers.__version__}, needed is 5 or later")
except ModuleNotFoundError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

transformers.logging.set_verbosity_error()
SHAPE = {"vocab_size": 128, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 4, "max_position_embeddings": 128, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
EXPERTS, TOP_K, RANKS = 8, 2, 4


def configs():
    few = {"num_experts_per_tok": TOP_K}
    t = transformers
    yield t.MixtralConfig(**SHAPE, **few, intermediate_size=32, num_local_experts=EXPERTS)
    yield t.Qwen3MoeConfig(**SHAPE, **few, moe_intermediate_size=16, intermediate_size=32, num_experts=EXPERTS, head_dim=8)
    yield t.OlmoeConfig(**SHAPE, **few, intermediate_size=16, num_experts=EXPERTS)
    yield t.GptOssConfig(**SHAPE, **few, intermediate_size=32, num_local_experts=EXPERTS, head_dim=8)
    yield t.DeepseekV3Config(**SHAPE, **few, intermediate_size=32, moe_intermediate_size=16, n_routed_experts=EXPERTS,
                             n_group=1, topk_group=1, first_k_dense_replace=1, q_lora_rank=16, kv_lora_rank=16,
                             qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=8)


def tiny(config):
    torch.manual_seed(1)
    with contextlib.redirect_stderr(io.StringIO()):
        model = transformers.AutoModelForCausalLM.from_config(config).eval()
    for _, router in transformers_capture.find_routers(model):
        torch.nn.init.normal_(router.weight)
        if hasattr(router, "e_score_correction_bias"):
            torch.nn.init.normal_(router.e_score_correction_bias)
    return model


def used_experts(model):
    """Hooks that note which experts every expert block was given: [layer] -> [rows, k]."""
    used = {}
    for name, module in model.named_modules():
        if name.endswith(".experts"):
            layer = int(next(p for p in name.split(".") if p.isdigit()))
            module.register_forward_pre_hook(
                lambda _, args, layer=layer: used.setdefault(layer, []).append(args[1].reshape(-1, TOP_K).clone()))
    return used


class TransformersCaptureTest(unittest.TestCase):
    def each(self):
        for config in configs():
            model = tiny(config)
            with self.subTest(config.model_type):
                yield model, transformers_capture.RoutingRecorder(model, RANKS, keep_logits=True)

    def test_the_first_ranks_are_the_experts_that_computed(self):
        for model, recorder in self.each():
            used = used_experts(model)
            prompts = torch.randint(2, 128, (3, 10))
            sequences = transformers_capture.capture(model, recorder, prompts, 6)
            self.assertEqual([s.ids.shape for s in sequences], [(15, len(recorder.layers), RANKS)] * 3)
            for at, layer in enumerate(recorder.layers):
                steps = torch.cat([rows.view(3, -1, TOP_K) for rows in used[layer]], 1)
                recorded = torch.stack([torch.from_numpy(s.ids[:, at, :TOP_K]) for s in sequences])
                self.assertTrue(torch.equal(steps.sort(-1).values.int(), recorded.sort(-1).values.int()))

    def test_ranks_are_distinct_and_scores_are_the_gates(self):
        for model, recorder in self.each():
            s, = transformers_capture.capture(model, recorder, torch.randint(2, 128, (1, 10)), 3)
            logits = recorder.take_logits()
            for at, layer in enumerate(recorder.layers):
                rows = torch.from_numpy(logits[f"layer_{layer}"])
                biased = f"bias_{layer}" in logits
                scores = rows.sigmoid() if biased else rows.softmax(-1)
                ids = torch.from_numpy(s.ids[:, at]).long()
                self.assertTrue(all(len(set(row)) == RANKS for row in ids.tolist()))
                torch.testing.assert_close(scores.gather(-1, ids), torch.from_numpy(s.scores[:, at]), atol=1e-5, rtol=1e-4)
                choice = (scores + torch.from_numpy(logits[f"bias_{layer}"])) if biased else scores
                ranked = choice.gather(-1, ids)
                self.assertTrue((ranked[:, 1:] <= ranked[:, :-1] + 1e-6).all(), "not best first")

    def test_decode_records_what_one_pass_over_the_same_text_records(self):
        model = tiny(next(configs()))
        recorder = transformers_capture.RoutingRecorder(model, RANKS)
        generator = torch.Generator().manual_seed(3)
        tokens = transformers_capture.generate(model, torch.randint(2, 128, (2, 8)), 5, 1.0, generator)
        stepwise, _ = recorder.take(2)
        with torch.no_grad():
            model(input_ids=tokens[:, :-1])
        at_once, _ = recorder.take(2)
        self.assertEqual((stepwise == at_once).mean(), 1.0)

    def test_more_ranks_than_experts_are_refused(self):
        model = tiny(next(configs()))
        with self.assertRaisesRegex(ValueError, "record is 9; a token's experts are 2 of 8"):
            transformers_capture.RoutingRecorder(model, 9)

    def test_a_dense_model_is_refused(self):
        dense = transformers.LlamaConfig(**SHAPE, intermediate_size=32)
        with self.assertRaisesRegex(ValueError, "no module named gate or router"):
            transformers_capture.find_routers(tiny_dense(dense))


def tiny_dense(config):
    with contextlib.redirect_stderr(io.StringIO()):
        return transformers.AutoModelForCausalLM.from_config(config)


if __name__ == "__main__":
    unittest.main()
