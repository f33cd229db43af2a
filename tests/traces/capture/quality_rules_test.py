"""The skipping rules and cache schemes whose quality is measured, by their definitions."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "traces" / "training"))
try:
    import torch

    import kv_schemes
    import skip_rules
except ModuleNotFoundError as error:
    print(f"skipped: {error}")
    sys.exit(77)

K = 4


def scores(batch=8, tokens=3, experts=16, seed=1):
    return (2 * torch.randn(batch, tokens, experts, generator=torch.Generator().manual_seed(seed))).softmax(-1)


def token_rules():
    for kept in range(1, K + 1):
        yield skip_rules.uniform(K, kept)
    for x in (0.0, 0.3, 0.7):
        yield skip_rules.ratio(K, x)
        yield skip_rules.top_p(K, x)
        yield skip_rules.aset_derived(K, x, 0.5)


class RulesTest(unittest.TestCase):
    def test_token_rules_keep_a_prefix_with_the_best_expert(self):
        s = scores()
        best = s.topk(K, dim=-1).indices
        for rule in token_rules():
            ids, weights = rule(s)
            self.assertTrue(torch.equal(ids, best))
            used = weights > 0
            self.assertTrue(used[..., 0].all())
            self.assertTrue((used[..., 1:] <= used[..., :-1]).all(), "not a prefix")

    def test_weights_sum_to_one_unless_the_native_mass_divides(self):
        s = scores()
        self.assertTrue(torch.allclose(skip_rules.uniform(K, 2)(s)[1].sum(-1), torch.ones(8, 3)))
        top = s.topk(K, dim=-1).values
        expected = top[..., :2].sum(-1) / top.sum(-1)
        self.assertTrue(torch.allclose(skip_rules.uniform(K, 2, True)(s)[1].sum(-1), expected))

    def test_a_threshold_of_nothing_is_native(self):
        s = scores()
        native = skip_rules.native(K)(s)[1]
        for rule in (skip_rules.ratio(K, 0.0), skip_rules.top_p(K, 1.0), skip_rules.aset_derived(K, 0.0, 0.5), skip_rules.oea(K, K, 4)):
            self.assertTrue(torch.allclose(rule(s)[1], native))

    def test_calibration_reaches_its_target(self):
        values = scores(64, 64).topk(K, dim=-1).values.reshape(-1, K)
        for target in (2, 3):
            beta = skip_rules.calibrate_beta(values, 0.0, target)
            kept = skip_rules.entropy_kept(values, beta, 0.0).float().sum(-1).mean().item()
            self.assertAlmostEqual(kept, target, delta=0.01)

    def test_batch_rules_stay_in_their_set(self):
        s, group = scores(), 4
        for rule, most in ((skip_rules.xshare(K, 6, group), 6), (skip_rules.oea(K, 1, group), group)):
            ids, weights = rule(s)
            used = skip_rules.chosen_mask(s, ids) & torch.zeros_like(s, dtype=torch.bool).scatter(-1, ids, weights > 0)
            sizes = skip_rules.grouped(used, group).any(1).sum(-1)
            self.assertLessEqual(sizes.max().item(), most)
            self.assertTrue(torch.equal(ids[..., 0], s.argmax(-1)), "the best expert is always in the set")

    def test_a_step_must_divide_the_batch(self):
        with self.assertRaisesRegex(ValueError, "does not divide"):
            skip_rules.oea(K, 1, 5)(scores())


class CacheTest(unittest.TestCase):
    def setUp(self):
        g = torch.Generator().manual_seed(2)
        self.q = torch.randn(1, 4, 96, 32, generator=g)
        self.k, self.v = torch.randn(2, 1, 2, 96, 32, generator=g).unbind()
        wide = [x.repeat_interleave(2, 1) for x in (self.k, self.v)]
        self.exact = torch.nn.functional.scaled_dot_product_attention(self.q, *wide, is_causal=True)

    def error(self, scheme, layer=0):
        attention = kv_schemes.CacheAttention(scheme)
        for i in range(layer + 1):
            y = attention.attend(i, self.q, self.k, self.v)
        return (y - self.exact).norm() / self.exact.norm()

    def test_nothing_quantised_is_attention(self):
        y = kv_schemes.FullAttention().attend(0, self.q, self.k, self.v)
        torch.testing.assert_close(y, self.exact, atol=1e-5, rtol=1e-4)

    def test_a_window_that_holds_everything_is_attention(self):
        self.assertLess(self.error(kv_schemes.KvScheme(1, 1, residual=96)), 1e-5)

    def test_fewer_bits_and_a_smaller_window_hurt(self):
        errors = [self.error(kv_schemes.KvScheme(b, b, residual=32)) for b in (8, 4, 2, 1)]
        self.assertEqual(errors, sorted(errors))
        self.assertLess(errors[1], self.error(kv_schemes.KvScheme(4, 4, residual=1)))

    def test_the_first_tokens_read_what_the_window_keeps(self):
        y = kv_schemes.CacheAttention(kv_schemes.KvScheme(1, 1, residual=32)).attend(0, self.q, self.k, self.v)
        torch.testing.assert_close(y[:, :, :32], self.exact[:, :, :32], atol=1e-5, rtol=1e-4)
        self.assertFalse(torch.allclose(y[:, :, 33:], self.exact[:, :, 33:], atol=1e-2))

    def test_sharing_reuses_the_codes_of_the_layer_below(self):
        shared = kv_schemes.KvScheme(2, 2, residual=32, share_values_from=0)
        alone = kv_schemes.KvScheme(2, 2, residual=32)
        self.assertEqual(self.error(shared, 0), self.error(alone, 0))
        self.assertEqual(self.error(shared, 1), self.error(alone, 1))  # the same values in both layers
        attention = kv_schemes.CacheAttention(shared)
        attention.attend(0, self.q, self.k, -self.v)
        flipped = attention.attend(1, self.q, self.k, self.v)
        self.assertGreater((flipped - self.exact).norm() / self.exact.norm(), self.error(alone, 1))

    def test_stored_bits_count_scales_and_sharing(self):
        self.assertEqual(kv_schemes.KvScheme(2, 2).stored_bits(32), 3.0)
        xquant = kv_schemes.KvScheme(2, 2, value_high_layers=0, share_values_from=16)
        self.assertEqual(xquant.stored_bits(32), 2.375)  # the 1.375 "equivalent bits" of its paper, plus scales

    def test_hadamard_is_orthogonal(self):
        h = kv_schemes.hadamard(32, "cpu")
        torch.testing.assert_close(h @ h.t(), torch.eye(32), atol=1e-5, rtol=1e-5)


if __name__ == "__main__":
    unittest.main()
