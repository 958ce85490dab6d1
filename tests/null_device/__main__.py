"""Print what every command launches, waits for and reserves on the null device: `python -m tests.null_device`."""

import tempfile
from pathlib import Path

from tests.null_device.build import counted, ran, why_not


def usual(steps: list[dict[str, int]]) -> dict[str, int]:
    """What the step in the middle counts: at the ends of epochs networks are measured and written, too."""
    steps = steps[1:]  # the first has the start of the program
    return {key: sorted(step[key] for step in steps)[(len(steps) - 1) // 2] for key in steps[0]}


def main() -> None:
    """Build, run, and print three tables, and what trainings for ImageNet plan."""
    if why := why_not():
        raise SystemExit(why)
    with tempfile.TemporaryDirectory() as place:
        seen = counted(Path(place))
    with tempfile.TemporaryDirectory() as place:
        plans = ran("tests.null_device.plans", place=Path(place), devices=1)
    print("| training step | launches | waits | copies from pageable memory |\n|---|---|---|---|")
    for name, each in seen["commands"].items():
        if each["fault"]:
            print(f"{name}: {each['fault']}")
        elif each["steps"]:
            step = usual(each["steps"])
            print(f"| {name} | {step['launches']:,} | {step['waits']} | {step['pageable']} |")
    print("\n| work unit, track1 at 224 pixels | images | planned MB | reserved MB |\n|---|---|---|---|")
    counts = []
    for name, unit in seen["work_units"].items():
        print(f"| {name} | {unit['batch']} | {unit['planned']:,.0f} | {unit['reserved']:,.0f} {unit['fault']}|")
        if "scoring" in unit:
            counts.append(f"| {name} | {unit['calibrating']:.1f} | {unit['scoring']:.1f} |")
    print("\n| launches by network and batch | calibrating | scoring |\n|---|---|---|", *counts, sep="\n")
    print(f"\n{plans}")


if __name__ == "__main__":
    main()
