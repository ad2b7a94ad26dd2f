"""Laws of the network, its words, its card and its ONNX file: what is trained is what runs."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from fabrika import UsageError, VersionError
from fabrika._errors import IntegrityError
from fabrika._registry import task as find_task
from fabrika._station import make_actor
from fabrika.learn import Card, load_policy
from fabrika.learn._card import CARD_KEY
from fabrika.learn._export import to_onnx
from fabrika.learn._policy import NEAR, Policy, Senses, spread
from fabrika.learn._words import WORDS, embed

POSE = (9,)
READS = {
    "joint/arm": (7,),
    "hand/left": POSE,
    "hand/right": POSE,
    "tracker/mug": POSE,
    "tracker/shelf": POSE,
    "touch/left": (5,),
}
CARD = Card(
    task="toy/reach-v1",
    sensors="tracker",
    reads=READS,
    pictures={},
    acts={"arm": (7,), "wheels": (2, 2)},
    dt=0.04,
    chunk=6,
    execute=3,
)
SEEING = dataclasses.replace(
    CARD,
    sensors="cameras",
    reads={"joint/arm": (7,)},
    pictures={"camera/head": (32, 48, 3), "camera/wrist": (37, 33, 3)},
    words=WORDS,
)
GUIDED = dataclasses.replace(
    SEEING,
    reads={name: READS[name] for name in READS if not name.startswith("tracker/")},
    guides={name: READS[name] for name in READS if name.startswith("tracker/")},
    lags=(0, 2),
)
BLIND = dataclasses.replace(CARD, reads={"touch/left": (5,)}, acts={"wheels": (2,)})


def random_policy(card: Card, seed: int = 0) -> Policy:
    """A policy in which no weight and no normaliser is at its first value."""
    torch.manual_seed(seed)
    policy = Policy(card, 24, 2)
    with torch.no_grad():
        for tensor in (
            *policy.parameters(),
            policy.mean,
            policy.gain,
            policy.offset,
            policy.place,
            policy.reach,
        ):
            tensor.add_(0.2 * torch.randn(tensor.shape))
        policy.scale.copy_(torch.rand(policy.scale.shape))
    return policy.eval()


def write(policy: Policy, path: Path) -> Path:
    path.write_bytes(to_onnx(policy).SerializeToString())
    return path


def edited(path: Path, out: Path, **card: object) -> Path:
    """The same policy with another card."""
    model = onnx.load(path)
    text = {**json.loads(model.metadata_props[0].value), **card}
    helper.set_model_props(model, {CARD_KEY: json.dumps(text)})
    out.write_bytes(model.SerializeToString())
    return out


def observation(card: Card, rng: np.random.Generator) -> dict[str, np.ndarray]:
    seen = {name: rng.normal(0, 1, shape) for name, shape in card.reads.items()}
    return seen | {
        name: rng.integers(0, 256, shape, np.uint8) for name, shape in card.pictures.items()
    }


@pytest.mark.parametrize(
    "card", [CARD, dataclasses.replace(CARD, lags=(0, 2, 5)), SEEING, GUIDED, BLIND], ids=str
)
def test_the_exported_graph_gives_what_the_network_gives(card: Card, tmp_path: Path) -> None:
    policy = random_policy(card)
    actor = load_policy(write(policy, tmp_path / "policy.onnx"))
    rng = np.random.default_rng(1)
    actor.reset("put the mug on the shelf", 0)
    history: list[dict[str, np.ndarray]] = []
    for tick in range(9):
        seen = observation(card, rng)
        history.insert(0, seen)
        command = actor.act(seen)
        if tick % card.execute == 0:
            past = [history[min(lag, len(history) - 1)] for lag in card.lags]
            rows = [np.concatenate([p[n].ravel() for n in sorted(card.reads)]) for p in past]
            pictures = {n: torch.from_numpy(seen[n])[None] for n in card.pictures}
            with torch.no_grad():
                chunk = policy(
                    torch.from_numpy(np.stack(rows)[None].astype(np.float32)),
                    pictures,
                    torch.from_numpy(embed("put the mug on the shelf"))[None],
                )[0].numpy()
        flat = np.concatenate([command[name].ravel() for name in sorted(card.acts)])
        np.testing.assert_allclose(flat, chunk[tick % card.execute], atol=1e-4)
        assert {n: v.shape for n, v in command.items()} == dict(card.acts)


def test_equal_weights_give_equal_bytes() -> None:
    first, second = (to_onnx(random_policy(CARD)).SerializeToString() for _ in range(2))
    assert first == second
    assert to_onnx(random_policy(CARD, seed=1)).SerializeToString() != first


def test_what_lies_between_palm_and_object_does_not_depend_on_where_both_are() -> None:
    senses = Senses(READS, {})
    rng = np.random.default_rng(0)
    frame, turn = (np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(2))
    frame, turn = (m * np.sign(np.linalg.det(m)) for m in (frame, turn))
    hand, thing = rng.normal(size=(2, 3))

    def reading(rotation: np.ndarray, shift: np.ndarray) -> torch.Tensor:
        def pose(at: np.ndarray, axes: np.ndarray) -> np.ndarray:
            moved = rotation @ axes
            return np.concatenate([rotation @ at + shift, moved[:, 0], moved[:, 1]])

        values = {name: np.zeros(shape) for name, shape in READS.items()}
        values["hand/right"], values["tracker/mug"] = pose(hand, frame), pose(thing, np.eye(3))
        flat = np.concatenate([values[name] for name in sorted(READS)])
        return senses(torch.from_numpy(flat.astype(np.float32)))

    there, here = reading(np.eye(3), np.zeros(3)), reading(turn, np.array([1.0, -2.0, 3.0]))
    expected = torch.from_numpy((frame.T @ (thing - hand)).astype(np.float32))
    pairs = senses.palms
    local = torch.stack([there[-9 * pairs :].view(3, 3, pairs)[0]])[0]
    column = next(p for p in range(pairs) if torch.allclose(local[:, p], expected, atol=1e-5))
    for found in (there, here):
        assert torch.allclose(
            found[-9 * pairs :].view(3, 3, pairs)[:, :, column],
            there[-9 * pairs :].view(3, 3, pairs)[:, :, column],
            atol=1e-5,
        )
    # Once more, squashed: near the palm a millimetre is as much, however far the robot drives.
    close = torch.tanh(expected / NEAR)
    assert all((there - value).abs().min() < 1e-5 for value in close)


def test_a_joint_that_never_moved_is_commanded_exactly_the_same() -> None:
    torch.manual_seed(0)
    seen = torch.randn(200, sum(int(np.prod(s)) for s in READS.values()))
    done = torch.randn(200, CARD.chunk, 11)
    done[..., 2], done[..., 9] = 0.3, -1.7
    policy = random_policy(CARD)
    policy.normalise(seen, done)
    with torch.no_grad():
        out = policy(100 * torch.randn(50, 1, seen.shape[1]), {}, torch.zeros(50, 0))
    assert (out[..., 2] == done[0, 0, 2]).all()
    assert (out[..., 9] == done[0, 0, 9]).all()
    assert out.std((0, 1)).gt(0).sum() == 9


def test_spread_ignores_outliers_and_does_not_blow_up_what_rarely_moves() -> None:
    torch.manual_seed(0)
    x = torch.randn(10_000, 3)
    x[:50, 0] = 1000.0
    x[:, 1] = 0.0
    x[:20, 1] = 1.0
    x[:, 2] = 0.1
    plain, rare, still = spread(x)
    assert plain < x[:, 0].std() / 2.5
    assert rare >= x[:, 1].std() / 4
    assert still == 0


def test_words_are_the_same_everywhere_and_paraphrases_are_near() -> None:
    one = embed("put the mug on the shelf")
    assert one.dtype == np.float32
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-6)
    # Fixed for ever: a policy that was trained with other vectors would hear other words.
    assert int(np.argmax(np.abs(one))) == 30
    near = one @ embed("Put the mug onto the shelf, please!")
    far = one @ embed("carry a tray to table")
    assert near > 0.6 > 0.3 > far
    assert not embed("").any()
    assert not embed("?! ...").any()


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x08\x08" * 40], ids=repr)
def test_what_is_not_a_model_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "policy.onnx"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=r"policy\.onnx is"):
        load_policy(path)


def test_half_a_model_is_refused(tmp_path: Path) -> None:
    whole = write(random_policy(CARD), tmp_path / "whole.onnx").read_bytes()
    (tmp_path / "half.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match=r"half\.onnx is not an ONNX model"):
        load_policy(tmp_path / "half.onnx")


def test_a_model_without_a_card_is_refused(tmp_path: Path) -> None:
    model = onnx.load(write(random_policy(CARD), tmp_path / "policy.onnx"))
    del model.metadata_props[:]
    (tmp_path / "bare.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UsageError, match="without a card"):
        load_policy(tmp_path / "bare.onnx")


def test_cards_that_cannot_be_trusted_are_refused(tmp_path: Path) -> None:
    path, out = write(random_policy(CARD), tmp_path / "policy.onnx"), tmp_path / "edited.onnx"
    with pytest.raises(VersionError, match="card format 99"):
        load_policy(edited(path, out, format=99))
    with pytest.raises(UsageError, match="surprise"):
        load_policy(edited(path, out, surprise=1))
    with pytest.raises(IntegrityError, match="its card names"):
        load_policy(edited(path, out, acts={"arm": [6]}))
    for wrong in (
        {"execute": 0},
        {"fade": 2},
        {"execute": 7},
        {"fade": -1},
        {"lags": []},
        {"words": 3},
        {"words": "3"},
        {"lags": "01"},
        {"lags": [0.5]},
        {"chunk": "6"},
        {"reads": ["joint/arm"]},
        {"acts": None},
        {"limits": [1]},
        {"limits": {"arm": {"low": ["a"] * 7, "high": [1] * 7, "step": [1] * 7}}},
        {"limits": {"arm": {"low": [2] * 7, "high": [1] * 7, "step": [1] * 7}}},
        {"limits": {"arm": {"low": [0] * 7, "high": [1] * 7, "step": [-1] * 7}}},
    ):
        with pytest.raises((UsageError, IntegrityError)):
            load_policy(edited(path, out, **wrong))
    assert load_policy(edited(path, out, execute=6)).card.execute == 6


@pytest.mark.parametrize("place", ["weights.bin", "../weights.bin", "/dev/zero"])
def test_weights_outside_of_the_file_are_refused(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They could be exchanged while the policy's digest stays the same."""
    model = onnx.load(write(random_policy(CARD), tmp_path / "whole.onnx"))
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    tensor = max(model.graph.initializer, key=lambda each: len(each.raw_data))
    for folder in (Path(), Path("..")):
        (folder / "weights.bin").write_bytes(tensor.raw_data)
    onnx.external_data_helper.set_external_data(tensor, place, 0, len(tensor.raw_data))
    tensor.ClearField("raw_data")
    Path("policy.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UsageError, match="not an ONNX model that runs here"):
        load_policy(Path("policy.onnx"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        load_policy(tmp_path / "nowhere.onnx")


def test_a_chunk_is_carried_out_and_then_the_policy_looks_again(tmp_path: Path) -> None:
    path = write(random_policy(CARD), tmp_path / "policy.onnx")
    rng = np.random.default_rng(0)
    first, second = observation(CARD, rng), observation(CARD, rng)

    def arms(seen: list[dict[str, np.ndarray]], path: Path) -> np.ndarray:
        actor = load_policy(path)
        actor.reset("", 0)
        return np.array([actor.act(s)["arm"] for s in seen])

    steady, changed = arms([first] * 6, path), arms([first] * 3 + [second] * 3, path)
    blind = arms([first, second, second], path)
    np.testing.assert_array_equal(steady[:3], steady[3:])
    np.testing.assert_array_equal(steady[:3], blind)
    assert not np.allclose(steady[3], changed[3])
    faded = arms([first] * 3 + [second] * 3, edited(path, tmp_path / "faded.onnx", fade=0.8))
    old = arms([first] * 6, edited(path, tmp_path / "long.onnx", execute=6))[3:]
    share = 1 / (1 + 0.8**3)
    np.testing.assert_allclose(faded[3:], share * changed[3:] + (1 - share) * old, atol=1e-6)


def test_commands_stay_within_the_limits_of_the_data(tmp_path: Path) -> None:
    path, out = write(random_policy(CARD), tmp_path / "policy.onnx"), tmp_path / "limited.onnx"
    limits = {"arm": {"low": [-0.2] * 7, "high": [0.1] * 7, "step": [0.01] * 7}}
    actor = load_policy(edited(path, out, limits=limits))
    rng = np.random.default_rng(0)
    for _ in range(2):
        actor.reset("", 0)
        seen = [observation(CARD, rng) for _ in range(40)]
        start = np.clip(seen[0]["joint/arm"], -0.2, 0.1)
        commands = np.array([actor.act(s)["arm"] for s in seen])
        assert np.abs(commands[0] - start).max() <= 0.01 + 1e-12
        assert np.abs(np.diff(commands, axis=0)).max() <= 0.01 + 1e-12
        assert commands.min() >= -0.2
        assert commands.max() <= 0.1
        assert np.ptp(commands, axis=0).max() > 0.01
    for wrong in ({"arm": {"low": [0.0] * 7}}, {"leg": limits["arm"]}):
        with pytest.raises(UsageError, match="cannot be run"):
            load_policy(edited(path, out, limits=wrong))


def test_an_actor_needs_neither_torch_nor_onnx(tmp_path: Path) -> None:
    path = write(random_policy(BLIND), tmp_path / "policy.onnx")
    code = f"""
import sys
from pathlib import Path
import numpy as np
import fabrika.learn
actor = fabrika.learn.load_policy(Path({str(path)!r}))
actor.reset("go", 0)
actor.act({{"touch/left": np.zeros(5)}})
heavy = {{"torch", "onnx", "safetensors", "mujoco"}} & sys.modules.keys()
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


def test_weights_that_are_not_numbers_stay_visible(tmp_path: Path) -> None:
    policy = random_policy(CARD)
    with torch.no_grad():
        policy.leave.weight.fill_(torch.nan)
    actor = load_policy(write(policy, tmp_path / "policy.onnx"))
    actor.reset("", 0)
    assert np.isnan(actor.act(observation(CARD, np.random.default_rng(0)))["arm"]).all()


def test_a_policy_for_another_task_or_another_pace_is_refused(tmp_path: Path) -> None:
    task = find_task("toy/reach-v1")
    world = task.build()
    for wrong, words in (({"task": "toy/push-v1"}, "toy/push-v1"), ({"dt": 0.5}, "every 0.5 s")):
        path = tmp_path / f"{next(iter(wrong))}.onnx"
        write(random_policy(dataclasses.replace(CARD, **wrong)), path)
        with pytest.raises(UsageError, match=words):
            make_actor(str(path), task, world)
