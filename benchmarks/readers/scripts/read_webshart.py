"""webshart on `patina export --to webshart`: one count a sample, LQ beside GT by number, resume; its own index."""

from __future__ import annotations

import shutil

import webshart
from common import GT, LQ, Check, bytes_digest, run


def main(check: Check) -> None:
    folder = str(check.exports / "webshart")
    # how
    degraded = webshart.discover_dataset(f"{folder}/shards")
    clean = webshart.discover_dataset(f"{folder}/shards", metadata=f"{folder}/gt")
    lq, gt = webshart.TarDataLoader(degraded), webshart.TarDataLoader(clean)
    # end
    counts = [degraded.get_shard_sample_count(i) for i in range(degraded.num_shards)]
    check.expect(
        sorted(counts) == sorted(check.shards.values()), f"{sum(counts)} samples counted in {len(counts)} shards"
    )
    found, wrong = [], []
    for shard, count in enumerate(counts):
        for number in range(count):
            one, other = lq.load_sample(shard, number), gt.load_sample(shard, number)
            key = one.path.partition(".")[0]
            truth = check.samples[key]
            found.append(key)
            pair = [told(truth, LQ), told(truth, GT)]
            if [bytes_digest(one.data), bytes_digest(other.data)] != pair or one.captions != truth["caption"]:
                wrong.append(key)
            if bytes_digest(one.json_data) != truth["facts"]:
                wrong.append(f"{key}.json")
    check.keys(found, check.of(), "all splits")
    check.expect(not wrong, f"{len(found)} pairs and captions" if not wrong else f"wrong: {wrong[:3]}")
    maps(check, folder)
    resume(check, degraded)
    own(check)


def told(truth: dict, names: tuple[str, ...]) -> str:
    return next(truth["members"][name]["bytes"] for name in names if name in truth["members"])


def maps(check: Check, folder: str) -> None:
    data = webshart.discover_dataset(f"{folder}/shards", metadata=f"{folder}/transmission")
    loader = webshart.TarDataLoader(data)
    found = {}
    for shard in range(data.num_shards):
        for number in range(data.get_shard_sample_count(shard)):
            one = loader.load_sample(shard, number)
            found[one.path.partition(".")[0]] = bytes_digest(one.data)
    expected = {
        key: sample["members"]["transmission.png"]["bytes"]
        for key, sample in check.samples.items()
        if "transmission.png" in sample["members"]
    }
    check.expect(found == expected, f"{len(found)} maps of transmission")


def resume(check: Check, data: object) -> None:
    loader = webshart.TarDataLoader(data)
    stream = iter(loader)
    for _ in range(5):
        next(stream)
    state = loader.state_dict()
    rest = [one.path for one in stream]
    again = webshart.TarDataLoader(data)
    again.load_state_dict(state)
    check.expect([one.path for one in again] == rest, "resume by `state_dict`")


def own(check: Check) -> None:
    """What webshart's own index says of the shards as they are."""
    source, index = check.scratch / "tars", check.scratch / "index"
    source.mkdir()
    for path in check.tars():
        shutil.copy(path, source)
    extractor = webshart.MetadataExtractor()
    extractor.extract_metadata(
        source=str(source), destination=str(index), checkpoint_dir=str(check.scratch / "checkpoints"), max_workers=1
    )
    data = webshart.discover_dataset(str(source), metadata=str(index))
    count = sum(data.get_shard_sample_count(i) for i in range(data.num_shards))
    check.mind(f"its own index of the same tars counts {count} samples where there are {len(check.samples)}")


run(main, "webshart")
