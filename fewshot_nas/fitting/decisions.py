"""What is decided on the way: before a step, by what the steps before it have shown; and where a budget is raised.

A decision is noted before the step begins, so that it is the same after a kill.
"""

from fewshot_nas.cli.main import duration
from fewshot_nas.cli.waiting import waiting
from fewshot_nas.data.images import FileImages
from fewshot_nas.distributed import joined
from fewshot_nas.fitting.asked import Asked
from fewshot_nas.fitting.changes import (
    ALONE,
    extended,
    in_time,
    lateness,
    left_s,
    networks_s,
    nothing_learned,
    slower,
    timed,
)
from fewshot_nas.fitting.measure import Machine
from fewshot_nas.fitting.opponents import opponents, reference, widest
from fewshot_nas.fitting.plan import NETWORKS, STEPS, Plan, few_epochs, without
from fewshot_nas.fitting.progress import omissions
from fewshot_nas.fitting.state import Fit
from fewshot_nas.records.files import read_json
from fewshot_nas.reporting.log import read_log
from fewshot_nas.results.run import ONE_SHOT, phase_directory
from fewshot_nas.running.images import open_images, pixels
from fewshot_nas.searching.feasible import feasible_arch
from fewshot_nas.space.resnet import ResNetSpace


def decide(running: Fit, name: str) -> None:
    """Decide and note, once for each step, what will be made.

    Raises:
        InputError: the bounds cannot be met, or an image cannot be decoded.
    """
    if name == "supernet":
        _refuse_at_last(running)
    state = running.state
    known, times = _as_shown(running, name)
    spent_s = running.spent_s
    made = in_time(known, state["done"], state["budget_s"], spent_s, times)
    lines = _said(running.plan, made)
    if name in NETWORKS:
        lines.append(lateness(made, state["done"], state["budget_s"], spent_s, times))
    print(*(f"{line}\n" for line in lines if line), sep="", end="", flush=True)
    running.note(plan=made.record(), decided=[*state["decided"], name], slower=round(times, 3))


def _refuse_at_last(running: Fit) -> None:
    """Before the long work: bounds that cannot be met, and images to rank or test on that cannot be decoded."""
    config, limits = running.config, running.limits()
    feasible_arch(limits, limits.space.pool_options)
    data = open_images(config, limits.space)
    for images in (data.valid, data.test):
        if isinstance(images, FileImages):
            pixels(config, limits.space, data, images)  # which are kept


def _as_shown(running: Fit, name: str) -> tuple[Plan, float]:
    """The plan by what the steps so far have shown, and how many times as long as planned what is left will take."""
    made, decided = running.plan, set(running.state["decided"])
    if name in NETWORKS and not decided & set(NETWORKS):
        return _measured(running, made), 1.0
    times = slower(made, running.state["took_s"])
    if name in ("scores", "search") and not decided & {"scores", "search"}:
        made = _if_learned(running, made)
    return made, times


def _said(before: Plan, made: Plan) -> list[str]:
    """What a person should know of a plan that has changed."""
    lines = omissions({name: why for name, why in made.left_out.items() if name not in before.left_out})
    if made.epochs != before.epochs:
        lines.append(f"{made.epochs} epochs of each network, not {before.epochs}: so the time allows")
    return lines


def _if_learned(running: Fit, made: Plan) -> Plan:
    """The plan as it is, if the supernet has learned something; or if no ResNet-18 is within the bounds."""
    state, log = running.state, read_log(phase_directory(running.save, ONE_SHOT).log)
    if not log.collapse or not widest(running.limits()):
        return made
    took_s = state["took_s"]["supernet"]
    return nothing_learned(made, running.costs, state["done"], took_s, state["budget_s"], running.spent_s)


def _measured(running: Fit, made: Plan) -> Plan:
    """The plan with the opponents of what was found, and the epochs that the time allows, as these networks train."""
    state, known = running.state, running.costs
    codes, step_s, reference_s = _timed(running, made)
    running.note(codes={name: code for name, code in codes.items() if name != "found"})
    if "found" in codes and "random" not in codes:
        made = without(made, ("random",), ALONE)
    others_s = left_s(made, [*state["done"], *NETWORKS]) + known.opening_s * len(NETWORKS)
    rest_s = networks_s(state["budget_s"], running.spent_s, others_s)
    return timed(made, known, step_s, reference_s, state["took_s"]["supernet"], rest_s)


def _timed(running: Fit, made: Plan) -> tuple[dict[str, str], dict[str, float], float]:
    """The codes of the networks, and the seconds of a step of each and of the space's reference by now."""
    state, config, limits = running.state, running.config, running.limits()
    space, batch = limits.space, config.stand_alone.batch_size
    assert isinstance(space, ResNetSpace)
    if "found" in made.seconds:
        found = read_json(running.search.found)
        codes = {"found": found["archs"][0]["code"], **opponents(limits, found, config.run.seed)}
    else:
        codes = {"reference": space.encode(widest(limits) or reference(space))}
    print("timing training steps of these networks ...", flush=True)
    with joined(running.device, config.run) as world, waiting("still timing"):
        machine = Machine(world.device, state["seen"]["classes"], precision=config.run.precision)
        step_s = {each: machine.step_s(space, space.decode(code), batch) for each, code in codes.items()}
        reference_s, slowed = machine.step_s(space, reference(space), batch), machine.slowed
        return codes, {each: slowed * seconds for each, seconds in step_s.items()}, slowed * reference_s


def longer(running: Fit, asked: Asked) -> str:
    """Plan with a longer budget, and say what it changes; what is done stays."""
    state, made, known = running.state, running.plan, running.costs
    done, decided, before_s = state["done"], state["decided"], state["spent_s"] - sum(state["took_s"].values())
    new = extended(made, known, {*done, *decided}, asked.budget_s, max(0.0, before_s))
    back = [name for name in new.seconds if name not in made.seconds]
    more = f"the budget is {duration(asked.budget_s)} now, not {duration(state['budget_s'])}"
    if len(done) == len(made.seconds) and not back:
        few = "".join(f", {each}" for each in few_epochs(made, known))
        return f"{more}; that changes nothing, because all is done{few}; to train longer, give another --save"
    again = {*back, "answer", "export", "report"}
    state.update(
        plan=new.record(),
        budget_s=asked.budget_s,
        asked=asked.words,
        done=[name for name in done if name not in again],
        decided=[name for name in decided if name not in again],
        took_s={name: seconds for name, seconds in state["took_s"].items() if name not in again},
    )
    added = f"; no longer left out: {', '.join(STEPS[name] for name in back)}" if back else ""
    return "\n".join([f"{more}{added}", *omissions(new.left_out)])
