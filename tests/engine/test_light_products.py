"""Products, convolutions, norms and scores over NumPy's arrays against PyTorch's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from factories import random_model
from line_checkpoints import line_config
from vary.engine.decoders.interface import Entry
from vary.engine.decoders.library import LibraryDecoder
from vary.engine.light.decoder import HeadScores, LightDecoder
from vary.engine.light.products import Convolve, Head, PackedMatrix, panels
from vary.engine.native.shapes import MatrixPlan, TextShape
from vary.engine.packing import pack_matrix
from vary.engine.precisions import precision


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(("outputs", "inputs"), [(1, 1), (16, 3), (17, 40), (64, 64), (31, 7)])
def test_panels_are_those_of_the_decoders_matrices(outputs: int, inputs: int) -> None:
    """Head and decoder read the same memory."""
    weights = numbers(outputs, inputs)
    values, _ = pack_matrix(torch.from_numpy(weights), precision("float32"))
    assert len(values) == MatrixPlan(outputs, inputs, precision("float32")).value_bytes
    np.testing.assert_array_equal(values.view(np.float32), panels(weights).ravel())


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("channels", "outputs", "kernel", "stride", "rows", "columns"),
    [
        (1, 10, 3, (2, 2), 8, 64),
        (24, 48, 3, (2, 2), 4, 32),
        (64, 64, 3, (1, 1), 2, 9),
        (48, 40, 3, (2, 1), 2, 50),
        (64, 32, 1, (1, 1), 2, 7),
        (128, 96, 1, (1, 1), 1, 120),
        (3, 5, 3, (2, 2), 7, 9),
        (5, 33, 3, (1, 1), 1, 1),
    ],
)
def test_convolutions_are_those_of_pytorch(
    channels: int, outputs: int, kernel: int, stride: tuple[int, int], rows: int, columns: int, threads: int
) -> None:
    x = numbers(3, rows, columns, channels)
    weights, bias = numbers(outputs, channels, kernel, kernel, seed=1), numbers(outputs, seed=2)
    expected = F.conv2d(
        torch.from_numpy(x).permute(0, 3, 1, 2), torch.from_numpy(weights), torch.from_numpy(bias), stride,
        padding=kernel // 2,
    ).permute(0, 2, 3, 1).numpy()  # fmt: skip
    found, widths = Convolve(weights, bias, stride=stride)(x, None, threads)
    assert widths is None
    np.testing.assert_allclose(found, expected, atol=2e-4)
    positive, _ = Convolve(weights, bias, stride=stride, relu=True)(x, None, threads)
    np.testing.assert_allclose(positive, np.maximum(expected, 0), atol=2e-4)


@pytest.mark.parametrize("stride", [(1, 1), (2, 2)])
def test_columns_of_nobody_are_zeros(stride: tuple[int, int]) -> None:
    """Whatever stands in them, even what is no number."""
    x = numbers(3, 4, 20, 6)
    own = np.array([20, 4, 8], np.int32)
    layer = Convolve(numbers(16, 6, 3, 3, seed=1), numbers(16, seed=2), stride=stride)
    alone = [layer(x[number : number + 1, :, :width].copy(), None, 1)[0] for number, width in enumerate(own)]
    for number, width in enumerate(own):
        x[number, :, width:] = np.nan
    together, widths = layer(x, own, 2)
    assert widths is not None
    assert widths.tolist() == [-(-width // stride[1]) for width in own]
    for number, width in enumerate(widths):
        np.testing.assert_array_equal(together[number, :, :width], alone[number][0])
        assert not together[number, :, width:].any()


def test_norms_behind_a_product() -> None:
    x, weights, bias = numbers(1, 1, 130, 40), numbers(96, 40, seed=1), numbers(96, seed=2)
    scale, shift = numbers(32, seed=3), numbers(32, seed=4)
    found, _ = Convolve(weights, bias, norm=(scale, shift, 1e-3))(x, None, 2)
    product = torch.from_numpy(x[0, 0] @ weights.T + bias).reshape(130, 3, 32)
    expected = F.layer_norm(product, (32,), torch.from_numpy(scale), torch.from_numpy(shift), 1e-3)
    np.testing.assert_allclose(found[0, 0].reshape(130, 3, 32), expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("vocabulary", [50, 64, 333])
def test_scores_that_are_not_written_out(vocabulary: int) -> None:
    states, weights = numbers(100, 48), numbers(vocabulary, 48, seed=1)
    head = Head(PackedMatrix.of(weights), 2)
    np.testing.assert_array_equal(head.rows([3, 0, vocabulary - 1]), weights[[3, 0, vocabulary - 1]])
    np.testing.assert_allclose(head.scores(states, [7, 7, 1]), states @ weights[[7, 7, 1]].T, atol=1e-4)
    for never in ([], [2, 17]):
        expected = torch.from_numpy(states @ weights.T)
        expected[:, never] = -torch.inf
        scores = HeadScores(head, states)
        if never:
            scores.suppress(never)
        assert scores.likeliest().tolist() == expected.argmax(-1).tolist()
        places, tokens = [0, 99, 5, 5], [3, 49, 20, 21]
        wanted = expected.log_softmax(-1)[places, tokens].numpy()
        np.testing.assert_allclose(scores.logprobs(places, tokens), wanted, atol=1e-4)
        if never:
            assert scores.logprobs([1], [17]).tolist() == [-np.inf]


def test_a_light_decoder_computes_what_the_librarys_does() -> None:
    """Several sequences, read in pieces, cut and read on; keys and values keep all their bits."""
    model = random_model(line_config(text={"num_key_value_heads": 1}))
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    weights = state["model.language_model.embed_tokens.weight"]
    shape = TextShape.of(model.config.text_config)
    light = LightDecoder(shape, state.__getitem__, Head(PackedMatrix.of(weights), 1), None, threads=2)
    library = LibraryDecoder(model)
    np.testing.assert_array_equal(light.embed([3, 500]), library.embed([3, 500]).numpy())
    pairs = [(light.open(), library.open()) for _ in range(3)]
    rng = np.random.default_rng(0)
    for counts, kept in (((150, 3, 70), (140, 3, 64)), ((1, 5, 9), (141, 6, 70))):
        ids = [rng.integers(0, 544, count).tolist() for count in counts]
        ours = [Entry(pair[0], light.embed(new), len(new)) for pair, new in zip(pairs, ids, strict=True)]
        theirs = [Entry(pair[1], library.embed(new), len(new)) for pair, new in zip(pairs, ids, strict=True)]
        places = list(range(sum(counts)))
        tokens = rng.integers(0, 544, len(places)).tolist()
        expected = library.read(theirs).log_softmax(-1)[places, tokens].numpy()
        found = light.read(ours).logprobs(places, tokens)
        np.testing.assert_allclose(found, expected, atol=2e-4)
        for pair, length in zip(pairs, kept, strict=True):
            light.cut(pair[0], length)
            library.cut(pair[1], length)
    assert light.cache_bytes >= 4 * 2 * shape.layers * shape.kv_heads * shape.head_dim * (141 + 6 + 70)
    with pytest.raises(ValueError, match="width 3"):
        light.read([Entry(pairs[0][0], numbers(1, 3))])
    with pytest.raises(ValueError, match="named twice"):
        light.read([Entry(pairs[0][0], numbers(1, 64))] * 2)
